//! Payload that is to come, and what has to go.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use super::needed::Needed;
use super::{Candidate, Intent, Refusal, Step, Unneeded, remove};
use crate::closure::Bootable;
use crate::entry::{EntryFile, Rank};
use crate::generation::Subject;
use crate::name::OurName as _;
use crate::observe::{Found, Observation};
use crate::payload;
use systemd_boot_model::{Partition, Tries};

/// Leaves out the older generations of each profile beyond the limit, if nobody needs them (invariant B2). A
/// specialisation goes with its generation.
pub(super) fn within_limit(intent: &Intent, all: &mut Vec<Candidate<'_>>) {
    let Some(limit) = intent.limit.filter(|_| intent.unneeded == Unneeded::Goes) else {
        return;
    };
    let mut numbers: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (wanted, _) in all.iter() {
        let id = &wanted.id.generation;
        let profile = id.profile().to_owned();
        numbers.entry(profile).or_default().insert(id.number());
    }
    all.retain(|(wanted, _)| {
        let id = &wanted.id.generation;
        let newer = numbers.get(id.profile()).into_iter().flatten();
        let newer = newer.filter(|number| **number > id.number()).count();
        newer < limit.get() || is_needed(intent, &wanted.id)
    });
}

/// Whether a fallback may need it, or somebody has asked for it (invariant B2).
pub(super) fn is_needed(intent: &Intent, id: &Subject) -> bool {
    let asked = [&intent.selected, &intent.last_good];
    let kept = [&intent.running, &intent.second];
    let mut all = asked.iter().chain(&kept);
    all.any(|needed| needed.as_ref() == Some(id))
}

/// Whether an entry of ours that no generation wants stays all the same.
///
/// Nothing is to go. Or it is another system's. Or the generation may only be unreadable now. And without a last good
/// generation on record the record itself may be lost: then an entry without a counter is all that is left of what was
/// proven.
fn stays(
    generations: &BTreeMap<&str, &Found>,
    intent: &Intent,
    is_other_systems: impl Fn(&EntryFile) -> bool,
    file: &EntryFile,
) -> bool {
    match generations.get(&*file.name.stem) {
        Some(found) => found.bootable.is_err(),
        None => {
            intent.unneeded == Unneeded::Stays
                || file.name.tries.is_none() && intent.last_good.is_none()
                || is_other_systems(file)
        }
    }
}

/// The highest rank among the good entries that stay although no generation wants them: ours, and another system's if
/// ours are to be above those.
pub(super) fn kept_rank(observed: &Observation, intent: &Intent) -> Rank {
    let generations = observed.by_stem();
    let is_other_systems = observed.other_systems(&intent.ownership);
    let counts = |file: &&EntryFile| {
        file.name.is_ours()
            && stays(&generations, intent, &is_other_systems, file)
            && (intent.above_other_systems || !is_other_systems(file))
    };
    let files = observed.boot.all().map(|(_, file)| file);
    highest(files.filter(counts)).unwrap_or(Rank::UNRANKED)
}

/// The rank of what stands in for a predecessor: under what is selected, and above another system's entries where those
/// are to be below ours.
pub(super) fn stand_in_rank(observed: &Observation, intent: &Intent) -> Result<Rank, Refusal> {
    let files = observed.boot.all().map(|(_, file)| file);
    let is_other_systems = observed.other_systems(&intent.ownership);
    let other_systems = files.filter(|file| intent.above_other_systems && is_other_systems(file));
    let Some(highest) = highest(other_systems) else {
        return Ok(Rank::PROVEN);
    };
    let above = highest.above().ok_or(Refusal::NoRankLeft)?;
    Ok(above.max(Rank::PROVEN))
}

/// The highest rank among those of `files` that have tries left, or are not counted.
fn highest<'a>(files: impl Iterator<Item = &'a EntryFile>) -> Option<Rank> {
    files
        .filter(|file| !matches!(file.name.tries, Some(Tries { left: 0, .. })))
        .filter_map(|file| Rank::of_sort_key(file.entry.sort_key.as_deref()?))
        .max()
}

/// The payload that is missing or damaged, each file once.
pub(super) fn copies<'a>(
    observed: &Observation,
    all: impl IntoIterator<Item = &'a Bootable>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut planned = BTreeSet::new();
    let mut name = String::with_capacity(payload::LONGEST_NAME);
    for bootable in all {
        for payload in bootable.payload() {
            name.clear();
            payload::write_name(&payload.content, payload.kind, &mut name);
            let there = observed.payload.get(&name) == Some(&payload.content);
            if !there && planned.insert(name.clone()) {
                steps.push(Step::Copy {
                    source: payload.source.clone(),
                    content: payload.content,
                    on: Partition::Boot,
                    path: payload.path(),
                });
            }
        }
    }
    steps
}

