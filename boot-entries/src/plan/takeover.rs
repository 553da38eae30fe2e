//! A machine that nixpkgs' builder wrote, or somebody else, until one generation is proven under us.
//!
//! Before that, what is known to boot is theirs, and it has to be what a failed trial leads to. Their own entries
//! cannot see to that: our `default` in loader.conf does not match them, and which of them would come first depends on
//! their sort key, on the other machines on the same `$BOOT` and on a generation that was built last and never booted.
//! So there is a *stand-in*: an entry of ours without a counter that starts what one of theirs starts, ranked below the
//! selected one as the last good one would be.
//!
//! As soon as a generation is the last good one, the stand-in goes, and so do the entries of nixpkgs' of *this* machine
//! and the payload that no other entry needs. Never before, and never for space. What no entry of ours can replace
//! stays as long as that is so: its generation cannot be booted by us, for whatever reason, and it was by them; or it
//! has no entry of ours, because nobody has asked for it. Foreign entries stay for ever.
//!
//! Where the kernel of what booted before is purged the stand-in stays, though no loader lists it any more: it is how
//! anybody can tell that a failed trial has nothing to go back to ([`lost_stand_in`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::foreign::Foreign;
use super::needed::Needed;
use super::{Intent, Step, is_left_out, remove};
use crate::closure::Bootable;
use crate::entry::{EntryFile, Rank};
use crate::name::{OurName as _, stand_in_of, stem_of};
use crate::nixpkgs;
use crate::observe::{BootFiles, Observation};
use systemd_boot_model::{ENTRIES, Entry, EntryName, LoaderConf, Partition};

/// What its title says.
const NOTE: &str = " (before lastgood)";

/// An entry of this machine that nixpkgs' builder wrote.
struct Theirs<'a> {
    file: &'a EntryFile,
    closure: PathBuf,
    start: Start,
}

/// Whether an entry of ours starts the same closure. The last one counts, where several generations have that closure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Start {
    /// It cannot.
    #[default]
    Impossible,
    /// It does not, because nobody has asked for one. Theirs is all there is.
    LeftOut,
    /// It does, or will.
    Ours,
}

impl Theirs<'_> {
    fn is_replaceable(&self) -> bool {
        self.start == Start::Ours
    }
}

/// An entry of ours that starts what one of theirs starts, on the same partition.
#[derive(PartialEq, Eq)]
struct StandIn {
    on: Partition,
    name: String,
    text: String,
}

/// What a predecessor left, and what becomes of it.
pub(super) struct Takeover<'a> {
    theirs: Vec<Theirs<'a>>,
    /// None: there is nothing to stand in for, or nothing to stand in.
    stand_in: Option<StandIn>,
    /// A generation is proven, and its entry is there.
    is_over: bool,
    /// Stand-ins of another system's.
    other_systems: Vec<&'a EntryFile>,
    /// Theirs, to go once it is over, if nobody else needs it.
    payload: BTreeSet<(Partition, String)>,
}

impl<'a> Takeover<'a> {
    /// `entries` are those that our generations are to have, and `rank` is that of the stand-in, or the lowest it may
    /// have.
    pub(super) fn new(
        observed: &'a Observation,
        intent: &Intent,
        entries: &BTreeMap<String, String>,
        rank: Rank,
    ) -> Self {
        let theirs = theirs(observed, intent);
        let is_over = intent.last_good.as_ref().is_some_and(|good| {
            let stem = stem_of(good);
            let wanted = entries.keys().filter_map(|name| EntryName::parse(name));
            let there = observed.boot.files_of(&stem);
            let there = there.map(|(_, file)| file.name.clone());
            let mut names = there.chain(wanted);
            names.any(|name| name.stem == stem && name.tries.is_none())
        });
        let stand_in = (!is_over)
            .then(|| stand_in(observed, intent, &theirs, rank))
            .flatten();
        let payload = is_over.then(|| payload(observed, &theirs));
        Self {
            payload: payload.unwrap_or_default(),
            theirs,
            stand_in,
            is_over,
            other_systems: {
                let files = observed.boot.all().map(|(_, file)| file);
                let is_other_systems = observed.other_systems(&intent.ownership);
                files
                    .filter(|file| file.name.is_stand_in() && is_other_systems(file))
                    .collect()
            },
        }
    }

    /// The stand-in, if it is to be written. It is the first of all entries: what comes after it may rely on it.
    pub(super) fn stand_in(&self, boot: &BootFiles) -> Option<Step> {
        let wanted = self.stand_in.as_ref().filter(|s| !s.is_there(boot))?;
        Some(Step::Text {
            text: wanted.text.clone(),
            on: wanted.on,
            path: format!("{ENTRIES}/{}", wanted.name),
        })
    }

