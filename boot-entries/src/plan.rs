//! From what is there and what is wanted to the steps between them. Pure.
//!
//! The order of the steps is the safety of the machine. Each step is on the disk before the next begins
//! ([`crate::durable`]), so a crash leaves a prefix of the plan:
//!
//! 1. payload, before any entry that points at it;
//! 2. entries, the selected one last;
//! 3. the loader's settings;
//! 4. removals, entries before the payload they pointed at.
//!
//! A changed counter is a new file followed by the removal of the old one, never a rename: firmware and Linux both
//! have ways to lose a file while renaming it on FAT. Only a counter that goes up (`--again`) has its old file removed
//! first, so that the loader cannot count down onto it; the last good entry boots in between.

mod removals;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::closure::{Bootable, Payload};
use crate::entry::{Entry, Rank};
use crate::generation::GenerationId;
use crate::loader_conf;
use crate::name::{EntryName, Tries};
use crate::observe::{ENTRIES, EntryFile, Found, LOADER_CONF, Observation};
use crate::payload::{self, Content};

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
    pub selected: Option<GenerationId>,
    /// The proven generation a fallback goes to. Its entry is not touched (invariant B3).
    pub last_good: Option<GenerationId>,
    /// What is known. A generation that is not here is untested.
    pub standings: BTreeMap<GenerationId, Standing>,
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
    pub skipped: Vec<(GenerationId, String)>,
}

/// A wish that would leave the machine worse off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to write entries for: most likely the wrong directory or a store that is not mounted.
    #[error("no profile has a generation that can be booted; nothing was changed")]
    NoGenerations,
    /// The selected generation is in no profile.
    #[error("generation {0} is in no profile")]
    NoSuchGeneration(GenerationId),
    /// The selected generation lacks something.
    #[error("generation {0} cannot be booted: {1}")]
    Unbootable(GenerationId, String),
    /// A million selections.
    #[error(
        "no rank is left above generation {0}: remove {ENTRIES}/lastgood-* of generations no longer needed"
    )]
    NoRankLeft(GenerationId),
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
            Ok(bootable) => all.push(Wanted::new(observed, intent, found, bootable)),
            Err(why) => plan
                .skipped
                .push((found.generation.id.clone(), why.clone())),
        }
    }
    if all.is_empty() {
        return Err(Refusal::NoGenerations);
    }
    if let Some(selected) = &intent.selected {
        match observed.find(selected).map(|found| &found.bootable) {
            None => return Err(Refusal::NoSuchGeneration(selected.clone())),
            Some(Err(why)) => return Err(Refusal::Unbootable(selected.clone(), why.clone())),
            Some(Ok(_)) => rank(&mut all, kept_rank(observed), intent, selected)?,
        }
    }
    // The selected entry is written last, the last good one before it.
    all.sort_by_key(|wanted| (wanted.rank, wanted.id));
    plan.steps.extend(copies(observed, &all));
    let entries: BTreeMap<String, String> = all.iter().map(Wanted::file).collect();
    for wanted in &all {
        let (name, text) = wanted.file();
        if observed.boot.entries.get(&name).map(|file| &file.text) != Some(&text) {
            if intent
                .last_good
                .as_ref()
                .is_some_and(|good| good != wanted.id)
            {
                plan.steps.extend(removals::in_the_way(observed, wanted));
            }
            let path = format!("{ENTRIES}/{name}");
            plan.steps.push(Step::Text { text, path });
        }
    }
    let present = observed.boot.loader_conf.as_deref();
    let text = loader_conf::wanted(present);
    if present != Some(&text) {
        let path = LOADER_CONF.to_owned();
        plan.steps.push(Step::Text { text, path });
    }
    for step in removals::removals(observed, &entries) {
        if !plan.steps.contains(&step) {
            plan.steps.push(step);
        }
    }
    Ok(plan)
}

