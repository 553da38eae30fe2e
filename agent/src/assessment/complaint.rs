//! What is wrong with one snapshot. No time in here: that is `verdict`'s.

mod lost;
mod missed;
mod wrong;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use super::requirements::Requirements;
use crate::state::baseline::{Baseline, Looks};
use crate::state::cause::Stage;
use crate::state::fault::{ACTIVATION_UNIT, FIREWALL_UNIT, Fault};
use crate::system::systemd::snapshot::{Active, Ended, Job, Load, Snapshot, Unit};
pub(super) use wrong::Wrong;

/// The closure's own activation and the firewall: no baseline excuses these, and they are never taken for lastgood's
/// own trouble, because a generation without them is not in place (invariant A2).
pub const NEVER_EXCUSED: [&str; 2] = [ACTIVATION_UNIT, FIREWALL_UNIT];

/// Where systemd ends up when it gives up on the boot. Nobody is there to answer its prompt.
const LAST_RESORTS: [&str; 2] = ["emergency.target", "rescue.target"];

/// How much a complaint counts. In the order of a report: the decisive first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// systemd has given up: waiting longer changes nothing.
    Final,
    /// May still get well; unhealthy if it has not by the deadline.
    Open,
    /// The same, but nothing says that this machine was ever better: not a reason to call the generation unhealthy.
    Bearable,
}

/// One thing that is not as it should be. In the order of a report, see [`Complaint::place`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) weight: Weight,
    /// Sorts what was asked for before what was compared.
    pub(super) kind: Kind,
    pub(super) fault: Fault,
    pub(super) wrong: Wrong,
}

impl Complaint {
    /// What waits, or was never come to, is told after what it may have waited for: a target is never the reason, and a device
    /// that does not come is.
    fn place(&self) -> (Weight, bool, Kind, &Fault, &Wrong) {
        let follows = matches!(
            self.wrong,
            Wrong::Queued | Wrong::Dependency | Wrong::NeverStarted
        );
        (self.weight, follows, self.kind, &self.fault, &self.wrong)
    }
}

impl Ord for Complaint {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for Complaint {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// In half a sentence, for people.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::Required {
            f.write_str("required ")?;
        }
        match self.fault.unit() {
            Some(unit) => write!(f, "{unit} {}", self.wrong),
            None => write!(f, "{} {}", self.fault, self.wrong),
        }
    }
}

/// Why the unit matters. The order is that of telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Essential,
    Required,
    Compared,
    /// It came to nothing, most often because of one of those above.
    Missed,
}

/// What one snapshot is judged against.
pub(super) struct Standard<'a> {
    pub(super) requirements: &'a Requirements,
    pub(super) baseline: Option<&'a Baseline>,
    /// Units that systemd has restarted since the last snapshot because they ended badly, or that were started anew.
    pub(super) restarted: &'a BTreeSet<String>,
}

