//! What is down: what of it comes up.
//!
//! A unit that stood stopped stands stopped, whoever stopped it. It comes up if what runs pulls it in, and either this is
//! new or the unit has changed. Targets are never started for that: a start of theirs would bring up everything that
//! somebody has stopped by hand.

use std::collections::BTreeSet;

use super::planner::{Planner, attributes, is_masked_by_operator};
use crate::switch::compare::{Effect, compare};
use crate::switch::set::{self, Definition, is_template};
use crate::switch::situation::{Active, Load};

impl Planner<'_> {
    pub(super) fn standing(&mut self) {
        let given = self.given;
        match &given.before {
            Some(before) => {
                for (unit, before) in before {
                    let name = given.new.canonical(unit).to_owned();
                    let is_up = self.is_up_by_any_name(unit) || self.is_up(&name);
                    if before.up && !is_up && (before.touched || self.is_missed(&name)) {
                        self.bring_back(unit, &name);
                    }
                }
            }
            None => {
                for unit in &self.wanted.clone() {
                    if !self.is_up(unit) {
                        self.bring_up(unit);
                    }
                }
            }
        }
        self.dormant();
    }

    fn is_up_by_any_name(&self, unit: &str) -> bool {
        let mut states = self.given.states.values();
        self.is_up(unit) || states.any(|state| state.is_up() && state.names.contains(unit))
    }

    /// For an undo: whether a unit that the switch has not touched is down by an accident. A job that was running may have
    /// come to its end, a session to its own.
    fn is_missed(&self, unit: &str) -> bool {
        let definition = self.new_definition(unit);
        let ends = definition
            .file()
            .is_none_or(|file| file.last("Service", "Type") == Some("oneshot"));
        definition.is_there() && !ends && self.wanted.contains(unit)
    }

    /// For an undo: a unit that was up and is not.
    fn bring_back(&mut self, unit: &str, name: &str) {
        let state = self.given.states.get(unit);
        let brought = self.given.old.files.contains_key(unit);
        let definition = self.new_definition(name);
        let is_there = match *definition {
            Definition::Masked => false,
            Definition::Whole(_) | Definition::Unread => true,
            // The host's or a generator's. A transient one is gone.
            Definition::Absent | Definition::DropIns(_) => {
                !brought || self.given.host_units.contains(unit)
            }
        };
        let is_transient = state.is_none_or(|state| state.transient) && !definition.is_there();
        let comes_by_itself = matches!(set::kind(name), "device" | "scope");
        if is_there && !is_transient && !comes_by_itself {
            self.start(name, "it was up before");
        }
    }

    /// A unit that is down and wanted.
    fn bring_up(&mut self, unit: &str) {
        let state = self.given.states.get(unit).cloned().unwrap_or_default();
        let (old, new) = (self.old_definition(unit), self.new_definition(unit));
        let why = if self.newly.contains(unit) {
            "it is wanted now".to_owned()
        } else if let Some(why) = self.is_changed(unit, &old, &new) {
            why
        } else {
            return;
        };
        // A link to nothing is no unit, and one that only the old closure had is none any more.
        let is_known = self.given.states.contains_key(unit) && state.load == Load::Loaded;
        let exists = new.is_there()
            || self.given.host_units.contains(unit)
            || is_known && !old.is_there() && *new != Definition::Masked;
        if !exists {
            return;
        }
        let says = attributes(&new);
        // A device or a scope comes up by itself, if it does.
        let comes_by_itself = matches!(set::kind(unit), "device" | "scope");
        if comes_by_itself || is_template(unit) || state.active == Active::Deactivating {
            return;
        }
        if is_masked_by_operator(&state, &old) {
            self.skip(unit, "masked by the operator");
        } else if says.only_manual_start {
            self.skip(unit, "X-OnlyManualStart=true");
        } else if says.refuse_start {
            self.skip(
                unit,
                "RefuseManualStart=true: it comes up with what wants it",
            );
        } else {
            self.start(unit, &why);
        }
    }

    /// Why a unit that is down is no longer the one it was. None: it is.
    fn is_changed(&self, unit: &str, old: &Definition, new: &Definition) -> Option<String> {
        if !set::differs(&self.given.old, &self.given.new, unit) {
            return None;
        }
        match (old.file(), new.file()) {
            (Some(old), Some(new)) => {
                let difference = compare(old, new);
                (difference.effect == Effect::Restart).then(|| difference.why())
            }
            _ if new.is_there() && !old.is_there() => Some("it is new".to_owned()),
            _ => Some("its files changed".to_owned()),
        }
    }

    /// What comes up with something that comes up. It is asked for by name, because PID 1 can order only what it knows: a
    /// socket before the service that is pulled in as well, a unit before one that has it as `Requisite=`.
    pub(super) fn pulled_in(&mut self) {
        let given = self.given;
        if given.before.is_some() {
            return;
        }
        let mut todo: Vec<String> = self
            .start
            .keys()
            .chain(self.restart.keys())
            .cloned()
            .collect();
        let mut seen = BTreeSet::new();
        while let Some(unit) = todo.pop() {
            for pulled in given.new.wants(&unit) {
                let stays = self.is_up(&pulled) && !self.plan.stop.contains_key(&pulled);
                let is_seen = !seen.insert(pulled.clone());
                let is_decided =
                    self.alone.contains_key(&pulled) || self.plan.skipped.contains_key(&pulled);
                if stays || is_seen || is_decided {
                    continue;
                }
                let new = self.new_definition(&pulled);
                let state = given.states.get(&pulled).cloned().unwrap_or_default();
                let is_masked = is_masked_by_operator(&state, &self.old_definition(&pulled));
                if new.is_there() && !is_masked && !attributes(&new).refuse_start {
                    let why = format!("{unit} pulls it in");
                    self.start.entry(pulled.clone()).or_insert(why);
                }
                todo.push(pulled);
            }
        }
    }

    /// What has changed, is down, and stays so.
    fn dormant(&mut self) {
        let given = self.given;
        let names = given.states.keys().chain(given.new.files.keys());
        let dormant: BTreeSet<String> = names
            .filter(|name| !self.is_up(name) && !self.start.contains_key(*name))
            .filter(|name| given.old.canonical(name) == name.as_str())
            .filter(|name| set::differs(&given.old, &given.new, name))
            .filter(|name| {
                let (old, new) = (self.old_definition(name), self.new_definition(name));
                match (old.file(), new.file()) {
                    (Some(old), Some(new)) => compare(old, new).effect == Effect::Restart,
                    // What was not there cannot have been started from it.
                    _ => !matches!(*old, Definition::Absent),
                }
            })
            .filter(|name| !is_template(name))
            .cloned()
            .collect();
        self.plan.dormant = dormant;
    }

    pub(super) fn start(&mut self, unit: &str, why: &str) {
        self.start.insert(unit.to_owned(), why.to_owned());
    }
}
