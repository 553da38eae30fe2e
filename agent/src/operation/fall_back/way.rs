//! Down the ladder, and what is said on the way.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use boot_entries::Root;
use boot_entries::generation::Generation;

use super::kexec::{self, Load};
use super::waiting::{self, Patience, Waited};
use super::{facts, file_systems, limited};
use crate::activation::{self, etc};
use crate::config::{self, Fallback};
use crate::entries::prediction;
use crate::error::Error;
use crate::host::{self, ETC, KEXEC_LOADED, Kind};
use crate::operation::{begin, repair};
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::cause::{Cause, Stage};
use crate::state::fault::Fault;
use crate::state::ladder::{Facts, Rung, ladder};
use crate::state::{Event, Standing, Subject, WhenUnhealthy};
use crate::store::handover::{Stage2, Tried};
use crate::system::manager::{self, Manager};
use crate::system::userspace;
use crate::system::way_down::{self, Way};

/// From what the machine goes, and to what.
#[derive(Debug, Clone)]
struct Leaving {
    from: Subject,
    /// The same as `from`, where that is only to be tried again.
    to: Subject,
    /// What boots next.
    next: Subject,
}

/// Goes down, where what is on record still asks for it. `at_once`: nobody is waited for. `go_on`: from what runs, which is not
/// rejected, to what is selected.
///
/// # Errors
/// When it cannot be recorded, or nobody reboots the machine.
pub fn go_down(root: &Root, at_once: bool, go_on: bool) -> Result<(), Error> {
    file_systems::wait(root);
    let session = begin::session(root)?;
    let Some(leaving) = leaving(&session, go_on) else {
        nothing_to_do();
        return Ok(());
    };
    let asked = config::read_or_default(root, &leaving.from.toplevel).fallback;
    let boot = session.view.this_boot().map(|boot| boot.id.clone());
    let boot = boot.unwrap_or_default();
    let words = words(&session, &leaving);
    let backoff = session.state().backoff();
    // Started again: whoever is there was waited for.
    let at_once = at_once || Tried::read(root, &boot).is_ok_and(|tried| !tried.rungs.is_empty());
    // Whoever is there may want to judge or to hold.
    drop(session);
    if !at_once && !backoff.is_zero() {
        tracing::warn!(
            "this is not the first automatic reboot in a row: waiting for {} s before it",
            backoff.as_secs()
        );
        thread::sleep(backoff);
    }
    if !at_once && let Waited::Held(by) = waiting::wait(root, &boot, Patience::from(&asked), &words)
    {
        return held(root, &by, go_on);
    }
    // From here on until the machine is on its way, nobody else changes anything.
    let session = match begin::session(root) {
        Ok(session) => session,
        // What runs is known to be bad, and its disk may be dying: it is not to stay for that.
        Err(error) => {
            tracing::error!("rebooting all the same: {}", one_line(&error));
            reboot_now()?;
            return guard(asked.stop_sec.into());
        }
    };
    match self::leaving(&session, go_on) {
        // Between the last look and the lock.
        Some(_) if !at_once && let Some(held) = waiting::held(root, &boot) => {
            drop(session);
            self::held(root, &held.by, go_on)
        }
        Some(leaving) => descend(session, &leaving, &asked),
        None => {
            nothing_to_do();
            Ok(())
        }
    }
}

/// What a loader or a kexec reads must start, and what comes after it if that is a trial that comes to nothing: or the machine
/// waits at its firmware for somebody. Either was proven long ago, perhaps. A soft-reboot reads nothing of it, and the boot
/// that it leads to mends it.
fn mend(session: &Session, to: &Subject) {
    let good = session.state().last_good().filter(|good| *good != to);
    let broken = |one: &&Subject| session.view.why_not_started(one);
    let both = || std::iter::once(to).chain(good);
    let Some((first, why)) = both().find_map(|one| Some((one, broken(&one)?))) else {
        return;
    };
    tracing::error!(
        "generation {} could not be started, because {why}: mending it before the machine goes",
        first.generation
    );
    if let Err(error) = repair::repair(session) {
        tracing::error!("{}", one_line(&error));
    }
    for one in both() {
        if let Some(why) = broken(&one) {
            tracing::error!(
                "generation {} still cannot be started, because {why}",
                one.generation
            );
        }
    }
}

