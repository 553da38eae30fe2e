//! The directory of units that a closure has: its names and links, whatever they lead to.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::Root;

use crate::host::UNIT_KINDS;

/// Directories whose entries add up over all places systemd looks in.
const ADDING_UP: [&str; 4] = ["wants", "requires", "upholds", "d"];

/// What a name in such a directory is to systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A unit, or another name of one.
    Unit,
    /// A directory whose entries count: `.d`, `.wants`, `.requires`, `.upholds`.
    AddingUp,
    /// Nothing: systemd does not look at it.
    Other,
}

/// The longest name that systemd takes, in bytes.
const LONGEST: usize = 255;

/// What `name` is to systemd. One that cannot be a unit's is none, whatever it ends in: PID 1 answers no question in which
/// there is one.
#[must_use]
pub fn sort(name: &Path) -> Sort {
    let extension = name.extension().and_then(OsStr::to_str).unwrap_or_default();
    if !is_name(name) {
        Sort::Other
    } else if ADDING_UP.contains(&extension) {
        Sort::AddingUp
    } else if UNIT_KINDS.contains(&extension) {
        Sort::Unit
    } else {
        Sort::Other
    }
}

/// As `unit_name_is_valid()` of systemd's: no other characters, not too long, and something in front of the ending.
fn is_name(name: &Path) -> bool {
    let is_known = |byte: &u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(byte);
    let bytes = name.as_os_str().as_encoded_bytes();
    bytes.len() <= LONGEST
        && bytes.iter().all(is_known)
        && bytes.first().is_some_and(|first| !b"@.".contains(first))
}

/// A closure's directory of units.
#[derive(Debug, Clone)]
pub struct Directory<'a> {
    root: &'a Root,
    /// Where it is: links followed.
    place: PathBuf,
    /// The names under which the closure's own links may mean this directory.
    homes: [PathBuf; 3],
}

impl<'a> Directory<'a> {
    /// The directory `below` of `closure`. None: the closure is there and has none.
    ///
    /// # Errors
    /// When the closure is not there, or a link on the way leads to nothing.
    pub fn of(root: &'a Root, closure: &Path, below: &str) -> io::Result<Option<Self>> {
        // A mount that is not there yet must not pass for a closure without units.
        root.join(root.canonical(closure)?).symlink_metadata()?;
        let place = root.canonical(closure.join(below))?;
        let directory = Self {
            root,
            homes: [
                place.clone(),
                closure.join(below),
                Path::new("/").join(below),
            ],
            place,
        };
        match directory.root.join(&directory.place).symlink_metadata() {
            Ok(_) => Ok(Some(directory)),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && !is_broken(root, closure, below) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Where it is on the machine, links followed.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The names in it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        names(self.root, &self.place)
    }

    /// Where a directory in it is, which may itself be a link, and the names in that.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn inner(&self, path: &Path) -> io::Result<(PathBuf, Vec<OsString>)> {
        let place = self.root.canonical(self.place.join(path))?;
        let names = names(self.root, &place)?;
        Ok((place, names))
    }

    /// What the link at `at`, a path of the machine, says. None: it is no link.
    ///
    /// # Errors
    /// When nothing is there, or it cannot be read.
    pub fn target(&self, at: &Path) -> io::Result<Option<PathBuf>> {
        match std::fs::read_link(self.root.join(at)) {
            Ok(target) => Ok(Some(target)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The unit of this directory that a link to `target` makes `name` another name of.
    #[must_use]
    pub fn alias(&self, target: &Path, name: &Path) -> Option<PathBuf> {
        let (other, parent) = (target.file_name()?, target.parent()?);
        let beside = parent.as_os_str().is_empty() || parent == Path::new(".");
        let is_alias =
            other != name.as_os_str() && (beside || self.homes.iter().any(|home| home == parent));
        is_alias.then(|| other.into())
    }
}

/// Whether a link on the way to the units of `closure` leads to something that is not there.
fn is_broken(root: &Root, closure: &Path, below: &str) -> bool {
    let is_link = |path: &Path| {
        let place = root.place(path);
        place.is_ok_and(|place| place.is_symlink())
    };
    let units = closure.join(below);
    units
        .ancestors()
        .take_while(|path| *path != closure)
        .any(|path| is_link(path) && !is_there(root, path))
}

fn is_there(root: &Root, path: &Path) -> bool {
    let place = root.resolve(path);
    place.is_ok_and(|place| place.symlink_metadata().is_ok())
}

fn names(root: &Root, directory: &Path) -> io::Result<Vec<OsString>> {
    let entries = std::fs::read_dir(root.join(directory))?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_units_name_is_none() {
        for (name, expected) in [
            ("a.service", Sort::Unit),
            ("-a\\x2db@c.service", Sort::Unit),
            ("a.service.d", Sort::AddingUp),
            ("service.d", Sort::AddingUp),
            ("a b.service", Sort::Other),
            ("\u{e4}.service", Sort::Other),
            ("@a.service", Sort::Other),
            (".service", Sort::Other),
            ("a", Sort::Other),
            ("a b.service.wants", Sort::Other),
        ] {
            assert_eq!(sort(Path::new(name)), expected, "{name}");
        }
        let long = format!("{}.service", "a".repeat(LONGEST - ".service".len()));
        assert_eq!(sort(Path::new(&long)), Sort::Unit);
        assert_eq!(sort(Path::new(&format!("a{long}"))), Sort::Other);
    }
}