impl Standard<'_> {
    /// Everything that is wrong, the decisive first.
    pub(super) fn complaints(&self, snapshot: &Snapshot) -> Vec<Complaint> {
        let required = self.required(snapshot);
        let mut complaints: Vec<Complaint> = essential(snapshot).collect();
        let missing = self.requirements.missing_units.as_ref();
        complaints.extend(missing.map(|missing| Complaint {
            // Should it become known, the generation may be well.
            weight: if missing.is_certain {
                Weight::Final
            } else {
                Weight::Open
            },
            kind: Kind::Essential,
            fault: Fault::Units,
            wrong: Wrong::NotLinked {
                why: missing.why.clone(),
            },
        }));
        complaints.extend(
            required
                .iter()
                .filter_map(|(name, demand)| self.required_unit(snapshot, name, *demand)),
        );
        for (name, unit) in &snapshot.units {
            if !is_judged(name, unit) || required.iter().any(|(own, _)| own == name) {
                continue;
            }
            complaints.extend(self.other_unit(snapshot, name, unit));
            complaints.extend(self.missed_unit(snapshot, name, unit));
        }
        complaints.extend(self.snippets(snapshot));
        complaints.extend(self.lost(snapshot));
        complaints.extend(unsettled(snapshot).filter_map(|job| self.job(job)));
        complaints.sort();
        let mut told = BTreeSet::new();
        complaints.retain(|complaint| told.insert(complaint.fault.clone()));
        complaints
    }

    /// By their own names, each once.
    fn required(&self, snapshot: &Snapshot) -> Vec<(String, Demand)> {
        let declared = self.requirements.units.iter().map(|n| (n, Demand::Active));
        let by_target = &snapshot.boot_complete_requires;
        let by_target = by_target.iter().map(|n| (n, Demand::AsSystemd));
        let mut required: Vec<(String, Demand)> = Vec::new();
        for (name, demand) in declared.chain(by_target) {
            let own = snapshot.unit(name).map_or(name.as_str(), |(own, _)| own);
            if !is_ours(own) && required.iter().all(|(known, _)| known != own) {
                required.push((own.to_owned(), demand));
            }
        }
        required
    }

    fn required_unit(&self, snapshot: &Snapshot, name: &str, demand: Demand) -> Option<Complaint> {
        let of = |weight, wrong| Complaint {
            weight,
            kind: Kind::Required,
            fault: Fault::of_unit(name),
            wrong,
        };
        let Some(unit) = snapshot.units.get(name) else {
            return Some(of(Weight::Open, Wrong::NotKnown));
        };
        let restarts = unit.restarts;
        if demand.is_met_by(unit) {
            let again = self.restarted.contains(name);
            return again.then(|| of(Weight::Open, Wrong::StartedAgain { restarts }));
        }
        let queued = snapshot.has_job(name);
        let (weight, wrong) = match (&unit.active, &unit.load) {
            // Somebody is about to start it again: systemd has not given up.
            (Active::Failed, _) if queued => (Weight::Open, Wrong::FailedAndQueued),
            (Active::Failed, _) if unit.is_between_restarts() => {
                (Weight::Open, Wrong::KeepsEnding { restarts })
            }
            (Active::Failed, _) => (Weight::Final, failed(unit)),
            (Active::Inactive, Load::NotFound) => (Weight::Final, Wrong::NotFound),
            (Active::Inactive, Load::Masked) => (Weight::Final, Wrong::Masked),
            (Active::Inactive, Load::Unusable(word)) => {
                (Weight::Final, Wrong::Unusable(word.clone()))
            }
            (Active::Inactive, _) if queued => (Weight::Open, Wrong::Queued),
            (Active::Inactive, _) if unit.ended == Ended::Skipped => (Weight::Open, Wrong::Skipped),
            (Active::Inactive | Active::Active, _) => {
                match missed::came_to_nothing(snapshot, name) {
                    Some(wrong) => (Weight::Final, wrong),
                    None => (Weight::Open, Wrong::Inactive),
                }
            }
            (Active::Changing(state), _) => {
                let (state, sub) = (state.clone(), unit.sub.clone());
                (Weight::Open, Wrong::Changing { state, sub })
            }
        };
        Some(of(weight, wrong))
    }

    fn other_unit(&self, snapshot: &Snapshot, name: &str, unit: &Unit) -> Option<Complaint> {
        let fault = Fault::of_unit(name);
        // What a timer, a login, a device or a connection started may fail for reasons outside of this generation.
        if self.excuses(&fault) || !snapshot.was_to_run(name) {
            return None;
        }
        let has_failed = unit.has_failed();
        let (weight, wrong) = match &unit.active {
            // Without a baseline there is nothing to say that it ever worked: recorded, not judged.
            Active::Failed if has_failed && self.baseline.is_none() => return None,
            Active::Failed if has_failed && snapshot.has_job(name) => {
                (Weight::Open, Wrong::FailedAndQueued)
            }
            Active::Failed if has_failed => (Weight::Final, failed(unit)),
            _ if is_crashing(unit) || self.restarted.contains(name) => {
                let restarts = unit.restarts;
                (self.compared(), Wrong::KeepsEnding { restarts })
            }
            _ => return None,
        };
        Some(Complaint {
            weight,
            kind: Kind::Compared,
            fault,
            wrong,
        })
    }

    /// What failed under the last good generation as well is no fault of this one.
    fn snippets(&self, snapshot: &Snapshot) -> impl Iterator<Item = Complaint> {
        let weight = self.baseline.map_or(Weight::Bearable, |_| Weight::Final);
        let faults = snapshot.failed_snippets.iter().cloned().map(Fault::Snippet);
        faults
            .filter(|fault| !self.excuses(fault))
            .map(move |fault| Complaint {
                weight,
                kind: Kind::Compared,
                fault,
                wrong: Wrong::Failed,
            })
    }

    fn job(&self, job: &Job) -> Option<Complaint> {
        let fault = Fault::of_unit(&job.unit);
        let (weight, kind) = if NEVER_EXCUSED.contains(&job.unit.as_str()) {
            (Weight::Open, Kind::Essential)
        } else if self.excuses(&fault) {
            return None;
        } else {
            (self.compared(), Kind::Compared)
        };
        Some(Complaint {
            weight,
            kind,
            fault,
            wrong: Wrong::NotFinished {
                job: job.kind.clone(),
            },
        })
    }

    fn excuses(&self, fault: &Fault) -> bool {
        let is_wanted = fault
            .unit()
            .is_some_and(|unit| self.requirements.wanted.iter().any(|one| one == unit));
        is_wanted
            || self
                .baseline
                .is_some_and(|baseline| baseline.failing.contains(fault))
    }

    /// What it weighs to be worse than the baseline.
    fn compared(&self) -> Weight {
        self.baseline.map_or(Weight::Bearable, |_| Weight::Open)
    }
}

