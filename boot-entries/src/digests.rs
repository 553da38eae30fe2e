//! What files hold, remembered, so that a run in which nothing changed reads none of them whole.
//!
//! Two kinds of memory, because two kinds of file change in different ways:
//!
//! - A file of the store is never changed. What it held is what it should hold, as long as inode, size and times of
//!   change and modification are those of the file that was read. So a store file whose bytes decay later does not
//!   become the new truth: copying it fails, because it is no longer what it was. What a closure's `boot.json` says is
//!   remembered in the same way.
//! - A file on `$BOOT` lies on a file system that firmware, other systems and power cuts have written to. What it held
//!   counts only within the boot of the kernel that really read it, and as long as file system, size and times stay.
//!   The first run of every boot therefore reads all of it.
//!
//! The memory is data; the caller keeps it where it likes. What is lost or damaged is read again. Stamps are as fine as
//! the file system's clock, two seconds on FAT: a foreign change that leaves the size and comes that soon after our own
//! write, or keeps the file's time, is found by the next boot, or by whoever asks with nothing remembered.

mod documents;
mod line;
mod record;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::initrd::{self, NotUnpacked};
use crate::kernel::{self, NotBootable};
use crate::parallel;
use crate::payload::Content;
use crate::progress::Watch;
use crate::sums::{self, Sums};
use crate::{Root, bounded};
use record::{Known, Record, Stamp};

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
    /// Of the files of the store that this run has read.
    sums: sums::Known,
    watch: Watch,
}

/// Where a file is, which decides how long what is known of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Store,
    Boot,
}

impl Digests {
    /// Nothing remembered: every file under `root` is read. `boot_id` is the kernel's name for the boot that is under
    /// way; None in a tree, where what was read counts by its stamps alone.
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

    /// Forgets what was read on `$BOOT`: for whoever wants to know what is there now. What the store held stays known,
    /// since that is what `$BOOT` is compared with.
    pub fn forget_boot(&mut self) {
        self.record.boot.clear();
    }

    /// Forgets what was read of one file there: somebody has changed it since.
    pub fn forget(&mut self, path: &Path) {
        self.record.boot.remove(key(&self.root, path).as_ref());
    }

    /// What the caller is to keep; None when this run has read nothing that was not known. Files that this run did not
    /// ask for are no longer in it.
    #[must_use]
    pub fn news(&self) -> Option<String> {
        self.news.then(|| self.record.asked_text(LIMIT)).flatten()
    }

    /// The sums of what this run has read of the store.
    #[must_use]
    pub fn sums(&self) -> &sums::Known {
        &self.sums
    }

    /// What a file of the store holds. `path` is a path of this process, with no links in it.
    ///
    /// # Errors
    /// When it cannot be read, or is no regular file.
    pub fn in_store(&mut self, path: &Path) -> io::Result<Content> {
        Ok(self.known(Kind::Store, path)?.content())
    }

    /// Whether `path` (a path of this process) leads to a file of the store that was read before under this very name.
    /// It is the same file by its stamp, so it is no matter what the way to it consists of.
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

    /// [`kernel::check`] for a file of the store, and what it holds.
    ///
    /// # Errors
    /// Why the firmware would not start it. That is found out anew every time.
    pub fn check_kernel(&mut self, path: &Path) -> Result<Content, NotBootable> {
        self.found_good(path, kernel::check)
    }

    /// [`initrd::check`] for a file of the store, and what it holds.
    ///
    /// # Errors
    /// Why Linux could not unpack it. That is found out anew every time.
    pub fn check_initrd(&mut self, path: &Path) -> Result<Content, NotUnpacked> {
        self.found_good(path, initrd::check)
    }

