//! A live switch: the machine becomes another closure without a boot, all or nothing.
//!
//! The command that was typed is not who does it: a switch may end the session that asked. So [`ask`] has PID 1 start a
//! unit that does the work (`change`), and follows what that says. A timer of PID 1's is armed before the first change
//! (`dead_man`); if the worker dies, systemd starts it again, and it goes back. What is done is on record before and
//! after, so that whoever comes next finishes or goes back (`finish`).
//!
//! The order of reading: [`request`]; `asked` and [`fit`] (what is refused before anything changes); `change` (the order
//! of all); `live` (what a plan hangs on), `walk` (a plan carried out), `judge` and `news` (whether it came to what was intended);
//! `back` and `keep` (the two ends); [`said`] and `front` (who follows). Which units are touched is arithmetic, and is
//! in [`crate::switch`].

mod asked;
mod back;
mod change;
mod dead_man;
mod dry;
mod fallback;
pub mod fit;
mod front;
mod inhibitors;
mod judge;
mod keep;
mod later;
mod listeners;
mod live;
mod missed;
mod news;
mod nixos;
mod place;
mod reexecution;
mod remembered;
pub mod request;
mod requests;
mod rollback;
mod room;
pub mod said;
mod swaps;
mod users;
mod walk;
mod words;

use std::path::Path;
use std::time::{Duration, Instant};

use boot_entries::Root;

use crate::error::Error;
use crate::report::line::one_line;
use crate::report::print::local;
use crate::session::Session;
use crate::state::switching::{Back, Phase, Undone, Unfinished};
use crate::state::{Event, Subject};
use crate::store::gc_roots;
use crate::system::boot_id::boot_id;
use crate::system::manager::{self, Manager};

pub(super) use dead_man::program;
pub use dry::{Dry, dry_activate};
pub(super) use fallback::fall_back_live;
pub use fallback::go_back_here;
pub(super) use fit::needs_reboot;
pub use front::ask;
pub use later::later;
pub use rollback::{Wanted, Way, point_profile_at, rollback};

use back::Failure;
use remembered::Remembered;
use request::Request;
use said::Speaker;

/// How long a change may still be under way when its time is up. Then whoever makes it is ended.
const GRACE: Duration = Duration::from_mins(2);
/// The same for one that is going back by itself: it may wait for stops and starts that take their time.
const GOING_BACK: Duration = Duration::from_mins(30);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(500);
/// The unit that does the work.
const WORKER: &str = "lastgood-switch.service";

/// Does the work of a switch, in a unit of its own: `request` is JSON, `said` the file where it says how far it is.
///
/// # Errors
/// When that is no request. How the switch ended is said where somebody listens, and on record.
pub fn work(root: &Root, said: &Path, request: &str) -> Result<(), Error> {
    let request: Request = serde_json::from_str(request).map_err(|error| {
        Error::Refused(format!(
            "this is no request: {error}; `lastgood switch` makes one"
        ))
    })?;
    // The unit ends well: it is not to be started again for a switch that was undone.
    if let Err(error) = change::change(root, said, &request) {
        tracing::error!("{}", one_line(&error));
    }
    Ok(())
}

/// Keeps what waits to be confirmed.
///
/// # Errors
/// When nothing does, or it cannot be kept.
pub fn confirm(root: &Root) -> Result<Vec<said::Said>, Error> {
    live_only(root)?;
    let mut session = Session::open(root)?;
    let boot = boot_id(root)?;
    let mut speaker = Speaker::keeping();
    match session.state().unfinished(&boot, is_late(root)) {
        Unfinished::Wait | Unfinished::Select => {
            keep::keep(&mut session, &mut speaker)?;
            Ok(speaker.kept())
        }
        Unfinished::GoBack(Undone::Unconfirmed) => Err(Error::Refused(
            "it is too late: the time is up, and the change is being undone; `lastgood status` shows what is active".to_owned(),
        )),
        Unfinished::None | Unfinished::IsBack | Unfinished::GoBack(_) => Err(Error::Refused(
            "there is nothing to confirm; `lastgood log` shows what happened".to_owned(),
        )),
    }
}

/// Undoes a switch that nobody has confirmed, or whose maker is gone: the timer's part.
///
/// # Errors
/// When it is on record, and could not be undone.
pub fn unconfirmed(root: &Root) -> Result<(), Error> {
    let mut session = after_the_worker(root)?;
    let boot = boot_id(root)?;
    let open = match session.state().unfinished(&boot, is_late(root)) {
        // The timer has its own clock, which nobody can set back.
        Unfinished::Wait => Unfinished::GoBack(Undone::Unconfirmed),
        open => open,
    };
    finish(&mut session, open, &mut Speaker::silent())
}