    /// What stays of theirs although it is over, a line each. Of one that nobody has asked us for there is nothing to
    /// tell.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let theirs = self.theirs.iter().filter(|_| self.is_over);
        let lasting = theirs.filter(|theirs| theirs.start == Start::Impossible);
        lasting.map(|theirs| {
            format!(
                "{} stays, because no entry of ours can take its place: {} cannot be booted by one",
                theirs.file.name,
                theirs.closure.display()
            )
        })
    }

    /// What nobody needs any more: entries, then payload. `entries` are ours, by name, on `$BOOT`.
    pub(super) fn removals(
        &self,
        boot: &BootFiles,
        entries: &BTreeMap<String, String>,
    ) -> Vec<Step> {
        let is_wanted = |name: &str, file: &EntryFile| {
            let wanted = self.stand_in.as_ref();
            wanted.is_some_and(|wanted| wanted.on == file.on && wanted.name == name)
        };
        // It is all that tells of what booted before, if it is to the letter what was written. No loader lists it.
        let is_lost = |name: &str, file: &EntryFile| {
            let is_last = !self.is_over && self.stand_in.is_none();
            is_last && !file.has_program && name == StandIn::name(&file.text)
        };
        let is_gone = |name: &str, file: &EntryFile| {
            file.name.is_stand_in()
                && !is_wanted(name, file)
                && !is_lost(name, file)
                && !self.other_systems.contains(&file)
                || self.is_over
                    && (nixpkgs::is_husk(file)
                        || self
                            .theirs
                            .iter()
                            .any(|theirs| theirs.file == file && theirs.is_replaceable()))
        };
        let (gone, kept): (Vec<_>, Vec<_>) =
            boot.all().partition(|(name, file)| is_gone(name, file));
        let needed = Needed::by(kept.into_iter().map(|(_, file)| file)).and(entries.values());
        let paths = self
            .payload
            .iter()
            .map(|(on, name)| (*on, format!("{}/{name}", nixpkgs::DIRECTORY)));
        let payload = paths
            .filter(|(_, path)| !needed.has(path))
            .map(|(on, path)| Step::Remove { on, path });
        let entries = gone.into_iter().map(|(name, file)| remove(file.on, name));
        entries.chain(payload).collect()
    }
}

/// The payload of this machine's that is there: what its entries point at, and what its closures would be called. A run
/// that was cut short has removed the entries before.
fn payload(observed: &Observation, theirs: &[Theirs<'_>]) -> BTreeSet<(Partition, String)> {
    let pointed_at = theirs.iter().flat_map(|theirs| {
        let entry = &theirs.file.entry;
        let paths = entry.linux.iter().chain(&entry.initrds);
        paths
            .chain(&entry.devicetree)
            .filter_map(|path| nixpkgs::payload_of(path))
            .map(|name| (theirs.file.on, name.to_owned()))
    });
    let there = &observed.boot.nixpkgs;
    let generations = observed.generations.iter().filter(|_| !there.is_empty());
    let known = generations
        .filter_map(|found| found.bootable.as_ref().ok())
        .flat_map(Bootable::payload)
        .filter_map(|payload| nixpkgs::payload_name(&payload.source))
        .flat_map(|name| [(Partition::Esp, name.clone()), (Partition::Boot, name)]);
    pointed_at
        .chain(known)
        .filter(|found| there.contains(found))
        .collect()
}

impl StandIn {
    /// One that does what `entry` does, with paths on the partition `on`. With its rank it stands where the last good
    /// one would: under what is selected, over what never was.
    fn new(on: Partition, entry: &Entry, rank: Rank, intent: &Intent) -> Self {
        let title = entry.title.as_deref().unwrap_or("NixOS");
        let title = title.strip_suffix(NOTE).unwrap_or(title);
        let entry = Entry {
            title: Some(format!("{title}{NOTE}")),
            sort_key: Some(rank.sort_key()),
            machine_id: None,
            ..entry.clone()
        };
        let text = format!("{entry}{}", intent.ownership.mark());
        let name = Self::name(&text);
        Self { on, name, text }
    }

    /// The one that `file` is, or the same with a higher rank.
    fn of(file: &EntryFile, rank: Rank, intent: &Intent) -> Self {
        let now = file.entry.sort_key.as_deref().and_then(Rank::of_sort_key);
        if now < Some(rank) {
            return Self::new(file.on, &file.entry, rank, intent);
        }
        Self {
            on: file.on,
            name: file.name.to_string(),
            text: file.text.clone(),
        }
    }

    fn name(text: &str) -> String {
        stand_in_of(&nixpkgs::sha256(text)).to_string()
    }

    fn is_there(&self, boot: &BootFiles) -> bool {
        let there = boot.entry(self.on, &self.name);
        there.is_some_and(|file| file.text == self.text)
    }
}

/// Their entries that start a closure of this machine. Another machine's may have the very same names.
fn theirs<'a>(observed: &'a Observation, intent: &Intent) -> Vec<Theirs<'a>> {
    let files = observed.boot.all().map(|(_, file)| file);
    let started = files.filter_map(|file| Some((file, nixpkgs::closure_of(file)?)));
    let started: Vec<(&EntryFile, PathBuf)> = started.collect();
    // As on nearly every machine for nearly all its life.
    if started.is_empty() {
        return Vec::new();
    }
    let mut known: BTreeMap<&Path, Start> = BTreeMap::new();
    for found in &observed.generations {
        let start = match &found.bootable {
            Err(_) => Start::Impossible,
            Ok(_) if is_left_out(&observed.boot, intent, found) => Start::LeftOut,
            Ok(_) => Start::Ours,
        };
        let best = known.entry(&found.generation.toplevel).or_default();
        *best = start.max(*best);
    }
    started
        .into_iter()
        .filter_map(|(file, closure)| {
            let start = *known.get(closure.as_path())?;
            Some(Theirs {
                file,
                closure,
                start,
            })
        })
        .collect()
}

