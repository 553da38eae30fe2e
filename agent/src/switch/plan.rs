//! What a switch does to the units: which of them, in which phase, and why.
//!
//! The rules, each with its test, are in `docs/switch.md`. [`planner`] walks over the units, [`running`] and [`standing`]
//! decide for one, [`sockets`] and [`mounts`] where these are different, [`spread`] finds out who goes down with whom.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::situation::{Requests, Situation};

mod mounts;
mod order;
mod planner;
mod requests;
mod running;
mod sockets;
mod spread;
mod standing;
mod tell;

use planner::Planner;

/// Units, each with the reason in one line.
pub type Reasons = BTreeMap<String, String>;

/// What is asked of PID 1 for one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Job {
    /// `StopUnit`
    Stop,
    /// `StartUnit`
    Start,
    /// `StartUnit` in the mode `ignore-requirements`: the order is kept, and nothing comes up with it. So a target, or
    /// whatever an undo starts, is up again, and what somebody has stopped by hand is not.
    StartAlone,
    /// `RestartUnit`: down and up in one job.
    Restart,
}

/// One job of an ordered phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The unit.
    pub unit: String,
    /// What is asked for.
    pub job: Job,
    /// Why, in one line.
    pub why: String,
}

/// The state in which a touched unit is to be at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Intent {
    /// It runs, and goes on running.
    Up,
    /// It ran to its end without failing: a oneshot that does not remain.
    Ran,
    /// It is down.
    Down,
    /// Down or up: something else starts it when it is needed (a socket).
    Either,
}

/// What a switch does to the units. The phases are in the order in which they are walked; each one ends before the next
/// begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Plan {
    /// Stopped first, all at once, while PID 1 still has the old definitions. Nothing is started before all of these and
    /// all of the [disturbed](Self::disturbed) are down.
    pub stop: Reasons,
    /// Swap devices that are turned off, by their paths in `/etc/fstab`: systemd has many names for one.
    pub swap_off: Reasons,
    /// Who holds back the reload: a service in its start with commands that the reload would make it skip. To be waited
    /// for, within bounds.
    pub hold_back: Reasons,
    /// PID 1 is executed anew, and why. It always reloads, with or without.
    pub reexecute: Option<String>,
    /// Restarted alone, after the reload and before all others: the target on which hang tmpfiles, sysctl and their kind.
    pub reactivate: Option<String>,
    /// Start limits to be forgotten (`ResetFailedUnit`) before the first start.
    pub reset_failed: BTreeSet<String>,
    /// Reloaded. One that is down by then is started instead.
    pub reload: Reasons,
    /// Restarted and started, submitted in this order without waiting in between, so that PID 1 can order them. What
    /// must be up before another comes before it.
    pub up: Vec<Step>,
    /// What carries the asking session, one after the other, each when the one before has ended.
    pub last: Vec<Step>,
    /// Changed, down, and not wanted: nothing is done. One that something starts before the reload runs its old
    /// definition ([`super::late`]).
    pub dormant: BTreeSet<String>,
    /// Changed, and left as they are.
    pub skipped: Reasons,
    /// Not asked to go down, and going down all the same, because something they hang on does. Those that can are up again
    /// at the end.
    pub disturbed: Reasons,
    /// Not what the closure says: an operator's or a transient unit's settings lie above it.
    pub shadowed: Reasons,
    /// Failed or restarting before the switch, and not touched by it.
    pub failing_before: Reasons,
    /// For each touched unit the state it is to be in at the end.
    pub intended: BTreeMap<String, Intent>,
}

/// The plan for a switch, or for an undo if the situation says how it was before.
#[must_use]
pub fn plan(situation: &Situation) -> Plan {
    Planner::new(situation).plan(&Requests::default())
}

/// The plan with what the activation script asks for. It asks after the stops. So the situation is the one from before
/// them, and what this plan stops beyond the one without is not stopped any more: it is restarted or started with the rest.
#[must_use]
pub fn plan_with(situation: &Situation, requests: &Requests) -> Plan {
    Planner::new(situation).plan(requests)
}

impl Plan {
    /// The units whose details the plan rests on, because something is done to them.
    pub fn concerned(&self) -> impl Iterator<Item = &String> {
        let steps = self.up.iter().chain(&self.last).map(|step| &step.unit);
        let named = [&self.stop, &self.reload, &self.disturbed, &self.skipped];
        named.into_iter().flat_map(BTreeMap::keys).chain(steps)
    }

    /// Whether the plan does anything to this unit.
    #[must_use]
    pub fn touches(&self, unit: &str) -> bool {
        let mut steps = self.up.iter().chain(&self.last);
        self.stop.contains_key(unit)
            || self.reload.contains_key(unit)
            || self.disturbed.contains_key(unit)
            || steps.any(|step| step.unit == unit)
    }
}

#[cfg(test)]
mod tests;
