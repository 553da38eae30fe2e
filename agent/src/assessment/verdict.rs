//! Healthy or not: the decision, over plain data. It sees no clock and no machine.
//!
//! | what is seen | what follows |
//! |---|---|
//! | a required unit failed, or cannot be loaded; a unit failed that had not in the baseline | unhealthy, after [`GATHER`], or [`MOMENT`] where nothing is on its way any more |
//! | a required unit on its way; the boot has not finished; a unit keeps crashing that did not in the baseline | wait; at the deadline unhealthy |
//! | a required check failed more often than it may | the same |
//! | nothing wrong, unbroken for `settle`, and no run of a required check under way | healthy |
//! | systemd does not answer | wait; at the deadline unknown |
//!
//! **No baseline** (no generation was ever proven here): nothing to compare with. Required units, the activation and the
//! firewall decide; anything else is waited for until the deadline, then recorded as this machine's baseline.
//!
//! A machine that is well when the deadline comes may complete its `settle`: rebooting a healthy machine is worse than
//! being late. A unit that systemd is still starting at the deadline, within a time limit of the unit's own
//! (`TimeoutStartSec=`, `EXTEND_TIMEOUT_USEC=`), is late and has not failed: if nothing else is wrong it is waited for until
//! twice the deadline, at most 15 minutes. So the last possible moment is that and one more `settle`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::check::{Checks, Declared};
use super::complaint::{self, Complaint, Kind, Standard, Weight, Wrong};
use super::requirements::Requirements;
use crate::state::baseline::Baseline;
use crate::state::cause::Stage;
use crate::state::fault::Fault;
use crate::system::check::Ended as RunEnded;
use crate::system::systemd::snapshot::{Active, Ended, Snapshot, Unit};

/// Failures come in groups, some a moment after others: how long to go on looking after the first while units are on their
/// way, so that the report names the cause and not just what fell first.
pub const GATHER: Duration = Duration::from_secs(2);

/// The same where nothing is on its way any more: somebody may take a failure back at once.
pub const MOMENT: Duration = Duration::from_millis(500);

/// The longest that is waited beyond a deadline, counted like it: with one more `settle` of 800 s this is below the 30
/// minutes after which the assessor ends itself (`system::pulse`).
const LATEST: Duration = Duration::from_mins(15);

/// What systemd has restarted so often is not late but in a loop.
const OFTEN: u32 = 3;

/// What is to be thought of the machine by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing yet.
    Wait {
        /// For what: one line for a person.
        why: String,
    },
    /// The generation works.
    Healthy {
        /// What the next one is compared with.
        baseline: Baseline,
    },
    /// It does not.
    Unhealthy {
        /// One line for a person.
        summary: String,
        /// What is at fault, what decided first.
        faults: Vec<Fault>,
        /// The furthest stage that was reached.
        stage: Stage,
    },
    /// Time is up and the machine cannot be seen. Not the generation's fault as far as anybody knows (invariant A8).
    Unknown {
        /// Why not.
        why: String,
    },
}

/// The memory of one assessment: the observations so far, folded.
#[derive(Debug, Clone)]
pub struct Watch<'a> {
    requirements: &'a Requirements,
    baseline: Option<&'a Baseline>,
    /// Since when nothing at all is wrong.
    well_since: Option<Duration>,
    /// Since when nothing is wrong that a machine without a baseline could not live with.
    bearable_since: Option<Duration>,
    /// Since when something final is wrong.
    final_since: Option<Duration>,
    runs: BTreeMap<String, Run>,
    checks: Checks<'a>,
    /// Runs that have ended since the last look.
    ended: Vec<(String, RunEnded)>,
    /// Nothing has been wrong for long enough: only runs that are under way are waited for.
    settled: bool,
}

/// How a unit was running when it was last seen.
#[derive(Debug, Clone)]
struct Run {
    restarts: u32,
    invocation: String,
    up: bool,
    /// It has been seen to end well between two restarts, so that restarts alone say nothing.
    ends_well: bool,
    /// When it was last seen to have been restarted.
    restarted_at: Option<Duration>,
    /// How long before that it was the time before.
    period: Option<Duration>,
}

