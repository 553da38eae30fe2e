//! The steps of a boot, as the units run them: each calls its operation, and says in the journal how it ended.

use boot_entries::Root;

use crate::activation::{Done, generator};
use crate::cli::BootStep;
use crate::error::Error;
use crate::host::{EMERGENCY, PROVEN};
use crate::operation::activate::{self, Firewalled};
use crate::operation::assess::{self, Assessed};
use crate::operation::bless::{self, Blessed};
use crate::operation::end::{self, Ended};
use crate::operation::stage_2::{self, Staged};
use crate::operation::watch::{self, Watched};
use crate::operation::{begin, check, close, emergency, fall_back, last_resort, switch};
use crate::report::line::one_line;
use crate::state::reset::Way;
use crate::store::handover::{is_marked, unmark};
use crate::system::kernel_log::{KernelLog, Level};

pub(super) fn run(root: &Root, step: BootStep) -> Result<(), Error> {
    if !root.is_live()
        && matches!(
            step,
            BootStep::Firewall
                | BootStep::Assess
                | BootStep::Watch
                | BootStep::End { way: None }
                | BootStep::FallBackLive { .. }
                | BootStep::GoDown { .. }
                | BootStep::Emergency
                | BootStep::Switch { .. }
                | BootStep::Unconfirmed
                | BootStep::Check { .. }
                | BootStep::Later { .. }
        )
    {
        return Err(Error::Refused(
            "this step is about the running machine's kernel and services, not about a tree; leave --root out".to_owned(),
        ));
    }
    match step {
        BootStep::Stage2 => stage_2(root),
        BootStep::Units { early } => {
            generator::link(root, &early);
            Ok(())
        }
        BootStep::Begin => {
            // Before anything that may hang.
            last_resort::look_after(root);
            begin::begin(root)
        }
        BootStep::Activate => activate(root),
        BootStep::Firewall => firewall(root),
        BootStep::Assess => assess(root),
        BootStep::Bless => is_over(root, bless(root)),
        BootStep::Watch => watch(root),
        BootStep::FallBack => is_over(root, fall_back(root)),
        BootStep::Emergency => emergency(root),
        BootStep::End { way } => end(root, way.as_deref()),
        BootStep::GoDown { how } => {
            let is = |word: &str| how.iter().any(|one| one == word);
            fall_back::go_down(root, is("at-once"), is("go-on"))
        }
        BootStep::FallBackLive { from, to } => switch::go_back_here(root, &from, &to),
        BootStep::Switch { said, request } => switch::work(root, &said, &request),
        BootStep::Unconfirmed => switch::unconfirmed(root),
        BootStep::Check { closure, name } => check::step_check(root, &closure, &name),
        BootStep::Later { units } => switch::later(root, &units),
    }
}

/// This boot is judged, whatever came of that.
fn is_over(root: &Root, done: Result<(), Error>) -> Result<(), Error> {
    // A fallback that failed is one that has not judged.
    if done.is_ok() || is_marked(root, PROVEN) {
        last_resort::give_back(root);
    }
    if is_marked(root, PROVEN)
        && let Err(error) = unmark(root, EMERGENCY)
    {
        tracing::warn!("{}", one_line(&error));
    }
    close::close(root);
    done
}

/// Loud: whoever logs in then finds it in the journal, and it is on the console beside the prompt.
fn emergency(root: &Root) -> Result<(), Error> {
    let came = emergency::emergency(root)?;
    let started = match came.started.as_slice() {
        [] => "nothing had to be started for it".to_owned(),
        units => format!("started for it: {}", units.join(", ")),
    };
    tracing::error!(
        "emergency mode, and this generation stays: the machine is on the network behind its firewall, to be mended by SSH \
         ({started}); `systemctl --failed` says what failed, and `systemctl default` goes on when that is mended"
    );
    Ok(())
}

/// There is no journal yet: the kernel's log and the console have it. A problem is no failure here: the steps that
/// follow find it in what was left.
fn stage_2(root: &Root) -> Result<(), Error> {
    let mut log = KernelLog::open(root, "lastgood-stage-2");
    let staged = stage_2::stage_2(root).inspect_err(|error| {
        log.say(Level::Error, &one_line(error));
    })?;
    match staged {
        Staged::NotOurs => log.say(
            Level::Info,
            "nothing to do: this boot is no generation's, or lastgood is uninstalled",
        ),
        Staged::Done(staged) => {
            for problem in &staged.problems {
                log.say(Level::Error, problem);
                tracing::error!("{problem}");
            }
            let closure = staged.closure.display();
            log.say(
                Level::Info,
                &format!("in place: {closure} ({} changes)", staged.changes),
            );
        }
    }
    Ok(())
}

