//! What a FAT file system under Linux may hold after a power cut.
//!
//! Every call has effects. An effect is certain once what settles it is flushed; until then it is on the disk or not,
//! whatever becomes of the effects before and after it. The rules, after Linux's `fs/fat`:
//!
//! - a file's bytes, and the place in the directory that says where they are and how many (its *slot*), are settled by
//!   flushing the file; before, the bytes may be the old ones, a part of the new ones, or zeros;
//! - names are settled by flushing the directory;
//! - a rename is three changes, not one: the new name gets a slot, the slot is filled with where the file's bytes are,
//!   the old name goes. Filling the slot is a change to the *file* (`fat_attach`, `mark_inode_dirty`), so flushing the
//!   directory does not settle it: a file that is not flushed once more may be found empty under its new name;
//! - over an existing file, the new name's slot points at the old bytes until it is filled, and these are set free
//!   meanwhile: a file that is replaced can be found old, new, empty, or with anything in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable::call::Call;

pub(crate) type Bytes = Arc<[u8]>;
/// Files by path.
pub(crate) type Files = BTreeMap<PathBuf, Bytes>;

/// A file, whatever it is called at the moment.
type Id = usize;

/// So many of the latest unsettled effects are tried in every combination; what is older is lost or done as a whole.
const FREE: usize = 8;
/// And where there are more, as many combinations of all of them.
const SOME: u64 = 24;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Directory(PathBuf),
    /// A name, with nothing under it yet.
    Slot(PathBuf),
    Fill(PathBuf, Id),
    Drop(PathBuf),
    Bytes(Id, Bytes),
    Free(Id),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Flushed {
    File(Id),
    Directory(PathBuf),
}

/// What is on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Disk {
    directories: BTreeSet<PathBuf>,
    /// Names are more than one sector long: a flushed file may be filled in and still have no name.
    names: BTreeSet<PathBuf>,
    filled: BTreeMap<PathBuf, Id>,
    bytes: BTreeMap<Id, Bytes>,
}

impl Disk {
    fn change(&mut self, change: &Change) {
        match change {
            Change::Directory(path) => drop(self.directories.insert(path.clone())),
            Change::Slot(path) => drop(self.names.insert(path.clone())),
            Change::Fill(path, id) => drop(self.filled.insert(path.clone(), *id)),
            Change::Drop(path) => {
                self.names.remove(path);
                self.filled.remove(path);
            }
            Change::Bytes(id, bytes) => drop(self.bytes.insert(*id, bytes.clone())),
            Change::Free(id) => drop(self.bytes.remove(id)),
        }
    }

    /// This disk with `change` made, and with it half made.
    fn with(&self, change: &Change) -> Vec<Self> {
        let halves = match change {
            Change::Bytes(id, bytes) => {
                let prefix = |length| (*id, bytes[..length].into());
                let most = bytes.len().saturating_sub(8);
                vec![
                    prefix(bytes.len() / 2),
                    prefix(most),
                    (*id, vec![0; bytes.len()].into()),
                ]
            }
            Change::Free(id) => vec![(*id, b"anything\n"[..].into())],
            _ => Vec::new(),
        };
        let halves = halves
            .into_iter()
            .map(|(id, bytes)| Change::Bytes(id, bytes));
        let made = |change: &Change| {
            let mut disk = self.clone();
            disk.change(change);
            disk
        };
        let mut all: Vec<Self> = halves.map(|half| made(&half)).collect();
        all.push(made(change));
        all
    }

    fn files(&self) -> Files {
        let reachable = |path: &Path| {
            path.ancestors()
                .skip(1)
                .all(|above| above == Path::new("") || self.directories.contains(above))
        };
        let read = |path| self.filled.get(path).and_then(|id| self.bytes.get(id));
        self.names
            .iter()
            .filter(|path| reachable(path))
            .map(|path| (path.clone(), read(path).cloned().unwrap_or_default()))
            .collect()
    }
}

/// A file system in use.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    certain: Disk,
    unsettled: Vec<(Change, Flushed)>,
    /// As the running system sees it.
    names: BTreeMap<PathBuf, Id>,
    next: Id,
}