/// The entry a generation is to have.
struct Wanted<'a> {
    id: &'a GenerationId,
    stem: &'a str,
    bootable: &'a Bootable,
    standing: Standing,
    tries: Option<Tries>,
    rank: Rank,
    /// An entry that must stay as it is, to the letter.
    fixed: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn new(
        observed: &'a Observation,
        intent: &Intent,
        found: &'a Found,
        bootable: &'a Bootable,
    ) -> Self {
        let id = &found.generation.id;
        let standing = intent
            .standings
            .get(id)
            .copied()
            .unwrap_or(Standing::Untested);
        let files: Vec<&EntryFile> = observed
            .boot
            .files_of(&found.stem)
            .map(|(_, file)| file)
            .collect();
        let plain = files.iter().find(|file| file.name.tries.is_none());
        // With several counters the lowest is the truth: the loader only ever counts down.
        let lowest = files
            .iter()
            .filter_map(|file| file.name.tries)
            .min_by_key(|tries| tries.left);
        let rearmed = intent.rearm && intent.selected.as_ref() == Some(id);
        let tries = match standing {
            Standing::Proven => None,
            Standing::Rejected => Some(lowest.unwrap_or(Tries::ARMED).used_up()),
            Standing::Untested if rearmed => Some(Tries::ARMED),
            // An entry without a counter was proven once, even if the record of that is lost.
            Standing::Untested if plain.is_some() && lowest.is_none() => None,
            Standing::Untested => Some(lowest.unwrap_or(Tries::ARMED)),
        };
        let rank = files
            .iter()
            .filter_map(|file| Rank::of_sort_key(file.entry.sort_key.as_deref()?))
            .max()
            .unwrap_or(Rank::UNRANKED);
        let mut wanted = Self {
            id,
            stem: &found.stem,
            bootable,
            standing,
            tries,
            rank,
            fixed: None,
        };
        if intent.last_good.as_ref() == Some(id)
            && let Some(plain) = plain
            && boots_alike(&plain.entry, &wanted.entry())
        {
            wanted.fixed = Some(&plain.text);
        }
        wanted
    }

    fn entry(&self) -> Entry {
        let on_boot = |payload: &Payload| format!("/{}", payload.path());
        Entry {
            title: Some(format!("{} (generation {})", self.bootable.label, self.id)),
            sort_key: Some(self.rank.sort_key()),
            machine_id: None,
            version: Some(self.id.number().to_string()),
            linux: Some(on_boot(&self.bootable.kernel)),
            efi: None,
            initrds: self.bootable.initrd.iter().map(on_boot).collect(),
            options: self.bootable.options.clone(),
        }
    }

    /// File name and text.
    fn file(&self) -> (String, String) {
        let name = EntryName {
            stem: self.stem.to_owned(),
            tries: self.tries,
        };
        let text = match self.fixed {
            Some(text) => text.to_owned(),
            None => self.entry().to_string(),
        };
        (name.to_string(), text)
    }
}

/// Whether two entries start the same thing, however they are titled and sorted.
fn boots_alike(a: &Entry, b: &Entry) -> bool {
    (&a.linux, &a.initrds, &a.options) == (&b.linux, &b.initrds, &b.options)
}

/// Ranks everything for `selected` to be started first, and the last good one next.
///
/// From the bottom: never selected and rejected ones, other proven ones, the last good one, the selected one. Ranks
/// that already fit are kept, so that a second run finds nothing to do; the last good one's is not changed at all.
///
/// `kept` is the highest rank among the entries that are left alone.
fn rank(
    all: &mut [Wanted<'_>],
    kept: Rank,
    intent: &Intent,
    selected: &GenerationId,
) -> Result<(), Refusal> {
    let no_rank = |id: &GenerationId| Refusal::NoRankLeft(id.clone());
    let last_good = intent
        .last_good
        .as_ref()
        .filter(|id| all.iter().any(|w| w.id == *id));
    let fixed = all
        .iter()
        .find(|w| Some(w.id) == last_good && w.fixed.is_some())
        .map(|w| w.rank);
    let mut below = kept.max(Rank::PROVEN);
    for wanted in all.iter_mut() {
        if wanted.id == selected || Some(wanted.id) == last_good {
            continue;
        }
        let keeps =
            wanted.standing == Standing::Proven && fixed.is_none_or(|fixed| wanted.rank < fixed);
        wanted.rank = match wanted.standing {
            Standing::Proven if keeps => wanted.rank.max(Rank::PROVEN),
            Standing::Proven => Rank::PROVEN,
            Standing::Untested | Standing::Rejected => Rank::UNRANKED,
        };
        below = below.max(wanted.rank);
    }
    for id in [last_good.filter(|id| *id != selected), Some(selected)]
        .into_iter()
        .flatten()
    {
        for wanted in all.iter_mut().filter(|wanted| wanted.id == id) {
            if wanted.rank <= below && wanted.fixed.is_none() {
                wanted.rank = below.above().ok_or_else(|| no_rank(id))?;
            }
            below = wanted.rank;
        }
    }
    Ok(())
}

/// The highest rank among good entries of generations that cannot be read now, and whose entries therefore stay.
fn kept_rank(observed: &Observation) -> Rank {
    let unreadable = observed
        .generations
        .iter()
        .filter(|found| found.bootable.is_err());
    unreadable
        .flat_map(|found| observed.boot.files_of(&found.stem))
        .filter(|(_, file)| !matches!(file.name.tries, Some(Tries { left: 0, .. })))
        .filter_map(|(_, file)| Rank::of_sort_key(file.entry.sort_key.as_deref()?))
        .max()
        .unwrap_or(Rank::UNRANKED)
}

/// The payload that is missing or damaged, each file once.
fn copies(observed: &Observation, all: &[Wanted<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut planned = BTreeSet::new();
    for wanted in all {
        for payload in std::iter::once(&wanted.bootable.kernel).chain(&wanted.bootable.initrd) {
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

#[cfg(test)]
pub(crate) mod tests;
