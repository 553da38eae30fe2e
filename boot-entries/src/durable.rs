//! The only module that writes. What it has written is on the disk, whole, when it returns; but for [`put_unnamed`],
//! [`Part`], and what is [`unflushed`] or [`owned`].
//!
//! A file comes to be under a temporary name that no loader reads, is flushed, read back and compared, and renamed;
//! then its new name is flushed ([`flush_names`]). An interrupted write leaves the old file, or none, and a temporary
//! file that the next run takes over or sweeps away.

pub(crate) mod call;
pub mod owned;
mod part;
pub mod unflushed;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::payload::Content;

pub use part::{Copied, Part, is_large, place};

/// Temporary names: hidden from the loader by the dot and by the ending, and recognisably ours.
const PREFIX: &str = ".lastgood-";
const ENDING: &str = ".part";
/// How much of a file's name is in its temporary name. Characters: up to four bytes each.
const NAME_END: usize = 48;

/// A change that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
pub struct Error {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn at<T>(what: &'static str, path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error {
        what,
        path: path.to_owned(),
        source,
    })
}

/// Makes `to` a file with the bytes of `from`, which must be `content`.
///
/// # Errors
/// When a step fails, or what is read back is something else. Until the rename `to` is then as it was.
pub fn put(from: &mut impl Read, content: &Content, to: &Path) -> Result<(), Error> {
    put_unnamed(from, content, to)?;
    flush_names(&[to.to_owned()])
}

/// [`put`] without its end: the bytes are on the disk, but not for certain under the name `to` before [`flush_names`].
/// For files that nothing needs before that, one after the other.
///
/// # Errors
/// As [`put`].
pub fn put_unnamed(from: &mut impl Read, content: &Content, to: &Path) -> Result<(), Error> {
    let (part, file) = Part::create(from, content, to, call::ANYBODY)?;
    at("write", to, call::flush(&file, &part.path))?;
    part.rename()
}

/// Puts the names of `files` on the disk, which were [`put_unnamed`].
///
/// # Errors
/// When one cannot be flushed.
pub fn flush_names(files: &[PathBuf]) -> Result<(), Error> {
    for path in directories(files) {
        let directory = at("open", path, File::open(path))?;
        // On FAT, where a file's bytes are is written beside its name, and under a new name only with the file itself:
        // without this the directory would be flushed with empty files in it.
        at("flush", path, call::flush_files(&directory, path))?;
        at("flush", path, call::flush(&directory, path))?;
    }
    Ok(())
}

fn directories(files: &[PathBuf]) -> BTreeSet<&Path> {
    files.iter().filter_map(|file| file.parent()).collect()
}

/// [`put`] for a text.
///
/// # Errors
/// As [`put`].
pub fn put_text(text: &str, to: &Path) -> Result<(), Error> {
    put(&mut text.as_bytes(), &Content::of_text(text), to)
}

/// Who may use a file or directory of ours, whatever the umask of the process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Its permissions.
    pub mode: u32,
    /// The group that they are given to, if it is not that of the process. Where it cannot be given, only the owner may
    /// use the file.
    pub group: Option<u32>,
}

impl Access {
    /// The permissions that a file is made with: nobody may read it before it has its group.
    fn at_first(self) -> u32 {
        self.group.map_or(self.mode, |_| self.mode & OWNER)
    }
}

/// The permissions of the owner.
const OWNER: u32 = 0o700;

/// [`put_text`] for a file that not everybody may read.
///
/// # Errors
/// As [`put`].
pub fn put_text_for(access: Access, text: &str, to: &Path) -> Result<(), Error> {
    put_for(access, &mut text.as_bytes(), &Content::of_text(text), to)
}

/// [`put`] with this access, which the file has from the moment it has its name.
///
/// # Errors
/// As [`put`].
pub fn put_for(
    access: Access,
    from: &mut impl Read,
    content: &Content,
    to: &Path,
) -> Result<(), Error> {
    let (part, file) = Part::create(from, content, to, access.at_first())?;
    call::grant(&file, access);
    at("write", to, call::flush(&file, &part.path))?;
    part.rename()?;
    flush_names(&[to.to_owned()])
}

/// Where something is made that is to be [exchanged](exchange) for what is at `place`.
#[must_use]
pub fn beside(place: &Path) -> PathBuf {
    place.with_file_name(part_name(place))
}

/// Puts the directory that was made [`beside`] `place` there, in one step, and removes what was there, which is a file
/// or a link. Not for FAT.
///
/// # Errors
/// When a step fails. Until they are exchanged all is as it was.
pub fn exchange(beside: &Path, place: &Path) -> Result<(), Error> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let exchanged = renameat2(
        AT_FDCWD,
        beside,
        AT_FDCWD,
        place,
        RenameFlags::RENAME_EXCHANGE,
    );
    at("put in place", place, exchanged.map_err(io::Error::from))?;
    remove(beside)
}

/// Replaces a file that may get lost, or be found cut short: whoever reads it can tell, and does without. It is not
/// flushed.
///
/// # Errors
/// When it cannot be written; it is then as it was.
pub fn put_unflushed(text: &str, to: &Path) -> Result<(), Error> {
    Part::write(&mut text.as_bytes(), &Content::of_text(text), to)?.rename()
}

