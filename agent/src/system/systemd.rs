//! Asks systemd, the system and service manager, what an assessment wants to know. Only reads; decides nothing.
//!
//! A look is a list of all units and jobs. What lists do not tell is asked of a service only when it may have changed: at
//! first, when its row is another, and when systemd told of it since. What the boot was to start is found out once.

pub mod snapshot;

mod boot;
mod details;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::host::Program;
use crate::state::cause::UnitFailure;
use crate::state::reset::Way;
use crate::system::manager::value::Properties;
use crate::system::manager::{self, Listed, Manager, Signal, Wanted};
use crate::system::program;
use boot::Boot;
use snapshot::{Active, Nothing, Snapshot, Unit};

/// How long one answer may take. With a stuck PID 1 each look takes that long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Only the newest entries of a log are read: a service may have written gigabytes.
const ENTRIES: &str = "--lines=200";

/// Why systemd could not be observed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be asked.
    #[error(transparent)]
    Ask(#[from] manager::Error),
}

/// The running systemd.
#[derive(Debug)]
pub struct Systemd {
    required: Vec<String>,
    /// Where this boot leads.
    target: String,
    /// What it was to start. Found out once: what is enabled later was not part of it.
    boot: Option<BTreeSet<String>>,
    /// None: not connected, or not any more.
    manager: Option<Manager>,
    known: Known,
    /// By unit.
    came_to_nothing: BTreeMap<String, Nothing>,
    /// Units that had a job since the last look. None: not everything was heard.
    asked: Option<BTreeSet<String>>,
    /// Required ones that have cut a rest short.
    hurried: BTreeSet<String>,
    /// Something worth a look was heard since the last one.
    has_news: bool,
}

/// What was asked of services, and is still so.
#[derive(Debug, Default)]
struct Known {
    /// By name: the row of the list at that time, and what was said.
    services: BTreeMap<String, (Unit, Properties)>,
    /// The same of other units of the boot that are down.
    idle: BTreeMap<String, (Unit, Properties)>,
}

impl Known {
    /// Takes in a piece of news. Gives whether it is worth a look.
    ///
    /// That a unit was read or forgotten is not: to ask about one is enough for that.
    fn hears(&mut self, signal: &Signal) -> bool {
        match signal {
            Signal::Changed { unit }
            | Signal::JobNew { unit, .. }
            | Signal::JobRemoved { unit, .. } => {
                self.services.remove(unit);
                self.idle.remove(unit);
                true
            }
            Signal::Reloading { begins: false } | Signal::Missed => {
                self.services.clear();
                self.idle.clear();
                true
            }
            _ => false,
        }
    }

    /// Forgets what the list does not have, or has otherwise. Gives the services that must be asked.
    fn outdated<'a>(&mut self, units: &BTreeMap<&'a str, Unit>) -> Vec<&'a str> {
        self.services
            .retain(|name, (row, _)| units.get(name.as_str()) == Some(row));
        let services = units.keys().filter(|name| name.ends_with(".service"));
        let unknown = services.filter(|name| !self.services.contains_key(**name));
        unknown.copied().collect()
    }

    /// The same of other units that the boot was to start, that are down, and that have no job.
    fn idle<'a>(
        &mut self,
        units: &BTreeMap<&'a str, Unit>,
        boot: &BTreeSet<String>,
        queued: &BTreeSet<&str>,
    ) -> Vec<&'a str> {
        self.idle
            .retain(|name, (row, _)| units.get(name.as_str()) == Some(row));
        let down = units.iter().filter(|(name, unit)| {
            unit.active == Active::Inactive
                && !name.ends_with(".service")
                && boot.contains(**name)
                && !queued.contains(**name)
        });
        let unknown = down.filter(|(name, _)| !self.idle.contains_key(**name));
        unknown.map(|(name, _)| *name).collect()
    }
}

impl Systemd {
    /// Watches the units in memory and `required` ones, whether anything else wants those or not. `target` is where the
    /// boot leads if it is not systemd's default.
    #[must_use]
    pub fn watching(required: &[String], target: Option<&str>) -> Self {
        Self {
            required: required.to_vec(),
            target: target.unwrap_or(boot::DEFAULT).to_owned(),
            boot: None,
            manager: None,
            known: Known::default(),
            came_to_nothing: BTreeMap::new(),
            asked: None,
            hurried: BTreeSet::new(),
            has_news: false,
        }
    }