/// The stand-in to have. One that is there already stays: what it stands for will not have got better.
///
/// Otherwise what runs, because it does; then what their loader.conf names; then the newest, by its number. And where
/// none of these is to be had, one that is there although its generation is in no profile any more: its closure may
/// still be in the store. What runs may be anybody's ([`Foreign`]); of what does not run, only what nixpkgs wrote is
/// known to be a generation.
fn stand_in(
    observed: &Observation,
    intent: &Intent,
    theirs: &[Theirs<'_>],
    rank: Rank,
) -> Option<StandIn> {
    let boot = &observed.boot;
    let (lasting, unlisted): (Vec<&EntryFile>, Vec<&EntryFile>) = present(observed, intent)
        .partition(|file| {
            let Some(closure) = nixpkgs::init_of(&file.entry) else {
                return true;
            };
            let mut found = observed.generations.iter();
            found.any(|found| found.generation.toplevel == closure)
        });
    if let Some(file) = lasting.first() {
        return Some(StandIn::of(file, rank, intent));
    }
    let booted = intent.booted.as_deref();
    if let Some(foreign) = booted.and_then(|booted| Foreign::booted(boot, booted)) {
        return Some(StandIn::new(foreign.on, &foreign.entry, rank, intent));
    }
    let conf = LoaderConf::parse(boot.loader_conf.as_deref().unwrap_or_default());
    let named = conf.preferred.or(conf.default);
    let newest = |closure: &Path| {
        let found = observed.generations.iter();
        let same = found.filter(|found| found.generation.toplevel == closure);
        same.map(|found| found.generation.id.age()).max()
    };
    let good = theirs.iter().filter(|theirs| is_whole(boot, theirs.file));
    let best = good.max_by_key(|theirs| {
        let running = intent.running.as_ref();
        let runs = running.is_some_and(|running| running.toplevel == theirs.closure);
        let is_named = named.as_ref() == Some(&theirs.file.name.to_string());
        (runs, is_named, newest(&theirs.closure))
    });
    let best = best.map(|theirs| {
        let file = theirs.file;
        StandIn::new(file.on, &file.entry, rank, intent)
    });
    best.or_else(|| unlisted.first().map(|file| StandIn::of(file, rank, intent)))
}

/// The stand-ins of ours that are there, to the letter and with their payload.
fn present<'a>(observed: &'a Observation, intent: &Intent) -> impl Iterator<Item = &'a EntryFile> {
    let boot = &observed.boot;
    let files = boot.all().map(|(_, file)| file);
    files.filter(|file| {
        let name = file.name.to_string();
        file.name.is_stand_in()
            && name == StandIn::name(&file.text)
            && is_whole(boot, file)
            && !observed.is_other_systems(&intent.ownership, file)
    })
}

/// A stand-in of ours that is there `before`, where `after` has none that could be started.
pub fn lost_stand_in<'a>(
    before: &'a BootFiles,
    after: &BootFiles,
    is_other_systems: impl Fn(&EntryFile) -> bool,
) -> Option<&'a EntryFile> {
    let is_ours = |file: &&EntryFile| file.name.is_stand_in() && !is_other_systems(file);
    let files = |boot: &'a BootFiles| boot.all().map(|(_, file)| file);
    let lost = files(before).find(is_ours)?;
    let mut left = after.all().map(|(_, file)| file).filter(is_ours);
    (!left.any(|file| is_whole(after, file))).then_some(lost)
}

/// Whether an entry has no counter, and all it needs is there.
fn is_whole(boot: &BootFiles, file: &EntryFile) -> bool {
    file.name.tries.is_none() && boot.has_payload(file)
}

#[cfg(test)]
mod tests;
