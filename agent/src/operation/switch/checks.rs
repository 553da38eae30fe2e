//! The declared checks of a closure that was switched to: run when its units are up, and part of whether it is well.
//!
//! They have as long as a unit may be on its way, counted from the moment at which the units were up. What does not hold
//! by then fails the switch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_entries::Root;

use crate::assessment::check::{Checks, Declared};
use crate::config;
use crate::operation::check::Checker;
use crate::state::cause::UnitFailure;
use crate::state::fault::Fault;
use crate::system::check::Ended;
use crate::system::systemd::Systemd;

/// What a closure declares, as far as a switch holds it to that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    closure: PathBuf,
    checks: config::Checks,
    declared: Vec<Declared>,
    until: Option<Instant>,
}

impl Held {
    /// The required checks of `closure`, and the wanted ones, whose failure is told.
    pub(super) fn to(closure: &Path, checks: &config::Checks) -> Self {
        Self {
            closure: closure.to_owned(),
            declared: Declared::all(checks),
            checks: checks.clone(),
            until: None,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.declared.is_empty()
    }

    /// Whoever waits for them waits no longer than this.
    pub(super) fn end_by(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    /// Holds it to none of these any more: their failure is only told. The last good generation has them too (A4).
    pub(super) fn excuse(&mut self, faults: &BTreeSet<Fault>) {
        for declared in &mut self.declared {
            declared.wanted |= faults.contains(&Fault::Check(declared.name.clone()));
        }
    }
}

/// What is to be thought of the checks now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Required, and does not hold: in a few words each.
    pub(super) failed: BTreeMap<String, String>,
    /// Required, and may still come to hold.
    pub(super) waiting: BTreeMap<String, String>,
    /// Wanted only, and does not hold.
    pub(super) told: BTreeMap<String, String>,
}

/// The checks of a switch, as they are run.
pub(super) struct Tried<'a> {
    checks: Checks<'a>,
    checker: Checker,
    began: Instant,
    patience: Duration,
    /// Since when they are run.
    ready_since: Option<Instant>,
    ended: Vec<(String, Ended)>,
    until: Option<Instant>,
}

impl<'a> Tried<'a> {
    pub(super) fn new(root: &Root, held: &'a Held, patience: Duration) -> Self {
        Self {
            checks: Checks::new(&held.declared),
            checker: Checker::new(root, &held.closure, &held.checks),
            began: Instant::now(),
            patience,
            ready_since: None,
            ended: Vec::new(),
            until: held.until,
        }
    }

    /// Finds out which runs have ended. To be asked before the units are looked at: whatever made one fail is seen then.
    pub(super) fn listen(&mut self) {
        self.ended.extend(self.checker.ended());
    }

    /// Takes in what has ended, and begins what is due. None is run while the units are not well; one that holds is run
    /// again only while `again`.
    pub(super) fn look(&mut self, units_are_well: bool, again: bool) -> Looked {
        let now = Instant::now();
        let at = now.duration_since(self.began);
        self.checks.ready(at, units_are_well);
        for (name, ended) in std::mem::take(&mut self.ended) {
            tracing::debug!("check {name}: {ended:?}");
            self.checks.ended(&name, at, ended);
        }
        if units_are_well {
            self.ready_since.get_or_insert(now);
        }
        for name in self.checks.due(at, again) {
            self.checker.begin(name);
            self.checks.begun(name, at);
        }
        let long_enough = |since: Instant| now.duration_since(since) >= self.patience;
        let is_late = self.ready_since.is_some_and(long_enough)
            || self.until.is_some_and(|until| now >= until);
        let mut looked = Looked::default();
        for trouble in self.checks.troubles() {
            let place = if trouble.declared.wanted {
                &mut looked.told
            } else if trouble.is_final || is_late {
                &mut looked.failed
            } else {
                &mut looked.waiting
            };
            place.insert(trouble.declared.name.clone(), trouble.words);
        }
        looked
    }

    /// Whether a run of a required one is under way.
    pub(super) fn is_running(&self) -> bool {
        self.checks.is_running(|one| !one.wanted)
    }
}

/// What is known about checks that failed. Asked while their units are still there.
pub(super) fn details(failed: &BTreeMap<String, String>) -> Vec<UnitFailure> {
    let mut systemd = Systemd::watching(&[], None);
    let faults = failed.keys().map(|name| Fault::Check(name.clone()));
    faults
        .filter_map(|fault| Some(systemd.failure(&fault.witness()?)))
        .collect()
}
