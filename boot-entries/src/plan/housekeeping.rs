//! Payload that is to come, and what has to go.

use std::collections::{BTreeMap, BTreeSet};

use super::wanted::Wanted;
use super::{Intent, Plan, Refusal, Standing, Step};
use crate::closure::Bootable;
use crate::entry::{Entry, Rank};
use crate::name::Tries;
use crate::observe::{ENTRIES, EntryFile, Found, Observation, Space};
use crate::payload;

/// Leaves out generations that nobody needs now, the oldest first, until the payload to be copied fits.
pub(super) fn fit<'a>(
    observed: &Observation,
    intent: &Intent,
    all: &mut Vec<(Wanted<'a>, Option<&'a Bootable>)>,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    let Some(space) = observed.space else {
        return Ok(());
    };
    loop {
        let copies = copies(observed, all.iter().filter_map(|(_, bootable)| *bootable));
        let needed = room(space, &copies, all.len());
        if copies.is_empty() || needed <= space.free {
            return Ok(());
        }
        let is_needed = |wanted: &Wanted<'_>| {
            [&intent.selected, &intent.last_good]
                .iter()
                .any(|id| id.as_ref() == Some(&wanted.id))
                || wanted.standing == Standing::Proven
        };
        let costs = |bootable: Option<&Bootable>| !self::copies(observed, bootable).is_empty();
        let droppable = all
            .iter()
            .position(|(wanted, bootable)| !is_needed(wanted) && costs(*bootable));
        let Some(at) = droppable else {
            let free = space.free;
            return Err(Refusal::NoSpace { needed, free });
        };
        let (wanted, _) = all.remove(at);
        plan.skipped.push((
            wanted.id.clone(),
            "its kernel and initrd do not fit on $BOOT".to_owned(),
        ));
    }
}

/// Whether an entry of ours that no generation wants stays all the same.
///
/// The generation may only be unreadable now. And without a last good generation on record the record itself may be
/// lost: then an entry without a counter is all that is left of what was proven.
fn stays(observed: &Observation, intent: &Intent, file: &EntryFile) -> bool {
    let of = |found: &&Found| found.stem == file.name.stem;
    match observed.generations.iter().find(of) {
        Some(found) => found.bootable.is_err(),
        None => file.name.tries.is_none() && intent.last_good.is_none(),
    }
}

/// The highest rank among our good entries that stay although no generation wants them.
pub(super) fn kept_rank(observed: &Observation, intent: &Intent) -> Rank {
    let files = observed.boot.entries.values();
    files
        .filter(|file| file.name.is_ours() && stays(observed, intent, file))
        .filter(|file| !matches!(file.name.tries, Some(Tries { left: 0, .. })))
        .filter_map(|file| Rank::of_sort_key(file.entry.sort_key.as_deref()?))
        .max()
        .unwrap_or(Rank::UNRANKED)
}

/// In clusters: entry files under their second names, `loader.conf`, directories that grow, also by the loader's renames.
const RESERVE: u64 = 16;

/// What `copies` and the entry files of `entries` generations take on `$BOOT`, with a reserve, in bytes.
fn room(space: Space, copies: &[Step], entries: usize) -> u64 {
    let files = copies.iter().map(|step| match step {
        Step::Copy { content, .. } => content.size.next_multiple_of(space.cluster),
        Step::Text { .. } | Step::Remove { .. } => 0,
    });
    let small = (entries as u64)
        .saturating_add(RESERVE)
        .saturating_mul(space.cluster);
    files.fold(small, u64::saturating_add)
}

/// The payload that is missing or damaged, each file once.
pub(super) fn copies<'a>(
    observed: &Observation,
    all: impl IntoIterator<Item = &'a Bootable>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut planned = BTreeSet::new();
    for bootable in all {
        for payload in bootable.payload() {
            let name = payload::file_name(&payload.content, payload.kind);
            let there = observed.payload.get(&name) == Some(&payload.content);
            if !there && planned.insert(name) {
                steps.push(Step::Copy {
                    source: payload.source.clone(),
                    content: payload.content,
                    path: payload.path(),
                });
            }
        }
    }
    steps
}

/// What nothing points at and nothing will: leftovers, and payload that no entry, there or wanted, needs. It goes first,
/// to make room.
pub(super) fn garbage(observed: &Observation, entries: &BTreeMap<String, String>) -> Vec<Step> {
    let wanted = entries.values().map(|text| Entry::parse(text));
    let there = observed
        .boot
        .entries
        .values()
        .map(|file| file.entry.clone());
    let used: BTreeSet<String> = wanted
        .chain(there)
        .flat_map(|entry| needs(&entry))
        .collect();
    let leftovers = observed.boot.leftovers.iter().cloned();
    let unused = observed
        .payload
        .keys()
        .map(|name| format!("{}/{name}", payload::DIRECTORY));
    let paths = leftovers.chain(unused.filter(|path| !used.contains(path)));
    paths.map(|path| Step::Remove { path }).collect()
}

/// What is ours and no longer needed: entries first, then the payload that only they pointed at.
pub(super) fn removals(
    observed: &Observation,
    intent: &Intent,
    entries: &BTreeMap<String, String>,
) -> Vec<Step> {
    let gone = |file: &EntryFile, name: &str| {
        file.name.is_ours() && !entries.contains_key(name) && !stays(observed, intent, file)
    };
    let (gone, kept): (Vec<_>, Vec<_>) = observed
        .boot
        .entries
        .iter()
        .partition(|(name, file)| gone(file, name));
    let kept = kept.into_iter().map(|(_, file)| file.entry.clone());
    let used: BTreeSet<String> = entries
        .values()
        .map(|text| Entry::parse(text))
        .chain(kept)
        .flat_map(|entry| needs(&entry))
        .collect();
    let orphans: BTreeSet<String> = gone
        .iter()
        .flat_map(|(_, file)| needs(&file.entry))
        .filter(|path| is_payload(path) && !used.contains(path))
        .collect();
    let entries = gone
        .into_iter()
        .map(|(name, _)| format!("{ENTRIES}/{name}"));
    entries
        .chain(orphans)
        .map(|path| Step::Remove { path })
        .collect()
}

/// The files that an entry points at, on `$BOOT`.
fn needs(entry: &Entry) -> Vec<String> {
    let files = entry.linux.iter().chain(&entry.initrds);
    files
        .chain(&entry.devicetree)
        .map(|path| path.trim_start_matches('/').to_owned())
        .collect()
}

/// Whether a path on `$BOOT` is payload of ours, which may be removed.
fn is_payload(path: &str) -> bool {
    let name = path
        .strip_prefix(payload::DIRECTORY)
        .and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| payload::kind_of(name).is_some())
}