/// [`put_unflushed`] for a file that not everybody may read.
///
/// # Errors
/// As [`put_unflushed`].
pub fn put_unflushed_for(access: Access, text: &str, to: &Path) -> Result<(), Error> {
    let content = Content::of_text(text);
    let (part, file) = Part::create(&mut text.as_bytes(), &content, to, access.at_first())?;
    call::grant(&file, access);
    part.rename()
}

/// Puts on the disk what somebody has changed on the FAT file system at `directory` and not flushed: a run that was
/// killed between two calls, and whose work would be taken for done. A file that is flushed afterwards would be there,
/// and what it relies on might not. Other file systems keep changes in their order by themselves.
///
/// # Errors
/// When it cannot be flushed. A directory that is not there needs nothing.
pub fn settle(directory: &Path) -> Result<(), Error> {
    let opened = match File::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => at("open", directory, opened)?,
    };
    if at("look at", directory, call::is_fat(&opened))? {
        at("flush", directory, call::flush_all(&opened, directory))?;
        at("flush", directory, call::flush(&opened, directory))?;
    }
    Ok(())
}

/// Gives a file another name in the same directory. Not for what must not get lost: on FAT a power cut may leave both names,
/// or none.
///
/// # Errors
/// When it cannot be renamed, or the directory cannot be flushed.
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    at("rename", from, call::rename(from, to))?;
    flush_names(&[to.to_owned()])
}

/// Removes a file. One that is not there is removed already.
///
/// # Errors
/// When it is there and cannot be removed, or the directory cannot be flushed.
pub fn remove(path: &Path) -> Result<(), Error> {
    match call::remove(path) {
        Ok(()) => flush(at("find the directory of", path, parent(path))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => at("remove", path, Err(error)),
    }
}

/// Removes a directory if nothing is in it. One that is not there is removed already.
///
/// # Errors
/// When it is there, empty, and cannot be removed, or the directory above cannot be flushed.
pub fn remove_empty_directory(path: &Path) -> Result<(), Error> {
    use io::ErrorKind::{DirectoryNotEmpty, NotFound};
    match std::fs::remove_dir(path) {
        Ok(()) => flush(at("find the directory of", path, parent(path))?),
        Err(error) if matches!(error.kind(), NotFound | DirectoryNotEmpty) => Ok(()),
        Err(error) => at("remove", path, Err(error)),
    }
}

/// Makes `link` a symbolic link to `target`, replacing what is there in one step. Not for FAT.
///
/// # Errors
/// When a step fails; `link` is then as it was.
pub fn put_link(target: &Path, link: &Path) -> Result<(), Error> {
    let directory = at("find the directory of", link, parent(link))?;
    make_directory(directory)?;
    replace_link(target, link, directory)?;
    flush(directory)
}

fn replace_link(target: &Path, link: &Path, directory: &Path) -> Result<(), Error> {
    let part = directory.join(part_name(link));
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return at("replace", &part, Err(error));
        }
        _ => {}
    }
    at("make", &part, std::os::unix::fs::symlink(target, &part))?;
    let placed = at("put in place", link, std::fs::rename(&part, link));
    if placed.is_err() {
        // As above.
        drop(std::fs::remove_file(&part));
    }
    placed
}

/// Adds lines to a file that only ever grows.
///
/// A line cut short by a crash stays a line of its own: the reader can tell and pass it over. Where the file's
/// permissions are not those of `access` and cannot be changed, the lines are added all the same.
///
/// # Errors
/// When they cannot be written or flushed.
pub fn append_lines(lines: &[String], to: &Path, access: Access) -> Result<(), Error> {
    let directory = at("find the directory of", to, parent(to))?;
    make_directory(directory)?;
    let open = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(access.at_first())
        .open(to);
    let mut file = at("open", to, open)?;
    call::grant(&file, access);
    let torn = at("read", to, ends_torn(&mut file))?;
    let mut text = if torn { "\n" } else { "" }.to_owned();
    for line in lines {
        text.extend([line, "\n"]);
    }
    at(
        "write",
        to,
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all()),
    )?;
    flush(directory)
}

fn ends_torn(file: &mut File) -> io::Result<bool> {
    use std::io::{Seek, SeekFrom};
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Makes a directory and those above it, each flushed into the one that holds it.
///
/// # Errors
/// When one cannot be made or flushed.
pub fn make_directory(path: &Path) -> Result<(), Error> {
    if at("look at", path, path.try_exists())? {
        return Ok(());
    }
    let above = at("find the directory of", path, parent(path))?;
    make_directory(above)?;
    match call::make_directory(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => at("make", path, Err(error)),
        _ => flush(above),
    }
}

/// [`make_directory`], and gives `access` to it if it is new.
///
/// # Errors
/// As [`make_directory`].
pub fn make_directory_for(access: Access, path: &Path) -> Result<(), Error> {
    if at("look at", path, path.try_exists())? {
        return Ok(());
    }
    make_directory(path)?;
    call::grant(&at("open", path, File::open(path))?, access);
    Ok(())
}

/// Whether a file of this name is what an interrupted run left behind.
#[must_use]
pub fn is_leftover(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(ENDING)
}

/// The temporary name of a file.
pub(crate) fn part_name(to: &Path) -> String {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    // A name may be 255 bytes long, and the temporary one is longer.
    let short: String = name.chars().rev().take(NAME_END).collect();
    format!(
        "{PREFIX}{}{ENDING}",
        short.chars().rev().collect::<String>()
    )
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is a root directory"))
}

/// Opens a file whose bytes are to come from the disk, not from memory, where the kernel follows the advice.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    let file = File::open(path)?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    // Without that Linux (6.18) reads a file that is asked for in pieces of 128 KiB at a third of the speed: it begins to
    // read ahead too late.
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL)?;
    Ok(file)
}

