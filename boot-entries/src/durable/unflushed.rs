//! Changes to what every boot makes anew: `/etc` as a link farm, `/run`. Nothing is flushed on purpose.

use std::io;
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

/// Makes a directory, whose own must be there.
///
/// # Errors
/// When it cannot be made, or something is there.
pub fn make_directory(path: &Path) -> Result<(), Error> {
    at("make", path, std::fs::create_dir(path))
}

/// Makes a directory and those above it.
///
/// # Errors
/// When one cannot be made.
pub fn make_directories(path: &Path) -> Result<(), Error> {
    at("make", path, std::fs::create_dir_all(path))
}

/// Removes an empty directory.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_directory(path: &Path) -> Result<(), Error> {
    at("remove", path, std::fs::remove_dir(path))
}

#[cfg(test)]
mod tests {
    use super::*;

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
