//! Who goes down with whom.
//!
//! PID 1 stops with a unit all that requires it, is bound to it or is part of it, and starts none of them again. So they are
//! in the plan, and come up at its end.

use std::collections::{BTreeMap, BTreeSet};

use super::planner::{Planner, attributes};
use super::running::OF_A_STOP;
use super::{Intent, Job};
use crate::switch::compare::compare;
use crate::switch::set::{Definition, kind};
use crate::switch::situation::{Situation, State, States};

/// What hangs on each unit.
type Hanging<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Everything up that hangs on one of `first`, directly or not, with the unit of `first` that it hangs on.
fn reached<'a>(
    states: &States,
    first: impl Iterator<Item = &'a String>,
    hanging: &Hanging<'a>,
) -> BTreeMap<&'a str, &'a str> {
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    let mut todo: Vec<(&str, &str)> = first.map(|unit| (unit.as_str(), unit.as_str())).collect();
    let roots: BTreeSet<&str> = todo.iter().map(|(unit, _)| *unit).collect();
    while let Some((unit, root)) = todo.pop() {
        for other in hanging.get(unit).into_iter().flatten().copied() {
            let is_up = states.get(other).is_some_and(State::is_up);
            if is_up && !roots.contains(other) && !found.contains_key(other) {
                found.insert(other, root);
                todo.push((other, root));
            }
        }
    }
    found
}

/// What goes down when a unit is stopped: PID 1 has the old definitions then.
fn on_stop(given: &Situation) -> Hanging<'_> {
    let states = given.states.iter();
    states
        .map(|(unit, state)| {
            (
                unit.as_str(),
                state.stops.iter().map(String::as_str).collect(),
            )
        })
        .collect()
}

/// What is restarted with a unit: PID 1 has the new definitions by then.
fn on_restart<'a>(given: &'a Situation, differing: &BTreeSet<&str>) -> Hanging<'a> {
    let mut hanging = Hanging::new();
    let changed = |unit: &str| differing.contains(unit);
    for (unit, state) in &given.states {
        let same = state.restarts.iter().filter(|other| !changed(other));
        hanging
            .entry(unit.as_str())
            .or_default()
            .extend(same.map(String::as_str));
    }
    for unit in given.states.keys().filter(|unit| changed(unit)) {
        let definition = given.new.definition(given.new.canonical(unit));
        let Some(file) = definition.file() else {
            continue;
        };
        for key in ["Requires", "BindsTo", "Requisite", "PartOf"] {
            for base in file.words("Unit", key) {
                if let Some((base, _)) = given.states.get_key_value(base) {
                    hanging
                        .entry(base.as_str())
                        .or_default()
                        .insert(unit.as_str());
                }
            }
        }
    }
    hanging
}

/// What carries the session and hangs on `unit`.
fn carrier(states: &States, unit: &String, hanging: &Hanging<'_>) -> Option<String> {
    let hanging = reached(states, std::iter::once(unit), hanging);
    let mut hanging = hanging.into_keys();
    let carries = |unit: &&str| states.get(*unit).is_some_and(|state| state.carries_session);
    hanging.find(carries).map(str::to_owned)
}

