//! What a plan takes on a FAT file system, at its worst instant (invariant B4). Pure.
//!
//! Two things run out. *Clusters*: what files and directories are made of. *Slots*: the 32 byte records a directory
//! is made of; a name takes one for each 13 UTF-16 units and one more, and a directory without enough of them takes
//! another cluster. So a rename, which seems to need nothing, can fail on a full disk; and firmware that renames has
//! removed the old name by then: the entry is lost.
//!
//! Who adds a name where decides how much is needed:
//!
//! - Linux (`fs/fat/dir.c`, `fat_add_entries`) takes the first run of free slots that is long enough, removed ones
//!   too; at the end of the directory the run goes on into new clusters. Where the free slots are cannot be seen
//!   from outside. Only when there are more of them than the gaps between the names can hold in runs that are too
//!   short, one must be long enough.
//! - Firmware (EDK2, `FatPkg/EnhancedFatDxe/DirectoryManage.c`, `FatNewEntryPos`) goes on after the last name there
//!   ever was, and never looks at removed slots below that. Where that is cannot be seen either: the last cluster is
//!   taken for full.
//!
//! A name of the old form (8.3, capitals) takes one slot only; counting more for it errs on the safe side.

mod instant;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use crate::step::{self, Step};
use instant::Instant;

/// A record in a directory, in bytes.
const SLOT: u64 = 32;
/// UTF-16 units of a long name in one slot.
const UNITS: usize = 13;

/// How many slots a file's name takes in its directory, at most.
#[must_use]
pub fn slots(name: &str) -> u64 {
    let long = name.encode_utf16().count().div_ceil(UNITS);
    (long as u64).saturating_add(1)
}

/// A file system as a plan finds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// Free clusters.
    pub free: u64,
    /// The size of one, in bytes.
    pub cluster: u64,
    /// The directories in which a plan adds names, by path; the root is `""`. One that is missing here is missing
    /// there.
    pub directories: BTreeMap<String, Directory>,
    /// The files that a plan may replace or remove, by path, in bytes.
    pub files: BTreeMap<String, u64>,
}

/// A directory as a plan finds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// What it takes itself, in bytes.
    pub size: u64,
    /// What is in it.
    pub names: BTreeSet<String>,
}

/// What is done with the reserve.
///
/// It is there for whatever can happen without a plan being asked first. All names the loader may still write: each
/// counted entry is renamed once for each try that is left. And what verdicts and a way back write after that:
/// entries under their other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// It must be free at every instant from the first write on: the machine may be rebooted at any.
    Kept,
    /// It may be spent: this is what it was kept for.
    Spent,
}

/// The instant at which a plan needs most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worst {
    /// How many clusters must be free before the first step, for the plan to go through.
    pub needed: u64,
    /// The step in which that is so, counted from 0.
    pub step: usize,
}

impl Volume {
    /// The instant at which most must be free if `steps` are made, in this order. Those for which `is_here` does not
    /// hold are made on another file system.
    #[must_use]
    pub fn worst(
        &self,
        steps: &[Step],
        is_here: impl Fn(&Step) -> bool,
        reserve: Reserve,
    ) -> Worst {
        let mut instant = Instant::first(self, reserve);
        let mut worst = Worst::default();
        let numbered: Vec<Numbered<'_>> = steps
            .iter()
            .enumerate()
            .map(|(number, step)| Numbered { number, step })
            .filter(|numbered| is_here(numbered.step))
            .collect();
        for piece in step::pieces(&numbered, |step| self.files.contains_key(step.path())) {
            for steps in piece.together() {
                for half in [Instant::begin, Instant::finish] {
                    for Numbered { number, step } in steps {
                        half(&mut instant, step);
                        let needed = instant.most();
                        if needed > worst.needed {
                            let step = *number;
                            worst = Worst { needed, step };
                        }
                    }
                }
            }
        }
        worst
    }

    /// `clusters`, in bytes.
    #[must_use]
    pub fn bytes(&self, clusters: u64) -> u64 {
        clusters.saturating_mul(self.cluster)
    }
}

/// A step, and which it is.
struct Numbered<'a> {
    number: usize,
    step: &'a Step,
}

impl Borrow<Step> for Numbered<'_> {
    fn borrow(&self) -> &Step {
        self.step
    }
}

#[cfg(test)]
pub(crate) mod tests;
