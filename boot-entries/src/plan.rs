//! From what is there and what is wanted to the steps between them. Pure.
//!
//! The order of the steps is the safety of the machine. Each step is on the disk before the next begins
//! ([`crate::durable`]), so a crash leaves a prefix of the plan:
//!
//! 1. garbage that nothing points at, to make room;
//! 2. payload, before any entry that points at it;
//! 3. entries, the selected one last;
//! 4. the loader's settings;
//! 5. removals, entries before the payload they pointed at.
//!
//! A verdict changes counters and ranks only: [`restate`] plans that much, and depends on nothing else.
//!
//! A changed counter is a new file followed by the removal of the old one, never a rename: firmware and Linux both
//! have ways to lose a file while renaming it on FAT.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::closure::{Bootable, Payload};
use crate::entry::{Entry, Rank};
use crate::generation::{Generation, GenerationId, Subject};
use crate::loader_conf;
use crate::name::{EntryName, Tries, stem_of};
use crate::observe::{Boot, ENTRIES, EntryFile, Found, LOADER_CONF, Observation, Space};
use crate::payload::{self, Content};
use crate::small;

/// How long a title gets, in characters. Names of specialisations may have any length, a screen has not.
const TITLE: usize = 120;

/// What the caller has found out about a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has assessed it on this machine.
    Untested,
    /// It passed an assessment.
    Proven,
    /// A verdict said no.
    Rejected,
}

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// The generation to boot next. None: leave the order as it is.
    pub selected: Option<Subject>,
    /// The proven generation a fallback goes to. Its entry is not touched (invariant B3).
    pub last_good: Option<Subject>,
    /// What is known. A generation that is not here is untested.
    pub standings: BTreeMap<Subject, Standing>,
    /// Give the selected generation, if it is untested, all its tries again.
    pub rearm: bool,
}

/// One change to `$BOOT`. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Copy a file from the store.
    Copy {
        /// From, as a path of this process.
        source: PathBuf,
        /// What it must hold.
        content: Content,
        /// To.
        path: String,
    },
    /// Write a small text file.
    Text {
        /// All of it.
        text: String,
        /// To.
        path: String,
    },
    /// Remove a file.
    Remove {
        /// Which.
        path: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy { path, content, .. } => write!(f, "copy {path} ({} bytes)", content.size),
            Self::Text { path, .. } => write!(f, "write {path}"),
            Self::Remove { path } => write!(f, "remove {path}"),
        }
    }
}

/// What to do, and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order. Empty: there is nothing to do.
    pub steps: Vec<Step>,
    /// Generations that cannot be booted, and why. Entries they have are left alone.
    pub skipped: Vec<(Subject, String)>,
}

/// A wish that would leave the machine worse off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to write entries for: most likely the wrong directory or a store that is not mounted.
    #[error("no profile has a generation that can be booted; nothing was changed")]
    NoGenerations,
    /// The selected generation is in no profile.
    #[error("generation {} is in no profile", .0.generation)]
    NoSuchGeneration(Subject),
    /// The selected generation lacks something.
    #[error("generation {generation} cannot be booted: {1}", generation = .0.generation)]
    Unbootable(Subject, String),
    /// Even without what nobody needs now.
    #[error(
        "$BOOT is too small: {needed} bytes are needed, {free} are free; remove generations and run again"
    )]
    NoSpace {
        /// In bytes, with a reserve.
        needed: u64,
        /// In bytes.
        free: u64,
    },
    /// A million selections.
    #[error(
        "no rank is left above generation {}: remove {ENTRIES}/lastgood-* of generations no longer needed", .0.generation
    )]
    NoRankLeft(Subject),
}

