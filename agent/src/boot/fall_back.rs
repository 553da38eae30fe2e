//! Back to the last good generation.
//!
//! Started when the assessment fails: with a verdict, or without one because the assessor crashed or ran out of time.

use std::process::Command;

use boot_entries::Root;

use super::begin;
use crate::cause::{Cause, Stage};
use crate::error::Error;
use crate::machine::{Event, Standing, WhenUnhealthy};
use crate::program;
use crate::told::one_line;

pub(super) fn run(root: &Root) -> Result<(), Error> {
    let mut session = begin::session(root)?;
    let (from, to) = match session.state.when_unhealthy() {
        WhenUnhealthy::FallBack { from, to } => (from, to),
        WhenUnhealthy::StayUp(why) => {
            tracing::error!("staying up: {why}; `lastgood status` tells more");
            return Ok(());
        }
    };
    if session.state.standing(&from) != Standing::Rejected {
        let cause = Cause {
            stage: session.this_boot().map_or(Stage::Begun, |boot| boot.stage),
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
    // Somebody may have selected yet another one while this one was judged.
    let to = session.state.selected.clone().unwrap_or(to);
    tracing::error!(
        "falling back from generation {} to generation {}: rebooting",
        from.generation,
        to.generation
    );
    // Neither a broken profile link nor a read-only $BOOT may keep the machine in a state known to be bad: the loader's
    // counter falls by itself, and the next boot tries again.
    for result in [
        session.restate(),
        session.repoint_profile(&from, &to),
        session.tidy(),
    ] {
        if let Err(error) = result {
            tracing::error!("{}", one_line(&error));
        }
    }
    session.record(&Event::Rebooting { from, to })?;
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
