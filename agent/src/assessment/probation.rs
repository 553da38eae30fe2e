//! Is a generation that was proven still well a while later? Pure: it sees no clock and no machine.
//!
//! | what is seen | what follows |
//! |---|---|
//! | a unit of the boot was restarted by systemd more often than the budget allows | breached |
//! | a required unit has failed for [`GATHER`], or has ended by itself and has not come back for [`GONE`] | breached |
//! | more units that were up when the generation was proven than the budget allows have failed for [`GATHER`] | breached |
//! | a required check fails again and again | breached |
//! | the route or the name servers are gone, or the clock has jumped | nothing counts until [`CALM`] after it |
//! | nothing of it until the time is over | passed |
//!
//! What the baseline knows as failing, what is only wanted, and what the boot was not to start counts for nothing. What
//! ends well and is started again does so on purpose. Restarts by hand are somebody's wish: they set systemd's count back.
//! So is what somebody stops: no job of systemd's ends what ends by itself.
//!
//! What was seen is a [`Memory`], so that whoever watches can be started anew and goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::{Checks, Declared};
use super::complaint::{is_crashing, is_judged};
use super::requirements::Requirements;
use super::verdict::GATHER;
use crate::state::baseline::Baseline;
use crate::state::fault::Fault;
use crate::system::check::Ended as RunEnded;
use crate::system::systemd::snapshot::{Active, Ended, Snapshot, Unit};

/// How long a required unit may be gone that has ended by itself, and with success.
pub const GONE: Duration = Duration::from_mins(1);
/// How long nothing counts after trouble that comes from outside: services find out late, and try again later still.
pub const CALM: Duration = Duration::from_mins(2);
/// The least time between two runs of a check: a server does other things as well.
const CHECK: Duration = Duration::from_mins(1);
/// A check may fail so often in a row, and be tried again, however few times it may before the verdict.
const RETRIES: u32 = 2;

/// How much may go wrong, and for how long it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How long, from the first look on.
    pub lasts: Duration,
    /// So often may systemd restart one unit in that time because it ended badly.
    pub restarts: u32,
    /// So many units that are not required may fail for good.
    pub failures: u32,
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

/// What was seen so far. Times are those of the machine's monotonic clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// When it was looked at first.
    pub began: Option<Duration>,
    /// Nothing counts before this time.
    calm: Option<Duration>,
    /// Units that are not as they were then, or were restarted.
    units: BTreeMap<String, Run>,
}

/// One unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Run {
    /// systemd's count at the last look.
    count: u32,
    /// How often it was restarted since the first.
    restarts: u32,
    /// It ends well between its restarts.
    ends_well: bool,
    failed_since: Option<Duration>,
    /// It was seen to be up.
    was_active: bool,
    /// It has ended by itself, and has not come back.
    gone_since: Option<Duration>,
    /// It failed when there was trouble from outside, and has not been up since.
    excused: bool,
}

/// One probation.
#[derive(Debug)]
pub struct Probation<'a> {
    budget: Budget,
    requirements: &'a Requirements,
    baseline: &'a Baseline,
    memory: Memory,
    /// What is only wanted is of outside.
    declared: &'a [Declared],
    checks: Checks<'a>,
}

/// The checks that are run in a probation: what is required, less often than before the verdict, and never given up at
/// once. `outside` says which tell of what is outside of the machine: those are run whatever they weigh, and blamed on
/// nobody.
#[must_use]
pub fn checks(declared: &[Declared], outside: impl Fn(&str) -> bool) -> Vec<Declared> {
    let watched = declared.iter().filter_map(|one| {
        let is_outside = outside(&one.name);
        let retries = one.retries.unwrap_or_default().max(RETRIES);
        (is_outside || !one.wanted).then(|| Declared {
            wanted: is_outside,
            retries: (!is_outside).then_some(retries),
            interval: one.interval.max(CHECK),
            // Before the verdict it was good.
            start_delay: one.interval.max(CHECK),
            ..one.clone()
        })
    });
    watched.collect()
}