impl Run {
    /// It dies again and again, and has not been up for twice as long as it was the last time; at the deadline, for as
    /// long, if it has died [`OFTEN`].
    fn is_in_doubt(&self, at: Duration, settle: Duration, is_late: bool) -> bool {
        let (Some(restarted), Some(period)) = (self.restarted_at, self.period) else {
            return false;
        };
        let up = at.saturating_sub(restarted);
        // Once it is out of doubt, everything must settle.
        let is_too_short = if is_late {
            self.restarts >= OFTEN && up <= period
        } else {
            up < period.saturating_mul(2).saturating_sub(settle)
        };
        !self.ends_well && is_too_short
    }
}

impl<'a> Watch<'a> {
    /// Nothing seen yet. `baseline` is `None` where no generation was ever proven.
    #[must_use]
    pub fn new(requirements: &'a Requirements, baseline: Option<&'a Baseline>) -> Self {
        Self {
            requirements,
            baseline,
            well_since: None,
            bearable_since: None,
            final_since: None,
            runs: BTreeMap::new(),
            checks: Checks::new(&requirements.checks),
            ended: Vec::new(),
            settled: false,
        }
    }

    /// Takes in one more observation, made at `at`: what systemd said, or why it could not be asked.
    ///
    /// Observations must come in the order of time; one that does not counts as made at the same instant.
    pub fn observe(&mut self, at: Duration, seen: Result<&Snapshot, &str>) -> Judgement {
        let snapshot = match seen {
            Ok(snapshot) => snapshot,
            Err(why) => return self.blind(at, why),
        };
        let restarted = self.restarted(at, snapshot);
        let standard = Standard {
            requirements: self.requirements,
            baseline: self.baseline,
            restarted: &restarted,
        };
        let mut complaints = standard.complaints(snapshot);
        let is_ready = is_ready(&complaints, at, self.requirements.deadline);
        self.checks.ready(at, is_ready);
        for (name, ended) in std::mem::take(&mut self.ended) {
            self.checks.ended(&name, at, ended);
        }
        complaints.extend(self.of_checks());
        complaints.sort();
        let has = |up_to: Weight| complaints.first().is_some_and(|c| c.weight <= up_to);
        since(&mut self.well_since, !has(Weight::Bearable), at);
        since(&mut self.bearable_since, !has(Weight::Open), at);
        since(&mut self.final_since, has(Weight::Final), at);

        let late = at >= self.requirements.deadline;
        let lasted =
            |mark: Option<Duration>, long| mark.is_some_and(|m| at.saturating_sub(m) >= long);
        let settle = self.requirements.settle;
        let is_final = has(Weight::Final);
        let gather = if is_at_rest(snapshot) { MOMENT } else { GATHER };
        if is_final && (late || lasted(self.final_since, gather)) {
            return unhealthy(&complaints, Weight::Final, None, snapshot);
        }
        let is_patient =
            at < latest(self.requirements.deadline) && only_starts(&complaints, snapshot);
        if !is_final && has(Weight::Open) && late && !is_patient {
            return unhealthy(
                &complaints,
                Weight::Open,
                Some(at.min(latest(self.requirements.deadline))),
                snapshot,
            );
        }
        self.settled =
            lasted(self.well_since, settle) || (late && lasted(self.bearable_since, settle));
        if self.settled && !self.checks.is_running(|one| !self.is_excused(one)) {
            let baseline = self.baseline_of(at, snapshot);
            return Judgement::Healthy { baseline };
        }
        Judgement::Wait {
            why: if self.settled {
                "all is well; a check that is under way is waited for".to_owned()
            } else {
                waiting_for(&complaints, settle)
            },
        }
    }

