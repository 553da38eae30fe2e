//! Directories that are gone when they are not needed any more, also after a run that was killed, and whether there is
//! room for a run at all.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use crate::{command, files, paths};

/// What all of a run takes under `target/`, in bytes, of a clean clone: programs, images, and what runs at the same time.
const RUN_TAKES: u64 = 14 << 30;

/// A new directory whose name begins with `prefix`, in `target/rig/scratch/`. Gone when dropped.
///
/// # Errors
/// When it cannot be made.
pub fn directory(prefix: &str) -> Result<TempDir> {
    let scratch = paths::rig().join("scratch");
    hold(&scratch)?;
    let made = tempfile::Builder::new().prefix(prefix).tempdir_in(&scratch);
    made.with_context(|| format!("cannot make a directory in {}", scratch.display()))
}

/// Removes what runs left that were killed. Does nothing while some process has a directory there.
///
/// # Errors
/// As the file system says.
pub fn sweep() -> Result<()> {
    sweep_in(&paths::rig().join("scratch"))
}

fn sweep_in(scratch: &Path) -> Result<()> {
    match lock_of(scratch)?.try_lock() {
        Ok(()) => files::sorted_entries(scratch)?
            .iter()
            .try_for_each(|left| files::remove(left)),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", scratch.display()))
        }
    }
}

/// Says before a run of an hour, and not in its middle, that the disk will be full.
///
/// # Errors
/// When there is less room than what a run takes and is not there yet.
pub fn ensure_room() -> Result<()> {
    let target = paths::target();
    fs::create_dir_all(&target)?;
    let disk = statvfs(&target).with_context(|| format!("cannot ask {}", target.display()))?;
    let free = disk.blocks_available() * disk.fragment_size();
    if free >= RUN_TAKES {
        return Ok(());
    }
    // In KiB, as it is on the disk: images are sparse.
    let said = command::run("du", ["-sk".as_ref(), target.as_os_str()])?;
    let taken: u64 = said
        .split_whitespace()
        .next()
        .context("du said nothing")?
        .parse()?;
    let missing = RUN_TAKES.saturating_sub(taken << 10);
    ensure!(
        free >= missing,
        "the tests need {} more on the disk of {}, and {} are free: make room there, or set CARGO_TARGET_DIR to a directory on a disk that has it",
        gibibytes(missing),
        target.display(),
        gibibytes(free),
    );
    Ok(())
}

fn gibibytes(bytes: u64) -> String {
    let tenths = (bytes * 10) >> 30;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

/// Keeps the directory from being swept for as long as this process is there.
fn hold(scratch: &Path) -> Result<()> {
    static HELD: OnceLock<File> = OnceLock::new();
    if HELD.get().is_none() {
        let lock = lock_of(scratch)?;
        lock.lock_shared()?;
        // Another thread may have been quicker. One lock is as good as two.
        drop(HELD.set(lock));
    }
    Ok(())
}

/// What is locked: a file beside it, which is never removed.
fn lock_of(scratch: &Path) -> Result<File> {
    fs::create_dir_all(scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let lock = scratch.with_extension("lock");
    File::create(&lock).with_context(|| format!("cannot open {}", lock.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_swept_and_what_is_in_use_is_not() {
        let rig = tempfile::tempdir().unwrap();
        let scratch = rig.path().join("scratch");
        let user = lock_of(&scratch).unwrap();
        user.lock_shared().unwrap();
        files::write(&scratch.join("tree-x/nix/store/file"), "left").unwrap();
        sweep_in(&scratch).unwrap();
        assert!(scratch.join("tree-x").is_dir());
        // Not by closing it: a program that another test starts may hold it too for a moment.
        user.unlock().unwrap();
        sweep_in(&scratch).unwrap();
        assert_eq!(
            files::sorted_entries(&scratch).unwrap(),
            Vec::<std::path::PathBuf>::new()
        );
    }

    #[test]
    fn bytes_are_said_in_tenths_of_gibibytes() {
        assert_eq!(gibibytes(0), "0.0 GiB");
        assert_eq!(gibibytes((14 << 30) + (1 << 29)), "14.5 GiB");
    }
}