impl Planner<'_> {
    pub(super) fn spread(&mut self) {
        self.spare_session();
        self.part_restarts();
        self.stopped_along();
        self.restarted_along();
    }

    /// What would take the session's carrier down in the middle goes down and up in one job, after all else.
    fn spare_session(&mut self) {
        let given = self.given;
        let (stops, restarts) = (on_stop(given), on_restart(given, &self.differing));
        let stopped: Vec<String> = self.plan.stop.keys().cloned().collect();
        for unit in stopped {
            let name = given.new.canonical(&unit).to_owned();
            let comes_back = self.start.contains_key(&name) || self.alone.contains_key(&name);
            let Some(carrier) = carrier(&given.states, &unit, &stops).filter(|_| comes_back) else {
                continue;
            };
            let why = self.plan.stop.remove(&unit).unwrap_or_default();
            self.start.remove(&name);
            self.alone.remove(&name);
            self.last(
                &name,
                Job::Restart,
                &format!("{why}; {carrier} hangs on it and carries this session"),
            );
        }
        let restarted: Vec<String> = self.restart.keys().cloned().collect();
        for unit in restarted {
            let Some(carrier) = carrier(&given.states, &unit, &restarts) else {
                continue;
            };
            let why = self.restart.remove(&unit).unwrap_or_default();
            self.last(
                &unit,
                Job::Restart,
                &format!("{why}; {carrier} hangs on it and carries this session"),
            );
        }
    }

    /// A restart after the reload would stop what hangs on the unit by the new files' word. Where that is another one, the
    /// unit is stopped before, and started after it.
    fn part_restarts(&mut self) {
        let given = self.given;
        let restarts = on_restart(given, &self.differing);
        for (unit, why) in self.restart.clone() {
            let hanging = reached(&given.states, std::iter::once(&unit), &restarts);
            let stopped_otherwise = |unit: &&str| {
                let (old, new) = (self.old_definition(unit), self.new_definition(unit));
                self.differs(unit)
                    && match (old.file(), new.file()) {
                        (Some(old), Some(new)) => compare(old, new).has("Service", &OF_A_STOP),
                        _ => true,
                    }
            };
            // Who is stopped before the reload for another reason is down by then.
            let mut up = hanging
                .into_keys()
                .filter(|unit| !self.plan.stop.contains_key(*unit));
            if let Some(other) = up.find(stopped_otherwise) {
                let why = format!(
                    "{why}; {other} hangs on it, and is stopped in another way from now on"
                );
                self.restart.remove(&unit);
                self.stop(&unit, &why);
                self.start(&unit, &why);
            }
        }
    }

    fn stopped_along(&mut self) {
        let given = self.given;
        let stopped: BTreeSet<String> = self.plan.stop.keys().cloned().collect();
        let along = reached(&given.states, stopped.iter(), &on_stop(given));
        for (unit, root) in along {
            let Some(state) = given.states.get(unit) else {
                continue;
            };
            let name = given.new.canonical(unit).to_owned();
            let why = format!("it hangs on {root}, which is stopped");
            // It is down by the time of its own job.
            let own = self.restart.remove(&name);
            let own = own.or_else(|| self.plan.reload.remove(&name));
            if let Some(own) = own {
                let why = format!("{own}; it hangs on {root}");
                self.bring_up_again(unit, &name, state, &why);
                self.plan.disturbed.insert(unit.to_owned(), why);
                continue;
            }
            let why = match self.plan.skipped.remove(unit) {
                Some(skipped) => format!("{why} (for itself: {skipped})"),
                None => why,
            };
            self.bring_up_again(unit, &name, state, &why);
            self.plan.disturbed.insert(unit.to_owned(), why);
        }
    }

    fn bring_up_again(&mut self, unit: &str, name: &str, state: &State, why: &str) {
        let (old, new) = (self.old_definition(unit), self.new_definition(name));
        let is_ours = old.is_there();
        let is_there = match *new {
            Definition::Whole(_) | Definition::Unread => true,
            Definition::Masked => false,
            Definition::Absent | Definition::DropIns(_) => {
                !is_ours || self.given.host_units.contains(unit)
            }
        };
        let says = attributes(&new);
        let is_read = matches!(*new, Definition::Whole(_));
        let refuses = says.refuse_start || (state.refuses_start && !is_read);
        let comes_by_itself = matches!(kind(name), "device" | "scope" | "slice");
        if !is_there || state.transient || comes_by_itself {
            let intent = if is_there {
                Intent::Either
            } else {
                Intent::Down
            };
            self.plan.intended.insert(unit.to_owned(), intent);
        } else if refuses {
            self.plan.intended.insert(name.to_owned(), Intent::Either);
        } else if kind(name) == "target" {
            self.alone.insert(name.to_owned(), why.to_owned());
        } else {
            self.start(name, why);
        }
    }

    /// PID 1 restarts them by itself.
    fn restarted_along(&mut self) {
        let given = self.given;
        let last = self.plan.last.iter();
        let last = last
            .filter(|step| step.job == Job::Restart)
            .map(|step| &step.unit);
        let restarted: BTreeSet<String> = self.restart.keys().chain(last).cloned().collect();
        let along = reached(
            &given.states,
            restarted.iter(),
            &on_restart(given, &self.differing),
        );
        for (unit, root) in along {
            let name = given.new.canonical(unit);
            if self.plan.stop.contains_key(unit) || self.plan.disturbed.contains_key(unit) {
                continue;
            }
            let why = format!("it hangs on {root}, which is restarted");
            let why = match self.plan.skipped.remove(unit) {
                Some(skipped) => format!("{why} (for itself: {skipped})"),
                None => why,
            };
            let intent = self.intent(name);
            self.plan.disturbed.insert(unit.to_owned(), why);
            self.plan.intended.insert(name.to_owned(), intent);
        }
    }
}
