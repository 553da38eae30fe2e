//! What a closure asks of the machine it runs on.

use std::path::Path;
use std::time::Duration;

use crate::config::Health;
use crate::host::{Kind, UNIT_KINDS};
use crate::store::handover::Units;

/// What a closure asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// Units that must be active, with their suffix. Those of `boot-complete.target` come with each snapshot.
    pub units: Vec<String>,
    /// Why systemd has not got all units of the closure ([`missing_units`]). None: it has.
    pub missing_units: Option<String>,
    /// How long everything must stay well.
    pub settle: Duration,
    /// When waiting ends, counted from the same instant as the observations.
    pub deadline: Duration,
}

impl From<&Health> for Requirements {
    fn from(health: &Health) -> Self {
        Self {
            missing_units: None,
            units: health.required_units.iter().map(|n| full_name(n)).collect(),
            settle: health.settle_sec.into(),
            deadline: health.deadline_sec.into(),
        }
    }
}

/// Why not all units of `closure` are systemd's, from what the generator has `left`. None: they are.
///
/// Not so on NixOS: it has linked them by itself.
#[must_use]
pub fn missing_units(
    host: Option<Kind>,
    left: Result<Option<Units>, String>,
    closure: &Path,
) -> Option<String> {
    if host == Some(Kind::NixOs) {
        return None;
    }
    let units = match left {
        Ok(Some(units)) => units,
        Ok(None) => return Some("the generator has left no word in this boot".to_owned()),
        Err(why) => return Some(why),
    };
    if Path::new(&units.closure) != closure {
        return Some(format!("systemd has those of {}", units.closure));
    }
    let mut problems = units.missed.iter().chain(&units.problems);
    let first = problems.next()?;
    Some(match problems.count() {
        0 => first.clone(),
        more => format!("{first}; and {more} more"),
    })
}

/// `nginx` means `nginx.service`, as for systemctl.
fn full_name(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, suffix)) if UNIT_KINDS.contains(&suffix) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}
