//! What files hold, remembered, so that a run in which nothing changed reads none of them whole.
//!
//! Two kinds of memory, because two kinds of file change in different ways:
//!
//! - A file of the store is never changed. What it held is what it should hold, as long as inode, size and times of change and
//!   modification are those of the file that was read. So a store file whose bytes decay later does not become the new truth: copying it
//!   fails, because it is no longer what it was.
//! - A file on `$BOOT` lies on a file system that firmware, other systems and power cuts have written to. What it held
//!   counts only within the boot of the kernel that really read it, and as long as file system, size and times stay. The first run of
//!   every boot therefore reads all of it.
//!
//! The memory is data; the caller keeps it where it likes. What is lost or damaged is read again. Stamps are as fine as the
//! file system's clock, two seconds on FAT: a foreign change that leaves the size and comes that soon after our own write, or
//! keeps the file's time, is found by the next boot, or by whoever asks with nothing remembered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::kernel::{self, NotBootable};
use crate::payload::{Content, Digest};
use crate::progress::Watch;
use crate::{Root, bounded};

/// The version of the format. What is of another one is forgotten.
const VERSION: u32 = 1;
/// A few hundred generations take a few hundred kilobytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// What was read before, and what this run has asked for.
#[derive(Debug, Clone, Default)]
pub struct Digests {
    /// Paths are remembered without it. It has no slash at its end.
    root: Vec<u8>,
    record: Record,
    /// Whether this run has read what was not known.
    news: bool,
    watch: Watch,
}

/// As it is kept. Keys are paths on the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The boot in which the files of `boot` were read. None: in a tree, where no boot is under way.
    boot_id: Option<String>,
    boot: BTreeMap<String, Known>,
    store: BTreeMap<String, Known>,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    stamp: Stamp,
    digest: Digest,
    /// [`kernel::check`] had nothing against it. It gets another name whenever that looks at more: what is remembered as
    /// `is_kernel` was looked at with fewer doubts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_started: bool,
    /// This run has asked for it. What no run asks for any more is not kept.
    #[serde(skip)]
    is_asked: bool,
}

/// What changes when a file is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    /// Not on `$BOOT`: FAT has no inodes, and Linux makes up new numbers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    /// The file system's device. Only on `$BOOT`, where another one may be mounted next; the store's may be called otherwise
    /// after a reboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<u64>,
    /// Seconds and nanoseconds since 1970.
    changed: (i64, i64),
    modified: (i64, i64),
}

/// The first line of the file; the second is the [`Record`].
#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(rename = "v")]
    version: u32,
    /// Of the second line.
    sha256: Digest,
}

/// Where a file is, which decides how long what is known of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Store,
    Boot,
}

impl Digests {
    /// Nothing remembered: every file under `root` is read. `boot_id` is the kernel's name for the boot that is under way;
    /// None in a tree, where what was read counts by its stamps alone.
    #[must_use]
    pub fn new(root: &Root, boot_id: Option<String>) -> Self {
        let record = Record {
            boot_id,
            ..Record::default()
        };
        Self {
            root: without_slash(root.directory()).to_owned(),
            record,
            ..Self::default()
        }
    }

    /// [`Self::new`], with what the file at `path` (a path of this process) remembers. Nothing, if it is not there, is
    /// damaged, or is none of ours: then everything is read.
    #[must_use]
    pub fn load(root: &Root, boot_id: Option<String>, path: &Path) -> Self {
        let text = bounded::read(path, LIMIT).unwrap_or_default();
        let mut record = Record::parse(&text).unwrap_or_default();
        if record.boot_id != boot_id {
            record.boot_id.clone_from(&boot_id);
            record.boot.clear();
        }
        Self {
            record,
            ..Self::new(root, boot_id)
        }
    }

