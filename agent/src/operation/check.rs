//! The checks that a closure declares, run: a program as it is, anything else by `lastgood step check`, each in a unit of
//! its own.

pub mod by_hand;

mod program;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use boot_entries::Root;

use crate::config::checks::{Check, Family, Kind};
use crate::config::{self, Checks};
use crate::error::Error;
use crate::host::OURSELVES;
use crate::state::fault::unit_of_check;
use crate::system::check::{Ended, Failure, Run, Runner};
use crate::system::probe::{self, Expected, Protocol};

pub use program::check;

/// Runs the checks of one closure. When it is dropped, what is under way is ended.
#[derive(Debug)]
pub struct Checker {
    runs: BTreeMap<String, Result<Run, String>>,
    runner: Runner,
    /// What could not even be tried.
    stillborn: Vec<(String, Ended)>,
}

impl Checker {
    /// For the `checks` of `closure`, on the running machine. Nothing is run yet.
    #[must_use]
    pub fn new(root: &Root, closure: &Path, checks: &Checks) -> Self {
        Self::named(root, closure, checks, unit_of_check)
    }

    /// The same for somebody who asks, in units that no assessment has.
    #[must_use]
    pub fn by_hand(root: &Root, closure: &Path, checks: &Checks) -> Self {
        Self::named(root, closure, checks, |name| {
            format!("lastgood-check-by-hand-{name}.service")
        })
    }

    fn named(root: &Root, closure: &Path, checks: &Checks, unit: impl Fn(&str) -> String) -> Self {
        let runs = checks.iter().map(|(name, check)| {
            let name = name.as_str();
            let run = run_of(root, closure, (name, unit(name)), check.get_ref());
            (name.to_owned(), run)
        });
        Self {
            runs: runs.collect(),
            runner: Runner::default(),
            stillborn: Vec::new(),
        }
    }

    /// Begins a run of the check `name`.
    pub fn begin(&mut self, name: &str) {
        let how = match self.runs.get(name) {
            Some(Ok(run)) => return self.runner.begin(run),
            Some(Err(why)) => Ended::Failed(Failure::Refused(why.clone())),
            None => Ended::Lost("it is not declared".to_owned()),
        };
        self.stillborn.push((name.to_owned(), how));
    }

    /// The runs that have ended since this was asked last.
    pub fn ended(&mut self) -> Vec<(String, Ended)> {
        let mut all = std::mem::take(&mut self.stillborn);
        all.extend(self.runner.ended());
        all
    }

    /// The unit in which the check `name` is run. None: it cannot be.
    #[must_use]
    pub fn unit_of(&self, name: &str) -> Option<&str> {
        let run = self.runs.get(name)?.as_ref().ok()?;
        Some(&run.unit)
    }
}

fn run_of(
    root: &Root,
    closure: &Path,
    (name, unit): (&str, String),
    check: &Check,
) -> Result<Run, String> {
    let (words, user) = match &check.kind {
        Kind::Exec { words, user } => (program::words(root, closure, words)?, user.clone()),
        _ => (step(closure, name)?, None),
    };
    Ok(Run {
        name: name.to_owned(),
        unit,
        words,
        user,
        environment: vec![format!("PATH={}", program::path(closure))],
        timeout: check.timeout,
    })
}

/// This very program, by its own path: another one may be in its place by the time the check is run.
fn step(closure: &Path, name: &str) -> Result<Vec<String>, String> {
    let ourselves = std::fs::read_link(OURSELVES)
        .map_err(|error| format!("cannot read {OURSELVES}: {error}"))?;
    let closure = closure.display().to_string();
    let words = [
        &ourselves.display().to_string(),
        "step",
        "check",
        &closure,
        name,
    ];
    Ok(words.map(str::to_owned).into())
}

/// Tries the check `name` of `closure` once, in this process. Whoever started it ends it in time.
///
/// # Errors
/// That it does not hold and why, in one line.
pub fn step_check(root: &Root, closure: &Path, name: &str) -> Result<(), Error> {
    let checks = config::read_or_default(root, closure).health.checks;
    let found = checks.iter().find(|(one, _)| one.as_str() == name);
    let Some((_, check)) = found else {
        let closure = closure.display();
        return Err(Error::Refused(format!(
            "{closure} declares no check {name}"
        )));
    };
    let check = check.get_ref();
    // What takes too long is to say so in its own words, before it is ended.
    let patience = check.timeout * 9 / 10;
    tried(&check.kind, patience).map_err(Error::Refused)
}

fn tried(kind: &Kind, patience: Duration) -> Result<(), String> {
    match kind {
        Kind::Exec { .. } => Err("a program is run by systemd itself".to_owned()),
        Kind::Tcp(address) => probe::tcp(&address.host, address.port, patience),
        Kind::Http { url, status, body } => {
            let expected = Expected {
                host: &url.address.host,
                port: url.address.port,
                authority: &url.authority,
                path: &url.path,
                status,
                body: body.as_deref(),
            };
            probe::http(&expected, patience).map_err(|why| format!("{url}: {why}"))
        }
        Kind::Unit(unit) => probe::unit(unit),
        Kind::DefaultRoute(family) => route(*family),
        Kind::Resolve(name) => probe::resolve(name),
        Kind::Mount { path, writable } => probe::mount(path, *writable),
        Kind::FreeSpace { path, at_least } => {
            let (free, all) = probe::room(path)?;
            if at_least.is_in(free, all) {
                return Ok(());
            }
            let path = path.display();
            Err(format!(
                "{path} has {} MiB left of {} MiB, less than {at_least}",
                free >> 20,
                all >> 20
            ))
        }
        Kind::TimeSync => probe::time_sync(patience),
    }
}

fn route(family: Family) -> Result<(), String> {
    match family {
        Family::Ipv4 => probe::default_route(Protocol::Ipv4),
        Family::Ipv6 => probe::default_route(Protocol::Ipv6),
        Family::Any => {
            let has = |protocol| probe::default_route(protocol).is_ok();
            if has(Protocol::Ipv4) || has(Protocol::Ipv6) {
                Ok(())
            } else {
                Err("there is no default route, neither of IPv4 nor of IPv6".to_owned())
            }
        }
    }
}
