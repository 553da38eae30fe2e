//! The machine goes down in order: that is put on record, and whoever asked for it before there was a verdict gives the
//! try back. A boot that has no such record just ended.

use std::time::Duration;

use boot_entries::Root;
use boot_entries::plan::Counter;

use super::begin;
use super::on_record::OnRecord;
use crate::error::Error;
use crate::state::Event;
use crate::state::reset::Way;
use crate::system::{systemd, userspace};

/// How long another run may keep the lock: the machine is to go down.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The machine goes on: somebody restarts a unit.
    GoesOn,
    /// There is nothing on record that could end.
    NotBegun,
    /// It is on record.
    Recorded {
        /// The boot is no try.
        gives_back: bool,
    },
}

/// Puts on record that this boot comes to its end in order.
///
/// # Errors
/// When systemd does not say what it does, or the record cannot be written. The machine goes down all the same.
pub fn end(root: &Root) -> Result<Ended, Error> {
    let Some(down) = systemd::going_down()? else {
        return Ok(Ended::GoesOn);
    };
    // Such a systemd does not count soft-reboots: the boot goes on under the same id.
    if down.way == Way::SoftReboot && userspace::asked().is_none() {
        return Ok(Ended::GoesOn);
    }
    record(root, down.way, down.failed)
}

/// The same, where it is known that the machine goes this `way`, and whether whoever judges has `failed`.
///
/// # Errors
/// As [`end`].
pub fn record(root: &Root, way: Way, failed: bool) -> Result<Ended, Error> {
    // Whoever was to begin it may have failed, each for a reason that is gone by now.
    let mut session = begin::session_at_the_end(root, PATIENCE)?;
    let Some(boot) = session.view.this_boot().map(|boot| boot.id.clone()) else {
        return Ok(Ended::NotBegun);
    };
    let gives_back = session.state().gives_back(&boot, way, failed);
    session.record(&Event::Ended { boot, way, failed })?;
    if gives_back {
        OnRecord::counting(Counter::OneMore)
            .carry_through(&session)
            .tell();
    }
    Ok(Ended::Recorded { gives_back })
}