    /// What systemd says now.
    ///
    /// # Errors
    /// When it does not answer. The next look begins with a new connection.
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        let seen = match self.see() {
            // It was executed anew, perhaps long ago.
            Err(manager::Error::Closed { .. }) => {
                self.hang_up();
                self.see()
            }
            seen => seen,
        };
        if seen.is_err() {
            self.hang_up();
        }
        Ok(seen?)
    }

    /// Lets so much time go by, so that looking does not take too much of a busy machine. That a required unit has come to
    /// nothing ends it, once for each: what is started again and again is not looked at each time.
    pub fn rest(&mut self, at_most: Duration) {
        let until = Instant::now() + at_most;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(manager) = &mut self.manager else {
                return std::thread::sleep(left);
            };
            match manager.signal(left) {
                Ok(Some(signal)) => {
                    self.has_news |= self.hears(&signal);
                    if self.is_hurried_by(&signal) {
                        return;
                    }
                }
                Ok(None) => return,
                // The next look says why, if it cannot be mended.
                Err(_) => self.hang_up(),
            }
        }
    }

    /// Whether a required unit has come to nothing, for the first time.
    fn is_hurried_by(&mut self, signal: &Signal) -> bool {
        match signal {
            Signal::JobRemoved { unit, result, .. } => {
                reader::nothing(result).is_some()
                    && self.required.contains(unit)
                    && self.hurried.insert(unit.clone())
            }
            _ => false,
        }
    }

    /// Waits until something may have changed, or for so long.
    pub fn wait(&mut self, at_most: Duration) {
        let until = Instant::now() + at_most;
        if self.has_news {
            return;
        }
        while let Some(manager) = &mut self.manager {
            let left = until.saturating_duration_since(Instant::now());
            match manager.signal(left) {
                Ok(Some(signal)) => {
                    if self.hears(&signal) {
                        return;
                    }
                }
                Ok(None) => return,
                // The next look says why, if it cannot be mended.
                Err(_) => self.hang_up(),
            }
        }
    }

    /// Takes in a piece of news. Gives whether it is worth a look.
    fn hears(&mut self, signal: &Signal) -> bool {
        match (signal, &mut self.asked) {
            (Signal::JobNew { unit, .. } | Signal::JobRemoved { unit, .. }, Some(asked)) => {
                asked.insert(unit.clone());
            }
            (Signal::Missed, asked) => *asked = None,
            _ => {}
        }
        if let Signal::JobRemoved { unit, result, .. } = signal {
            match reader::nothing(result) {
                Some(nothing) => self.came_to_nothing.insert(unit.clone(), nothing),
                None => self.came_to_nothing.remove(unit),
            };
        }
        self.known.hears(signal)
    }

    fn hang_up(&mut self) {
        self.manager = None;
        self.known = Known::default();
        self.asked = None;
    }

    fn see(&mut self) -> Result<Snapshot, manager::Error> {
        let mut manager = match self.manager.take() {
            Some(manager) => manager,
            None => connected()?,
        };
        while let Some(signal) = manager.signal(Duration::ZERO)? {
            self.hears(&signal);
        }
        self.has_news = false;
        if self.boot.is_none() {
            self.boot = self.find_boot(&mut manager)?;
        }
        let (jobs, rows) = manager.look()?;
        let units: BTreeMap<&str, Unit> = rows
            .iter()
            .map(|row: &Listed| (row.name.as_str(), reader::listed(row)))
            .collect();
        let services = self.known.outdated(&units);
        let queued: BTreeSet<&str> = jobs.iter().map(|job| job.unit.as_str()).collect();
        let idle = match &self.boot {
            Some(boot) => self.known.idle(&units, boot, &queued),
            None => Vec::new(),
        };
        let names: BTreeSet<&str> = self.required.iter().map(String::as_str).collect();
        let names: Vec<&str> = std::iter::once(reader::BOOT_COMPLETE)
            .chain(names)
            .collect();
        let questions: Vec<(&str, &[Wanted<'_>])> = services
            .iter()
            .map(|name| (*name, reader::OF_SERVICES))
            .chain(idle.iter().map(|name| (*name, reader::OF_IDLE)))
            .chain(names.iter().map(|name| (*name, reader::OF_NAMED)))
            .collect();
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        let details = manager.details(&ids, &questions)?;
        self.manager = Some(manager);

        let mut answers = details.properties.into_iter();
        for name in services {
            // A unit that is gone by now has no properties, and is asked again if it comes back.
            if let (Some(Ok(properties)), Some(row)) = (answers.next(), units.get(name)) {
                let known = (row.clone(), properties);
                self.known.services.insert(name.to_owned(), known);
            }
        }
        for name in idle {
            if let (Some(Ok(properties)), Some(row)) = (answers.next(), units.get(name)) {
                let known = (row.clone(), properties);
                self.known.idle.insert(name.to_owned(), known);
            }
        }
        let mut snapshot = Snapshot::default();
        for (name, row) in units {
            let unit = if let Some((_, properties)) = self.known.services.get(name) {
                reader::aliases(name, properties, &mut snapshot);
                reader::complete(row, properties)
            } else if let Some((_, properties)) = self.known.idle.get(name) {
                reader::idle(row, properties)
            } else {
                row
            };
            snapshot.units.insert(name.to_owned(), unit);
        }
        for properties in answers.flatten() {
            reader::named(&properties, &mut snapshot);
        }
        // One that is over by now is waited for a little longer, which is harmless.
        let jobs = jobs.into_iter().zip(details.blocking);
        snapshot.jobs = jobs
            .map(|(job, blocks)| reader::job(job, blocks.unwrap_or(true)))
            .collect();
        snapshot.boot.clone_from(&self.boot);
        snapshot.came_to_nothing.clone_from(&self.came_to_nothing);
        snapshot.asked = self.asked.replace(BTreeSet::new());
        Ok(snapshot)
    }

    fn find_boot(&self, manager: &mut Manager) -> Result<Option<BTreeSet<String>>, manager::Error> {
        let mut boot = Boot::from([self.target.as_str()]);
        loop {
            let next = boot.next();
            if next.is_empty() {
                return Ok(boot.all());
            }
            boot.learn(&manager.properties(&next, boot::WANTED)?);
        }
    }

    /// What is known about a unit that is not well.
    #[must_use]
    pub fn failure(&mut self, unit: &str) -> UnitFailure {
        let properties = match self.properties_of(unit) {
            Ok(properties) => properties,
            // A detail that cannot be had must not cost the verdict: it becomes a line of the log.
            Err(error) => {
                return UnitFailure {
                    unit: unit.to_owned(),
                    result: "unknown".to_owned(),
                    exit_status: None,
                    log: vec![error.to_string()],
                };
            }
        };
        let mut failure = details::failure(unit, &properties);
        let invocation = details::failed_invocation(&properties);
        match journal(unit, invocation.as_deref()) {
            Ok(text) => failure
                .log
                .extend(details::log(&text, unit, invocation.as_deref())),
            Err(error) => failure.log.push(error.to_string()),
        }
        failure
    }

    fn properties_of(&mut self, unit: &str) -> Result<Properties, manager::Error> {
        let doing = "a unit's properties";
        let mut manager = match self.manager.take() {
            Some(manager) => manager,
            None => connected()?,
        };
        let found = manager.properties(&[unit], details::WANTED)?;
        self.manager = Some(manager);
        let found = found
            .into_iter()
            .next()
            .unwrap_or(Ok(Properties::default()));
        found.map_err(|refusal| manager::Error::Refused { doing, refusal })
    }
}

fn connected() -> Result<Manager, manager::Error> {
    let mut manager = Manager::system(TIMEOUT)?;
    manager.listen();
    Ok(manager)
}

/// What a unit's failed run wrote, and what systemd wrote about it; without one, all that is about it in this boot.
fn journal(unit: &str, invocation: Option<&str>) -> Result<String, program::Error> {
    let mut command = program::command(Program::Journalctl)?;
    command.args(["--boot", "--quiet", "--no-pager", "--output=json", ENTRIES]);
    command.arg("--output-fields=MESSAGE,_PID,PRIORITY,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID");
    match invocation {
        Some(id) => command.args([
            &format!("_SYSTEMD_INVOCATION_ID={id}"),
            "+",
            &format!("INVOCATION_ID={id}"),
            // The core dump of its process, written by another service.
            "+",
            &format!("COREDUMP_UNIT={unit}"),
            // Of what a process wrote that ended at once, the journal may know the unit only.
            "+",
            &format!("_SYSTEMD_UNIT={unit}"),
        ]),
        None => command.args([
            &format!("_SYSTEMD_UNIT={unit}"),
            "+",
            &format!("UNIT={unit}"),
        ]),
    };
    program::stdout_of(&mut command)
}

/// A machine that goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoingDown {
    /// What for.
    pub way: Way,
    /// Whoever judges the boot, or acts upon that, has failed.
    pub failed: bool,
}

