//! All units of a closure as plain data: which files make a unit, under which names, and what wants what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::unit_file::UnitFile;

/// What one name in the directory of units leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// A file. Two that are the same path of the store are equal, and nobody reads them.
    File(PathBuf),
    /// `/dev/null` or an empty file: the unit is masked.
    Nowhere,
    /// Another unit of the directory: this is a second name of it.
    Alias(String),
}

/// The units of a closure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    /// By name, with the suffix.
    pub files: BTreeMap<String, Leads>,
    /// By the name of a `.d` directory without that ending, then by the name of the `.conf` file.
    pub drop_ins: BTreeMap<String, BTreeMap<String, Leads>>,
    /// By the unit that wants: the names in its `.wants`, `.requires` and `.upholds` directories.
    pub wanted: BTreeMap<String, BTreeSet<String>>,
    /// What those files hold that somebody read.
    pub texts: BTreeMap<PathBuf, UnitFile>,
    /// What could not be read, a line each. A unit that is concerned counts as changed.
    pub problems: Vec<String>,
}

/// What a closure makes of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    /// It has no such unit.
    Absent,
    /// It masks it.
    Masked,
    /// It has only drop-ins for it: the unit itself is the host's.
    DropIns(UnitFile),
    /// It has it: its file with all drop-ins merged.
    Whole(UnitFile),
}

/// The files that a plan must have the text of, of both closures: those of units that run or are wanted and are not made of
/// the same files on both sides, and those of `also`, whatever they are made of.
#[must_use]
pub fn to_read(
    _old: &Units,
    _new: &Units,
    _states: &super::situation::States,
    _also: &BTreeSet<String>,
) -> BTreeSet<PathBuf> {
    BTreeSet::new()
}
