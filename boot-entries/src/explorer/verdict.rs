//! Verdicts: on every machine that a run leaves, and on what a power cut leaves of one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::claim::Claim;
use super::domain::{Machine, machines};
use super::place::{Held, Volumes};
use super::{Case, Goal, explore, observe};
use crate::apply::no_room::demotions;
use crate::durable::call::Call;
use crate::generation::Subject;
use crate::name::stem_of;
use crate::plan::tests::{id, proven, select};
use crate::plan::{Intent, Standing};

impl Case {
    /// This verdict on a generation, where `last_good` is the last good one then.
    fn judged(&self, number: u64, verdict: Standing, last_good: u64) -> Self {
        let mut intent = self.intent.clone();
        intent.standings.insert(id(number), verdict);
        let former = intent.last_good.replace(id(last_good));
        if verdict == Standing::Rejected && intent.selected == Some(id(number)) {
            intent.selected = Some(id(last_good));
        }
        let mut case = self.clone();
        case.goal = Goal::Verdict;
        case.proven.insert(last_good);
        // What was the last good one stays what it is: unless it is rejected, or another one is accepted while it is
        // selected, and so gets a counter.
        let is_left_alone = |former: &Subject| {
            *former != id(number)
                && (verdict == Standing::Rejected || intent.selected.as_ref() != Some(former))
        };
        let former = former.filter(is_left_alone);
        case.ground = former.map(|former| former.generation.number());
        Self { intent, ..case }
    }
}

impl Machine {
    /// Every verdict there may be: the trial passes, or it does not; the operator accepts another one by hand, or says
    /// that one is bad, be it the last good one.
    fn verdicts(&self) -> Vec<Case> {
        let good: Vec<u64> = self.proven().into_iter().collect();
        let case = Case::install(&self.held, &self.intent(self.selected), &good);
        let mut cases = Vec::new();
        for number in 1..=3 {
            if Some(number) != self.last_good {
                cases.push(case.judged(number, Standing::Proven, number));
            }
            let others = good.iter().copied().filter(|other| *other != number);
            let last_good = self.last_good.filter(|last_good| *last_good != number);
            if let Some(left) = last_good.or(others.max()) {
                cases.push(case.judged(number, Standing::Rejected, left));
            }
        }
        cases
    }
}

/// On every machine where something was installed.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = BTreeMap::new();
    for machine in machines().iter().filter(|machine| machine.selected > 0) {
        for case in machine.verdicts() {
            let key = (format!("{:?}", case.intent), case.held.clone());
            cases.insert(key, case);
        }
    }
    cases.into_values().collect()
}

/// On what a power cut leaves of the installation of a trial, one state in `stride`: the trial was booted all the same,
/// and passed or failed.
pub(super) fn after_a_cut(installs: &[Case], stride: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for install in installs {
        for held in install.cut().into_iter().step_by(stride) {
            let cut = Case {
                held,
                ..install.clone()
            };
            cases.extend(cut.trial_judged());
        }
    }
    cases
}

impl Case {
    /// Both verdicts on the trial, as far as it has an entry that starts it.
    fn trial_judged(&self) -> Vec<Self> {
        let number = |subject: &Option<Subject>| Some(subject.as_ref()?.generation.number());
        let (Some(trial), Some(last_good)) = (
            number(&self.intent.selected),
            number(&self.intent.last_good),
        ) else {
            return Vec::new();
        };
        let boot = observe(&self.held).0.boot;
        let starts = boot
            .files_of(&stem_of(&id(trial)))
            .any(|(_, f)| f.has_program);
        if !starts || trial == last_good {
            return Vec::new();
        }
        [(Standing::Proven, trial), (Standing::Rejected, last_good)]
            .map(|(verdict, good)| self.judged(trial, verdict, good))
            .to_vec()
    }
}

/// Installations of a trial above a last good generation: the trial is new, or was there.
pub(super) fn trials() -> Vec<Case> {
    let mut cases = Vec::new();
    for good in 1..=3 {
        for before in [good, good % 3 + 1] {
            let mut held = Held::default();
            Case::install(&held, &proven(select(before), good), &[good]).run(&mut held);
            let trial = (good + 1) % 3 + 1;
            let intent: Intent = proven(select(trial), good);
            cases.push(Case::install(&held, &intent, &[good]));
            // Already selected, so that there is nothing to do but to move.
            let mut selected = held.clone();
            Case::install(&held, &intent, &[good]).run(&mut selected);
            cases.push(Case::install(&selected, &intent, &[good]));
            // It comes with a payload that is not there yet.
            let observed = observe(&held).0;
            let found = &observed.generations[usize::try_from(trial).unwrap() - 1];
            let kernel = found.bootable.as_ref().unwrap().kernel.path();
            let is_new = |path: &Path| {
                path == Path::new(&kernel) || path.to_str().unwrap().contains(&found.stem)
            };
            held.boot.retain(|path, _| !is_new(path));
            cases.push(Case::install(&held, &intent, &[good]));
        }
    }
    cases
}

impl Case {
    /// Not a byte can be written, so that what is to be passed over is renamed only: cuts the power after every call of that.
    fn explore_without_room(&self) -> Result<usize, String> {
        let claim = Claim::of(self)?;
        let mut volumes = Volumes::new(&self.held);
        let mut seen = BTreeSet::new();
        let steps = self.verdict(&self.held).map_err(|why| why.to_string())?;
        for demotion in demotions(&steps) {
            let to = PathBuf::from(&demotion.to);
            let directory = to.parent().unwrap_or(Path::new("")).to_owned();
            for from in demotion.from {
                let calls = [
                    Call::Rename(from.into(), to.clone()),
                    Call::FlushAll(directory.clone()),
                    Call::Flush(directory.clone()),
                ];
                for call in calls {
                    volumes.call(demotion.on, &call);
                    for found in volumes.after_a_cut() {
                        if seen.insert(found.clone()) {
                            claim
                                .check_renamed(&found)
                                .map_err(|why| format!("{call:?}: {why}"))?;
                        }
                    }
                }
            }
        }
        Ok(seen.len())
    }
}

#[test]
fn no_power_cut_strands_a_machine_whose_boot_partition_is_full() {
    let demotes = |case: &Case| {
        let steps = case.verdict(&case.held);
        steps.is_ok_and(|steps| !demotions(&steps).is_empty())
    };
    let mut all = cases();
    all.extend(after_a_cut(&trials(), 1));
    all.retain(demotes);
    explore(
        "demotions without room",
        &all,
        Case::explore_without_room,
        [50, 500],
    );
}
