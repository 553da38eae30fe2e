//! The unit that takes the machine down. Whoever acts upon a verdict is shut in, has the lock, and is stopped with all
//! other services; this one is not.

use crate::error::Error;
use crate::operation::on_record::Carried;
use crate::operation::switch::program;
use crate::report::line::one_line;
use crate::session::Session;
use crate::system::manager::{self, Manager, Mode, Reason, Setting};

/// Its name.
const UNIT: &str = "lastgood-go-down.service";

/// Has the machine taken down, with what runs on record as bad or as to be tried again. `waits`: somebody may be there by now.
///
/// # Errors
/// When it cannot be recorded, or nobody reboots the machine.
pub(super) fn leave(session: Session, _first: &Carried, waits: bool) -> Result<(), Error> {
    go(session, waits, false)
}

/// The same from what is not rejected to what is selected.
///
/// # Errors
/// As [`leave`].
pub(super) fn go_on(session: Session, _first: &Carried, waits: bool) -> Result<(), Error> {
    go(session, waits, true)
}

fn go(session: Session, waits: bool, go_on: bool) -> Result<(), Error> {
    let root = session.view.root.clone();
    if !root.is_live() {
        return super::way::in_a_tree(session, go_on);
    }
    match start(waits, go_on) {
        Ok(()) => Ok(()),
        Err(manager::Error::Refused { refusal, .. }) if refusal.reason() == Reason::Exists => {
            tracing::warn!("{UNIT} is under way already");
            Ok(())
        }
        Err(error) => {
            tracing::error!("nobody is waited for: {}", one_line(&error));
            drop(session);
            super::go_down(&root, true, go_on)
        }
    }
}

fn start(waits: bool, go_on: bool) -> Result<(), manager::Error> {
    // What cannot be read of it is not there, and the start is refused.
    let mut words = vec![program().unwrap_or_default()];
    words.extend(["step", "go-down"].map(str::to_owned));
    if !waits {
        words.push("at-once".to_owned());
    }
    if go_on {
        words.push("go-on".to_owned());
    }
    let text = |text: &str| Setting::Text(text.to_owned());
    let settings = [
        (
            "Description",
            text("Go Down, and Up Again With the Last Good Generation"),
        ),
        // The start is not waited for: it lasts as long as the machine does.
        ("Type", text("exec")),
        ("ExecStart", Setting::Commands(vec![words])),
        ("SyslogIdentifier", text("lastgood")),
        ("StandardOutput", text("journal+console")),
        ("StandardError", text("journal+console")),
        ("CollectMode", text("inactive-or-failed")),
        ("IgnoreOnIsolate", Setting::Flag(true)),
        // It outlives the services, and guards their end: with default dependencies it would be stopped first.
        ("DefaultDependencies", Setting::Flag(false)),
        // Whoever dies on the way is started again, and takes the next rung. Not FailureAction=: a soft-reboot kills what is
        // left, and the systemd that comes after it takes that for a failure. Started there, it has nothing to do.
        ("Restart", text("on-failure")),
        ("RestartUSec", Setting::Number(1_000_000)),
        ("StartLimitIntervalUSec", Setting::Number(0)),
    ];
    let mut manager = Manager::system(manager::PATIENCE)?;
    manager
        .start_transient(UNIT, Mode::Fail, &settings, &[])
        .map(drop)
}
