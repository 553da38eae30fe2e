//! Small and read-only file systems for one test: mounts that nobody else sees, and that are gone with the thread.

use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};

use crate::command;

/// The mounts of this thread, and of what it starts from now on, are its own.
#[derive(Debug)]
pub struct Mounts(());

impl Mounts {
    /// Takes the thread out of everybody's mounts. For the thread's whole life: each test has a thread of its own.
    ///
    /// # Errors
    /// When this is not root.
    pub fn private() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS).context("cannot have mounts of one's own")?;
        command::run("mount", ["--make-rprivate", "/"])?;
        Ok(Self(()))
    }

    /// A file system of `size` (as mount(8) takes it for a tmpfs) over the directory at `path`. What is in the
    /// directory now is taken over.
    ///
    /// # Errors
    /// When it cannot be mounted, or is too small.
    pub fn sized(&self, path: &Path, size: &str) -> Result<()> {
        const SCRIPT: &str = r#"mkdir -p "$1"; old=$(mktemp -d); cp -a "$1/." "$old"
            mount -t tmpfs -o "size=$2" tmpfs "$1"; cp -a "$old/." "$1"; rm -r "$old""#;
        let path = path.as_os_str();
        let words = ["-euc", SCRIPT, "sized"].map(AsRef::as_ref);
        command::run("sh", words.into_iter().chain([path, size.as_ref()]))?;
        Ok(())
    }

    /// Makes what is mounted at `path` read-only.
    ///
    /// # Errors
    /// When nothing is mounted there.
    pub fn read_only(&self, path: &Path) -> Result<()> {
        Self::remount("remount,ro", path)
    }

    /// Makes what is mounted at `path` writable again.
    ///
    /// # Errors
    /// When nothing is mounted there.
    pub fn writable(&self, path: &Path) -> Result<()> {
        Self::remount("remount,rw", path)
    }

    fn remount(options: &str, path: &Path) -> Result<()> {
        let words = ["-o", options].map(AsRef::as_ref);
        command::run("mount", words.into_iter().chain([path.as_os_str()]))?;
        Ok(())
    }
}