    /// What a file of the store holds, once it was found good. Only that is remembered.
    fn found_good<E: From<io::Error>>(
        &mut self,
        path: &Path,
        check: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Content, E> {
        let known = self.known(Kind::Store, path)?;
        let content = known.content();
        if !known.is_started {
            check(path)?;
            let is_started = true;
            self.learn(
                Kind::Store,
                path,
                Known {
                    is_started,
                    ..known
                },
            );
        }
        Ok(content)
    }

    /// Takes note that `content` was just written to `path` on `$BOOT` and read back ([`crate::durable`]). A file that
    /// cannot be looked at now will be read.
    pub fn wrote(&mut self, path: &Path, content: &Content) {
        let Ok(found) = std::fs::symlink_metadata(path) else {
            return;
        };
        let stamp = Stamp::of(Kind::Boot, &found);
        if found.is_file() && stamp.size == content.size {
            self.learn(Kind::Boot, path, Known::new(stamp, content.digest));
        }
    }

    /// Reads those of `paths` that are not known, several at once, so that nobody waits for them one after the other.
    /// What cannot be read is the trouble of whoever asks for it.
    pub(crate) fn read_in_store(&mut self, paths: &[PathBuf]) {
        self.read_all(Kind::Store, paths);
    }

    /// What these files on `$BOOT` hold. None: that one cannot be read.
    pub(crate) fn all_on_boot(&mut self, paths: &[PathBuf]) -> Vec<Option<Content>> {
        let mut all = self.read_all(Kind::Boot, paths);
        for (path, content) in paths.iter().zip(&mut all) {
            // It was read with the others, or cannot be.
            *content = content.or_else(|| self.on_boot(path).ok());
        }
        all
    }

    /// Of each what was known before.
    fn read_all(&mut self, kind: Kind, paths: &[PathBuf]) -> Vec<Option<Content>> {
        let mut unknown: BTreeMap<&Path, Stamp> = BTreeMap::new();
        let looked = paths.iter().map(|path| match self.look(kind, path) {
            Ok(Looked::Known(known)) => Some(known.content()),
            Ok(Looked::Unknown(stamp)) => {
                unknown.insert(path, stamp);
                None
            }
            Err(_) => None,
        });
        let known = looked.collect();
        let unknown: Vec<(&Path, Stamp)> = unknown.into_iter().collect();
        let read = parallel::each(&unknown, |(path, stamp)| {
            read(kind, path, stamp, &self.watch)
        });
        for ((path, _), known) in unknown.into_iter().zip(read) {
            if let Ok(read) = known {
                self.learn_read(kind, path, read);
            }
        }
        known
    }

    fn known(&mut self, kind: Kind, path: &Path) -> io::Result<Known> {
        match self.look(kind, path)? {
            Looked::Known(known) => Ok(known),
            Looked::Unknown(stamp) => {
                let read = read(kind, path, &stamp, &self.watch)?;
                Ok(self.learn_read(kind, path, read))
            }
        }
    }

    /// What is known of a file without reading it.
    fn look(&mut self, kind: Kind, path: &Path) -> io::Result<Looked> {
        let key = key(&self.root, path);
        let known = self.record.of(kind).get_mut(key.as_ref());
        if let Some(known) = &known
            && known.is_asked
        {
            return Ok(Looked::Known((*known).clone()));
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
            return Ok(Looked::Known(known.clone()));
        }
        Ok(Looked::Unknown(stamp))
    }

    fn learn_read(&mut self, kind: Kind, path: &Path, read: (Known, Option<Sums>)) -> Known {
        let (known, sums) = read;
        if let Some(sums) = sums {
            self.sums.learn(known.digest, sums);
        }
        self.learn(kind, path, known.clone());
        known
    }

    fn learn(&mut self, kind: Kind, path: &Path, known: Known) {
        let key = key(&self.root, path).into_owned();
        self.record.of(kind).insert(key, known);
        self.news = true;
    }
}

/// What a look at a file tells.
enum Looked {
    /// It was read before.
    Known(Known),
    /// It has to be read, and is this one.
    Unknown(Stamp),
}

/// Reads a file whole, and of one that may be copied takes the sums. `stamp` is what it was before; `watch` hears of it.
fn read(
    kind: Kind,
    path: &Path,
    stamp: &Stamp,
    watch: &Watch,
) -> io::Result<(Known, Option<Sums>)> {
    let (content, sums) = match kind {
        Kind::Store => {
            let mut file = watch.over(File::open(path)?, path);
            let (sums, content) = Sums::and_content(&mut file)?;
            (content, Some(sums))
        }
        // Memory may have been right for as long as the machine runs, and the disk is what the firmware reads.
        Kind::Boot => {
            let mut file = watch.over(durable::open(path)?, path);
            (Content::of(&mut file)?, None)
        }
    };
    let size = content.size;
    let stamp = stamp.clone();
    Ok((Known::new(Stamp { size, ..stamp }, content.digest), sums))
}

/// The name of a file on the machine, where the tree may lie elsewhere next time.
fn key<'a>(root: &[u8], path: &'a Path) -> Cow<'a, str> {
    // Byte by byte: a run asks for hundreds.
    let text = path.as_os_str().as_bytes();
    let inside = text.strip_prefix(root);
    let inside = inside.filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let inside = inside.map_or(text, |rest| rest.strip_prefix(b"/").unwrap_or(rest));
    match std::str::from_utf8(inside) {
        Ok(inside) => Cow::Borrowed(inside),
        Err(_) => String::from_utf8_lossy(inside),
    }
}

fn without_slash(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_suffix(b"/").unwrap_or(bytes)
}

#[cfg(test)]
mod tests;
