//! Two runs never interleave (invariant A10): one lock on a file that stays, taken before anything is read.
//!
//! Whoever changes something has it alone. Those that only look share it, wait for whoever changes something, and leave
//! no trace: where there is no file, nothing has been changed yet, and none is made.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_entries::{Root, durable};

use crate::host::{LOCK, PROC};
use crate::system::pulse::Pulse;

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
    wait(file, &path, patience, File::try_lock)
}

/// Who has the lock, as far as that can be told: the kernel's list of locks (`proc_locks(5)`) has the process, which is one
/// of ours. Nothing is written for it.
fn holder(file: &File) -> String {
    let locks = std::fs::read_to_string(Path::new(PROC).join("locks")).unwrap_or_default();
    let inode = file.metadata().map_or(0, |metadata| metadata.ino());
    let named = holders(&locks, inode).find_map(|pid| Some((pid, words_of(pid)?)));
    named.map_or_else(
        || "another run of lastgood (`fuser -v` tells which)".to_owned(),
        |(pid, words)| format!("`{words}` (process {pid})"),
    )
}

/// The processes that have a `flock(2)` on a file of this inode.
fn holders(locks: &str, inode: u64) -> impl Iterator<Item = u32> {
    let of_line = move |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ["FLOCK", _, _, pid, file, ..] = fields.get(1..)? else {
            return None;
        };
        let is_ours = file.rsplit(':').next()? == inode.to_string();
        is_ours.then(|| pid.parse().ok()).flatten()
    };
    locks.lines().filter_map(of_line)
}

/// What a process was called with, if it is one of ours: another file system may have a file of this inode, too.
fn words_of(pid: u32) -> Option<String> {
    let words = std::fs::read(Path::new(PROC).join(pid.to_string()).join("cmdline")).ok()?;
    let words: Vec<_> = words
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    let is_ours = words.first()?.contains("lastgood");
    is_ours.then(|| words.join(" "))
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
    let mut pulse = Pulse::default();
    loop {
        pulse.beat();
        match attempt(&file) {
            Ok(()) => return Ok(Lock { _file: file }),
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
        let lock = take(&root, Duration::ZERO).unwrap();
        let pid = format!("(process {})", std::process::id());
        assert!(told().contains(&pid), "{}", told());
        drop(lock);
        let locks = "1: POSIX  ADVISORY  WRITE 7 fd:00:12 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 fd:00:12 0 EOF\n2: -> FLOCK  ADVISORY  WRITE \
                     9 fd:00:12 0 EOF\n3: FLOCK  ADVISORY  READ 10 fd:00:120 0 EOF\nodd\n";
        assert_eq!(holders(locks, 12).collect::<Vec<_>>(), [8]);
        assert_eq!(holders("", 12).next(), None);
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
