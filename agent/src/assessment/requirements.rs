//! What a closure asks of the machine it runs on.

use std::path::Path;
use std::time::Duration;

use super::check::Declared;
use crate::config::Health;
use crate::host::{Kind, full_name};
use crate::store::handover::Units;

/// What a closure asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// Units that must be active, with their suffix. Those of `boot-complete.target` come with each snapshot.
    pub units: Vec<String>,
    /// Units whose failure is held against no closure, with their suffix.
    pub wanted: Vec<String>,
    /// Why systemd has not got all units of the closure ([`missing_units`]). None: it has.
    pub missing_units: Option<MissingUnits>,
    /// TCP ports by which the machine is managed: whoever listened there, somebody must.
    pub management_ports: Vec<u16>,
    /// What is tried on the running machine.
    pub checks: Vec<Declared>,
    /// Units that are not what they were in the last good generation: what they listen on may be another thing.
    pub changed: std::collections::BTreeSet<String>,
    /// How long everything must stay well.
    pub settle: Duration,
    /// When waiting ends, counted from the same instant as the observations.
    pub deadline: Duration,
}

impl From<&Health> for Requirements {
    fn from(health: &Health) -> Self {
        Self {
            missing_units: None,
            management_ports: Vec::new(),
            changed: std::collections::BTreeSet::new(),
            units: health.required_units.iter().map(|n| full_name(n)).collect(),
            wanted: health.wanted_units.iter().map(|n| full_name(n)).collect(),
            checks: Declared::all(&health.checks),
            settle: health.settle_sec.into(),
            deadline: health.deadline_sec.into(),
        }
    }
}

/// Not all units of the closure are systemd's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingUnits {
    /// Why, in half a sentence.
    pub why: String,
    /// The generator says so. Otherwise nobody knows, which is the agent's own fault (invariant A8).
    pub is_certain: bool,
}

/// Why not all units of `closure` are systemd's, from what the generator has `left`. None: they are.
///
/// Not so on NixOS: it has linked them by itself. Where nobody can tell which host it is, activation says so.
#[must_use]
pub fn missing_units(
    host: Option<Kind>,
    left: Result<Option<Units>, String>,
    closure: &Path,
) -> Option<MissingUnits> {
    let unknown = |why| {
        let is_certain = false;
        Some(MissingUnits { why, is_certain })
    };
    if host != Some(Kind::Plain) {
        return None;
    }
    let units = match left {
        Ok(Some(units)) => units,
        Ok(None) => return unknown("the generator has left no word in this boot".to_owned()),
        Err(why) => return unknown(why),
    };
    if Path::new(&units.closure) != closure {
        return unknown(format!("systemd has those of {}", units.closure));
    }
    let mut problems = units.missed.iter().chain(&units.problems);
    let first = problems.next()?;
    let why = match problems.count() {
        0 => first.clone(),
        more => format!("{first}; and {more} more"),
    };
    let is_certain = true;
    Some(MissingUnits { why, is_certain })
}
