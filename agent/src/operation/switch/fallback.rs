//! Back to the last good generation without a reboot: the shortest way, where it is safe.
//!
//! What was rejected is demoted by then, on disk. So nothing here can make it worse: whatever does not end well ends in the
//! reboot that would have come at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use boot_entries::Root;

use super::asked;
use super::fit;
use super::judge::{self, Standard};
use super::listeners::Expected;
use super::live::{self, Way};
use super::missed::{self, Down};
use super::said::Speaker;
use super::walk::Walk;
use super::{dead_man, place, users, words};
use crate::activation::early::EarlyFiles;
use crate::config;
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::Subject;
use crate::state::fault::Fault;
use crate::store::lock;
use crate::switch::plan::Plan;
use crate::switch::same::may_start_first;
use crate::switch::situation::{Requests, Situation};
use crate::system::manager::{self, JobResult, Manager, Mode, Setting, Wanted};
use crate::view::View;

/// How long the jobs of one phase may take. A reboot is not much slower.
const PHASE: Duration = Duration::from_mins(1);
/// How long it may take in all: less than the limit of the unit that waits for it.
const WHOLE: Duration = Duration::from_mins(4);
/// How long one whose time is up may take to go, by its own will.
const STOP: Duration = Duration::from_secs(5);
/// The same, with what systemd then ends.
const LEAVING: Duration = Duration::from_secs(10);
/// The unit that does the work.
const UNIT: &str = "lastgood-fall-back-live.service";

/// Goes back from `from` to `to` without a reboot, if `from` allows it and only a boot could not do more. False: it takes
/// a reboot.
pub(in crate::operation) fn fall_back_live(
    session: &mut Session,
    from: &Subject,
    to: &Subject,
) -> bool {
    let root = &session.view.root;
    // What systemd read early in this boot may still be another generation's (invariant A11).
    if !root.is_live()
        || !config::read_or_default(root, &from.toplevel).fallback.live
        || !session.state().late.is_empty()
    {
        return false;
    }
    match in_a_unit(from, to) {
        Ok(()) => true,
        Err(why) => {
            tracing::error!("going back takes a reboot: {why}");
            false
        }
    }
}

/// Has the work done in a unit that may do what a closure's activation may: whoever acts upon a verdict is shut in.
fn in_a_unit(from: &Subject, to: &Subject) -> Result<(), String> {
    let told = |error: Error| one_line(&error);
    let program = dead_man::program().map_err(told)?;
    let words = [
        program,
        "step".to_owned(),
        "fall-back-live".to_owned(),
        from.toplevel.display().to_string(),
        to.toplevel.display().to_string(),
    ];
    let text = |text: &str| Setting::Text(text.to_owned());
    let shutdown = || Setting::Texts(vec!["shutdown.target".to_owned()]);
    let settings = [
        (
            "Description",
            text("Back to the last good generation without a reboot"),
        ),
        ("Type", text("oneshot")),
        ("ExecStart", Setting::Commands(vec![words.to_vec()])),
        ("TimeoutStartUSec", Setting::Number(dead_man::micros(WHOLE))),
        ("TimeoutStopUSec", Setting::Number(dead_man::micros(STOP))),
        // Nothing goes on that nobody waits for.
        (
            "BindsTo",
            Setting::Texts(vec!["lastgood-fall-back.service".to_owned()]),
        ),
        ("SyslogIdentifier", text("lastgood")),
        ("CollectMode", text("inactive-or-failed")),
        ("IgnoreOnIsolate", Setting::Flag(true)),
        // A boot that failed may never come to what others wait for.
        ("DefaultDependencies", Setting::Flag(false)),
        ("Conflicts", shutdown()),
        ("Before", shutdown()),
    ];
    let mut manager = Manager::system(manager::PATIENCE).map_err(|error| one_line(&error))?;
    let asked = manager.start_transient(UNIT, Mode::Fail, &settings, &[]);
    let id = asked.map_err(|error| one_line(&error))?;
    let until = Instant::now() + WHOLE + LEAVING;
    // It has systemd executed anew for nobody: the connection lasts.
    let results = manager.wait(&[id], until, &mut |_| {});
    let ended = results.map(|results| results.into_values().next());
    if let Ok(Some(JobResult::Done)) = ended {
        return Ok(());
    }
    // What is left of it would work against the reboot.
    let killed = manager
        .reconnect()
        .and_then(|()| manager.kill(UNIT, nix::libc::SIGKILL));
    if let Err(error) = killed {
        tracing::debug!("{error}");
    }
    Err(match ended {
        Err(error) => one_line(&error),
        Ok(_) => format!("{UNIT} did not end well; `journalctl -u {UNIT}` has the reason"),
    })
}

/// The work itself. Whoever waits for this holds the lock.
///
/// # Errors
/// Why it takes a reboot.
pub fn go_back_here(root: &Root, from: &Path, to: &Path) -> Result<(), Error> {
    if lock::take(root, Duration::ZERO).is_ok() {
        return Err(Error::Refused(
            "nobody waits for this step: lastgood-fall-back.service starts it".to_owned(),
        ));
    }
    let view = View::read(root)?;
    try_to(&view, from, to).map_err(Error::Refused)
}

