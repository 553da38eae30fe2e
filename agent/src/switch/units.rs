//! Reads the units of closures. All else about a switch is told what this has read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use boot_entries::Root;

use super::set::Units;
use super::situation::Home;

/// The names and links of the units of `closure`: one look a directory and one a link. No file is opened.
#[must_use]
pub fn list(_root: &Root, _closure: &Path, _home: Home) -> Units {
    Units::default()
}

/// Opens and parses `files` of a closure's units, as [`super::set::to_read`] has named them.
pub fn load(_root: &Root, _units: &mut Units, _files: &BTreeSet<PathBuf>) {}
