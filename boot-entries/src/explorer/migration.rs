//! From nixpkgs' entries to ours, and back; and from foreign ones.
//!
//! What nixpkgs' loader.conf names has booted the machine until now and counts as proven, and so does what a foreign
//! machine was started from.

use std::collections::BTreeSet;
use std::path::Path;

use super::Case;
use super::domain::{fail, product};
use super::place::Held;
use crate::nixpkgs::{DIRECTORY, hashed_name};
use crate::plan::tests::{id, proven, select, theirs};
use crate::plan::{Intent, Standing};
use systemd_boot_model::{ENTRIES, LOADER_CONF};

/// The one that has booted the machine until now.
const FORMER: u64 = 2;

fn put(held: &mut Held, path: &str, text: &str) {
    let path = Path::new(path).to_owned();
    held.boot.insert(path, text.as_bytes().into());
}

/// An entry as nixpkgs' builder writes it, with its payload. Its file name.
fn write_theirs(held: &mut Held, number: u64, is_hashed: bool, sort_key: &str) -> String {
    let text = theirs(number).replace("sort-key nixos", &format!("sort-key {sort_key}"));
    let name = if is_hashed {
        hashed_name(&text)
    } else {
        format!("nixos-generation-{number}.conf")
    };
    put(held, &format!("{ENTRIES}/{name}"), &text);
    for file in [format!("kernel-{number}"), "initrd".to_owned()] {
        put(held, &format!("{DIRECTORY}/{file}.efi"), &file);
    }
    name
}

/// Generations 1 and 2 as nixpkgs left them, another machine's 9, and a loader.conf that names the second.
fn migrated(is_hashed: bool, sort_key: &str) -> Held {
    let mut held = Held::default();
    write_theirs(&mut held, 9, is_hashed, "nixos");
    write_theirs(&mut held, 1, is_hashed, sort_key);
    let name = write_theirs(&mut held, FORMER, is_hashed, sort_key);
    put(
        &mut held,
        LOADER_CONF,
        &format!("timeout 5\ndefault {name}\n"),
    );
    held
}

/// The directory of foreign kernels.
pub(super) const FOREIGN: &str = "EFI/debian";
/// What a foreign kernel is counted as: no generation has this number.
const FOREIGN_KERNEL: u64 = 7;

/// Foreign entries: the one that runs, and one that would come first and never ran.
fn foreign() -> Held {
    let mut held = Held::default();
    for number in [FOREIGN_KERNEL, FOREIGN_KERNEL + 1] {
        let text = format!(
            "title Debian\nversion {number}\nlinux /{FOREIGN}/{number}-vmlinuz\ninitrd /{FOREIGN}/initrd\n"
        );
        put(&mut held, &format!("{ENTRIES}/debian-{number}.conf"), &text);
        let kernel = format!("{number}-vmlinuz");
        put(&mut held, &format!("{FOREIGN}/{kernel}"), &kernel);
    }
    put(&mut held, &format!("{FOREIGN}/initrd"), "initrd");
    let conf = format!("timeout 5\ndefault debian-{FOREIGN_KERNEL}.conf\n");
    put(&mut held, LOADER_CONF, &conf);
    held
}

/// First installs on a foreign machine, which boots what it booted until something is proven.
fn from_foreign() -> Vec<Case> {
    let booted = |intent| Intent {
        booted: Some(format!("debian-{FOREIGN_KERNEL}.conf")),
        ..intent
    };
    let mut cases = Vec::new();
    for first in 1..=3 {
        let mut held = foreign();
        let case = Case::install(&held, &booted(select(first)), &[FOREIGN_KERNEL]);
        case.run(&mut held);
        cases.push(case);
        for failed in 0..=3 {
            if failed > 0 {
                fail(&mut held);
            }
            let uninstalled = Case::uninstall(&held, &booted(select(first)), &[FOREIGN_KERNEL]);
            cases.push(uninstalled);
            for next in 1..=3 {
                // It knows what runs, or it does not any more.
                cases.push(Case::install(
                    &held,
                    &booted(select(next)),
                    &[FOREIGN_KERNEL],
                ));
                cases.push(Case::install(&held, &select(next), &[FOREIGN_KERNEL]));
                let intent = proven(select(next), first);
                cases.push(Case::install(&held, &intent, &[FOREIGN_KERNEL, first]));
            }
        }
    }
    cases
}

