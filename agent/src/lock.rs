//! Two runs never interleave (invariant A10): one lock on a file that stays, taken before anything is read.

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use boot_entries::{Root, durable};

/// The file, on the machine. It is never removed or replaced: a lock on a replaced file locks nothing.
const PATH: &str = "/var/lib/lastgood/lock";
/// How often a held lock is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// No lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has it.
    #[error("{} is held by another run of lastgood; wait for it and run again", .0.display())]
    Held(PathBuf),
    /// The file cannot be made or opened.
    #[error("cannot lock {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nor its directory.
    #[error(transparent)]
    Directory(#[from] durable::Error),
}

/// Takes the lock under `root`, waiting for it up to `patience`.
///
/// # Errors
/// When somebody else keeps it, or there is no place for it.
pub fn take(root: &Root, patience: Duration) -> Result<Lock, Error> {
    let path = root.place(PATH).map_err(|source| Error::Open {
        path: PathBuf::from(PATH),
        source,
    })?;
    if let Some(directory) = path.parent() {
        durable::make_directory(directory)?;
    }
    let open = File::options()
        .read(true)
        .append(true)
        .create(true)
        .open(&path);
    let file = open.map_err(|source| Error::Open {
        path: path.clone(),
        source,
    })?;
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(Error::Held(path)),
            Err(TryLockError::Error(source)) => return Err(Error::Open { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let first = take(&root, Duration::ZERO).unwrap();
        assert!(matches!(take(&root, Duration::ZERO), Err(Error::Held(_))));
        drop(first);
        assert!(take(&root, Duration::ZERO).is_ok());
    }
}