/// What is wrong with a unit that systemd has given up on.
fn failed(unit: &Unit) -> Wrong {
    let restarts = unit.restarts;
    match unit.ended {
        // systemd 262 says this also of one that ended badly each time; older ones say then how it ended.
        Ended::TooOften if restarts == 0 => Wrong::StartLimit,
        _ if restarts > 0 => Wrong::GivenUp { restarts },
        _ => Wrong::Failed,
    }
}

/// What is asked of a required unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// `required-units`: it must be active, or a oneshot that is done.
    Active,
    /// `Requires=` of `boot-complete.target`: a unit that its conditions skip is well too.
    AsSystemd,
}

impl Demand {
    fn is_met_by(self, unit: &Unit) -> bool {
        match (&unit.active, unit.ended) {
            (Active::Active, _) | (Active::Inactive, Ended::OneshotDone) => true,
            (Active::Inactive, Ended::Skipped) => self == Self::AsSystemd,
            _ => false,
        }
    }
}

fn essential(snapshot: &Snapshot) -> impl Iterator<Item = Complaint> {
    let failed = NEVER_EXCUSED.into_iter().filter_map(|name| {
        let failed = snapshot.units.get(name)?.active == Active::Failed;
        failed.then_some((name, Wrong::Failed))
    });
    let given_up = LAST_RESORTS.into_iter().filter_map(|name| {
        let reached = snapshot.units.get(name)?.active == Active::Active;
        reached.then_some((name, Wrong::LastResort))
    });
    failed.chain(given_up).map(|(name, wrong)| Complaint {
        weight: Weight::Final,
        kind: Kind::Essential,
        fault: Fault::of_unit(name),
        wrong,
    })
}

/// lastgood's own units do not judge themselves: the agent's own fault is no fault of the generation (invariant A8).
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with("lastgood-") && !NEVER_EXCUSED.contains(&name)
}

/// Whether a failure of this unit can say anything about the generation.
///
/// Not so for what somebody started by hand (`systemd-run`), for scopes (processes that systemd did not start: a
/// login's) and for the instances of a per-connection service (`sshd@4-10.0.0.1:22-10.0.0.9:3910.service`): their
/// names are new each time, so that no baseline could ever know them.
pub(super) fn is_judged(name: &str, unit: &Unit) -> bool {
    !is_ours(name)
        && !NEVER_EXCUSED.contains(&name)
        && !unit.transient
        && name.rsplit('.').next() != Some("scope")
        && !is_per_connection(name)
}