fn try_to(view: &View, from: &Path, to: &Path) -> Result<(), String> {
    let told = |error: Error| one_line(&error);
    let root = &view.root;
    let needs = fit::needs_reboot(root, to).map_err(told)?;
    if needs.is_needed() {
        return Err(needs.words());
    }
    let active = asked::active(view).map_err(told)?;
    let mut manager = Manager::system(manager::PATIENCE).map_err(|error| one_line(&error))?;
    let mut speaker = Speaker::silent();
    let way = Way { from: &active, to };
    let mut situation =
        live::look(root, &mut manager, way, &BTreeSet::new(), None).map_err(told)?;
    let standard = Standard::of(root, to);
    if let Some(target) = missed::target_missed(&situation, &standard.required) {
        return Err(format!("{target} was never reached"));
    }
    let blames = blamed(view, from);
    let (restart, not_by_name) =
        missed(view, &mut manager, &blames, &situation, &standard.required)?;
    if let Some(unit) = not_by_name {
        return Err(format!("{unit} is down, and may not be started by name"));
    }
    let planned = anew(root, &mut manager, &mut situation, restart).map_err(told)?;
    let mut skipped = planned.skipped.iter();
    if let Some((unit, why)) = skipped.find(|(unit, _)| blames.contains(*unit)) {
        return Err(format!("{unit} is at fault, and {why}"));
    }
    if planned.reexecute.is_some() {
        return Err("systemd itself is another one".to_owned());
    }
    words::plan(&planned, &mut speaker);
    let mut walk = Walk::new(&mut manager, &mut speaker, Instant::now() + PHASE);
    walk.stop(&planned).map_err(told)?;
    let before = EarlyFiles::of_a_reload(root);
    place::put(root, to, &BTreeMap::new(), walk.speaker).map_err(|problems| problems.join("; "))?;
    walk.until = Instant::now() + PHASE;
    // That all its units were not linked in time is told by systemd only, and not by what the closures say.
    let is_all_read = before.changed(&EarlyFiles::of_a_reload(root)).is_empty()
        && !is_blamed(view, from, &Fault::Units);
    if is_all_read && may_start_first(&situation, &planned) {
        walk.up(&planned).map_err(told)?;
        walk.reload(&planned).map_err(told)?;
    } else {
        walk.reload(&planned).map_err(told)?;
        walk.up(&planned).map_err(told)?;
        walk.restart_late(&planned).map_err(told)?;
    }
    let of_users = Instant::now() + users::PATIENCE_OF_ALL;
    users::switch(root, &active, to, walk.speaker, of_users);
    place::firewall_of_unit(root, to)?;
    let troubles = std::mem::take(&mut walk.troubles);
    let judged = judge::watch(
        root,
        (&mut manager, &mut speaker),
        (&planned.intended, &troubles),
        (&standard, &Expected::default()),
        Instant::now() + PHASE,
    )
    .map_err(told)?;
    match judged.lines().into_iter().next() {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

/// The plan, with what is to be started anew.
fn anew(
    root: &Root,
    manager: &mut Manager,
    situation: &mut Situation,
    restart: BTreeSet<String>,
) -> Result<Plan, Error> {
    let before = live::planned(root, manager, situation, &Requests::default())?;
    let requests = Requests {
        restart,
        reload: BTreeSet::new(),
    };
    let mut planned = live::planned(root, manager, situation, &requests)?;
    let steps = planned.up.iter_mut().chain(&mut planned.last);
    for step in steps {
        if requests.restart.contains(&step.unit) && !before.touches(&step.unit) {
            "it failed in this boot, or never came up".clone_into(&mut step.why);
        }
    }
    Ok(planned)
}

/// The units that these faults name.
fn units<'a>(faults: impl Iterator<Item = &'a Fault>) -> BTreeSet<String> {
    let names = faults.filter_map(|fault| match fault {
        Fault::Unit(name) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// The units that the verdict on `from` names.
fn blamed(view: &View, from: &Path) -> BTreeSet<String> {
    let rejection = view.state.rejected.get(from);
    units(rejection.iter().flat_map(|one| &one.cause.faults))
}

/// Whether the verdict on `from` names this fault.
fn is_blamed(view: &View, from: &Path, fault: &Fault) -> bool {
    let rejection = view.state.rejected.get(from);
    rejection.is_some_and(|one| one.cause.faults.contains(fault))
}

/// What is to be started anew although its unit is the same in both closures.
fn missed(
    view: &View,
    manager: &mut Manager,
    blames: &BTreeSet<String>,
    situation: &Situation,
    required: &BTreeSet<String>,
) -> Result<(BTreeSet<String>, Option<String>), String> {
    const PULLS: [&str; 4] = ["Wants", "Requires", "Requisite", "BindsTo"];
    const NEEDS: [&str; 4] = ["Requires", "Requisite", "BindsTo", "PartOf"];
    const CONFLICTS: [&str; 2] = ["Conflicts", "ConflictedBy"];
    const SINCE: &str = "InactiveExitTimestampMonotonic";
    const REFUSES: &str = "RefuseManualStart";
    let baseline = view.state.baseline();
    let known = units(baseline.iter().flat_map(|one| &one.failing));
    let names: Vec<String> = missed::candidates(situation, required)
        .into_iter()
        .collect();
    let wanted = PULLS.into_iter().chain(["PartOf", SINCE, REFUSES]);
    let wanted: Vec<Wanted<'_>> = wanted.chain(CONFLICTS).map(Wanted::unit).collect();
    let answers = manager
        .properties(&names, &wanted)
        .map_err(|error| one_line(&error))?;
    let down = names.into_iter().zip(answers).filter_map(|(name, answer)| {
        let answer = answer.ok()?;
        let all = |keys: &[&str]| {
            let names = keys.iter().flat_map(|key| answer.names(key));
            names.map(str::to_owned).collect()
        };
        let down = Down {
            since: answer.number(SINCE)?,
            pulls: all(&PULLS),
            needs: all(&NEEDS),
            conflicts: all(&CONFLICTS),
            refuses_start: answer.flag(REFUSES).unwrap_or(false),
        };
        Some((name, down))
    });
    let down: BTreeMap<String, Down> = down.collect();
    Ok(missed::missed(situation, &down, blames, (required, &known)))
}