impl<'a> Probation<'a> {
    /// One that begins, or goes on with what was seen before. `baseline` is what the generation was proven with, `checks`
    /// are [those of a probation](checks).
    #[must_use]
    pub fn new(
        budget: Budget,
        requirements: &'a Requirements,
        baseline: &'a Baseline,
        checks: &'a [Declared],
        memory: Memory,
    ) -> Self {
        Self {
            budget,
            requirements,
            baseline,
            memory,
            declared: checks,
            checks: Checks::new(checks),
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes in one more look, made at `at`. One at which systemd did not answer is none. `outside`: something is wrong
    /// that no generation can do anything about.
    pub fn observe(&mut self, at: Duration, snapshot: &Snapshot, outside: bool) -> Conduct {
        let first = self.memory.began.is_none();
        let began = *self.memory.began.get_or_insert(at);
        if outside || self.is_outside_unwell() {
            self.memory.calm = Some(at + CALM);
        }
        let is_calm = self.memory.calm.is_some_and(|until| at < until);
        let mut words = Vec::new();
        let mut faults = Vec::new();
        let mut failures = Vec::new();
        let mut is_ready = !is_calm;
        for (name, unit) in &snapshot.units {
            if !self.counts(snapshot, name, unit) {
                continue;
            }
            let is_required = self.is_required(snapshot, name);
            let was_up = is_required || self.was_up(name);
            // What comes into memory later has been restarted since.
            let count = if first { unit.restarts } else { 0 };
            let run = self
                .memory
                .units
                .entry(name.clone())
                .or_insert_with(|| Run {
                    count,
                    ..Run::default()
                });
            run.take_in(at, unit, snapshot.ended_by_itself(name), is_calm);
            is_ready &= !was_up || is_settled(unit, snapshot.has_job(name));
            let restarts = run.restarts;
            let lasted = |since: Option<Duration>, long| {
                since.is_some_and(|since| at.saturating_sub(since) >= long)
            };
            if restarts > self.budget.restarts && !run.ends_well {
                words.push(format!("{name} was restarted {restarts} times"));
            } else if is_required && lasted(run.failed_since, GATHER) {
                words.push(format!("required {name} failed"));
            } else if is_required && lasted(run.gone_since, GONE) {
                words.push(format!("required {name} ended, and did not come back"));
            } else {
                if was_up && lasted(run.failed_since, GATHER) {
                    failures.push(name);
                }
                continue;
            }
            faults.push(Fault::of_unit(name));
        }
        if failures.len() > usize::try_from(self.budget.failures).unwrap_or(usize::MAX) {
            words.extend(failures.iter().map(|name| format!("{name} failed")));
            faults.extend(failures.iter().map(|name| Fault::of_unit(name)));
        }
        self.checks.ready(at, is_ready);
        for one in self.checks.troubles().filter(|one| one.is_final) {
            let name = &one.declared.name;
            words.push(format!("check {name} {}", one.words));
            faults.push(Fault::Check(name.clone()));
        }
        if !faults.is_empty() {
            let seconds = at.saturating_sub(began).as_secs();
            let summary = format!("{seconds} s after it was proven: {}", words.join("; "));
            return Conduct::Breached { summary, faults };
        }
        if at >= self.ends(began) {
            return Conduct::Passed;
        }
        Conduct::Watched
    }

    /// The checks of which a run is to begin now.
    #[must_use]
    pub fn due(&self, at: Duration) -> Vec<&'a str> {
        self.checks.due(at, true)
    }

    /// A run of `name` has begun.
    pub fn begun(&mut self, name: &str, at: Duration) {
        self.checks.begun(name, at);
    }

    /// A run of `name` has ended.
    pub fn ended(&mut self, name: &str, at: Duration, ended: RunEnded) {
        self.checks.ended(name, at, ended);
    }

    /// Whether a run of a check is under way: nobody tells when it ends.
    #[must_use]
    pub fn is_checking(&self) -> bool {
        self.checks.is_running(|_| true)
    }

    /// When something may follow without anything being told, after `at`.
    #[must_use]
    pub fn next(&self, at: Duration) -> Option<Duration> {
        let units = self.memory.units.values();
        let failed = units
            .clone()
            .filter_map(|run| Some(run.failed_since? + GATHER));
        let gone = units.filter_map(|run| Some(run.gone_since? + GONE));
        let all = failed.chain(gone).chain(self.memory.calm);
        let all = all.chain(self.checks.next(at, true));
        let end = self.memory.began.map(|began| self.ends(began));
        all.chain(end).filter(|time| *time > at).min()
    }

    /// A check of what is outside of the machine has failed at its latest run.
    fn is_outside_unwell(&self) -> bool {
        let mut failing = self.checks.failing();
        failing.any(|name| {
            self.declared
                .iter()
                .any(|one| one.wanted && one.name == name)
        })
    }

    fn ends(&self, began: Duration) -> Duration {
        began.saturating_add(self.budget.lasts)
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
    fn was_up(&self, name: &str) -> bool {
        let looks = self.baseline.looks.as_ref();
        looks.is_none_or(|looks| looks.up.contains(name))
    }
}

/// Nobody is about to do anything with it, and it was not stopped.
fn is_settled(unit: &Unit, has_job: bool) -> bool {
    let is_up = unit.active == Active::Active || unit.ended == Ended::OneshotDone;
    is_up && !has_job
}

impl Run {
    fn take_in(&mut self, at: Duration, unit: &Unit, by_itself: bool, is_calm: bool) {
        // A count that went back was set back by hand.
        let more = unit.restarts.saturating_sub(self.count);
        self.restarts = self.restarts.saturating_add(more);
        self.count = unit.restarts;
        self.ends_well |= unit.is_between_restarts() && unit.ended == Ended::Cleanly;
        self.ends_well &= !is_crashing(unit);
        let is_active = unit.active == Active::Active;
        let has_failed = unit.has_failed();
        self.excused = !is_active && (self.excused || (is_calm && has_failed));
        if is_calm {
            self.restarts = 0;
        }
        let failed = has_failed && !is_calm && !self.excused;
        self.failed_since = failed.then(|| self.failed_since.unwrap_or(at));
        let has_ended = unit.active == Active::Inactive && unit.ended == Ended::Cleanly;
        self.gone_since = match self.gone_since {
            _ if !has_ended || is_calm => None,
            None => (self.was_active && by_itself).then_some(at),
            since => since,
        };
        self.was_active = is_active;
    }
}

#[cfg(test)]
mod tests;