/// [`mend`], for no longer than [`MENDING`]: whoever waits for a disk that does not answer stays with what is known to be bad.
/// Gives the lock back, unless that takes longer.
fn mended(lock: Option<Session>, root: &Root, to: &Subject) -> Option<Session> {
    let taken = lock.map_or_else(|| begin::session_at_the_end(root, BRIEFLY), Ok);
    let session = match taken {
        Ok(session) => session,
        Err(error) => {
            tracing::error!("{}", one_line(&error));
            return None;
        }
    };
    let to = to.clone();
    let lock = limited::wait(MENDING, move || {
        mend(&session, &to);
        session
    });
    if lock.is_none() {
        tracing::error!(
            "what boots next cannot be read within {} s; going on all the same",
            MENDING.as_secs()
        );
    }
    lock
}

/// How long it may take to read what boots next, and to write it anew where it is damaged.
const MENDING: Duration = Duration::from_mins(3);
/// How long another run may keep the lock when the machine is on its way down already.
const BRIEFLY: Duration = Duration::from_secs(20);

fn nothing_to_do() {
    tracing::warn!("the machine stays up: nothing on record asks for a reboot any more");
}

/// In a tree: all but the reboot.
pub(super) fn in_a_tree(mut session: Session, go_on: bool) -> Result<(), Error> {
    let Some(Leaving { from, to, next }) = leaving(&session, go_on) else {
        return Ok(());
    };
    if from != to {
        mend(&session, &to);
    }
    turn(&session, &next);
    session.record(&Event::Rebooting { from, to })
}

fn leaving(session: &Session, go_on: bool) -> Option<Leaving> {
    let state = session.state();
    if go_on {
        let from = session.view.running()?.clone();
        let to = state.selected.clone().filter(|to| *to != from)?;
        let next = to.clone();
        return Some(Leaving { from, to, next });
    }
    match state.when_unhealthy() {
        WhenUnhealthy::FallBack { from, to }
            if matches!(
                state.standing(&from),
                Standing::Rejected | Standing::Suspect
            ) =>
        {
            // Somebody may have selected yet another one while this one was judged.
            let to = state.selected.clone().unwrap_or(to);
            let next = to.clone();
            Some(Leaving { from, to, next })
        }
        WhenUnhealthy::GoOn { from, to } if state.selected.as_ref() == Some(&to) => Some(Leaving {
            next: to.clone(),
            from,
            to,
        }),
        WhenUnhealthy::TryAgain { running } => Some(Leaving {
            next: booted_next(session, &running),
            to: running.clone(),
            from: running,
        }),
        WhenUnhealthy::FallBack { .. } | WhenUnhealthy::GoOn { .. } | WhenUnhealthy::StayUp(_) => {
            None
        }
    }
}

/// Booted by hand it is not what the loader starts next.
fn booted_next(session: &Session, running: &Subject) -> Subject {
    let next = prediction::predict(&session.view, 0).unwrap_or_default();
    let next = next.into_iter().next().and_then(|boot| boot.id);
    let known = session.view.generations();
    let next = known.iter().find(|one| next.as_ref() == Some(&one.id));
    next.map_or_else(|| running.clone(), Generation::subject)
}

/// What happens, and why, in half a line.
fn words(session: &Session, leaving: &Leaving) -> String {
    let Leaving { from, to, .. } = leaving;
    if from == to {
        return format!(
            "generation {} is to be tried again: {}",
            from.generation,
            session.state().why_tried_again()
        );
    }
    let rejection = session.state().rejected.get(&from.toplevel);
    let summary = rejection.map_or("it was found bad", |one| one.cause.summary.as_str());
    format!(
        "going back from generation {} to generation {} ({summary})",
        from.generation, to.generation
    )
}

