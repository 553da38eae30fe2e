//! Back to the last good generation.
//!
//! Started when the assessment fails: with a verdict, or without one because the assessor crashed or ran out of time.

use std::process::Command;

use boot_entries::Root;
use boot_entries::name::stem_of;

use super::attempt;
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::cause::{Cause, Stage};
use crate::state::{Event, Standing, Subject, WhenUnhealthy};
use crate::system::bootctl::Bootctl;
use crate::system::program;

pub(super) fn run(root: &Root) -> Result<(), Error> {
    let mut session = attempt::session(root)?;
    let (from, to) = match session.state.when_unhealthy() {
        WhenUnhealthy::FallBack { from, to } => (from, to),
        WhenUnhealthy::StayUp(why) => {
            tracing::error!("staying up: {why}; `lastgood status` tells more");
            // Blessing does this on a machine that is well: what a boot needs is read and mended at every boot.
            if session.running().is_some()
                && session.state.bound_by.is_none()
                && let Err(error) = session.tidy()
            {
                tracing::error!("{}", one_line(&error));
            }
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
    let restated = session.restate();
    let asked = match &restated {
        Err(_) => ask_firmware(&session, &to),
        Ok(()) => Ok(()),
    };
    for result in [
        restated,
        asked,
        session.repoint_profile(&from, &to),
        // Everything else can wait for the next boot, and no mirror may keep this one waiting.
        session.keep_roots(),
    ] {
        if let Err(error) = result {
            tracing::error!("{}", one_line(&error));
        }
    }
    session.record(&Event::Rebooting { from, to })?;
    if root.is_live() { reboot() } else { Ok(()) }
}

/// Has the loader start `to` next, without writing to `$BOOT`: for when that cannot be written. The wish is good for one
/// boot, and nothing persistent is left in the firmware.
fn ask_firmware(session: &Session, to: &Subject) -> Result<(), Error> {
    if !session.root.is_live() {
        return Ok(());
    }
    let boot = session.boot()?;
    let stem = stem_of(to);
    let mut startable = boot.files_of(&stem).filter(|(_, file)| file.has_program);
    let Some((file, _)) = startable.next() else {
        return Err(Error::Refused(format!(
            "generation {} has no entry",
            to.generation
        )));
    };
    tracing::warn!("asking the firmware to start {file} once");
    Ok(Bootctl::find(&session.root, Some(&to.toplevel)).start_once(file)?)
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
