//! Back to the last good generation.
//!
//! Started when the assessment fails: with a verdict, or without one because the assessor crashed or ran out of time.

use std::process::Command;

use boot_entries::Root;

use crate::cause::{Cause, Stage};
use crate::error::{Error, one_line};
use crate::machine::{Event, Reaction, Standing, State, Subject, Verdict};
use crate::program;
use crate::session::Session;

pub(super) fn run(root: &Root) -> Result<(), Error> {
    let mut session = Session::open(root)?;
    let (from, to) = match session.state.reaction(Verdict::Unhealthy) {
        Reaction::FallBack { from, to } => (from, to),
        Reaction::StayUp(why) => {
            tracing::error!("staying up: {why}; `lastgood status` tells more");
            return Ok(());
        }
        Reaction::Bless(_) => return Ok(()),
    };
    if no_verdict(&session.state, &from) {
        // The machine was judged well enough not to be rejected, and stays up: nothing to do.
        if session.state.degraded.contains_key(&from) {
            return Ok(());
        }
        let cause = Cause {
            stage: session
                .state
                .boot
                .as_ref()
                .map_or(Stage::Begun, |boot| boot.stage),
            summary: "the assessment ended without a verdict".to_owned(),
            units: Vec::new(),
        };
        tracing::error!(
            "rejected: generation {}: {}",
            from.generation,
            cause.summary
        );
        let subject = from.clone();
        session.record(&Event::Rejected { subject, cause })?;
    }
    tracing::error!(
        "falling back from generation {} to generation {}: rebooting",
        from.generation,
        to.generation
    );
    // Neither a broken profile link nor a read-only $BOOT may keep the machine in a state known to be bad: the loader's
    // counter falls by itself, and the next boot tries again.
    for result in [session.repoint_profile(&from, &to), session.settle()] {
        if let Err(error) = result {
            tracing::error!("{}", one_line(&error));
        }
    }
    session.record(&Event::Rebooting { to })?;
    if root.is_live() { reboot() } else { Ok(()) }
}

/// Reboots in order; by force where systemd refuses that, which it does in emergency mode (the jobs that lead there are
/// irreversible). File systems are synced and unmounted either way.
fn reboot() -> Result<(), Error> {
    let systemctl =
        |arguments: &[&str]| program::stdout_of(Command::new("systemctl").args(arguments));
    if let Err(error) = systemctl(&["--no-block", "reboot"]) {
        tracing::warn!("{}; rebooting by force", one_line(&error));
        systemctl(&["--no-block", "--force", "reboot"])?;
    }
    Ok(())
}

fn no_verdict(state: &State, subject: &Subject) -> bool {
    state.standing(subject) != Standing::Rejected
}