    /// The checks of which a run is to begin now.
    #[must_use]
    pub fn due(&self, at: Duration) -> Vec<&'a str> {
        self.checks.due(at, !self.settled)
    }

    /// A run of the check `name` has begun.
    pub fn begun(&mut self, name: &str, at: Duration) {
        self.checks.begun(name, at);
    }

    /// A run of the check `name` has ended, before the next observation is made: that one says whether it counts.
    pub fn ended(&mut self, name: String, ended: RunEnded) {
        self.ended.push((name, ended));
    }

    /// Whether nobody is held to this check.
    fn is_excused(&self, declared: &Declared) -> bool {
        let fault = Fault::Check(declared.name.clone());
        let fails = |baseline: &Baseline| baseline.failing.contains(&fault);
        declared.wanted || self.baseline.is_some_and(fails)
    }

    /// The required checks that do not hold.
    fn of_checks(&self) -> impl Iterator<Item = Complaint> {
        let troubles = self.checks.troubles();
        let required = troubles.filter(|trouble| !self.is_excused(trouble.declared));
        required.map(|trouble| Complaint {
            weight: if trouble.is_final {
                Weight::Final
            } else {
                Weight::Open
            },
            kind: Kind::Required,
            fault: Fault::Check(trouble.declared.name.clone()),
            wrong: Wrong::Check {
                words: trouble.words,
            },
        })
    }

    /// Whether a verdict may be near: something is wrong that changes no more by itself.
    #[must_use]
    pub fn is_near(&self) -> bool {
        self.final_since.is_some()
    }

    /// When an observation like the last one, made at `at`, may first lead to something else.
    #[must_use]
    pub fn next(&self, at: Duration) -> Duration {
        let settle = self.requirements.settle;
        let settled = [self.well_since, self.bearable_since].map(|mark| mark.map(|m| m + settle));
        let gathered = [MOMENT, GATHER].map(|long| self.final_since.map(|mark| mark + long));
        let moments = settled.into_iter().chain(gathered).flatten();
        let deadline = self.requirements.deadline;
        let moments = moments.chain([deadline, latest(deadline)]);
        let moments = moments.chain(self.checks.next(at, !self.settled));
        moments.filter(|moment| *moment > at).min().unwrap_or(at)
    }

    fn blind(&mut self, at: Duration, why: &str) -> Judgement {
        // What was not seen was not seen to be well.
        self.well_since = None;
        self.bearable_since = None;
        self.final_since = None;
        let why = why.to_owned();
        if at >= self.requirements.deadline {
            Judgement::Unknown { why }
        } else {
            Judgement::Wait { why }
        }
    }

    /// Which units were started again since the snapshot before: polling alone would miss a restart in between.
    fn restarted(&mut self, at: Duration, snapshot: &Snapshot) -> BTreeSet<String> {
        let mut restarted = BTreeSet::new();
        for (name, unit) in &snapshot.units {
            let before = self.runs.get(name);
            let up = unit.active == Active::Active;
            let again = before.is_some_and(|run| unit.restarts > run.restarts);
            let anew = before.is_some_and(|run| run.up && up && run.invocation != unit.invocation);
            let ends_well = before.is_some_and(|run| run.ends_well)
                || (unit.is_between_restarts() && unit.ended == Ended::Cleanly);
            let run = Run {
                restarts: unit.restarts,
                invocation: unit.invocation.clone(),
                up,
                ends_well,
                restarted_at: match before {
                    _ if again => Some(at),
                    Some(run) => run.restarted_at,
                    None => None,
                },
                period: match before {
                    Some(run) if again => run.restarted_at.map(|before| at.saturating_sub(before)),
                    Some(run) => run.period,
                    None => None,
                },
            };
            let late = at >= self.requirements.deadline;
            let in_doubt = run.is_in_doubt(at, self.requirements.settle, late);
            // A required unit must stay up. Of others, only crashes matter: they may be restarted on purpose.
            if (again && !ends_well)
                || in_doubt
                || ((again || anew) && self.is_required(snapshot, name))
            {
                restarted.insert(name.clone());
            }
            self.runs.insert(name.clone(), run);
        }
        restarted
    }

    fn is_required(&self, snapshot: &Snapshot, name: &str) -> bool {
        let required = self.requirements.units.iter();
        required
            .chain(&snapshot.boot_complete_requires)
            .any(|wanted| snapshot.unit(wanted).is_some_and(|(own, _)| own == name))
    }

    fn baseline_of(&self, at: Duration, snapshot: &Snapshot) -> Baseline {
        let crashed_lately = |name: &str| {
            self.runs.get(name).is_some_and(|run| {
                let lately = |when| at.saturating_sub(when) <= self.requirements.settle;
                !run.ends_well && run.restarted_at.is_some_and(lately)
            })
        };
        let units = snapshot.units.iter().filter(|(name, unit)| {
            complaint::is_judged(name, unit)
                && (unit.active == Active::Failed
                    || complaint::is_crashing(unit)
                    || complaint::missed(snapshot, name, unit)
                    || crashed_lately(name))
        });
        let jobs = complaint::unsettled(snapshot);
        Baseline {
            looks: complaint::looks(snapshot),
            failing: units
                .map(|(name, _)| name)
                .chain(jobs.map(|job| &job.unit))
                .map(|name| Fault::of_unit(name))
                .chain(snapshot.failed_snippets.iter().cloned().map(Fault::Snippet))
                .chain(
                    self.checks
                        .failing()
                        .map(|name| Fault::Check(name.to_owned())),
                )
                .collect(),
        }
    }
}

