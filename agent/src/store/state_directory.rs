//! Whether what the agent keeps outlives a boot. Where it does not, nothing is ever proven, and there is no fallback.
//!
//! The clock is not asked: the file system tells, and else the ledger. An entry of ours is written after the first
//! record is. So when an entry of ours started this boot, and nothing is on record from before it, the records are
//! gone.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use boot_entries::{Root, mountinfo};
use nix::errno::Errno;
use nix::sys::stat::{major, minor};
use nix::sys::statfs::{FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use systemd_boot_model::EntryName;

use crate::host::{MOUNTS, STATE};
use crate::state::Event;
use crate::store::ledger::Ledger;

/// `linux/magic.h`; nix has no name for it.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
/// Where initrds mount what becomes `/`: an overlay that they have mounted names its parts so.
const INITRD_ROOTS: [&str; 2] = ["/sysroot", "/root"];

/// What the state directory lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A disk, or nobody knows better.
    Disk,
    /// A tmpfs or ramfs.
    Memory,
    /// An overlay whose changes go to a tmpfs or ramfs.
    OverMemory,
}

/// Why nothing that is kept here outlives a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatile {
    /// It lies in memory.
    Memory,
    /// It lies on an overlay that keeps changes in memory.
    OverMemory,
    /// It was emptied since the boot before.
    Emptied,
}

impl fmt::Display for Volatile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::Memory => "is in memory (tmpfs)",
            Self::OverMemory => "is on an overlay that keeps changes in memory",
            Self::Emptied => {
                "says nothing of any boot before this one, although an entry of lastgood started this one: it was emptied, or \
                 is at each boot"
            }
        };
        write!(
            f,
            "{STATE} {why}: what is selected and proven is forgotten at the next boot, and a machine that forgets it never \
             falls back; keep {STATE} on a disk that stays"
        )
    }
}

/// Whether what is kept is lost: a total function of where it lies, of whether an entry of ours started this boot, and
/// of whether anything is on record from before this boot.
#[must_use]
pub fn judge(medium: Medium, is_started_by_us: bool, remembers: bool) -> Option<Volatile> {
    match medium {
        Medium::Memory => Some(Volatile::Memory),
        Medium::OverMemory => Some(Volatile::OverMemory),
        Medium::Disk => (is_started_by_us && !remembers).then_some(Volatile::Emptied),
    }
}

/// [`judge`] of the running machine. `selected` is the entry that the loader started; `boot` the kernel's id of this
/// boot. None in a tree: it has no boot to outlive.
#[must_use]
pub fn volatile(
    root: &Root,
    ledger: &Ledger,
    selected: Option<&str>,
    boot: Option<&str>,
) -> Option<Volatile> {
    if !root.is_live() {
        return None;
    }
    let is_ours = selected
        .and_then(EntryName::parse)
        .is_some_and(|name| name.stem.starts_with("lastgood-"));
    let remembers = boot.is_none_or(|boot| remembers(ledger, boot));
    judge(medium(root), is_ours, remembers)
}

/// Whether the ledger has a record from before the boot with this id. A damaged one may be.
fn remembers(ledger: &Ledger, boot: &str) -> bool {
    let first = ledger.records.first().map(|record| &record.event);
    let begins_here = match first {
        None => true,
        Some(Event::Began { boot: id, .. }) => id == boot,
        Some(_) => false,
    };
    !begins_here || !ledger.damaged.is_empty()
}

/// What [`STATE`] lies on. Where it does not exist yet: what it would be made on.
fn medium(root: &Root) -> Medium {
    let here = root.resolve(STATE).unwrap_or_default();
    let found = here.ancestors().find_map(|path| match statfs(path) {
        Err(Errno::ENOENT) => None,
        found => Some((path, found.map(|found| found.filesystem_type()))),
    });
    match found {
        Some((_, Ok(TMPFS_MAGIC | RAMFS_MAGIC))) => Medium::Memory,
        Some((path, Ok(OVERLAYFS_SUPER_MAGIC))) if upper_is_in_memory(path) => Medium::OverMemory,
        _ => Medium::Disk,
    }
}

/// Whether the overlay that `path` is on keeps what is written in memory. No: it does not, or nobody can tell.
fn upper_is_in_memory(path: &Path) -> bool {
    let (Ok(found), Ok(text)) = (path.metadata(), std::fs::read(MOUNTS)) else {
        return false;
    };
    let device = format!("{}:{}", major(found.dev()), minor(found.dev()));
    let mut mounts = mountinfo::mounts(&text);
    let upper = mounts.find_map(|mount| {
        let is_it = mount.device == device && mount.file_system == "overlay";
        is_it.then(|| mount.path_option("upperdir"))?
    });
    let Some(upper) = upper else {
        return false;
    };
    let seen = INITRD_ROOTS.iter().filter_map(|top| {
        let below = upper.strip_prefix(top).ok()?;
        Some(Path::new("/").join(below))
    });
    let seen: Vec<PathBuf> = std::iter::once(upper.clone()).chain(seen).collect();
    let kinds = seen.iter().filter_map(|path| statfs(path).ok());
    let first = kinds.map(|found| found.filesystem_type()).next();
    matches!(first, Some(TMPFS_MAGIC | RAMFS_MAGIC))
}

#[cfg(test)]
mod tests;