/// The right to change things, once whoever makes the change has let it go. It knows when its time is up; if it hangs, it
/// is ended, and started again by systemd, which is as good: it goes back itself.
fn after_the_worker(root: &Root) -> Result<Session, Error> {
    let began = Instant::now();
    loop {
        match Session::open_at_boot_within(root, LOOK) {
            Ok(session) => return Ok(session),
            Err(Error::Lock(_)) if may_go_on(began.elapsed(), back::goes_back(root)) => {}
            Err(Error::Lock(error)) => {
                tracing::error!("{error}; ending {WORKER}");
                let mut manager = Manager::system(manager::PATIENCE)?;
                manager.kill(WORKER, nix::libc::SIGKILL)?;
                return Session::open_at_boot(root);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether one who still holds the lock so long after the time was up is to be left alone.
fn may_go_on(late: Duration, goes_back: bool) -> bool {
    late < if goes_back { GOING_BACK } else { GRACE }
}

/// What a boot finds of a switch: the machine is what it was before already, or the selection is still to move.
///
/// # Errors
/// When it cannot be recorded or done.
pub fn at_boot(session: &mut Session) -> Result<(), Error> {
    let boot = boot_id(&session.view.root)?;
    match session.state().unfinished(&boot, false) {
        open @ (Unfinished::IsBack | Unfinished::Select) => {
            finish(session, open, &mut Speaker::silent())
        }
        Unfinished::None | Unfinished::Wait | Unfinished::GoBack(_) => Ok(()),
    }
}

/// Whether the time to confirm a switch is up. Where that is not known, the timer knows.
fn is_late(root: &Root) -> bool {
    let until = Remembered::read(root).and_then(|before| before.until);
    until.is_some_and(|until| until <= dead_man::manager_now())
}

/// Finishes what is open.
fn finish(session: &mut Session, open: Unfinished, speaker: &mut Speaker) -> Result<(), Error> {
    let Some(intent) = session.state().open_switch().cloned() else {
        return Ok(());
    };
    let root = session.view.root.clone();
    match open {
        Unfinished::None | Unfinished::Wait => Ok(()),
        Unfinished::Select => {
            keep::select_it(session, &intent, speaker)?;
            Ok(gc_roots::let_go(&root)?)
        }
        Unfinished::IsBack => {
            session.record(&Event::SwitchedBack(Back {
                before: intent.before.clone(),
                after: intent.after.clone(),
                subject: intent.subject.clone(),
                undone: Undone::Rebooted,
                cause: None,
                left: Vec::new(),
            }))?;
            keep::point_back(session, &intent)?;
            Ok(gc_roots::let_go(&root)?)
        }
        Unfinished::GoBack(undone) => {
            let mut manager = Manager::system(manager::PATIENCE)?;
            let ended = back::go_back(session, &mut manager, speaker, Failure::Late(undone));
            // systemd does not answer: the timer's service is started again, and tries again.
            if !ended.is_back {
                return Err(ended.error);
            }
            tracing::error!("{}", one_line(&ended.error));
            Ok(())
        }
    }
}

/// Refuses what would change the next boot, or the machine, while a live switch is open.
///
/// # Errors
/// When one is.
pub fn refuse_while_one_is_open(session: &Session) -> Result<(), Error> {
    match session.state().switching.as_ref().map(|one| one.phase) {
        Some(Phase::Waiting) => Err(waits(session)),
        Some(Phase::Changing) => Err(Error::Refused(
            "a live switch was cut off in the middle; `lastgood confirm` cannot keep it, and the next `lastgood switch` or \
             the timer undoes it; wait for that, and run again"
                .to_owned(),
        )),
        Some(Phase::Kept) | None => Ok(()),
    }
}

fn waits(session: &Session) -> Error {
    let intent = session.state().switching.as_ref().map(|one| &one.intent);
    let what = intent.map_or_else(String::new, |intent| {
        let what = name_of(&intent.after, intent.subject.as_ref());
        let until = intent
            .confirm_by
            .map_or_else(String::new, |by| format!(" until {}", local(by)));
        format!("{what} waits to be confirmed{until}")
    });
    Error::Refused(format!(
        "{what}; keep it with `lastgood confirm`, or wait until it is undone; nothing else is changed meanwhile"
    ))
}

/// What people call a closure.
fn name_of(toplevel: &Path, subject: Option<&Subject>) -> String {
    match subject {
        Some(subject) => format!("generation {}", subject.generation),
        None => toplevel.display().to_string(),
    }
}

fn live_only(root: &Root) -> Result<(), Error> {
    if root.is_live() {
        return Ok(());
    }
    Err(Error::Refused(
        "this changes the running machine's units, and a tree has none; leave --root out, or use `lastgood boot`".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_back_is_given_more_time() {
        for (secs, goes_back, may) in [
            (0, false, true),
            (119, false, true),
            (120, false, false),
            (120, true, true),
            (1799, true, true),
            (1800, true, false),
        ] {
            let late = Duration::from_secs(secs);
            assert_eq!(may_go_on(late, goes_back), may, "{secs} {goes_back}");
        }
    }
}