/// When waiting ends even for what systemd is still starting within the unit's own time limit: as much later again, as far
/// as the assessment's own unit has the time.
fn latest(deadline: Duration) -> Duration {
    deadline.max(LATEST.min(deadline.saturating_mul(2)))
}

/// Nothing is on its way any more that could fall as well, nor anybody who could mend what fell.
fn is_at_rest(snapshot: &Snapshot) -> bool {
    let is_on_its_way = |(name, unit): (&String, &Unit)| {
        complaint::is_judged(name, unit) && matches!(unit.active, Active::Changing(_))
    };
    !snapshot.jobs.iter().any(complaint::is_to_come) && !snapshot.units.iter().any(is_on_its_way)
}

/// All that is not well yet is being started, and systemd ends each of these starts by itself: late, and not failed.
fn only_starts(complaints: &[Complaint], snapshot: &Snapshot) -> bool {
    let open = complaints.iter().filter(|one| one.weight == Weight::Open);
    let mut units = open.map(|one| one.fault.unit().and_then(|name| snapshot.units.get(name)));
    units.all(|unit| unit.is_some_and(|unit| unit.start_ends))
}

/// Whether the units are well enough for checks to say something. What is bearable may last: then it is not waited for
/// beyond half of the time.
fn is_ready(complaints: &[Complaint], at: Duration, deadline: Duration) -> bool {
    let worst = complaints.first();
    worst.is_none_or(|worst| worst.weight == Weight::Bearable && at * 2 >= deadline)
}

/// Keeps the start of a state for as long as the state holds.
fn since(mark: &mut Option<Duration>, holds: bool, at: Duration) {
    *mark = if holds { mark.or(Some(at)) } else { None };
}

fn unhealthy(
    complaints: &[Complaint],
    weight: Weight,
    deadline: Option<Duration>,
    snapshot: &Snapshot,
) -> Judgement {
    let guilty: Vec<&Complaint> = complaints.iter().filter(|c| c.weight == weight).collect();
    let texts = in_a_line(&guilty);
    Judgement::Unhealthy {
        summary: match deadline {
            Some(deadline) => format!("not well within {} s: {texts}", deadline.as_secs()),
            None => texts,
        },
        faults: guilty.iter().map(|c| c.fault.clone()).collect(),
        stage: complaint::stage(snapshot),
    }
}

fn waiting_for(complaints: &[Complaint], settle: Duration) -> String {
    if complaints.is_empty() {
        return format!("all is well; it must stay so for {} s", settle.as_secs());
    }
    in_a_line(&complaints.iter().collect::<Vec<_>>())
}

/// The first complaints: enough for a line.
fn in_a_line(complaints: &[&Complaint]) -> String {
    const SHOWN: usize = 3;
    let first = complaints.iter().take(SHOWN).map(ToString::to_string);
    let texts = first.collect::<Vec<_>>().join("; ");
    match complaints.len().saturating_sub(SHOWN) {
        0 => texts,
        more => format!("{texts}; and {more} more"),
    }
}

#[cfg(test)]
mod tests;