/// What nothing points at and nothing will: leftovers, and payload that no entry, there or wanted, needs, if that may
/// go. It goes first, to make room.
pub(super) fn garbage(
    observed: &Observation,
    intent: &Intent,
    entries: &BTreeMap<String, String>,
) -> Vec<Step> {
    let there = observed.boot.all().map(|(_, file)| file);
    let needed = Needed::by(there).and(entries.values());
    let leftovers = observed.boot.leftovers.iter().cloned();
    let unused = observed
        .payload
        .keys()
        .filter(|_| intent.unneeded == Unneeded::Goes)
        .map(|name| [payload::DIRECTORY, "/", name].concat())
        .filter(|path| !needed.has(path))
        .map(|path| (Partition::Boot, path));
    let paths = leftovers.chain(unused);
    paths.map(|(on, path)| Step::Remove { on, path }).collect()
}

/// The entry files called `names`, and then the payload that only they pointed at: to make room before anything is
/// written.
pub(super) fn evictions(
    observed: &Observation,
    names: &BTreeSet<String>,
    entries: &BTreeMap<String, String>,
) -> Vec<Step> {
    let on = Partition::Boot;
    let there = observed.boot.entries.iter();
    let (gone, kept): (Vec<_>, Vec<_>) = there.partition(|(name, _)| names.contains(*name));
    let kept = kept.into_iter().map(|(_, file)| file);
    let needed = Needed::by(kept).and(entries.values());
    let orphans: BTreeSet<String> = gone
        .iter()
        .flat_map(|(_, file)| file.entry.needs())
        .filter(|path| payload::name_of(path).is_some() && !needed.has(path))
        .map(str::to_owned)
        .collect();
    let orphans = orphans.into_iter().map(|path| Step::Remove { on, path });
    let entries = gone.iter().map(|(name, _)| remove(on, name));
    entries.chain(orphans).collect()
}

/// What is ours and no longer needed: entries first, then the payload that only they pointed at, if that may go.
pub(super) fn removals(
    observed: &Observation,
    intent: &Intent,
    entries: &BTreeMap<String, String>,
) -> Vec<Step> {
    let generations = LazyCell::new(|| observed.by_stem());
    let is_other_systems = observed.other_systems(&intent.ownership);
    let is_found = |stem: &str| {
        let found = generations.get(stem);
        found.is_some_and(|found| found.bootable.is_ok())
    };
    let gone = |file: &EntryFile, name: &str| {
        let is_wanted = file.on == Partition::Boot && entries.contains_key(name);
        // On the ESP beside an XBOOTLDR partition nothing is written any more: what is wanted is on the other one.
        let has_moved = file.on == Partition::Esp && is_found(&file.name.stem);
        file.name.is_ours()
            && !is_wanted
            && (has_moved || !stays(&generations, intent, &is_other_systems, file))
    };
    let (gone, kept): (Vec<_>, Vec<_>) = observed
        .boot
        .all()
        .partition(|(name, file)| gone(file, name));
    let kept: Vec<&EntryFile> = kept.into_iter().map(|(_, file)| file).collect();
    let needed_on = |on: Partition| {
        let there = kept.iter().filter(move |file| file.on == on);
        Needed::by(there.copied())
    };
    let needed = needed_on(Partition::Boot).and(entries.values());
    let orphans: BTreeSet<String> = gone
        .iter()
        .filter(|(_, file)| file.on == Partition::Boot)
        .flat_map(|(_, file)| file.entry.needs())
        .filter(|path| payload::name_of(path).is_some() && !needed.has(path))
        .map(str::to_owned)
        .collect();
    let needed_on_esp = needed_on(Partition::Esp);
    let left_on_esp = observed
        .boot
        .esp_payload
        .iter()
        .map(|name| format!("{}/{name}", payload::DIRECTORY))
        .filter(|path| !needed_on_esp.has(path));
    let entries = gone.iter().map(|(name, file)| remove(file.on, name));
    let orphans = orphans.into_iter().map(|path| (Partition::Boot, path));
    let payload = orphans
        .chain(left_on_esp.map(|path| (Partition::Esp, path)))
        .filter(|_| intent.unneeded == Unneeded::Goes)
        .map(|(on, path)| Step::Remove { on, path });
    entries.chain(payload).collect()
}
