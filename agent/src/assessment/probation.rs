//! Is a generation that was proven still well a while later? Pure: it sees no clock and no machine.
//!
//! | what is seen | what follows |
//! |---|---|
//! | a unit of the boot was restarted by systemd more often than the budget allows | breached |
//! | a required unit, or one that was up when the generation was proven, has failed for [`GATHER`](super::verdict::GATHER) | breached |
//! | nothing of it until the time is over | passed |
//!
//! What the baseline knows as failing, what is only wanted, and what the boot was not to start counts for nothing. What
//! ends well and is started again does so on purpose. Restarts by hand are somebody's wish: they set systemd's count back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::complaint::{is_crashing, is_judged};
use super::requirements::Requirements;
use super::verdict::GATHER;
use crate::state::baseline::Baseline;
use crate::state::fault::Fault;
use crate::system::systemd::snapshot::{Ended, Snapshot, Unit};

/// How much may go wrong, and for how long it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How long, from the first look on.
    pub lasts: Duration,
    /// So often may systemd restart one unit in that time because it ended badly.
    pub restarts: u32,
}

/// What is to be thought of it by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conduct {
    /// Nothing yet.
    Watched,
    /// It was well for long enough.
    Passed,
    /// It was not.
    Breached {
        /// One line for a person.
        summary: String,
        /// What is at fault.
        faults: Vec<Fault>,
    },
}

/// The memory of one probation: the looks so far, folded.
#[derive(Debug)]
pub struct Probation<'a> {
    budget: Budget,
    requirements: &'a Requirements,
    baseline: &'a Baseline,
    began: Option<Duration>,
    runs: BTreeMap<String, Run>,
}

/// One unit.
#[derive(Debug, Clone, Default)]
struct Run {
    /// systemd's count at the last look.
    count: u32,
    /// How often it was restarted since the first.
    restarts: u32,
    ends_well: bool,
    failed_since: Option<Duration>,
}

impl<'a> Probation<'a> {
    /// Nothing seen yet. `baseline` is what the generation was proven with.
    #[must_use]
    pub fn new(budget: Budget, requirements: &'a Requirements, baseline: &'a Baseline) -> Self {
        Self {
            budget,
            requirements,
            baseline,
            began: None,
            runs: BTreeMap::new(),
        }
    }

    /// Takes in one more look, made at `at`. One at which systemd did not answer is none.
    pub fn observe(&mut self, at: Duration, snapshot: &Snapshot) -> Conduct {
        let began = *self.began.get_or_insert(at);
        let mut words = Vec::new();
        let mut faults = Vec::new();
        for (name, unit) in &snapshot.units {
            if !self.counts(snapshot, name, unit) {
                continue;
            }
            // What comes into memory later has been restarted since.
            let first = if at == began { unit.restarts } else { 0 };
            let run = self.runs.entry(name.clone()).or_insert_with(|| Run {
                count: first,
                ..Run::default()
            });
            run.take_in(at, unit);
            let restarts = run.restarts;
            let is_lost = run
                .failed_since
                .is_some_and(|since| at.saturating_sub(since) >= GATHER);
            if restarts > self.budget.restarts && !run.ends_well {
                words.push(format!("{name} was restarted {restarts} times"));
            } else if is_lost && self.was_up(snapshot, name) {
                words.push(format!("{name} failed"));
            } else {
                continue;
            }
            faults.push(Fault::of_unit(name));
        }
        if !faults.is_empty() {
            let seconds = at.saturating_sub(began).as_secs();
            let summary = format!("{seconds} s after it was proven: {}", words.join("; "));
            return Conduct::Breached { summary, faults };
        }
        if at.saturating_sub(began) >= self.budget.lasts {
            return Conduct::Passed;
        }
        Conduct::Watched
    }

    /// Whether what happens to this unit says anything about the generation.
    fn counts(&self, snapshot: &Snapshot, name: &str, unit: &Unit) -> bool {
        if self.is_required(snapshot, name) {
            return true;
        }
        let is_wanted = self.requirements.wanted.iter().any(|one| one == name);
        let is_known = self.baseline.failing.contains(&Fault::of_unit(name));
        is_judged(name, unit) && snapshot.was_to_run(name) && !is_wanted && !is_known
    }

    fn is_required(&self, snapshot: &Snapshot, name: &str) -> bool {
        let required = self.requirements.units.iter();
        let mut required = required.chain(&snapshot.boot_complete_requires);
        required.any(|wanted| snapshot.unit(wanted).is_some_and(|(own, _)| own == name))
            && !super::complaint::is_ours(name)
    }

    /// Where nobody has looked what was up, everything was.
    fn was_up(&self, snapshot: &Snapshot, name: &str) -> bool {
        let looks = self.baseline.looks.as_ref();
        self.is_required(snapshot, name) || looks.is_none_or(|looks| looks.up.contains(name))
    }
}

impl Run {
    fn take_in(&mut self, at: Duration, unit: &Unit) {
        // A count that went back was set back by hand.
        let more = unit.restarts.saturating_sub(self.count);
        self.restarts = self.restarts.saturating_add(more);
        self.count = unit.restarts;
        self.ends_well |= unit.is_between_restarts() && unit.ended == Ended::Cleanly;
        self.ends_well &= !is_crashing(unit);
        self.failed_since = match self.failed_since {
            _ if !unit.has_failed() => None,
            None => Some(at),
            since => since,
        };
    }
}

#[cfg(test)]
mod tests;
