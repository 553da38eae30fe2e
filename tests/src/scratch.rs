//! Directories that are gone when they are not needed any more, also after a run that was killed; and whether there is room for
//! a run at all.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use crate::{cache, files, paths};

/// What is wanted free in any case, in bytes: logs, and what a run replaces before it removes it.
const SPARE: u64 = 2 << 30;

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

/// Says before a run of an hour, and not in its middle, that the disk will be full. `takes`: what the run takes under `target/`
/// in a clean clone, in GiB.
///
/// # Errors
/// When there is less room than that, less what is there already and is used again.
pub fn ensure_room(takes: u64) -> Result<()> {
    let target = paths::target();
    fs::create_dir_all(&target)?;
    let disk = statvfs(&target).with_context(|| format!("cannot ask {}", target.display()))?;
    let free = disk.blocks_available() * disk.fragment_size();
    if free >= (takes << 30) + SPARE {
        return Ok(());
    }
    let missing = (takes << 30).saturating_sub(kept(&target)?) + SPARE;
    ensure!(
        free >= missing,
        "the tests need {} more on the disk of {}, and {} are free: make room there, or set CARGO_TARGET_DIR to a directory on a disk that has it",
        gibibytes(missing),
        target.display(),
        gibibytes(free),
    );
    Ok(())
}

/// What an earlier run has left that the next one uses again, in bytes: programs, and what the rig has built.
fn kept(target: &Path) -> Result<u64> {
    let rig = target.join("rig");
    let mut places = vec![target.join("debug/deps"), target.join("debug/build")];
    if rig.is_dir() {
        let built = files::sorted_entries(&rig)?.into_iter();
        places.extend(built.filter(|path| cache::is_a_result(path)));
    }
    // As it is on the disk: images are sparse. Whoever builds meanwhile may take a file away, which du does not like.
    let said = Command::new("du").args(["-skc"]).args(&places).output();
    let said = said.context("cannot run du")?.stdout;
    let said = String::from_utf8_lossy(&said);
    let total = said
        .lines()
        .last()
        .and_then(|line| line.split_whitespace().next());
    Ok(total
        .and_then(|total| total.parse::<u64>().ok())
        .unwrap_or(0)
        << 10)
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