/// Plans the way from `observed` to what `intent` wants.
///
/// # Errors
/// When the wish cannot be granted safely; nothing is to be changed then.
pub fn plan(observed: &Observation, intent: &Intent) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    let mut all = Vec::new();
    for found in &observed.generations {
        match &found.bootable {
            Ok(bootable) => {
                let files = files_of(&observed.boot, &found.stem);
                let id = found.generation.subject();
                let entry = entry_of(&id.generation, bootable);
                let wanted = Wanted::new(intent, id, &found.stem, entry, &files);
                all.push((wanted, Some(bootable)));
            }
            Err(why) => plan.skipped.push((found.generation.subject(), why.clone())),
        }
    }
    if all.is_empty() {
        return Err(Refusal::NoGenerations);
    }
    if let Some(selected) = &intent.selected {
        match observed.find(selected).map(|found| &found.bootable) {
            None => return Err(Refusal::NoSuchGeneration(selected.clone())),
            Some(Err(why)) => return Err(Refusal::Unbootable(selected.clone(), why.clone())),
            Some(Ok(_)) => {}
        }
    }
    fit(observed, intent, &mut all, &mut plan)?;
    let copies = copies(observed, all.iter().filter_map(|(_, bootable)| *bootable));
    let mut all: Vec<Wanted<'_>> = all.into_iter().map(|(wanted, _)| wanted).collect();
    rank(&mut all, kept_rank(observed, intent), intent)?;
    let entries: BTreeMap<String, String> = all.iter().map(Wanted::file).collect();
    plan.steps.extend(garbage(observed, &entries));
    plan.steps.extend(copies);
    plan.steps.extend(writes(&observed.boot, &mut all));
    let present = observed.boot.loader_conf.as_deref();
    let text = loader_conf::wanted(present);
    if present != Some(&text) {
        let path = LOADER_CONF.to_owned();
        plan.steps.push(Step::Text { text, path });
    }
    plan.steps.extend(removals(observed, intent, &entries));
    Ok(plan)
}

/// The part of a plan that verdicts are made of: counters and ranks of the entries that are there. It reads no payload
/// and writes none, so neither a broken closure nor a full `$BOOT` nor a slow disk stands in its way.
///
/// # Errors
/// When there is no rank left.
pub fn restate(
    boot: &Boot,
    generations: &[Generation],
    intent: &Intent,
) -> Result<Vec<Step>, Refusal> {
    let stems: Vec<String> = generations.iter().map(|g| stem_of(&g.subject())).collect();
    let mut all = Vec::new();
    for (generation, stem) in generations.iter().zip(&stems) {
        let files = files_of(boot, stem);
        if let Some(file) = files.first() {
            let entry = file.entry.clone();
            all.push(Wanted::new(
                intent,
                generation.subject(),
                stem,
                entry,
                &files,
            ));
        }
    }
    rank(&mut all, Rank::UNRANKED, intent)?;
    let mut changes = writes(boot, &mut all);
    let wanted: BTreeSet<String> = all.iter().map(|wanted| wanted.file().0).collect();
    for wanted_stem in all.iter().map(|wanted| wanted.stem) {
        for (name, _) in boot
            .files_of(wanted_stem)
            .filter(|(name, _)| !wanted.contains(*name))
        {
            let path = format!("{ENTRIES}/{name}");
            changes.push(Step::Remove { path });
        }
    }
    Ok(changes)
}

fn files_of<'a>(boot: &'a Boot, stem: &str) -> Vec<&'a EntryFile> {
    boot.files_of(stem).map(|(_, file)| file).collect()
}

/// The entry a generation is to have, but for its place.
fn entry_of(id: &GenerationId, bootable: &Bootable) -> Entry {
    let on_boot = |payload: &Payload| format!("/{}", payload.path());
    let title = format!("{} (generation {id})", bootable.label);
    let mut initrds: Vec<String> = bootable.initrd.iter().map(on_boot).collect();
    initrds.extend_from_slice(&bootable.extra_initrds);
    Entry {
        title: Some(small::one_line(&title, TITLE)),
        sort_key: None,
        machine_id: None,
        version: Some(id.number().to_string()),
        linux: Some(on_boot(&bootable.kernel)),
        efi: None,
        initrds,
        devicetree: bootable.devicetree.as_ref().map(on_boot),
        options: bootable.options.clone(),
    }
}

