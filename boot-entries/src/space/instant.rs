//! A file system in the middle of a plan, as far as room goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Directory, Reserve, SLOT, Volume, slots};
use crate::durable;
use crate::name::OurName as _;
use crate::step::Step;
use systemd_boot_model::{ENTRIES, EntryName};

/// `.` and `..`
const DOTS: u64 = 2;
/// So many renames of one entry are provided for. Ours have three tries; a foreign entry with more will have met a
/// later plan before they are used up.
const RENAMES: u32 = 10;
/// Entry files that verdicts write before they remove any: the one judged, the one gone back to, and a third one
/// being replaced.
const VERDICT: u64 = 3;

/// The slots of a directory.
#[derive(Debug)]
struct Slots {
    names: BTreeSet<String>,
    total: u64,
    used: u64,
    /// Free ones at the end, known to be in one run. There may be more.
    tail: u64,
}

impl Slots {
    fn of(directory: &Directory, is_root: bool) -> Self {
        let dots = if is_root { 0 } else { DOTS };
        let used = directory.names.iter().map(|name| slots(name)).sum::<u64>() + dots;
        Self {
            names: directory.names.iter().map(|name| folded(name)).collect(),
            total: (directory.size / SLOT).max(used),
            used,
            tail: 0,
        }
    }

    fn new(cluster: u64) -> Self {
        let total = cluster / SLOT;
        Self {
            names: BTreeSet::new(),
            total,
            used: DOTS,
            tail: total.saturating_sub(DOTS),
        }
    }

    /// Gives a name its slots, and says how many clusters that takes at most.
    fn add(&mut self, name: &str, cluster: u64) -> u64 {
        let wanted = slots(name);
        let gaps = self.names.len() as u64 + 1;
        self.names.insert(name.to_owned());
        self.used += wanted;
        let free = (self.total + wanted).saturating_sub(self.used);
        // Were every gap too short, there would be no more than this.
        let scattered = gaps.saturating_mul(wanted.saturating_sub(1));
        if self.tail >= wanted || free > scattered {
            // It may be any run, also the last.
            self.tail = self.tail.saturating_sub(wanted);
            return 0;
        }
        let grown = ((wanted - self.tail) * SLOT).div_ceil(cluster);
        let more = grown * cluster / SLOT;
        self.total += more;
        self.tail = (self.tail + more).saturating_sub(wanted);
        grown
    }

    fn remove(&mut self, name: &str) -> bool {
        let is_there = self.names.remove(name);
        if is_there {
            self.used = self.used.saturating_sub(slots(name));
        }
        is_there
    }
}

/// Where a plan has got to.
#[derive(Debug)]
pub(super) struct Instant {
    cluster: u64,
    directories: BTreeMap<String, Slots>,
    files: BTreeMap<String, u64>,
    /// Clusters taken since the beginning.
    taken: u64,
    /// Clusters given back since the beginning.
    given: u64,
    reserve: Reserve,
    /// The slots that the loader may still append.
    renames: u64,
    /// The largest entry file of all so far, in bytes, and the most slots one takes under both of its names.
    entry: (u64, u64),
    most: u64,
}

impl Instant {
    pub(super) fn first(volume: &Volume, reserve: Reserve) -> Self {
        let slots = |(path, directory): (&String, &Directory)| {
            (folded(path), Slots::of(directory, path.is_empty()))
        };
        let size = |(path, size): (&String, &u64)| (folded(path), *size);
        let mut first = Self {
            cluster: volume.cluster.max(SLOT),
            directories: BTreeMap::new(),
            files: BTreeMap::new(),
            taken: 0,
            given: 0,
            reserve,
            renames: 0,
            entry: (0, 0),
            most: 0,
        };
        first
            .directories
            .extend(volume.directories.iter().map(slots));
        first.files.extend(volume.files.iter().map(size));
        let entries = first.directories.get(ENTRIES);
        let names: Vec<String> = entries.iter().flat_map(|e| &e.names).cloned().collect();
        for name in names {
            first.renames += renames(&name);
            let size = first.files.get(&format!("{ENTRIES}/{name}")).copied();
            first.knows_entry(&name, size.unwrap_or_default());
        }
        first
    }