/// systemd names these `N-...`, counting connections from 0.
fn is_per_connection(name: &str) -> bool {
    let counted = |(_, instance): (&str, &str)| {
        let (number, rest) = instance.split_once('-')?;
        Some(!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && rest.contains('-'))
    };
    name.split_once('@').and_then(counted).unwrap_or(false)
}

/// What there is, for the next generation to be compared with. None where nobody has looked around.
pub(super) fn looks(snapshot: &Snapshot) -> Option<Looks> {
    let kept = |name: &str| {
        let kind = name.rsplit('.').next();
        matches!(
            kind,
            Some("service" | "socket" | "timer" | "path" | "mount")
        ) && snapshot.was_to_run(name)
    };
    let units = || snapshot.units.iter().filter(|(name, _)| kept(name));
    let up = units().filter(|(_, unit)| unit.active == Active::Active);
    let restarted = units().filter(|(_, unit)| unit.restarts > 0);
    Some(Looks {
        up: up.map(|(name, _)| name.clone()).collect(),
        restarts: restarted
            .map(|(name, unit)| (name.clone(), unit.restarts))
            .collect(),
        around: snapshot.around.clone()?,
    })
}

/// Whether a unit that the boot was to start is not there, although nothing about it says "failed".
pub(super) fn missed(snapshot: &Snapshot, name: &str, unit: &Unit) -> bool {
    missed::missed(snapshot, name, unit).is_some()
}

/// Ended badly and about to be started again. One that ends well and is started again does so on purpose.
pub(super) fn is_crashing(unit: &Unit) -> bool {
    unit.is_between_restarts() && unit.ended == Ended::Badly
}

/// Waits for the assessment, as lastgood's own units do.
const WAITS_FOR_US: &str = "boot-complete.target";

/// A job that is being done, or is about to be: systemd may not have come to it yet.
pub(super) fn is_to_come(job: &Job) -> bool {
    job.unit != WAITS_FOR_US && !is_ours(&job.unit)
}

/// A job that the boot waits for. What waits itself has one of these before it, or lastgood: `boot-complete.target`
/// and all behind it wait for this very assessment. What nothing waits for is not part of the boot (`apt-daily.service`
/// begun by its timer may run for as long as it likes). The activation and the firewall are always waited for.
fn is_unsettled(job: &Job) -> bool {
    NEVER_EXCUSED.contains(&job.unit.as_str())
        || (job.running && job.blocks_others && !is_ours(&job.unit))
}

/// The jobs that stand between this boot and its end. What nobody was to start is not waited for: a login's
/// `user@1000.service`, say.
pub(super) fn unsettled(snapshot: &Snapshot) -> impl Iterator<Item = &Job> {
    let is_of_the_boot = |unit: &str| {
        NEVER_EXCUSED.contains(&unit)
            || snapshot.was_to_run(unit)
            || snapshot
                .boot_complete_requires
                .iter()
                .any(|own| own == unit)
    };
    let jobs = snapshot.jobs.iter().filter(|job| is_unsettled(job));
    jobs.filter(move |job| is_of_the_boot(&job.unit))
}

/// How far this boot got. Never beyond services: what comes after is for the judgement to say.
pub(super) fn stage(snapshot: &Snapshot) -> Stage {
    let is = |name, state| {
        snapshot
            .units
            .get(name)
            .is_some_and(|unit| unit.active == state)
    };
    let [activate, firewall] = NEVER_EXCUSED;
    if is(activate, Active::Failed) {
        Stage::Begun
    } else if is(firewall, Active::Failed) {
        Stage::Activated
    } else if is("basic.target", Active::Active) {
        Stage::Services
    } else if is("network.target", Active::Active) {
        Stage::Network
    } else {
        Stage::Firewalled
    }
}
