//! Two runs never interleave (invariant A10): one lock on a file that stays, taken before anything is read.
//!
//! Whoever changes something has it alone. Those that only look share it, wait for whoever changes something, and leave
//! no trace: where there is no file, nothing has been changed yet, and none is made.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_entries::{Root, durable};

use crate::host::{LOCK, PROC};

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
    file: File,
}

/// No lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has it.
    #[error("{} is held by {holder}; wait for it, and run again", path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// Who, in words.
        holder: String,
    },
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
    let lock = wait(file, &path, patience, File::try_lock)?;
    sign(&lock.file, &path);
    Ok(lock)
}

/// Writes into the file who has it. Those who wait can say so then, and nothing else depends on it.
fn sign(mut file: &File, path: &Path) {
    let signed = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = signed {
        tracing::debug!("cannot write into {}: {error}", path.display());
    }
}

/// Who has the lock, as far as that can be told. Those who only look have not signed.
fn holder(file: &File) -> String {
    let unknown = || "another run of lastgood (`fuser -v` tells which)".to_owned();
    let mut text = [0; 16];
    let read = file.read_at(&mut text, 0).unwrap_or(0);
    let text = text.get(..read).unwrap_or_default();
    let pid = std::str::from_utf8(text).ok();
    let Some(pid) = pid.and_then(|pid| pid.trim().parse::<u32>().ok()) else {
        return unknown();
    };
    let words = std::fs::read(Path::new(PROC).join(pid.to_string()).join("cmdline"));
    let words = words.unwrap_or_default();
    let words: Vec<_> = words
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    // The number of one that has ended may be somebody else's by now.
    let is_ours = words.first().is_some_and(|word| word.contains("lastgood"));
    if !is_ours {
        return unknown();
    }
    format!("`{}` (process {pid})", words.join(" "))
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
            Ok(()) => return Ok(Lock { file }),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Held {
                    path: path.to_owned(),
                    holder: holder(&file),
                });
            }
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
        assert!(matches!(
            take(&root, Duration::ZERO),
            Err(Error::Held { .. })
        ));
        drop(first);
        assert!(take(&root, Duration::ZERO).is_ok());
        let mode = root.join(LOCK).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE, "a lock that anybody can hold");
    }

    #[test]
    fn whoever_waits_is_told_for_whom() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let told = || take(&root, Duration::ZERO).unwrap_err().to_string();
        let ours = take(&root, Duration::ZERO).unwrap();
        let pid = format!("(process {})", std::process::id());
        assert!(told().contains(&pid), "{}", told());
        drop(ours);
        // A longer word of somebody before does not stay behind the new one.
        let again = take(&root, Duration::ZERO).unwrap();
        assert!(told().contains(&pid), "{}", told());
        drop(again);
        let share = share(&root, Duration::ZERO).unwrap();
        let mut file = File::options().write(true).open(root.join(LOCK)).unwrap();
        file.set_len(0).unwrap();
        file.write_all(b"no number").unwrap();
        assert!(told().contains("another run"), "{}", told());
        drop(share);
    }

    #[test]
    fn who_looks_waits_for_who_writes_and_for_nobody_else() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        assert!(share(&root, Duration::ZERO).unwrap().is_none());
        assert_eq!(std::fs::read_dir(tree.path()).unwrap().count(), 0);
        let writer = take(&root, Duration::ZERO).unwrap();
        assert!(matches!(
            share(&root, Duration::ZERO),
            Err(Error::Held { .. })
        ));
        drop(writer);
        let looks = [(); 2].map(|()| share(&root, Duration::ZERO).unwrap().unwrap());
        assert!(matches!(
            take(&root, Duration::ZERO),
            Err(Error::Held { .. })
        ));
        drop(looks);
        assert!(take(&root, Duration::ZERO).is_ok());
    }
}