    /// From now on `watch` hears of every file that is read.
    pub fn watched_by(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// Forgets what was read on `$BOOT`: for whoever wants to know what is there now. What the store held stays known, since
    /// that is what `$BOOT` is compared with.
    pub fn forget_boot(&mut self) {
        self.record.boot.clear();
    }

    /// Forgets what was read of one file there: somebody has changed it since.
    pub fn forget(&mut self, path: &Path) {
        self.record.boot.remove(key(&self.root, path).as_ref());
    }

    /// What the caller is to keep; None when this run has read nothing that was not known. Files that this run did not ask
    /// for are no longer in it.
    #[must_use]
    pub fn news(&self) -> Option<String> {
        self.news.then(|| self.record.asked().text()).flatten()
    }

    /// What a file of the store holds. `path` is a path of this process, with no links in it.
    ///
    /// # Errors
    /// When it cannot be read, or is no regular file.
    pub fn in_store(&mut self, path: &Path) -> io::Result<Content> {
        Ok(self.known(Kind::Store, path)?.content())
    }

    /// Whether `path` (a path of this process) leads to a file of the store that was read before under this very name. It is
    /// the same file by its stamp, so it is no matter what the way to it consists of.
    pub fn knows_in_store(&mut self, path: &Path) -> bool {
        let key = key(&self.root, path);
        let Some(known) = self.record.store.get_mut(key.as_ref()) else {
            return false;
        };
        if !known.is_asked {
            let found = std::fs::metadata(path);
            known.is_asked = found.is_ok_and(|found| known.stamp == Stamp::of(Kind::Store, &found));
        }
        known.is_asked
    }

    /// The same for a file on `$BOOT`.
    ///
    /// # Errors
    /// As [`Self::in_store`].
    pub fn on_boot(&mut self, path: &Path) -> io::Result<Content> {
        Ok(self.known(Kind::Boot, path)?.content())
    }

    /// [`kernel::check`] for a file of the store.
    ///
    /// # Errors
    /// Why the firmware would not start it. That is found out anew every time.
    pub fn check_kernel(&mut self, path: &Path) -> Result<(), NotBootable> {
        let known = self.known(Kind::Store, path)?;
        if known.is_started {
            return Ok(());
        }
        kernel::check(path)?;
        let is_started = true;
        self.learn(
            Kind::Store,
            path,
            Known {
                is_started,
                ..known
            },
        );
        Ok(())
    }

    /// Takes note that `content` was just written to `path` on `$BOOT` and read back ([`crate::durable`]). A file that cannot
    /// be looked at now will be read.
    pub fn wrote(&mut self, path: &Path, content: &Content) {
        let Ok(found) = std::fs::symlink_metadata(path) else {
            return;
        };
        let stamp = Stamp::of(Kind::Boot, &found);
        if found.is_file() && stamp.size == content.size {
            self.learn(Kind::Boot, path, Known::new(stamp, content.digest));
        }
    }

    fn known(&mut self, kind: Kind, path: &Path) -> io::Result<Known> {
        let key = key(&self.root, path);
        let known = self.record.of(kind).get_mut(key.as_ref());
        if let Some(known) = &known
            && known.is_asked
        {
            return Ok((*known).clone());
        }
        let found = std::fs::metadata(path)?;
        if !found.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "is no regular file",
            ));
        }
        // Taken before the bytes are read: a change meanwhile makes another stamp.
        let stamp = Stamp::of(kind, &found);
        if let Some(known) = known
            && known.stamp == stamp
        {
            known.is_asked = true;
            return Ok(known.clone());
        }
        let mut file = match kind {
            Kind::Store => File::open(path)?,
            // Memory may have been right for as long as the machine runs, and the disk is what the firmware reads.
            Kind::Boot => durable::open(path)?,
        };
        let content = Content::of(&mut self.watch.over(&mut file, path))?;
        let size = content.size;
        let known = Known::new(Stamp { size, ..stamp }, content.digest);
        self.learn(kind, path, known.clone());
        Ok(known)
    }

    fn learn(&mut self, kind: Kind, path: &Path, known: Known) {
        let key = key(&self.root, path).into_owned();
        self.record.of(kind).insert(key, known);
        self.news = true;
    }
}

/// The name of a file on the machine, where the tree may lie elsewhere next time.
fn key<'a>(root: &[u8], path: &'a Path) -> Cow<'a, str> {
    // Byte by byte: a run asks for hundreds.
    let text = path.as_os_str().as_bytes();
    let inside = text.strip_prefix(root);
    let inside = inside.filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let inside = inside.map_or(text, |rest| rest.strip_prefix(b"/").unwrap_or(rest));
    String::from_utf8_lossy(inside)
}

fn without_slash(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_suffix(b"/").unwrap_or(bytes)
}

impl Record {
    fn of(&mut self, kind: Kind) -> &mut BTreeMap<String, Known> {
        match kind {
            Kind::Store => &mut self.store,
            Kind::Boot => &mut self.boot,
        }
    }

    /// What this run has asked for.
    fn asked(&self) -> Self {
        let asked = |all: &BTreeMap<String, Known>| {
            let asked = all.iter().filter(|(_, known)| known.is_asked);
            let asked = asked.map(|(key, known)| (key.clone(), known.clone()));
            asked.collect()
        };
        Self {
            boot_id: self.boot_id.clone(),
            boot: asked(&self.boot),
            store: asked(&self.store),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (head, record) = text.split_once('\n')?;
        let head: Head = serde_json::from_str(head).ok()?;
        let record = record.strip_suffix('\n')?;
        // A wrong digest would be taken for damage of a file that is well, for as long as the record lives.
        let whole = head.version == VERSION && head.sha256 == Digest::of(record.as_bytes());
        whole.then(|| serde_json::from_str(record).ok()).flatten()
    }

    fn text(&self) -> Option<String> {
        let record = serde_json::to_string(self).ok()?;
        let head = Head {
            version: VERSION,
            sha256: Digest::of(record.as_bytes()),
        };
        let head = serde_json::to_string(&head).ok()?;
        Some(format!("{head}\n{record}\n"))
    }
}

impl Known {
    fn new(stamp: Stamp, digest: Digest) -> Self {
        Self {
            stamp,
            digest,
            is_started: false,
            is_asked: true,
        }
    }

    fn content(&self) -> Content {
        Content {
            size: self.stamp.size,
            digest: self.digest,
        }
    }
}

impl Stamp {
    fn of(kind: Kind, found: &Metadata) -> Self {
        Self {
            size: found.len(),
            inode: (kind == Kind::Store).then(|| found.ino()),
            device: (kind == Kind::Boot).then(|| found.dev()),
            changed: (found.ctime(), found.ctime_nsec()),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests;