/// Takeovers that are over while one of theirs starts what no entry of ours can: the one that has booted the machine,
/// or an older one.
fn with_irreplaceable() -> Vec<Case> {
    let mut cases = Vec::new();
    for (unbootable, is_hashed) in product(&[1, FORMER], &[false, true]) {
        let mut held = migrated(is_hashed, "nixos");
        let of = |held: &Held, intent: &Intent, good: &[u64]| Case {
            unbootable: Some(unbootable),
            ..Case::install(held, intent, good)
        };
        let case = of(&held, &select(3), &[FORMER]);
        case.run(&mut held);
        cases.push(case);
        for good in [3, 3 - unbootable] {
            let intent = proven(select(3), good);
            cases.push(of(&held, &intent, &[FORMER, good]));
        }
    }
    cases
}

/// First installs, further selections after any number of failures, and the first proof.
pub(super) fn takeovers() -> Vec<Case> {
    let mut cases = from_foreign();
    cases.extend(with_irreplaceable());
    for (is_hashed, sort_key) in [(false, "nixos"), (false, "a"), (true, "nixos")] {
        for first in 1..=3 {
            let mut held = migrated(is_hashed, sort_key);
            let case = Case::install(&held, &select(first), &[FORMER]);
            case.run(&mut held);
            cases.push(case);
            for failed in 0..=3 {
                if failed > 0 {
                    fail(&mut held);
                }
                let mut rejected = Intent::default();
                rejected.standings.insert(id(first), Standing::Rejected);
                cases.push(Case::install(&held, &rejected, &[FORMER]));
                for next in 1..=3 {
                    cases.push(Case::install(&held, &select(next), &[FORMER]));
                    // The trial, or what stood in for it, passes.
                    for good in BTreeSet::from([first, FORMER]) {
                        let intent = proven(select(next), good);
                        cases.push(Case::install(&held, &intent, &[FORMER, good]));
                    }
                }
            }
        }
    }
    cases
}

/// From everything that three generations may be, with and without entries of nixpkgs' beside ours.
pub(super) fn uninstalls() -> Vec<Case> {
    use Standing::{Proven, Untested};
    let mut cases = Vec::new();
    for (others, is_hashed) in product(&[None, Some(1), Some(2), Some(3)], &[false, true]) {
        for (good, second) in product(&[1, 2, 3], &[Untested, Proven]) {
            for selected in 1..=3 {
                let mut intent = proven(select(selected), good);
                let other = good % 3 + 1;
                intent.standings.insert(id(other), second);
                let all: BTreeSet<u64> = [Some(good), (second == Proven).then_some(other)]
                    .into_iter()
                    .flatten()
                    .collect();
                let all: Vec<u64> = all.into_iter().collect();
                let mut held = Held::default();
                Case::install(&held, &intent, &all).run(&mut held);
                for failed in 0..=1 {
                    if failed > 0 {
                        fail(&mut held);
                    }
                    let mut held = held.clone();
                    if let Some(number) = others {
                        let name = write_theirs(&mut held, number, is_hashed, "nixos");
                        // Their builder has run again, or has not touched loader.conf.
                        if is_hashed && all.contains(&number) {
                            put(&mut held, LOADER_CONF, &format!("default {name}\n"));
                        }
                    }
                    cases.push(Case::uninstall(&held, &intent, &all));
                }
            }
        }
    }
    // Nothing is proven: what runs, or what ran before.
    for (running, selected) in product(&[None, Some(1), Some(2), Some(3)], &[1, 2, 3]) {
        for is_hashed in [false, true] {
            let mut held = migrated(is_hashed, "nixos");
            let intent = Intent {
                running: running.map(id),
                ..select(selected)
            };
            Case::install(&held, &intent, &[]).run(&mut held);
            let good = [FORMER, running.unwrap_or(FORMER)];
            cases.push(Case::uninstall(&held, &intent, &good));
        }
    }
    cases
}
