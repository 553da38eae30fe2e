//! The units that a closure has: what there is to link, and what of it cannot be read.
//!
//! Each entry is looked at for itself. One odd link costs that unit, and no other.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::{Leads, Listed};
use crate::host::NOWHERE;
use crate::system::unit_directory::{Directory, Sort, sort};

/// Where a closure keeps its units.
pub(super) const UNITS: &str = "etc/systemd/system";

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

fn top(root: &Root, closure: &Path, units: &mut Units) -> io::Result<()> {
    let Some(directory) = Directory::of(root, closure, UNITS)? else {
        return Ok(());
    };
    for name in directory.names()? {
        let path = PathBuf::from(&name);
        let looked = match sort(&path) {
            // Entries of these add up over all places systemd looks in, so they are linked entry by entry.
            Sort::AddingUp => adding_up(root, &directory, &path, units),
            Sort::Unit => unit(root, &directory, &path).map(|unit| units.listed.push(unit)),
            Sort::Other => Ok(()),
        };
        if let Err(error) = looked {
            units
                .problems
                .push(problem(&closure.join(UNITS).join(&path), &error));
        }
    }
    Ok(())
}

fn unit(root: &Root, directory: &Directory, path: &Path) -> io::Result<Listed> {
    let at = directory.place().join(path);
    let target = directory.target(&at)?;
    let alias = target.and_then(|target| directory.alias(&target, path));
    let leads = match alias {
        // Another name of a unit that the host has may be meant. systemd knows them all.
        Some(other) => Leads::Alias(other),
        None => file(root, &at)?,
    };
    let path = path.to_owned();
    Ok(Listed { path, leads })
}

/// The entries of a `.wants` or `.d` directory, which may itself be a link.
fn adding_up(root: &Root, directory: &Directory, path: &Path, units: &mut Units) -> io::Result<()> {
    let (place, names) = directory.inner(path)?;
    for inner in names {
        let at = place.join(&inner);
        let path = path.join(&inner);
        let leads = match file(root, &at) {
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

fn file(root: &Root, at: &Path) -> io::Result<Leads> {
    let place = root.canonical(at)?;
    if place == Path::new(NOWHERE) {
        return Ok(Leads::Nowhere);
    }
    root.join(place).symlink_metadata()?;
    Ok(Leads::File)
}

fn problem(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