/// The operator is at it: it stays up, and that is on record.
fn held(root: &Root, by: &str, go_on: bool) -> Result<(), Error> {
    tracing::error!("staying up: {by} holds this boot; `systemctl reboot` goes back");
    let mut session = begin::session(root)?;
    let Some(Leaving { from, .. }) = leaving(&session, go_on) else {
        return Ok(());
    };
    let rejection = session.state().rejected.get(&from.toplevel);
    let stage = session.view.this_boot().map(|boot| boot.stage);
    let cause = rejection.map_or_else(
        || Cause::of(stage.unwrap_or(Stage::Begun), Fault::Operator),
        |rejection| rejection.cause.clone(),
    );
    let cause = Cause {
        summary: format!("{by} holds this boot: {}", cause.summary),
        ..cause
    };
    session.record(&Event::Degraded {
        subject: from,
        cause,
    })
}

/// Takes one rung after the other.
fn descend(mut session: Session, leaving: &Leaving, asked: &Fallback) -> Result<(), Error> {
    let root = session.view.root.clone();
    let Leaving { from, to, next } = leaving;
    let (version, soft_reboots) = systemd();
    let load = (from != to).then(|| Load::of(&session.view, to)).flatten();
    let facts = if from == to {
        // What is to be read anew is read by what the loader starts.
        Facts::default()
    } else {
        facts::facts(&session.view, asked, to, soft_reboots, load.is_some())
    };
    let ladder = ladder(&facts);
    for (rung, why) in &ladder.passed_over {
        if *rung != Rung::Live {
            tracing::info!("no {rung}: {why}");
        }
    }
    let mut tried = Tried {
        boot: session
            .view
            .this_boot()
            .map(|boot| boot.id.clone())
            .unwrap_or_default(),
        rungs: facts.tried,
    };
    let is_on_record = !tried.rungs.is_empty();
    let recorded = (!is_on_record).then(|| {
        session.record(&Event::Rebooting {
            from: from.clone(),
            to: to.clone(),
        })
    });
    // What was found bad is on record. That the way down is not is no reason to stay.
    if let Some(Err(error)) = recorded {
        tracing::error!("{}", one_line(&error));
    }
    let is_turned = turn(&session, next);
    let mut lock = Some(session);
    let mut is_read = from == to;
    for rung in ladder.rungs {
        if matches!(rung, Rung::Kexec | Rung::Reboot) && !std::mem::replace(&mut is_read, true) {
            lock = mended(lock, &root, to);
        }
        tried.rungs.insert(rung);
        // Without it, it would be tried again, and not for ever: reboots in a row are counted on disk.
        if let Err(error) = tried.leave(&root) {
            tracing::error!("{}", one_line(&error));
        }
        let begun = match (rung, &load) {
            (Rung::SoftReboot, _) if is_turned => soft_reboot(&root, to),
            (Rung::SoftReboot, _) => Err("/etc is not that of the last good one".to_owned()),
            (Rung::Kexec, Some(load)) => by_kexec(load),
            (Rung::Reboot, _) => {
                say_what_holds_back(&root, version);
                way_down::reboot_somehow().map_err(failed)?;
                drop(lock.take());
                return guard(asked.stop_sec.into());
            }
            (Rung::Live | Rung::Kexec, _) => continue,
        };
        // What is stopped now may want to record its end.
        drop(lock.take());
        let why = match begun {
            Ok(()) => {
                tracing::warn!("going down by {rung}, to generation {}", to.generation);
                let patience = Duration::from(asked.stop_sec);
                thread::sleep(patience);
                format!("it did not come to its end within {} s", patience.as_secs())
            }
            Err(why) => why,
        };
        tracing::error!("no {rung}: {why}");
        undo(rung, &root);
    }
    Ok(())
}

/// What runs as PID 1: its release, and how many soft-reboots it counts, if it does.
fn systemd() -> (Option<u32>, Option<u64>) {
    let Ok(mut manager) = Manager::system(manager::PATIENCE) else {
        return (None, None);
    };
    let version = manager.own_properties(&["Version"]).ok();
    let version = version.and_then(|found| way_down::release(found.text("Version")));
    (version, userspace::asked_of(&mut manager))
}