/// Entries that are not there, or not to the letter: the lowest rank first, the selected one last.
fn writes(boot: &Boot, all: &mut [Wanted<'_>]) -> Vec<Step> {
    all.sort_by_key(|wanted| (wanted.rank, wanted.id.clone()));
    let mut steps = Vec::new();
    for (name, text) in all.iter().map(Wanted::file) {
        if boot.entries.get(&name).map(|file| &file.text) != Some(&text) {
            let path = format!("{ENTRIES}/{name}");
            steps.push(Step::Text { text, path });
        }
    }
    steps
}

/// The entry a generation is to have.
struct Wanted<'a> {
    id: Subject,
    stem: &'a str,
    entry: Entry,
    standing: Standing,
    tries: Option<Tries>,
    rank: Rank,
    /// An entry that must stay as it is, to the letter.
    fixed: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn new(
        intent: &Intent,
        id: Subject,
        stem: &'a str,
        entry: Entry,
        files: &[&'a EntryFile],
    ) -> Self {
        let standing = intent
            .standings
            .get(&id)
            .copied()
            .unwrap_or(Standing::Untested);
        let is_selected = intent.selected.as_ref() == Some(&id);
        let is_last_good = intent.last_good.as_ref() == Some(&id);
        let plain = files.iter().find(|file| file.name.tries.is_none());
        // With several counters the lowest is the truth: the loader only ever counts down.
        let counters = files.iter().filter_map(|file| file.name.tries);
        let lowest = counters.min_by_key(|tries| tries.left);
        let tries = match standing {
            _ if intent.rearm && is_selected && !is_last_good => Some(Tries::ARMED),
            Standing::Rejected => Some(lowest.unwrap_or(Tries::ARMED).used_up()),
            // Whoever goes back to an older proven generation has a way back from it, too, should it have rotted.
            Standing::Proven if is_selected && !is_last_good => {
                Some(lowest.unwrap_or(Tries::ARMED))
            }
            Standing::Proven => None,
            // An entry without a counter was proven once, even if the record of that is lost.
            Standing::Untested if plain.is_some() && lowest.is_none() => None,
            Standing::Untested => Some(lowest.unwrap_or(Tries::ARMED)),
        };
        let ranks = files
            .iter()
            .filter_map(|file| Rank::of_sort_key(file.entry.sort_key.as_deref()?));
        let fixed = plain.filter(|plain| is_last_good && boots_alike(&plain.entry, &entry));
        Self {
            rank: ranks
                .max()
                .unwrap_or_else(|| Rank::unselected(&id.generation)),
            fixed: fixed.map(|plain| plain.text.as_str()),
            id,
            stem,
            entry,
            standing,
            tries,
        }
    }

    /// File name and text.
    fn file(&self) -> (String, String) {
        let name = EntryName {
            stem: self.stem.to_owned(),
            tries: self.tries,
        };
        if let Some(text) = self.fixed {
            return (name.to_string(), text.to_owned());
        }
        let entry = Entry {
            sort_key: Some(self.rank.sort_key()),
            ..self.entry.clone()
        };
        (name.to_string(), entry.to_string())
    }
}

/// Whether two entries start the same thing, however they are titled and sorted.
fn boots_alike(a: &Entry, b: &Entry) -> bool {
    (&a.linux, &a.initrds, &a.devicetree, &a.options)
        == (&b.linux, &b.initrds, &b.devicetree, &b.options)
}

/// Ranks everything so that the selected entry is started first, and the last good one next.
///
/// From the bottom: never selected and rejected ones, other proven ones, the last good one, the selected one. Ranks
/// that already fit are kept, so that a second run finds nothing to do. The last good one's stays as it is (B3) unless
/// it was never selected: then it has just become the last good one, and the one before it is still untouched.
///
/// `kept` is the highest rank among the entries that are left alone.
fn rank(all: &mut [Wanted<'_>], kept: Rank, intent: &Intent) -> Result<(), Refusal> {
    let top: Vec<&Subject> = intent.last_good.iter().chain(&intent.selected).collect();
    let fixed = all.iter().find(|w| w.fixed.is_some()).map(|w| w.rank);
    let ceiling = fixed.filter(|rank| *rank > kept.max(Rank::PROVEN));
    let mut below = kept.max(Rank::PROVEN);
    for wanted in all.iter_mut().filter(|wanted| !top.contains(&&wanted.id)) {
        wanted.rank = match wanted.standing {
            Standing::Proven if ceiling.is_none_or(|ceiling| wanted.rank < ceiling) => {
                wanted.rank.max(Rank::PROVEN)
            }
            Standing::Proven => Rank::PROVEN,
            Standing::Untested | Standing::Rejected => Rank::unselected(&wanted.id.generation),
        };
        below = below.max(wanted.rank);
    }
    let is_top = |id: &Subject| intent.selected.as_ref() == Some(id);
    let last_good = intent.last_good.iter().filter(|id| !is_top(id));
    for id in last_good.chain(&intent.selected) {
        for wanted in all.iter_mut().filter(|wanted| wanted.id == *id) {
            if wanted.rank <= below {
                wanted.rank = below
                    .above()
                    .ok_or_else(|| Refusal::NoRankLeft(id.clone()))?;
                wanted.fixed = None;
            }
            below = wanted.rank;
        }
    }
    Ok(())
}

/// Leaves out generations that nobody needs now, the oldest first, until the payload to be copied fits.
fn fit<'a>(
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
fn kept_rank(observed: &Observation, intent: &Intent) -> Rank {
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
fn copies<'a>(observed: &Observation, all: impl IntoIterator<Item = &'a Bootable>) -> Vec<Step> {
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
fn garbage(observed: &Observation, entries: &BTreeMap<String, String>) -> Vec<Step> {
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
fn removals(
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

#[cfg(test)]
pub(crate) mod tests;
