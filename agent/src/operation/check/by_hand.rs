//! All checks of the active closure, tried once because somebody asks.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use boot_entries::Root;

use super::Checker;
use crate::assessment::check::AT_ONCE;
use crate::config;
use crate::error::Error;
use crate::operation::switch::active_closure;
use crate::state::cause::UnitFailure;
use crate::system::check::Ended;
use crate::system::systemd::Systemd;
use crate::view::View;

/// How often it is looked whether runs have ended.
const LOOK: Duration = Duration::from_millis(50);

/// What came of one check.
#[derive(Debug)]
pub struct Tried {
    /// What it is called.
    pub name: String,
    /// Its failure is held against nobody.
    pub wanted: bool,
    /// How its run ended.
    pub ended: Ended,
    /// How long that took.
    pub took: Duration,
    /// What is known about the unit in which it failed.
    pub detail: Option<UnitFailure>,
}

/// What came of all.
#[derive(Debug)]
pub struct AllTried {
    /// The closure that declares them.
    pub closure: PathBuf,
    /// In the order of their names.
    pub checks: Vec<Tried>,
}

impl AllTried {
    /// The required checks that do not hold.
    pub fn failed(&self) -> impl Iterator<Item = &Tried> {
        let all = self.checks.iter();
        all.filter(|one| !one.wanted && one.ended != Ended::Passed)
    }
}

/// Tries the checks `names` of the closure that is active, once each; all of them if there are no names. Changes nothing,
/// and is no verdict.
///
/// # Errors
/// When no closure is active, it declares no such check, or this is not the running machine.
pub fn by_hand(root: &Root, names: &[String]) -> Result<AllTried, Error> {
    if !root.is_live() {
        return Err(Error::Refused(
            "checks are about the running machine, not about a tree; leave --root out".to_owned(),
        ));
    }
    let closure = active_closure(&View::read(root)?)?;
    let mut checks = config::read_or_default(root, &closure).health.checks;
    for name in names {
        if !checks.keys().any(|known| known.as_str() == name) {
            let all: Vec<&str> = checks.keys().map(config::checks::Name::as_str).collect();
            let all = if all.is_empty() {
                "it declares none".to_owned()
            } else {
                format!("there are {}", all.join(", "))
            };
            let closure = closure.display();
            return Err(Error::Refused(format!(
                "{closure} declares no check {name}: {all}"
            )));
        }
    }
    checks.retain(|known, _| names.is_empty() || names.iter().any(|name| name == known.as_str()));
    let mut checker = Checker::by_hand(root, &closure, &checks);
    let mut waiting: Vec<(&str, bool)> = checks
        .iter()
        .map(|(name, check)| (name.as_str(), check.get_ref().wanted))
        .rev()
        .collect();
    let mut running: Vec<(&str, bool, Instant)> = Vec::new();
    let mut systemd = Systemd::watching(&[], None);
    let mut tried = Vec::new();
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < AT_ONCE
            && let Some((name, wanted)) = waiting.pop()
        {
            checker.begin(name);
            running.push((name, wanted, Instant::now()));
        }
        for (name, ended) in checker.ended() {
            let Some(at) = running.iter().position(|(one, ..)| *one == name) else {
                continue;
            };
            let (_, wanted, since) = running.swap_remove(at);
            let has_failed = matches!(ended, Ended::Failed(_));
            let unit = checker.unit_of(&name).filter(|_| has_failed);
            tried.push(Tried {
                detail: unit.map(|unit| systemd.failure(unit)),
                took: since.elapsed(),
                name,
                wanted,
                ended,
            });
        }
        if !running.is_empty() {
            thread::sleep(LOOK);
        }
    }
    tried.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(AllTried {
        closure,
        checks: tried,
    })
}
