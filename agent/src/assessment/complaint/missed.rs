//! Units that were to run and do not, although nothing about them says "failed".
//!
//! | what systemd does | what is left to be seen |
//! |---|---|
//! | it forgets a failed unit (`CollectMode=inactive-or-failed`) | the job's end, told once; the unit reads as never started, with success |
//! | it leaves a unit out of the boot to break an ordering cycle | nothing; the unit was never touched |
//! | what a unit needs fails at first and is up a second later | the job's end, told once; the unit is inactive, with success |

use super::wrong::Wrong;
use super::{Complaint, Kind, Standard, Weight, unsettled};
use crate::state::fault::Fault;
use crate::system::systemd::snapshot::{Active, Load, Nothing, Snapshot, Unit};

/// Kinds of units that are missed when they are not there. Mounts and devices depend on hardware that may be optional
/// (`nofail`), and slices and scopes come with what is in them.
const MISSED: [&str; 5] = ["service", "socket", "timer", "path", "target"];

impl Standard<'_> {
    /// A unit that the boot was to start and that came to nothing. Only a baseline that knows of such units can say that it
    /// is a loss.
    pub(super) fn missed_unit(
        &self,
        snapshot: &Snapshot,
        name: &str,
        unit: &Unit,
    ) -> Option<Complaint> {
        let fault = Fault::of_unit(name);
        self.baseline?.looks.as_ref()?;
        if self.excuses(&fault) {
            return None;
        }
        Some(Complaint {
            // Nothing starts it any more.
            weight: Weight::Final,
            kind: Kind::Missed,
            fault,
            wrong: missed(snapshot, name, unit)?,
        })
    }
}

/// Why a unit of the boot is not there, if it is not. None as well where nobody knows what the boot was to start.
pub(in crate::assessment) fn missed(snapshot: &Snapshot, name: &str, unit: &Unit) -> Option<Wrong> {
    let kind = name.rsplit('.').next().unwrap_or_default();
    let is_missed = snapshot.boot.is_some() && snapshot.was_to_run(name) && MISSED.contains(&kind);
    let is_down = unit.active == Active::Inactive && unit.load == Load::Loaded;
    if !is_missed || !is_down || snapshot.has_job(name) {
        return None;
    }
    // As long as the boot goes on, what has no job yet may get one.
    let is_over = unsettled(snapshot).next().is_none();
    came_to_nothing(snapshot, name).or((unit.untouched && is_over).then_some(Wrong::NeverStarted))
}

/// What its last job came to, for a unit that is down.
pub(super) fn came_to_nothing(snapshot: &Snapshot, name: &str) -> Option<Wrong> {
    match snapshot.came_to_nothing.get(name)? {
        Nothing::Failed => Some(Wrong::Forgotten),
        Nothing::Assertion => Some(Wrong::Assertion),
        Nothing::Dependency => Some(Wrong::Dependency),
        // The unit may still get there, and has a state that says so.
        Nothing::TooLong => None,
    }
}