/// Flushes a file or a directory.
fn flush(path: &Path) -> Result<(), Error> {
    let flushed = File::open(path).and_then(|opened| call::flush(&opened, path));
    at("flush", path, flushed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() {
        let tree = tempfile::tempdir().unwrap();
        let to = tree.path().join("a/b/loader.conf");
        put_text("one\n", &to).unwrap();
        put_text("two\n", &to).unwrap();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "two\n");
        assert_eq!(std::fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn other_bytes_than_promised_are_not_put_in_place() {
        let tree = tempfile::tempdir().unwrap();
        let to = tree.path().join("kernel");
        put_text("old", &to).unwrap();
        let promised = Content::of(&mut &b"new"[..]).unwrap();
        let error = put(&mut &b"nev"[..], &promised, &to).unwrap_err();
        assert!(error.to_string().contains("kernel"), "{error}");
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "old");
        assert_eq!(std::fs::read_dir(tree.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_put_in_place_is_not_left_lying_around() {
        let tree = tempfile::tempdir().unwrap();
        let to = tree.path().join("loader.conf");
        std::fs::create_dir(&to).unwrap();
        let error = put_text("default", &to).unwrap_err();
        assert!(error.to_string().starts_with("cannot put in place"));
        put_link(Path::new("system-1-link"), &to).unwrap_err();
        assert_eq!(std::fs::read_dir(tree.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_stuck_leftover_does_not_stop_the_next_run() {
        let tree = tempfile::tempdir().unwrap();
        let to = tree.path().join("x.conf");
        let stuck = tree.path().join(part_name(&to));
        assert!(is_leftover(stuck.file_name().unwrap().to_str().unwrap()));
        put_text("much longer than what follows", &stuck).unwrap();
        put_text("short", &to).unwrap();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "short");
        assert!(!stuck.try_exists().unwrap());
    }

    const EVERYBODY: Access = Access {
        mode: 0o644,
        group: None,
    };

    #[test]
    fn a_file_has_the_permissions_it_is_to_have_and_its_temporary_one_no_more() {
        use nix::sys::stat::{Mode, umask};
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let tree = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let group = tree.path().metadata().unwrap().gid();
        let ours = Access {
            mode: 0o640,
            group: Some(group),
        };
        assert_eq!(ours.at_first(), 0o600);
        let to = |name: &str| tree.path().join(name);
        let before = umask(Mode::from_bits_truncate(0o077));
        append_lines(&[String::new()], &to("ledger"), EVERYBODY).unwrap();
        put_text_for(ours, "", &to("log")).unwrap();
        make_directory_for(ours, &to("logs")).unwrap();
        umask(before);
        assert_eq!(mode(&to("ledger")), 0o644);
        assert_eq!(mode(&to("log")), 0o640);
        assert_eq!(mode(&to("logs")), 0o640);
    }

    #[test]
    fn a_torn_line_stays_alone() {
        let tree = tempfile::tempdir().unwrap();
        let to = tree.path().join("ledger");
        append_lines(&["one".to_owned()], &to, EVERYBODY).unwrap();
        File::options()
            .append(true)
            .open(&to)
            .unwrap()
            .write_all(b"to")
            .unwrap();
        append_lines(&["three".to_owned(), "four".to_owned()], &to, EVERYBODY).unwrap();
        assert_eq!(
            std::fs::read_to_string(&to).unwrap(),
            "one\nto\nthree\nfour\n"
        );
    }

    #[test]
    fn links_are_replaced_and_removal_is_idempotent() {
        let tree = tempfile::tempdir().unwrap();
        let link = tree.path().join("system");
        put_link(Path::new("system-1-link"), &link).unwrap();
        put_link(Path::new("system-2-link"), &link).unwrap();
        assert_eq!(
            std::fs::read_link(&link).unwrap(),
            Path::new("system-2-link")
        );
        remove(&link).unwrap();
        remove(&link).unwrap();
        let (full, empty) = (tree.path().join("full"), tree.path().join("empty"));
        put_text("", &full.join("file")).unwrap();
        make_directory(&empty).unwrap();
        for path in [&full, &empty, &empty] {
            remove_empty_directory(path).unwrap();
        }
        assert!(full.join("file").is_file() && !empty.try_exists().unwrap());
    }
}
