//! The seal: what a run left behind that found nothing to do, so that the next one need not look at every file again.
//!
//! The store never changes, and neither does what a directory of links holds without its time of change (`st_ctime`),
//! which nobody can set. So `/etc` is as it was if `/etc/static` leads where it did, and if nothing has changed of the
//! directories in which something of ours is, of copies, of the manifest, and of the lists of users. `/etc` itself
//! changes all the time: what is directly in it is looked at one by one.
//!
//! A file system's clock is coarse. What was changed less than [`COARSE`] before it was sealed may change once more
//! without a trace, so nothing is sealed then. Whatever is odd here means to look at everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boot_entries::{Root, bounded, durable};

use super::checked::{self, pulled, push};
use super::plan::Ours;
use super::wanted::Wanted;
use crate::host::{ETC, ETC_MANIFEST, ETC_SEAL, GROUPS, NIX_STORE, STATIC, USERS};

const NAME: &str = "lastgood-etc-seal";
/// Another release may want other things of the same closure.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The longest one that is read, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;
/// Some file systems count in seconds, and FAT in two.
const COARSE: Duration = Duration::from_secs(3);

/// What tells whether something is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// What was there. Paths are the machine's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seal {
    /// Where `/etc/static` leads.
    farm: PathBuf,
    /// Directories and files. None: it is not there.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// Links directly in `/etc`, and where they lead.
    links: BTreeMap<PathBuf, PathBuf>,
}

/// Whether `/etc` is still what it was when it was sealed for `farm`, where `/etc/static` leads now.
pub(super) fn holds(root: &Root, farm: &Path) -> bool {
    let text = bounded::read(&root.join(ETC_SEAL), LIMIT);
    let Some(seal) = text.ok().and_then(|text| parse(&text)) else {
        return false;
    };
    let is_there = || {
        let place = root.resolve(farm);
        place.is_ok_and(|place| place.is_dir())
    };
    let leads = |path: &Path| std::fs::read_link(root.join(path)).ok();
    seal.farm == farm
        && is_there()
        && seal
            .links
            .iter()
            .all(|(path, to)| leads(path).as_ref() == Some(to))
        && seal
            .stamps
            .iter()
            .all(|(path, stamp)| look(root, path).as_ref() == Ok(stamp))
}

/// Seals `/etc`, which is as `farm` wants it. If it was changed just now, or cannot be written to, it stays unsealed: the
/// next run looks at everything again.
///
/// `began` is when the run began to look: what was changed after that it may not have seen.
pub(super) fn put(root: &Root, farm: &Path, wanted: &Wanted, began: SystemTime) {
    if !may_be_sealed(farm, wanted) {
        return;
    }
    let Some(seal) = of(root, farm, wanted) else {
        return;
    };
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut stamps = seal.stamps.values().flatten();
    if !stamps.all(|stamp| is_old(stamp, began)) {
        return;
    }
    if let Err(error) = durable::put_unflushed(&text(&seal), &root.join(ETC_SEAL)) {
        tracing::debug!("{ETC_SEAL} is not written: {error}");
    }
}

/// Whether what is wanted is all in the store, where nothing changes.
fn may_be_sealed(farm: &Path, wanted: &Wanted) -> bool {
    farm.starts_with(NIX_STORE) && !wanted.may_change
}

/// Whether a change that came at `then` or later would have another time.
fn is_old(stamp: &Stamp, then: Duration) -> bool {
    let changed = u64::try_from(stamp.seconds).map(Duration::from_secs);
    changed.is_ok_and(|changed| changed + COARSE < then)
}

/// What there is to seal. None: something cannot be looked at.
fn of(root: &Root, farm: &Path, wanted: &Wanted) -> Option<Seal> {
    let etc = Path::new(ETC);
    let mut paths: BTreeSet<PathBuf> = [ETC_MANIFEST, USERS, GROUPS].map(PathBuf::from).into();
    // Where nothing is wanted in a directory of the host's, a link may be wanted once it is gone.
    paths.extend(
        wanted
            .directories
            .iter()
            .map(|directory| etc.join(directory)),
    );
    let mut links = BTreeMap::new();
    let mut last = None;
    for (path, ours) in &wanted.places {
        let above = path.parent().unwrap_or(Path::new(""));
        let place = etc.join(path);
        if last != Some(above) {
            let directories = above.ancestors().filter(|one| !one.as_os_str().is_empty());
            paths.extend(directories.map(|directory| etc.join(directory)));
            last = Some(above);
        }
        let is_top = above.as_os_str().is_empty();
        match ours {
            Ours::Copy(_) => drop(paths.insert(place)),
            Ours::Static if is_top => drop(links.insert(place, Path::new(STATIC).join(path))),
            Ours::Link(to) if is_top => drop(links.insert(place, to.clone())),
            Ours::Static | Ours::Link(_) => {}
        }
    }
    let stamps = paths.into_iter().map(|path| {
        let stamp = look(root, &path).ok()?;
        Some((path, stamp))
    });
    Some(Seal {
        farm: farm.to_owned(),
        stamps: stamps.collect::<Option<_>>()?,
        links,
    })
}

fn look(root: &Root, path: &Path) -> Result<Option<Stamp>, std::io::ErrorKind> {
    match std::fs::symlink_metadata(root.join(path)) {
        Ok(found) => Ok(Some(Stamp {
            inode: found.ino(),
            seconds: found.ctime(),
            nanoseconds: found.ctime_nsec(),
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.kind()),
    }
}

fn text(seal: &Seal) -> String {
    let mut text = format!("{NAME} {VERSION} ");
    push(&mut text, &seal.farm);
    for (path, stamp) in &seal.stamps {
        match stamp {
            // Writing to a String does not fail.
            Some(Stamp {
                inode,
                seconds,
                nanoseconds,
            }) => {
                write!(text, "\nat {inode} {seconds} {nanoseconds} ").unwrap_or_default();
            }
            None => text.push_str("\nnone "),
        }
        push(&mut text, path);
    }
    for (path, to) in &seal.links {
        text.push_str("\nlink ");
        push(&mut text, path);
        text.push(' ');
        push(&mut text, to);
    }
    checked::close(text)
}

fn parse(text: &str) -> Option<Seal> {
    let mut lines = checked::open(text)?;
    let heading: Vec<&str> = lines.next()?.split(' ').collect();
    let [NAME, VERSION, farm] = heading[..] else {
        return None;
    };
    let mut seal = Seal {
        farm: pulled(farm)?,
        ..Seal::default()
    };
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["at", inode, seconds, nanoseconds, path] => {
                let stamp = Stamp {
                    inode: inode.parse().ok()?,
                    seconds: seconds.parse().ok()?,
                    nanoseconds: nanoseconds.parse().ok()?,
                };
                seal.stamps.insert(pulled(path)?, Some(stamp));
            }
            ["none", path] => drop(seal.stamps.insert(pulled(path)?, None)),
            ["link", path, to] => drop(seal.links.insert(pulled(path)?, pulled(to)?)),
            _ => return None,
        }
    }
    Some(seal)
}

#[cfg(test)]
mod tests;