fn activate(root: &Root) -> Result<(), Error> {
    match activate::activate(root)? {
        None => tracing::info!(
            "nothing to activate: this boot is no generation's, or lastgood is uninstalled"
        ),
        Some((closure, Done::Linked(changes))) => {
            tracing::info!("activated: {} ({changes} changes)", closure.display());
        }
        Some((closure, Done::Checked)) => {
            tracing::info!("activated by NixOS: {}", closure.display());
        }
    }
    Ok(())
}

fn firewall(root: &Root) -> Result<(), Error> {
    match activate::firewall(root)? {
        Firewalled::NotOurs => {
            tracing::info!("no firewall to load: this boot is no generation's");
        }
        Firewalled::NotAsked => {
            tracing::info!("no firewall of ours: the closure names no ruleset");
        }
        Firewalled::ByUnit(unit) => tracing::info!("firewalled by {unit}"),
        Firewalled::Loaded(path) => tracing::info!("firewalled: {}", path.display()),
        Firewalled::Unchanged(path) => tracing::info!(
            "firewalled: {} (in the kernel already, and left alone)",
            path.display()
        ),
    }
    Ok(())
}

/// The unit fails with the verdict: that is what starts the fallback.
fn assess(root: &Root) -> Result<(), Error> {
    match assess::assess(root)? {
        Assessed::NotOurs => tracing::info!("nothing to assess: this boot is no generation's"),
        Assessed::Healthy(subject) => {
            tracing::info!("assessed: generation {} is healthy", subject.generation);
        }
        Assessed::Unhealthy(subject, cause) => {
            return Err(Error::Refused(format!(
                "generation {0} is not healthy: {1}; `lastgood why {0}` tells more",
                subject.generation, cause.summary
            )));
        }
    }
    Ok(())
}

/// Once a generation is proven, nothing that goes wrong here may reboot it: the generator has systemd do that when this
/// step fails on a trial (invariant A8).
fn fall_back(root: &Root) -> Result<(), Error> {
    match fall_back::fall_back(root) {
        Err(error) if is_marked(root, PROVEN) => {
            tracing::error!("not gone back: {}", one_line(&error));
            Ok(())
        }
        done => done,
    }
}

/// Ends well, whatever was seen: what follows from it is on record, and under way.
fn watch(root: &Root) -> Result<(), Error> {
    match watch::watch(root)? {
        Watched::Nothing => tracing::info!("nothing to watch"),
        Watched::Overtaken => {
            tracing::info!("not watched any more: something else runs, or was decided");
        }
        Watched::Steady(subject) => {
            let id = subject.generation;
            tracing::info!("watched: generation {id} was well for as long as it asks for");
        }
        Watched::Demoted(subject, cause) => tracing::error!(
            "generation {0} is not well: {1}; `lastgood why {0}` tells more",
            subject.generation,
            cause.summary
        ),
        Watched::Degraded(subject, cause) => tracing::error!(
            "generation {0} is not well, and stays: {1}; `lastgood why` tells more",
            subject.generation,
            cause.summary
        ),
    }
    Ok(())
}

fn bless(root: &Root) -> Result<(), Error> {
    match bless::bless(root)? {
        Blessed::NotOurs => tracing::info!("nothing to bless: this boot is no generation's"),
        Blessed::Proven(subject) => tracing::info!("blessed: generation {}", subject.generation),
        Blessed::Late(subject) => tracing::warn!(
            "not blessed: generation {} is healthy, and in this boot systemd had read files of /etc that were another \
             generation's; it is proven by a boot that reads its own, the next one; `lastgood good` accepts it now",
            subject.generation
        ),
        Blessed::NotByTheLoader(subject, named) => tracing::warn!(
            "not blessed: generation {} is healthy, and the loader did not make this boot: what it started is {named}; the \
             counter stays until a boot that the loader makes; `lastgood good` accepts it now",
            subject.generation
        ),
        Blessed::Left(why) => tracing::warn!("not blessed: {why}"),
    }
    Ok(())
}

fn end(root: &Root, way: Option<&str>) -> Result<(), Error> {
    let ended = match way {
        None => end::end(root)?,
        Some(way) => end::record(root, Way::of_word(way), false)?,
    };
    match ended {
        Ended::GoesOn => tracing::debug!("the machine goes on"),
        Ended::NotBegun => tracing::debug!("this boot is not on record"),
        Ended::Recorded { gives_back: true } => {
            tracing::info!("ended in order before there was a verdict: this boot is no try");
        }
        Ended::Recorded { gives_back: false } => tracing::info!("ended in order"),
    }
    Ok(())
}
