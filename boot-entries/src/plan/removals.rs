//! What has to go from `$BOOT`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Step, Wanted};
use crate::entry::Entry;
use crate::observe::{ENTRIES, EntryFile, Observation};
use crate::payload;

/// Entries of the same generation with fewer tries left: names that a new counter will come down to. The firmware does
/// not rename over another file, so beside one of them the loader would stop counting, and start a trial for ever.
pub(super) fn in_the_way(observed: &Observation, wanted: &Wanted<'_>) -> Vec<Step> {
    let left = wanted.tries.map_or(0, |tries| tries.left);
    let files = observed.boot.files_of(wanted.stem);
    let lower = files.filter(|(_, file)| file.name.tries.is_some_and(|tries| tries.left < left));
    lower
        .map(|(name, _)| Step::Remove {
            path: format!("{ENTRIES}/{name}"),
        })
        .collect()
}

/// What is ours and no longer needed: entries first, then payload that no entry of anybody points at.
pub(super) fn removals(observed: &Observation, entries: &BTreeMap<String, String>) -> Vec<Step> {
    let unreadable: BTreeSet<&str> = observed
        .generations
        .iter()
        .filter(|found| found.bootable.is_err())
        .map(|found| found.stem.as_str())
        .collect();
    let gone = |file: &EntryFile, name: &str| {
        file.name.is_ours()
            && !entries.contains_key(name)
            && !unreadable.contains(file.name.stem.as_str())
    };
    let mut steps = Vec::new();
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut needs = |entry: &Entry| {
        let files = entry.linux.iter().chain(&entry.initrds);
        used.extend(files.map(|path| path.trim_start_matches('/').to_owned()));
    };
    for (name, file) in &observed.boot.entries {
        if gone(file, name) {
            let path = format!("{ENTRIES}/{name}");
            steps.push(Step::Remove { path });
        } else {
            needs(&file.entry);
        }
    }
    for text in entries.values() {
        needs(&Entry::parse(text));
    }
    for name in observed.payload.keys() {
        let path = format!("{}/{name}", payload::DIRECTORY);
        if !used.contains(&path) {
            steps.push(Step::Remove { path });
        }
    }
    for path in &observed.boot.leftovers {
        steps.push(Step::Remove { path: path.clone() });
    }
    steps
}
