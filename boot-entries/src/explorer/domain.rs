//! The plans that are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::place::Held;
use super::{Case, observe};
use crate::generation::Subject;
use crate::plan::tests::{id, proven, select};
use crate::plan::{Intent, Standing};
use systemd_boot_model::{ENTRIES, EntryName, ReleaseRange, Tries};

/// The loader starts the first entry in vain.
pub(super) fn fail(held: &mut Held) {
    let next = observe(held)
        .loader(ReleaseRange::V252)
        .predict(0)
        .remove(0)
        .name;
    let counted = EntryName {
        tries: next.tries.map(Tries::after_a_boot),
        ..next.clone()
    };
    let at = |name: &EntryName| Path::new(ENTRIES).join(name.to_string());
    let bytes = held.boot.remove(&at(&next)).unwrap();
    held.boot.insert(at(&counted), bytes);
}

pub(super) fn product<A: Copy, B: Copy>(a: &[A], b: &[B]) -> Vec<(A, B)> {
    a.iter().flat_map(|a| b.iter().map(|b| (*a, *b))).collect()
}

/// A machine with three generations.
pub(super) struct Machine {
    pub(super) standings: BTreeMap<Subject, Standing>,
    pub(super) last_good: Option<u64>,
    /// What was selected last. 0: nothing was ever installed.
    pub(super) selected: u64,
    /// So many boots of that have failed since.
    failed: usize,
    pub(super) held: Held,
}

impl Machine {
    fn of(&self, number: u64) -> Standing {
        self.standings[&id(number)]
    }

    pub(super) fn proven(&self) -> BTreeSet<u64> {
        let is_proven = |number: &u64| self.of(*number) == Standing::Proven;
        (1..=3).filter(is_proven).collect()
    }

    /// Those that can be selected: a rejected one never is.
    fn selectable(&self) -> Vec<u64> {
        let may_be = |number: &u64| self.of(*number) != Standing::Rejected;
        (1..=3).filter(may_be).collect()
    }

    /// What is known, with `selected` to be booted next.
    pub(super) fn intent(&self, selected: u64) -> Intent {
        let last_good = self.last_good;
        Intent {
            standings: self.standings.clone(),
            ..last_good.map_or(select(selected), |good| proven(select(selected), good))
        }
    }
}

/// Every way three generations can stand, with every selection, any number of tries used.
pub(super) fn machines() -> Vec<Machine> {
    use Standing::{Proven, Rejected, Untested};
    let mut machines = Vec::new();
    for code in 0..27_usize {
        let of = |at: usize| [Untested, Proven, Rejected][code / [1, 3, 9][at] % 3];
        let standings = (1..=3).zip(0..).map(|(n, at)| (id(n), of(at))).collect();
        let mut machine = Machine {
            standings,
            last_good: None,
            selected: 0,
            failed: 0,
            held: Held::default(),
        };
        let proven = machine.proven();
        let none = proven.is_empty().then_some(None);
        for last_good in proven.iter().copied().map(Some).chain(none) {
            machine.last_good = last_good;
            for selected in machine.selectable().into_iter().chain([0]) {
                let mut held = Held::default();
                if selected > 0 {
                    Case::install(&held, &machine.intent(selected), &[]).run(&mut held);
                }
                for failed in 0..=3 {
                    if failed > 0 && selected > 0 {
                        fail(&mut held);
                    }
                    machines.push(Machine {
                        standings: machine.standings.clone(),
                        last_good,
                        selected,
                        failed,
                        held: held.clone(),
                    });
                }
            }
        }
    }
    machines
}

/// Every new selection on every such machine, with and without a verdict and with and without `--again`.
pub(super) fn cases() -> Vec<Case> {
    use Standing::{Proven, Rejected};
    let mut cases = BTreeMap::new();
    for machine in machines() {
        let (before, last_good) = (machine.selected, machine.last_good);
        let selectable = machine.selectable();
        for (after, verdict) in product(&selectable, &[None, Some(Proven), Some(Rejected)]) {
            let mut intent = machine.intent(after);
            let mut proven = machine.proven();
            if let Some(verdict) = verdict
                && before > 0
                && Some(before) != last_good
            {
                intent.standings.insert(id(before), verdict);
                if verdict == Proven {
                    intent.last_good = Some(id(before));
                    proven.insert(before);
                }
            }
            let standing = intent.standings[&id(after)];
            // One thing at a time: nothing else happens when a generation goes.
            let needed = |n: &u64| {
                machine.failed > 0 || verdict.is_some() || *n == after || Some(*n) == last_good
            };
            let gone = (1..=3).filter(|n| !needed(n)).map(Some).chain([None]);
            let gone: Vec<_> = gone.collect();
            for (rearm, gone) in product(&[false, true], &gone) {
                if standing == Rejected || rearm && (standing == Proven || gone.is_some()) {
                    continue;
                }
                let key = (format!("{rearm} {intent:?}"), gone, machine.held.clone());
                let proven: Vec<u64> = proven.iter().copied().collect();
                let case = Case {
                    rearm,
                    gone,
                    ..Case::install(&machine.held, &intent, &proven)
                };
                cases.insert(key, case);
            }
        }
    }
    cases.into_values().collect()
}
