//! What the operator has masked, below the place where the closure's units are linked.
//!
//! `generator.early` is above `/etc/systemd/system` and `/run/systemd/system`, so a link of ours would hide a mask there.
//! A unit that is masked in one of these is left out. `system.control` and `systemd.mask=` of the kernel's command line
//! (systemd-debug-generator(8)) are at least as high as we are.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::Listed;
use crate::host::{ETC_UNITS, NOWHERE, RUN_UNITS};
use crate::system::command_line;

/// The operator's masks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masks {
    /// Paths below the directory of units, each with the file or word that masks it.
    found: Vec<(PathBuf, String)>,
}

impl Masks {
    /// Looks which of `units` are masked. What cannot be looked at masks nothing.
    #[must_use]
    pub fn read(root: &Root, units: &[Listed]) -> Self {
        let paths = || units.iter().map(|unit| unit.path.as_path());
        let mut found = Vec::new();
        let words = command_line::masked(root).unwrap_or_default();
        for path in paths() {
            if words.iter().any(|word| Path::new(word) == path) {
                found.push((path.to_owned(), format!("systemd.mask={}", path.display())));
            }
        }
        for directory in [ETC_UNITS, RUN_UNITS] {
            let names = names(root, directory);
            for path in paths() {
                let is_there = path.iter().next().is_some_and(|name| names.contains(name));
                let place = Path::new(directory).join(path);
                if is_there && is_mask(root, &place) {
                    found.push((path.to_owned(), place.display().to_string()));
                }
            }
        }
        Self { found }
    }

    /// What masks the unit or drop-in at `path`.
    #[must_use]
    pub fn of(&self, path: &Path) -> Option<&str> {
        let mut found = self.found.iter();
        found
            .find(|(masked, _)| masked == path)
            .map(|(_, by)| by.as_str())
    }

    /// These masks, for a test of what follows from them.
    #[cfg(test)]
    #[must_use]
    pub fn from(found: &[(&str, &str)]) -> Self {
        let found = found
            .iter()
            .map(|(path, by)| (PathBuf::from(path), (*by).to_owned()));
        Self {
            found: found.collect(),
        }
    }
}

/// One listing instead of a look for every unit.
fn names(root: &Root, directory: &str) -> BTreeSet<OsString> {
    let mut names = BTreeSet::new();
    let place = root.resolve(directory);
    for entry in place
        .and_then(std::fs::read_dir)
        .into_iter()
        .flatten()
        .flatten()
    {
        names.insert(entry.file_name());
    }
    names
}

/// As systemd.unit(5) has it: a link to `/dev/null`, or an empty file.
fn is_mask(root: &Root, place: &Path) -> bool {
    let Ok(leads) = root.canonical(place) else {
        return false;
    };
    let metadata = || root.join(&leads).symlink_metadata();
    leads == Path::new(NOWHERE) || metadata().is_ok_and(|file| file.is_file() && file.len() == 0)
}
