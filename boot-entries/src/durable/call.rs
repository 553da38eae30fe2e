//! The calls that change `$BOOT`, one function each.
//!
//! Under test each is noted as data when it succeeds: the crash explorer ([`crate::explorer`]) explores what the
//! writer really does, and cannot drift away from it.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use nix::sys::statfs::{MSDOS_SUPER_MAGIC, fstatfs};

use super::{Access, OWNER};

#[cfg(test)]
pub(crate) use notes::{Call, noted};

/// The permissions of a file that the umask of the process alone decides about.
pub(super) const ANYBODY: u32 = 0o666;

/// Makes an empty file, with these permissions at most; one that is there is emptied.
pub(super) fn create(path: &Path, mode: u32) -> io::Result<File> {
    let mut open = File::options();
    let open = open.write(true).create(true).truncate(true);
    let file = open.mode(mode).open(path)?;
    #[cfg(test)]
    notes::note(Call::Create(path.into()));
    Ok(file)
}

/// Gives a file or directory the permissions and the group that it is to have. Where it has others and they cannot be
/// changed, it keeps them, and nobody gets more than was meant for them.
pub(super) fn grant(file: &File, access: Access) {
    let Ok(found) = file.metadata() else {
        return;
    };
    let mut mode = access.mode;
    if let Some(group) = access.group
        && found.gid() != group
        && fchown(file, None, Some(group)).is_err()
    {
        mode &= OWNER;
    }
    if found.permissions().mode() & 0o7777 != mode {
        drop(file.set_permissions(Permissions::from_mode(mode)));
    }
}

/// Writes to the end of a file that [`create`] made at `path`.
pub(super) fn write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    #[cfg(test)]
    notes::note(Call::Write(path.into(), bytes.into()));
    #[cfg(not(test))]
    let _ = path;
    Ok(())
}

/// Flushes an open file, or directory, which is at `path`.
pub(super) fn flush(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    #[cfg(test)]
    notes::note(Call::Flush(path.into()));
    #[cfg(not(test))]
    let _ = path;
    Ok(())
}

/// Writes everything that is not on the disk of the file system that the open directory at `path` is on. On FAT it
/// takes a [`flush`] after that, see [`flush_files`].
pub(super) fn flush_all(directory: &File, path: &Path) -> io::Result<()> {
    nix::unistd::syncfs(directory)?;
    #[cfg(test)]
    notes::note(Call::FlushAll(path.into()));
    #[cfg(not(test))]
    let _ = path;
    Ok(())
}

/// Writes everything that is not on the disk of the FAT file system that the open directory at `path` is on, so that a
/// [`flush`] of that directory puts it there: syncfs(2) of FAT leaves it in the disk's own cache, and fsync(2) of
/// anything on it empties that (`fs/fat/inode.c`, which has no `sync_fs`; `fs/fat/file.c`, `fat_file_fsync`).
///
/// On other file systems a file that was flushed is whole under any name, and nothing is to be done.
pub(super) fn flush_files(directory: &File, path: &Path) -> io::Result<()> {
    if is_fat(directory)? {
        return flush_all(directory, path);
    }
    // What is explored is FAT.
    #[cfg(test)]
    notes::note(Call::FlushAll(path.into()));
    Ok(())
}

/// Whether what was opened is on a FAT file system.
pub(super) fn is_fat(opened: &File) -> io::Result<bool> {
    Ok(fstatfs(opened)?.filesystem_type() == MSDOS_SUPER_MAGIC)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    #[cfg(test)]
    notes::note(Call::Rename(from.into(), to.into()));
    Ok(())
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    #[cfg(test)]
    notes::note(Call::Remove(path.into()));
    Ok(())
}

pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)?;
    #[cfg(test)]
    notes::note(Call::MakeDirectory(path.into()));
    Ok(())
}

#[cfg(test)]
mod notes {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};

    /// One call that succeeded.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Call {
        Create(PathBuf),
        Write(PathBuf, Vec<u8>),
        Flush(PathBuf),
        FlushAll(PathBuf),
        Rename(PathBuf, PathBuf),
        Remove(PathBuf),
        MakeDirectory(PathBuf),
    }

    impl Call {
        /// The same with paths relative to `top`.
        pub(crate) fn below(self, top: &Path) -> Self {
            let local = |path: PathBuf| path.strip_prefix(top).unwrap().to_owned();
            match self {
                Self::Create(path) => Self::Create(local(path)),
                Self::Write(path, bytes) => Self::Write(local(path), bytes),
                Self::Flush(path) => Self::Flush(local(path)),
                Self::FlushAll(path) => Self::FlushAll(local(path)),
                Self::Rename(from, to) => Self::Rename(local(from), local(to)),
                Self::Remove(path) => Self::Remove(local(path)),
                Self::MakeDirectory(path) => Self::MakeDirectory(local(path)),
            }
        }
    }

    thread_local! {
        static NOTES: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(call: Call) {
        NOTES.with_borrow_mut(|notes| notes.push(call));
    }

    /// The calls of this thread since it last asked.
    pub(crate) fn noted() -> Vec<Call> {
        NOTES.take()
    }
}
