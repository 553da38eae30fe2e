//! Another system's entries on the same `$BOOT`: none of them is touched, whatever happens, and they are in nobody's
//! way.

use std::path::Path;

use super::domain::{fail, product};
use super::place::Held;
use super::{Case, make};
use crate::name::OurName as _;
use crate::owner::Ownership;
use crate::plan::InPlace;
use crate::plan::tests::{Disk, proven, select};
use crate::plan::{Intent, plan};
use systemd_boot_model::EntryName;

/// The other system's generation, by number.
const OTHER: u64 = 9;

fn as_system(owner: &str, intent: Intent) -> Intent {
    Intent {
        ownership: Ownership {
            owner: owner.parse().ok(),
            marks_all: true,
        },
        above_other_systems: true,
        ..intent
    }
}

/// The other system selects its one generation, which is proven there or not.
fn other_installs(held: &mut Held, is_proven: bool) {
    let mut disk = super::observe(held);
    disk.0.generations = Disk::with(OTHER).0.generations.split_off(8);
    let intent = if is_proven {
        proven(select(OTHER), OTHER)
    } else {
        select(OTHER)
    };
    let intent = as_system("99999999", intent);
    for step in plan(&disk.0, &intent, &InPlace::default()).unwrap().steps {
        make(held, &step);
    }
}

/// Whether a file is an entry of the other system's.
pub(super) fn is_others(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| EntryName::parse(name.to_str()?));
    name.is_some_and(|name| name.generation_number() == Some(OTHER))
}

/// Every order of the two, and every change of ours after that.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (is_first, is_proven) in product(&[true, false], &[true, false]) {
        for (good, before) in product(&[None, Some(1), Some(2)], &[1, 2, 3]) {
            let known = |selected| {
                let intent = good.map_or(select(selected), |good| proven(select(selected), good));
                as_system("11111111", intent)
            };
            let mut held = Held::default();
            let all: Vec<u64> = good.into_iter().chain(is_proven.then_some(OTHER)).collect();
            if is_first {
                other_installs(&mut held, is_proven);
            }
            let first = Case::install(&held, &known(before), &all);
            first.run(&mut held);
            cases.push(first);
            if !is_first {
                other_installs(&mut held, is_proven);
            }
            for failed in 0..=1 {
                if failed > 0 {
                    fail(&mut held);
                }
                for after in 1..=3 {
                    cases.push(Case::install(&held, &known(after), &all));
                }
                if good.is_some() {
                    cases.push(Case::uninstall(&held, &known(before), &all));
                }
            }
        }
    }
    cases
}