/// Everything that a new user space reads is the last good one's before it is gone to; the mark comes last.
fn soft_reboot(root: &Root, to: &Subject) -> Result<(), String> {
    let changes = activation::early(root, &to.toplevel).map_err(|problems| problems.join("; "))?;
    let staged = Stage2 {
        closure: to.toplevel.clone(),
        changes,
        problems: Vec::new(),
    };
    staged.leave(root).map_err(|error| one_line(&error))?;
    userspace::go_to(root, &to.toplevel).map_err(|error| one_line(&error))?;
    way_down::begin(Way::SoftReboot).map_err(|error| {
        undo(Rung::SoftReboot, root);
        one_line(&error)
    })
}

fn by_kexec(load: &Load) -> Result<(), String> {
    load.load().map_err(|error| one_line(&error))?;
    tracing::warn!(
        "nothing guards the machine between the two kernels: systemd's KExecWatchdogSec= is off by default"
    );
    way_down::begin(Way::Kexec).map_err(|error| {
        kexec::unload();
        one_line(&error)
    })
}

/// Takes back what one rung has left for the new user space, or the new kernel.
fn undo(rung: Rung, root: &Root) {
    match rung {
        Rung::SoftReboot => {
            if let Err(error) = userspace::stays(root) {
                tracing::error!("{}", one_line(&error));
            }
        }
        Rung::Kexec => kexec::unload(),
        Rung::Live | Rung::Reboot => {}
    }
}

/// Reboots because the operator asks for it.
///
/// # Errors
/// When nobody reboots the machine.
pub fn reboot_now() -> Result<(), Error> {
    way_down::reboot_somehow().map_err(failed)
}

fn failed(error: nix::Error) -> Error {
    Error::Refused(format!(
        "nobody reboots the machine, not even the kernel: {error}; do it by hand"
    ))
}

/// The last rung is left only with the machine.
fn guard(patience: Duration) -> Result<(), Error> {
    thread::sleep(patience);
    tracing::error!(
        "services have not stopped within {} s; rebooting by force",
        patience.as_secs()
    );
    let until = Instant::now() + BY_FORCE;
    while let Err(error) = way_down::by_force() {
        tracing::error!("{}", one_line(&error));
        if Instant::now() > until {
            break;
        }
        thread::sleep(Duration::from_secs(2));
    }
    thread::sleep(BY_FORCE);
    tracing::error!("systemd does not reboot the machine: the kernel does, at once");
    way_down::at_once().map_err(failed)
}

/// How long systemd may take to end all processes and unmount all file systems: it grants the processes 90 s.
const BY_FORCE: Duration = Duration::from_mins(2);

fn say_what_holds_back(root: &Root, version: Option<u32>) {
    let loaded = std::fs::read_to_string(root.join(KEXEC_LOADED)).unwrap_or_default();
    if loaded.trim() == "1" {
        tracing::warn!(
            "a kernel is loaded for kexec; the machine reboots all the same, by its firmware"
        );
    }
    if let Some(left) = way_down::held_back(version, way_down::uptime(root)) {
        tracing::warn!(
            "systemd {} holds a reboot back until the machine is up for MinimumUptimeSec= (15 s by default): some {} s more",
            version.unwrap_or_default(),
            left.as_secs()
        );
    }
}

/// Makes `/etc` that of `next`, which boots next: what systemd reads early is then its own, even where no stage 2 sees
/// to that. Whatever cannot be turned is turned by that boot. Gives whether all could be.
fn turn(session: &Session, next: &Subject) -> bool {
    let root = &session.view.root;
    if !host::kind(root).is_ok_and(|kind| kind == Kind::Plain) {
        return false;
    }
    let turned = etc::switch(root, &next.toplevel);
    // Activation flushes nothing: every boot runs it. Here it is what the next boot reads first.
    let flushed = File::open(root.join(ETC)).map(nix::unistd::syncfs);
    if let Err(error) = flushed.and_then(|flushed| Ok(flushed?)) {
        tracing::error!("cannot flush {ETC}: {error}");
    }
    match turned {
        Ok(changes) => {
            tracing::info!(
                "/etc is that of generation {} ({changes} changes)",
                next.generation
            );
            true
        }
        Err(problems) => {
            for problem in problems {
                tracing::error!("{}", one_line(&problem));
            }
            false
        }
    }
}
