//! What the closure's activation script asks for.

use super::planner::{Planner, attributes, can_reload};
use super::running::is_ground;
use crate::host::full_name;
use crate::switch::set::{Definition, kind};
use crate::switch::situation::Requests;

impl Planner<'_> {
    pub(super) fn requests(&mut self, requests: &Requests) {
        for unit in &requests.restart {
            self.asked_restart(&full_name(unit));
        }
        for unit in &requests.reload {
            self.asked_reload(&full_name(unit));
        }
    }

    fn asked_restart(&mut self, unit: &str) {
        let name = self.given.new.canonical(unit).to_owned();
        let why = "the activation script asks for it";
        let new = self.new_definition(&name);
        if *new == Definition::Masked || self.is_going(unit) {
            return;
        }
        let says = attributes(&new);
        let Some(state) = self.given.states.get(unit).filter(|state| state.is_up()) else {
            let is_there = new.is_there()
                || self.given.host_units.contains(unit)
                || self.given.states.contains_key(unit);
            if is_there {
                self.start.entry(name).or_insert_with(|| why.to_owned());
            }
            return;
        };
        if self.start.contains_key(&name) || self.restart.contains_key(&name) {
            return;
        }
        match kind(unit) {
            "path" | "slice" | "socket" | "device" | "scope" => {}
            "target"
                if matches!(
                    unit,
                    "sysinit.target" | "basic.target" | "multi-user.target" | "graphical.target"
                ) => {}
            "mount" if is_ground(unit) => {
                self.plan.reload.insert(name, why.to_owned());
            }
            _ if says.reload_if_changed => self.asked_reload(unit),
            _ => match says.forbids_restart() {
                Some(forbids) => self.skip(unit, &format!("{why}, and {forbids}")),
                None if state.refuses_stop => {
                    self.skip(unit, &format!("{why}, and RefuseManualStop=true"));
                }
                None => {
                    self.restart(&name, state, why);
                }
            },
        }
    }

    fn asked_reload(&mut self, unit: &str) {
        let name = self.given.new.canonical(unit).to_owned();
        let why = "the activation script asks for it";
        if !self.is_up(unit) || self.is_going(unit) {
            return;
        }
        if self.start.contains_key(&name) || self.restart.contains_key(&name) {
            return;
        }
        let new = self.new_definition(&name);
        let can_now = self
            .given
            .states
            .get(unit)
            .is_some_and(|state| state.can_reload);
        if can_now || new.file().is_some_and(|file| can_reload(&name, file)) {
            self.plan
                .reload
                .entry(name)
                .or_insert_with(|| why.to_owned());
        } else {
            self.skip(unit, &format!("{why}, and it has no ExecReload="));
        }
    }

    /// Whether a unit is stopped for good, or left to its socket.
    fn is_going(&self, unit: &str) -> bool {
        let name = self.given.new.canonical(unit);
        self.plan.stop.contains_key(unit) && !self.start.contains_key(name)
    }
}
