//! From nixpkgs' entries to ours, and back; and from a stranger's.
//!
//! What nixpkgs' loader.conf names has booted the machine until now and counts as proven, and so does what a stranger's
//! machine was started from.

use std::collections::BTreeSet;
use std::path::Path;

use super::domain::{fail, product};
use super::volume::Files;
use super::{Case, Goal};
use crate::boot_partition::{ENTRIES, LOADER_CONF};
use crate::nixpkgs::{DIRECTORY, hashed_name};
use crate::plan::tests::{id, proven, select, theirs};
use crate::plan::{Intent, Standing};

/// The one that has booted the machine until now.
const FORMER: u64 = 2;

fn put(files: &mut Files, path: &str, text: &str) {
    files.insert(Path::new(path).to_owned(), text.as_bytes().into());
}

/// An entry as nixpkgs' builder writes it, with its payload. Its file name.
fn write_theirs(files: &mut Files, number: u64, is_hashed: bool, sort_key: &str) -> String {
    let text = theirs(number).replace("sort-key nixos", &format!("sort-key {sort_key}"));
    let name = if is_hashed {
        hashed_name(&text)
    } else {
        format!("nixos-generation-{number}.conf")
    };
    put(files, &format!("{ENTRIES}/{name}"), &text);
    for file in [format!("kernel-{number}"), "initrd".to_owned()] {
        put(files, &format!("{DIRECTORY}/{file}.efi"), &file);
    }
    name
}

/// Generations 1 and 2 as nixpkgs left them, another machine's 9, and a loader.conf that names the second.
fn migrated(is_hashed: bool, sort_key: &str) -> Files {
    let mut files = Files::new();
    write_theirs(&mut files, 9, is_hashed, "nixos");
    write_theirs(&mut files, 1, is_hashed, sort_key);
    let name = write_theirs(&mut files, FORMER, is_hashed, sort_key);
    put(
        &mut files,
        LOADER_CONF,
        &format!("timeout 5\ndefault {name}\n"),
    );
    files
}

fn install(files: &Files, intent: &Intent, good: &[u64]) -> Case {
    Case {
        files: files.clone(),
        intent: intent.clone(),
        goal: Goal::Install,
        size: None,
        gone: None,
        proven: good.iter().copied().collect(),
    }
}

/// The directory of a stranger's kernels.
pub(super) const STRANGERS: &str = "EFI/debian";
/// What a stranger's kernel is counted as: no generation has this number.
const STRANGER: u64 = 7;

/// A stranger's entries: the one that runs, and one that would come first and never ran.
fn strangers() -> Files {
    let mut files = Files::new();
    for number in [STRANGER, STRANGER + 1] {
        let text = format!(
            "title Debian\nversion {number}\nlinux /{STRANGERS}/{number}-vmlinuz\ninitrd /{STRANGERS}/initrd\n"
        );
        put(
            &mut files,
            &format!("{ENTRIES}/debian-{number}.conf"),
            &text,
        );
        let kernel = format!("{number}-vmlinuz");
        put(&mut files, &format!("{STRANGERS}/{kernel}"), &kernel);
    }
    put(&mut files, &format!("{STRANGERS}/initrd"), "initrd");
    let conf = format!("timeout 5\ndefault debian-{STRANGER}.conf\n");
    put(&mut files, LOADER_CONF, &conf);
    files
}

/// First installs on a stranger's machine, which boots what it booted until something is proven.
fn from_strangers() -> Vec<Case> {
    let booted = |intent| Intent {
        booted: Some(format!("debian-{STRANGER}.conf")),
        ..intent
    };
    let mut cases = Vec::new();
    for first in 1..=3 {
        let mut files = strangers();
        let case = install(&files, &booted(select(first)), &[STRANGER]);
        case.run(&mut files);
        cases.push(case);
        for failed in 0..=3 {
            if failed > 0 {
                fail(&mut files);
            }
            let uninstalled = Case {
                goal: Goal::Uninstall,
                ..install(&files, &booted(select(first)), &[STRANGER])
            };
            cases.push(uninstalled);
            for next in 1..=3 {
                // It knows what runs, or it does not any more.
                cases.push(install(&files, &booted(select(next)), &[STRANGER]));
                cases.push(install(&files, &select(next), &[STRANGER]));
                let intent = proven(select(next), first);
                cases.push(install(&files, &intent, &[STRANGER, first]));
            }
        }
    }
    cases
}

/// First installs, further selections after any number of failures, and the first proof.
pub(super) fn takeovers() -> Vec<Case> {
    let mut cases = from_strangers();
    for (is_hashed, sort_key) in [(false, "nixos"), (false, "a"), (true, "nixos")] {
        for first in 1..=3 {
            let mut files = migrated(is_hashed, sort_key);
            let case = install(&files, &select(first), &[FORMER]);
            case.run(&mut files);
            cases.push(case);
            for failed in 0..=3 {
                if failed > 0 {
                    fail(&mut files);
                }
                let mut rejected = Intent::default();
                rejected.standings.insert(id(first), Standing::Rejected);
                cases.push(install(&files, &rejected, &[FORMER]));
                for next in 1..=3 {
                    cases.push(install(&files, &select(next), &[FORMER]));
                    // The trial, or what stood in for it, passes.
                    for good in BTreeSet::from([first, FORMER]) {
                        let intent = proven(select(next), good);
                        cases.push(install(&files, &intent, &[FORMER, good]));
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
                let mut files = Files::new();
                install(&files, &intent, &all).run(&mut files);
                for failed in 0..=1 {
                    if failed > 0 {
                        fail(&mut files);
                    }
                    let mut files = files.clone();
                    if let Some(number) = others {
                        let name = write_theirs(&mut files, number, is_hashed, "nixos");
                        // Their builder has run again, or has not touched loader.conf.
                        if is_hashed && all.contains(&number) {
                            put(&mut files, LOADER_CONF, &format!("default {name}\n"));
                        }
                    }
                    cases.push(Case {
                        goal: Goal::Uninstall,
                        ..install(&files, &intent, &all)
                    });
                }
            }
        }
    }
    // Nothing is proven: what runs, or what ran before.
    for (running, selected) in product(&[None, Some(1), Some(2), Some(3)], &[1, 2, 3]) {
        for is_hashed in [false, true] {
            let mut files = migrated(is_hashed, "nixos");
            let intent = Intent {
                running: running.map(id),
                ..select(selected)
            };
            install(&files, &intent, &[]).run(&mut files);
            let good = [FORMER, running.unwrap_or(FORMER)];
            cases.push(Case {
                goal: Goal::Uninstall,
                ..install(&files, &intent, &good)
            });
        }
    }
    cases
}
