//! The plans that are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::volume::Files;
use super::{Case, Goal, observe};
use crate::boot_partition::ENTRIES;
use crate::loader::Band;
use crate::name::{EntryName, Tries};
use crate::plan::tests::{id, proven, select};
use crate::plan::{Intent, Standing};

/// The loader starts the first entry in vain.
pub(super) fn fail(files: &mut Files) {
    let next = observe(files).loader(Band::V252).predict(0).remove(0).name;
    let counted = EntryName {
        tries: next.tries.map(Tries::after_a_boot),
        ..next.clone()
    };
    let at = |name: &EntryName| Path::new(ENTRIES).join(name.to_string());
    let bytes = files.remove(&at(&next)).unwrap();
    files.insert(at(&counted), bytes);
}

pub(super) fn product<A: Copy, B: Copy>(a: &[A], b: &[B]) -> Vec<(A, B)> {
    a.iter().flat_map(|a| b.iter().map(|b| (*a, *b))).collect()
}

/// Every way three generations can stand, every former and every new selection, any number of tries used, with and
/// without a verdict and with and without `--again`.
pub(super) fn cases() -> Vec<Case> {
    use Standing::{Proven, Rejected, Untested};
    let standings = [Untested, Proven, Rejected];
    let mut cases = BTreeMap::new();
    for code in 0..27_usize {
        let of =
            |number: u64| standings[code / [1, 3, 9][usize::try_from(number).unwrap() - 1] % 3];
        let all: BTreeMap<_, _> = (1..=3).map(|n| (id(n), of(n))).collect();
        let good: BTreeSet<u64> = (1..=3).filter(|n| of(*n) == Proven).collect();
        let last_goods = good.iter().copied().map(Some);
        let last_goods: Vec<_> = last_goods.chain(good.is_empty().then_some(None)).collect();
        for last_good in last_goods {
            let known = |selected| Intent {
                standings: all.clone(),
                ..last_good.map_or(select(selected), |good| proven(select(selected), good))
            };
            // 0: nothing was ever installed. A rejected generation is never selected.
            let selectable: Vec<u64> = (1..=3).filter(|n| of(*n) != Rejected).collect();
            for before in selectable.iter().copied().chain([0]) {
                let mut files = Files::new();
                if before > 0 {
                    Case {
                        files: files.clone(),
                        intent: known(before),
                        goal: Goal::Install,
                        gone: None,
                        proven: good.clone(),
                        size: None,
                    }
                    .run(&mut files);
                }
                for failed in 0..=3 {
                    if failed > 0 && before > 0 {
                        fail(&mut files);
                    }
                    for (after, verdict) in
                        product(&selectable, &[None, Some(Proven), Some(Rejected)])
                    {
                        let mut intent = known(after);
                        let mut proven = good.clone();
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
                            failed > 0 || verdict.is_some() || *n == after || Some(*n) == last_good
                        };
                        let gone = (1..=3).filter(|n| !needed(n)).map(Some).chain([None]);
                        let gone: Vec<_> = gone.collect();
                        for (rearm, gone) in product(&[false, true], &gone) {
                            if standing == Rejected
                                || rearm && (standing == Proven || gone.is_some())
                            {
                                continue;
                            }
                            let case = Case {
                                files: files.clone(),
                                intent: Intent {
                                    rearm,
                                    ..intent.clone()
                                },
                                goal: Goal::Install,
                                gone,
                                proven: proven.clone(),
                                size: None,
                            };
                            let key = (format!("{:?}", case.intent), gone, files.clone());
                            cases.insert(key, case);
                        }
                    }
                }
            }
        }
    }
    cases.into_values().collect()
}