/// Whether the machine goes down in order. None: it does not.
///
/// # Errors
/// When systemd does not say.
pub fn going_down() -> Result<Option<GoingDown>, manager::Error> {
    let mut manager = Manager::system(TIMEOUT)?;
    let state = manager.own_properties(&["SystemState"])?;
    if state.text("SystemState") != "stopping" {
        return Ok(None);
    }
    let jobs = manager.jobs()?;
    let way = jobs.iter().find_map(|job| Way::of_target(&job.unit));
    let judges = ["lastgood-assess.service", "lastgood-fall-back.service"];
    let wanted = [
        Wanted::unit("ActiveState"),
        Wanted::kind("Result"),
        Wanted::kind("ExecMainStatus"),
    ];
    let found = manager.properties(&judges, &wanted)?;
    let failed = found.iter().flatten().any(|properties| {
        has_failed(
            properties.text("ActiveState"),
            properties.text("Result"),
            properties.number("ExecMainStatus"),
        )
    });
    Ok(Some(GoingDown {
        way: way.unwrap_or(Way::Unknown),
        failed,
    }))
}

/// Pure and total. The way down stops whoever judges, and systemd takes SIGTERM in the middle of a oneshot's start for a failure.
/// An assessment that ran out of time is ended by the same signal, with another result.
fn has_failed(active: &str, result: &str, status: Option<u64>) -> bool {
    active == "failed" && (result, status) != ("signal", Some(SIGTERM))
}

/// Signal 15 (signal(7)).
const SIGTERM: u64 = 15;

#[cfg(test)]
mod tests;