    /// How many clusters had to be free in the beginning, for the last step that was made.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// All of a step until a file is to get its name: that waits for those that are written together with it.
    pub(super) fn begin(&mut self, step: &Step) {
        self.most = 0;
        match step {
            Step::Copy { path, .. } | Step::Text { path, .. } => {
                self.write(&folded(path), step.bytes());
            }
            // It needs nothing. Were less free than the reserve, refusing to remove would not bring it back.
            Step::Remove { path, .. } => self.remove(&folded(path)),
        }
    }

    /// The rest of it.
    pub(super) fn finish(&mut self, step: &Step) {
        self.most = 0;
        match step {
            Step::Copy { path, .. } | Step::Text { path, .. } => {
                self.rename(&folded(path), step.bytes());
            }
            Step::Remove { .. } => {}
        }
    }

    /// As [`durable`] writes a file under its temporary name.
    fn write(&mut self, path: &str, size: u64) {
        let (directory, _) = split(path);
        self.directory(directory);
        let part = durable::part_name(Path::new(path));
        let part_path = format!("{directory}/{part}");
        self.add(directory, &part);
        self.given += self.forget(&part_path);
        self.taken += self.clusters(size);
        self.note();
    }

    /// As it gives it its own.
    fn rename(&mut self, path: &str, size: u64) {
        let (directory, name) = split(path);
        let part = durable::part_name(Path::new(path));
        self.add(directory, name);
        let replaced = self.forget(path);
        self.note();
        self.given += replaced;
        self.drop_name(directory, &part);
        self.files.insert(path.to_owned(), size);
        if directory == ENTRIES {
            self.knows_entry(name, size);
        }
        self.note();
    }

    fn remove(&mut self, path: &str) {
        let (directory, name) = split(path);
        self.drop_name(directory, name);
        self.given += self.forget(path);
    }

    /// Makes a directory, and those above it.
    fn directory(&mut self, path: &str) {
        if self.directories.contains_key(path) {
            return;
        }
        let (above, name) = split(path);
        if !path.is_empty() {
            self.directory(above);
            self.taken += 1;
            self.add(above, name);
        }
        let made = Slots::new(self.cluster);
        self.directories.insert(path.to_owned(), made);
    }

    fn add(&mut self, directory: &str, name: &str) {
        let cluster = self.cluster;
        let slots = self.directories.get_mut(directory);
        if let Some(slots) = slots.filter(|slots| !slots.names.contains(name)) {
            self.taken += slots.add(name, cluster);
            if directory == ENTRIES {
                self.renames += renames(name);
            }
        }
        self.note();
    }

    fn drop_name(&mut self, directory: &str, name: &str) {
        let slots = self.directories.get_mut(directory);
        if slots.is_some_and(|slots| slots.remove(name)) && directory == ENTRIES {
            self.renames = self.renames.saturating_sub(renames(name));
        }
    }

    /// Forgets a file, and says what it took.
    fn forget(&mut self, path: &str) -> u64 {
        let size = self.files.remove(path);
        size.map_or(0, |size| self.clusters(size))
    }

    fn clusters(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster)
    }

    fn knows_entry(&mut self, name: &str, size: u64) {
        if EntryName::parse(name).is_some_and(|name| name.is_ours()) {
            let (largest, most) = self.entry;
            let part = durable::part_name(Path::new(name));
            self.entry = (largest.max(size), most.max(slots(name) + slots(&part)));
        }
    }

    fn reserve(&self) -> u64 {
        let (largest, slots) = self.entry;
        let slots = VERDICT * slots + self.renames;
        match self.reserve {
            Reserve::Kept => VERDICT * self.clusters(largest) + self.clusters(slots * SLOT),
            Reserve::Spent => 0,
        }
    }

    /// Takes this instant into account.
    fn note(&mut self) {
        let needed = (self.taken + self.reserve()).saturating_sub(self.given);
        self.most = self.most.max(needed);
    }
}

/// The slots that the loader's renames of an entry can append, all in all. It renames a bad entry, too, when there
/// is no other.
fn renames(name: &str) -> u64 {
    let Some(mut entry) = EntryName::parse(name) else {
        return 0;
    };
    let left = entry.tries.map_or(0, |tries| tries.left.clamp(1, RENAMES));
    let mut all = 0;
    for _ in 0..left {
        entry.tries = entry.tries.map(systemd_boot_model::Tries::after_a_boot);
        all += slots(&entry.to_string());
    }
    all
}

/// A path or a name as FAT tells it from others: it knows no case.
fn folded(path: &str) -> String {
    path.to_lowercase()
}

/// The directory a path is in, and its name there.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
