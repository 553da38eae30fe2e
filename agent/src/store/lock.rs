//! Two runs never interleave (invariant A10): one lock on a file that stays, taken before anything is read.
//!
//! Whoever changes something has it alone. Those that only look share it, wait for whoever changes something, and leave
//! no trace: where there is no file, nothing has been changed yet, and none is made.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_entries::{Root, durable};

use crate::host::LOCK;

/// Whoever can open the file can keep everybody else waiting.
const MODE: u32 = 0o600;
/// But anybody may ask for the status, whatever the umask of the run that makes the directory.
const EVERYBODY: durable::Access = durable::Access {
    mode: 0o755,
    group: None,
};
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
    #[error("{} is held by another run of lastgood; see with `fuser -v` which, wait for it, and run again", .0.display())]
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

/// Takes the lock under `root` to change something, waiting for it up to `patience`.
///
/// # Errors
/// When somebody else keeps it, or there is no place for it.
pub fn take(root: &Root, patience: Duration) -> Result<Lock, Error> {
    let path = place(root)?;
    if let Some(directory) = path.parent() {
        durable::make_directory_for(EVERYBODY, directory)?;
    }
    let open = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(MODE)
        .open(&path);
    let file = open.map_err(|source| at(&path, source))?;
    wait(file, &path, patience, File::try_lock)
}

/// Takes a share in the lock under `root` to look only, waiting for whoever changes something up to `patience`. Makes
/// no file. None: there is none, so that nobody has changed anything here yet.
///
/// # Errors
/// When somebody is still changing something then, or the file cannot be opened.
pub fn share(root: &Root, patience: Duration) -> Result<Option<Lock>, Error> {
    let path = place(root)?;
    match File::open(&path) {
        Ok(file) => wait(file, &path, patience, File::try_lock_shared).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(at(&path, source)),
    }
}

fn place(root: &Root) -> Result<PathBuf, Error> {
    root.place(LOCK)
        .map_err(|source| at(Path::new(LOCK), source))
}

fn at(path: &Path, source: io::Error) -> Error {
    Error::Open {
        path: path.to_owned(),
        source,
    }
}

fn wait(
    file: File,
    path: &Path,
    patience: Duration,
    attempt: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<Lock, Error> {
    let end = Instant::now() + patience;
    loop {
        match attempt(&file) {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(Error::Held(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(at(path, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_at_a_time() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let first = take(&root, Duration::ZERO).unwrap();
        assert!(matches!(take(&root, Duration::ZERO), Err(Error::Held(_))));
        drop(first);
        assert!(take(&root, Duration::ZERO).is_ok());
        let mode = root.join(LOCK).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE, "a lock that anybody can hold");
    }

    #[test]
    fn who_looks_waits_for_who_writes_and_for_nobody_else() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        assert!(share(&root, Duration::ZERO).unwrap().is_none());
        assert_eq!(std::fs::read_dir(tree.path()).unwrap().count(), 0);
        let writer = take(&root, Duration::ZERO).unwrap();
        assert!(matches!(share(&root, Duration::ZERO), Err(Error::Held(_))));
        drop(writer);
        let looks = [(); 2].map(|()| share(&root, Duration::ZERO).unwrap().unwrap());
        assert!(matches!(take(&root, Duration::ZERO), Err(Error::Held(_))));
        drop(looks);
        assert!(take(&root, Duration::ZERO).is_ok());
    }
}
