//! What is mounted before systemd is started. An initrd has mounted all of it; without one there is only the root.

use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{PROC_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::host::{PROC, RUN};

/// A mount that could not be made or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {place}: {source}")]
pub struct Error {
    what: &'static str,
    place: String,
    source: io::Error,
}

fn at(what: &'static str, place: impl AsRef<Path>) -> impl FnOnce(nix::Error) -> Error {
    let place = place.as_ref().display().to_string();
    move |error| Error {
        what,
        place,
        source: error.into(),
    }
}

/// Mounts `/proc`, where the kernel says what it was started with, unless it is there.
///
/// # Errors
/// When it cannot be mounted.
pub fn proc() -> Result<(), Error> {
    if statfs(PROC).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC) {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let none: Option<&str> = None;
    mount(Some("proc"), PROC, Some("proc"), flags, none).map_err(at("mount", PROC))
}

/// Mounts `/run`, with the options that systemd would mount it with, unless it is there. systemd keeps it then, and
/// what is in it.
///
/// # Errors
/// When it cannot be mounted.
pub fn run() -> Result<(), Error> {
    if statfs(RUN).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC) {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_STRICTATIME;
    let options = Some("mode=0755,size=20%,nr_inodes=800k");
    mount(Some("tmpfs"), RUN, Some("tmpfs"), flags, options).map_err(at("mount", RUN))
}

/// A file system that can be written to for as long as this lives. Where it was read-only before, it is so afterwards:
/// a check of the file system, which is still to come, wants it like that.
#[derive(Debug)]
#[must_use]
pub struct Writable<'a> {
    place: &'a Path,
    /// How it was mounted, if it has to be so again.
    before: Option<MsFlags>,
}

impl<'a> Writable<'a> {
    /// Makes the file system that is mounted at `place` one that can be written to.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn make(place: &'a Path) -> Result<Self, Error> {
        let found = statvfs(place).map_err(at("look at", place))?;
        let flags = flags_of(found.flags());
        if !flags.contains(MsFlags::MS_RDONLY) {
            let before = None;
            return Ok(Self { place, before });
        }
        remount(place, flags - MsFlags::MS_RDONLY).map_err(at("make writable", place))?;
        let before = Some(flags);
        Ok(Self { place, before })
    }

    /// Has it as it was.
    ///
    /// # Errors
    /// When it cannot be: somebody still writes to it.
    pub fn end(mut self) -> Result<(), Error> {
        match self.before.take() {
            Some(flags) => remount(self.place, flags).map_err(at("make read-only", self.place)),
            None => Ok(()),
        }
    }
}

/// The options of a mount, as far as a remount would take them away.
fn flags_of(found: FsFlags) -> MsFlags {
    let pairs = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_SYNCHRONOUS, MsFlags::MS_SYNCHRONOUS),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let set = pairs.iter().filter(|(have, _)| found.contains(*have));
    set.map(|(_, flag)| *flag).collect()
}

fn remount(place: &Path, flags: MsFlags) -> nix::Result<()> {
    let none: Option<&str> = None;
    mount(none, place, none, MsFlags::MS_REMOUNT | flags, none)
}
