//! The units that a closure has: what there is to link, and what of it cannot be read.
//!
//! Each entry is looked at for itself. One odd link costs that unit, and no other.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::{Leads, Listed};
use crate::host::{NOWHERE, UNIT_KINDS};

/// Where a closure keeps its units.
pub(super) const UNITS: &str = "etc/systemd/system";
/// Directories whose entries add up over all places systemd looks in, so they are linked entry by entry.
const ADDING_UP: [&str; 4] = ["wants", "requires", "upholds", "d"];

/// The units of a closure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Units {
    /// In the order of their names.
    pub(super) listed: Vec<Listed>,
    /// What could not be read, a line each.
    pub(super) problems: Vec<String>,
}

/// The units of `closure`. A closure that is there and has no directory of units has none.
#[must_use]
pub(super) fn read(root: &Root, closure: &Path) -> Units {
    let mut units = Units::default();
    let place = closure.join(UNITS);
    if let Err(error) = top(root, closure, &mut units) {
        units.problems.push(problem(&place, &error));
    }
    units.listed.sort_by(|a, b| a.path.cmp(&b.path));
    units
}

/// What a closure has as `name` in its directory of units, once that is found.
struct Directory<'a> {
    root: &'a Root,
    /// Where it is: links followed.
    place: PathBuf,
    /// The names under which the closure's own links may mean this directory.
    homes: [PathBuf; 3],
}

fn top(root: &Root, closure: &Path, units: &mut Units) -> io::Result<()> {
    // A mount that is not there yet must not pass for a closure without units.
    root.join(root.canonical(closure)?).symlink_metadata()?;
    let place = root.canonical(closure.join(UNITS))?;
    let names = match names(root, &place) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_broken(root, closure) => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let directory = Directory {
        root,
        homes: [
            place.clone(),
            closure.join(UNITS),
            Path::new("/").join(UNITS),
        ],
        place,
    };
    for name in names {
        let path = PathBuf::from(&name);
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        let looked = if ADDING_UP.contains(&extension) {
            directory.adding_up(&path, units)
        } else if UNIT_KINDS.contains(&extension) {
            directory.unit(&path).map(|unit| units.listed.push(unit))
        } else {
            // systemd does not look at it.
            Ok(())
        };
        if let Err(error) = looked {
            units
                .problems
                .push(problem(&closure.join(UNITS).join(&path), &error));
        }
    }
    Ok(())
}

/// Whether a link on the way to the units of `closure` leads to something that is not there.
fn is_broken(root: &Root, closure: &Path) -> bool {
    let is_link = |path: &Path| {
        let place = root.place(path);
        place.is_ok_and(|place| place.is_symlink())
    };
    let units = closure.join(UNITS);
    units
        .ancestors()
        .take_while(|path| *path != closure)
        .any(|path| is_link(path) && !is_there(root, path))
}

fn is_there(root: &Root, path: &Path) -> bool {
    let place = root.resolve(path);
    place.is_ok_and(|place| place.symlink_metadata().is_ok())
}

impl Directory<'_> {
    fn unit(&self, path: &Path) -> io::Result<Listed> {
        let at = self.place.join(path);
        let target = match std::fs::read_link(self.root.join(&at)) {
            Ok(target) => Some(target),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => None,
            Err(error) => return Err(error),
        };
        let alias = target.and_then(|target| self.alias(&target, path));
        let leads = match alias {
            // Another name of a unit that the host has may be meant. systemd knows them all.
            Some(other) => Leads::Alias(other),
            None => self.file(&at)?,
        };
        let path = path.to_owned();
        Ok(Listed { path, leads })
    }

    /// The entries of a `.wants` or `.d` directory, which may itself be a link.
    fn adding_up(&self, path: &Path, units: &mut Units) -> io::Result<()> {
        let place = self.root.canonical(self.place.join(path))?;
        for inner in names(self.root, &place)? {
            let at = place.join(&inner);
            let path = path.join(&inner);
            let leads = match self.file(&at) {
                Ok(leads) => leads,
                // A name in `.wants` is the dependency whatever it leads to.
                Err(_) if path.parent().and_then(Path::extension) != Some(OsStr::new("d")) => {
                    Leads::File
                }
                Err(error) => {
                    units.problems.push(problem(&at, &error));
                    continue;
                }
            };
            units.listed.push(Listed { path, leads });
        }
        Ok(())
    }

    fn file(&self, at: &Path) -> io::Result<Leads> {
        let place = self.root.canonical(at)?;
        if place == Path::new(NOWHERE) {
            return Ok(Leads::Nowhere);
        }
        self.root.join(place).symlink_metadata()?;
        Ok(Leads::File)
    }

    /// The unit of this directory that a link to `target` makes `name` another name of.
    fn alias(&self, target: &Path, name: &Path) -> Option<PathBuf> {
        let (other, parent) = (target.file_name()?, target.parent()?);
        let beside = parent.as_os_str().is_empty() || parent == Path::new(".");
        let is_alias =
            other != name.as_os_str() && (beside || self.homes.iter().any(|home| home == parent));
        is_alias.then(|| other.into())
    }
}

fn names(root: &Root, directory: &Path) -> io::Result<Vec<OsString>> {
    let entries = std::fs::read_dir(root.join(directory))?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}

fn problem(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