impl Volume {
    /// One that was unmounted cleanly with `files` on it. Paths are relative to its root, which is always there.
    pub(crate) fn new(files: &Files) -> Self {
        let mut certain = Disk::default();
        let mut names = BTreeMap::new();
        for (id, (path, bytes)) in files.iter().enumerate() {
            let above = path.ancestors().skip(1).filter(|p| *p != Path::new(""));
            certain.directories.extend(above.map(Path::to_owned));
            certain.names.insert(path.clone());
            certain.filled.insert(path.clone(), id);
            certain.bytes.insert(id, bytes.clone());
            names.insert(path.clone(), id);
        }
        Self {
            certain,
            unsettled: Vec::new(),
            names,
            next: files.len(),
        }
    }

    /// Makes a call.
    pub(crate) fn call(&mut self, call: &Call) {
        let parent = |path: &Path| Flushed::Directory(path.parent().unwrap().to_owned());
        match call {
            Call::MakeDirectory(path) => {
                self.later(Change::Directory(path.clone()), parent(path));
            }
            Call::Create(path) => {
                if let Some(id) = self.names.get(path).copied() {
                    return self.later(Change::Bytes(id, Bytes::default()), Flushed::File(id));
                }
                let id = self.next;
                self.next += 1;
                self.names.insert(path.clone(), id);
                self.later(Change::Slot(path.clone()), parent(path));
                self.later(Change::Fill(path.clone(), id), Flushed::File(id));
            }
            Call::Write(path, bytes) => {
                let id = self.names[path];
                self.later(Change::Bytes(id, bytes[..].into()), Flushed::File(id));
            }
            Call::Flush(path) => self.settle(&match self.names.get(path) {
                Some(id) => Flushed::File(*id),
                None => Flushed::Directory(path.clone()),
            }),
            Call::FlushAll(_) => {
                for (change, _) in self.unsettled.drain(..) {
                    self.certain.change(&change);
                }
            }
            Call::Rename(from, to) => {
                let id = self.names.remove(from).unwrap();
                match self.names.insert(to.clone(), id) {
                    Some(replaced) => self.later(Change::Free(replaced), parent(to)),
                    None => self.later(Change::Slot(to.clone()), parent(to)),
                }
                self.later(Change::Fill(to.clone(), id), Flushed::File(id));
                self.later(Change::Drop(from.clone()), parent(from));
            }
            Call::Remove(path) => {
                let id = self.names.remove(path).unwrap();
                self.later(Change::Free(id), parent(path));
                self.later(Change::Drop(path.clone()), parent(path));
            }
        }
    }

    fn later(&mut self, change: Change, settled_by: Flushed) {
        self.unsettled.push((change, settled_by));
    }

    fn settle(&mut self, flushed: &Flushed) {
        for (change, _) in self.unsettled.extract_if(.., |(_, by)| by == flushed) {
            self.certain.change(&change);
        }
    }

    /// Whether everything that was asked for is on the disk.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// What the running system sees: everything that was asked for.
    pub(crate) fn files(&self) -> Files {
        let mut done = self.certain.clone();
        for (change, _) in &self.unsettled {
            done.change(change);
        }
        done.files()
    }

    /// Some of what was asked for and nothing else: which, `seed` says.
    fn with_some(&self, seed: u64) -> Disk {
        let mut disk = self.certain.clone();
        let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for (change, _) in &self.unsettled {
            // Marsaglia's xorshift: good enough for a coin.
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            if chance & 1 == 1 {
                disk.change(change);
            }
        }
        disk
    }

    /// Everything that may be found after a power cut now.
    pub(crate) fn after_a_cut(&self) -> BTreeSet<Files> {
        let (old, new) = self
            .unsettled
            .split_at(self.unsettled.len().saturating_sub(FREE));
        let mut done = self.certain.clone();
        for (change, _) in old {
            done.change(change);
        }
        let mut disks = BTreeSet::from([self.certain.clone(), done]);
        for (change, _) in new {
            let more: Vec<Disk> = disks.iter().flat_map(|disk| disk.with(change)).collect();
            disks.extend(more);
        }
        if !old.is_empty() {
            disks.extend((0..SOME).map(|seed| self.with_some(seed)));
        }
        disks.iter().map(Disk::files).collect()
    }
}
