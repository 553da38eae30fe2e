//! What steps lead to, without making them.

use super::Step;
use crate::boot_partition::Partition;
use crate::entry::Entry;
use crate::name::EntryName;
use crate::nixpkgs;
use crate::observe::{Boot, ENTRIES, EntryFile, LOADER_CONF, Observation};
use crate::payload;

/// What `observed` becomes by `step`, when it succeeds.
pub(crate) fn make(observed: &mut Observation, step: &Step) {
    match step {
        Step::Copy {
            content, on, path, ..
        } => {
            if let Some(name) = payload_name(path) {
                observed.payload.insert(name.to_owned(), *content);
            } else if let Some(name) = nixpkgs::payload_of(path) {
                let place = &mut observed.boot.nixpkgs;
                place.insert((*on, name.to_owned()));
            }
        }
        Step::Text { text, on, path } => {
            if path == LOADER_CONF {
                observed.boot.loader_conf = Some(text.clone());
            } else if let Some(file) = entry_name(path)
                && let Some(name) = EntryName::parse(file)
            {
                let entry = EntryFile {
                    on: *on,
                    name,
                    entry: Entry::parse(text),
                    text: text.clone(),
                    has_program: false,
                };
                entries_on(&mut observed.boot, *on).insert(file.to_owned(), entry);
            }
        }
        Step::Remove { on, path } => {
            if let Some(name) = payload_name(path).filter(|_| *on == Partition::Boot) {
                observed.payload.remove(name);
            }
            if let Some(name) = nixpkgs::payload_of(path) {
                observed.boot.nixpkgs.remove(&(*on, name.to_owned()));
            }
            if let Some(file) = entry_name(path) {
                entries_on(&mut observed.boot, *on).remove(file);
            }
            observed.boot.leftovers.retain(|(_, left)| left != path);
        }
    }
    look(observed);
}

/// Finds out whether what entries start is there, as far as it is known what is.
pub(crate) fn look(observed: &mut Observation) {
    let boot = &mut observed.boot;
    for file in boot.entries.values_mut().chain(boot.on_esp.values_mut()) {
        let Some(linux) = &file.entry.linux else {
            continue;
        };
        if let Some(name) = payload_name(linux).filter(|_| file.on == Partition::Boot) {
            file.has_program = observed.payload.contains_key(name);
        } else if let Some(name) = nixpkgs::payload_of(linux) {
            file.has_program = boot.nixpkgs.contains(&(file.on, name.to_owned()));
        }
    }
}

fn entries_on(
    boot: &mut Boot,
    on: Partition,
) -> &mut std::collections::BTreeMap<String, EntryFile> {
    match on {
        Partition::Esp if boot.place.has_xbootldr() => &mut boot.on_esp,
        _ => &mut boot.entries,
    }
}

fn entry_name(path: &str) -> Option<&str> {
    path.strip_prefix(ENTRIES)?.strip_prefix('/')
}

/// The name of a file of our payload.
fn payload_name(path: &str) -> Option<&str> {
    let path = path.trim_start_matches('/');
    path.strip_prefix(payload::DIRECTORY)?.strip_prefix('/')
}
