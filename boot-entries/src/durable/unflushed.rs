//! Changes to what every boot makes anew: `/etc` as a link farm, `/run`. Nothing is flushed on purpose.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::{Error, at, parent};

/// Makes `link` a symbolic link to `target`, replacing what is there in one step. False: it was one already, and
/// nothing was written. The directory must be there.
///
/// # Errors
/// When a step fails; `link` is then as it was.
pub fn put_link(target: &Path, link: &Path) -> Result<bool, Error> {
    if std::fs::read_link(link).is_ok_and(|found| found == target) {
        return Ok(false);
    }
    let directory = at("find the directory of", link, parent(link))?;
    super::replace_link(target, link, directory).map(|()| true)
}

/// Makes `link`, whose directory must be there, a symbolic link to `target`, where nothing is. That is one step by itself.
///
/// # Errors
/// When it cannot be made, or something is there.
pub fn make_link(target: &Path, link: &Path) -> Result<(), Error> {
    at("make", link, std::os::unix::fs::symlink(target, link))
}

/// Removes a file or a link. One that is not there is removed already.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => at("remove", path, Err(error)),
        _ => Ok(()),
    }
}

/// How often something may go between two looks at it.
const TRIES: usize = 100;

/// Makes a directory, whose own must be there. Only its owner may write to it, whatever the umask of the process says.
/// One that has come there in the meantime is as good, and one that has gone again is made.
///
/// # Errors
/// When it cannot be made, or something else is there.
pub fn make_directory(path: &Path) -> Result<(), Error> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let error = match std::fs::DirBuilder::new().mode(0o755).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => error,
            made => return at("make", path, made),
        };
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Ok(()),
            Err(gone) if gone.kind() == io::ErrorKind::NotFound && tries > 0 => {}
            _ => return at("make", path, Err(error)),
        }
    }
}

/// Makes a directory and those above it.
///
/// # Errors
/// When one cannot be made.
pub fn make_directories(path: &Path) -> Result<(), Error> {
    at("make", path, std::fs::create_dir_all(path))
}

/// Removes an empty directory. One that is not there is removed already.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_directory(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => at("remove", path, Err(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_for_everybody_to_read_and_what_is_there_stays() {
        use nix::sys::stat::{Mode, umask};
        use std::os::unix::fs::PermissionsExt as _;
        let tree = tempfile::tempdir().unwrap();
        let (directory, file) = (tree.path().join("d"), tree.path().join("f"));
        let before = umask(Mode::empty());
        let made = make_directory(&directory);
        umask(before);
        made.unwrap();
        let permissions = directory.metadata().unwrap().permissions();
        assert_eq!(permissions.mode() & 0o7777, 0o755);
        make_directory(&directory).unwrap();
        crate::durable::put_text("host", &file).unwrap();
        make_directory(&file).unwrap_err();
        make_link(Path::new("x"), &file).unwrap_err();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "host");
        remove_directory(&directory).unwrap();
        remove_directory(&directory).unwrap();
    }

    #[test]
    fn a_link_that_is_right_is_not_written_and_a_cut_off_one_is_taken_over() {
        let tree = tempfile::tempdir().unwrap();
        let link = tree.path().join("static");
        let cut_off = tree.path().join(super::super::part_name(&link));
        std::os::unix::fs::symlink("nowhere", &cut_off).unwrap();
        assert!(put_link(Path::new("/a"), &link).unwrap());
        assert!(!cut_off.is_symlink());
        std::os::unix::fs::symlink("nowhere", &cut_off).unwrap();
        assert!(!put_link(Path::new("/a"), &link).unwrap());
        assert!(cut_off.is_symlink(), "nothing was written");
        assert!(put_link(Path::new("/b"), &link).unwrap());
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("/b"));
    }
}
