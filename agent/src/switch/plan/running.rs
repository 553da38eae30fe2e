//! What is up: what a change of its files asks for.

use super::planner::{Owner, Planner, attributes, can_reload, is_masked_by_operator};
use crate::switch::compare::{Difference, Effect, compare};
use crate::switch::set::{Definition, kind, template_of};
use crate::switch::situation::{Active, State};
use crate::switch::unit_file::UnitFile;

/// What a stop goes by. After the reload the old process would be stopped by the new file's word.
pub(super) const OF_A_STOP: [&str; 14] = [
    "ExecStop",
    "ExecStopPost",
    "FinalKillSignal",
    "KillMode",
    "KillSignal",
    "PIDFile",
    "RestartKillSignal",
    "SendSIGHUP",
    "SendSIGKILL",
    "TimeoutAbortSec",
    "TimeoutSec",
    "TimeoutStopFailureMode",
    "TimeoutStopSec",
    "WatchdogSignal",
];

/// Whether a machine stands on this mount: it cannot be unmounted.
pub(super) fn is_ground(mount: &str) -> bool {
    matches!(mount, "-.mount" | "nix.mount" | "nix-store.mount")
}

/// A unit that is up, and what the two closures say of it.
pub(super) struct Running<'a> {
    /// Its id now.
    pub(super) id: &'a str,
    /// Its name in the new closure.
    pub(super) name: &'a str,
    pub(super) state: &'a State,
    pub(super) old: &'a Definition,
    pub(super) new: &'a Definition,
    /// For an undo: it is still the process from before the switch, as it was.
    pub(super) is_from_before: bool,
    /// For an undo: it is that process, and has read what the other closure brought.
    pub(super) was_reloaded: bool,
}

impl Planner<'_> {
    pub(super) fn running(&mut self) {
        let given = self.given;
        let ids = given.states.keys();
        self.renamed = ids
            .map(|id| (id.clone(), given.new.canonical(id).to_owned()))
            .filter(|(id, name)| id != name)
            .collect();
        for (id, state) in &given.states {
            if !state.is_up() || !state.following.is_empty() {
                continue;
            }
            let name = given.new.canonical(id);
            let (old, new) = (self.old_definition(id), self.new_definition(id));
            let unit = Running {
                id,
                name,
                state,
                old: &old,
                new: &new,
                is_from_before: self.is_from_before(id, state, false),
                was_reloaded: self.is_from_before(id, state, true),
            };
            if self.is_undone(&unit) || self.merges(&unit) {
                continue;
            }
            let is_current = given.read_at.is_some_and(|read_at| state.since > read_at);
            if is_current && unit.new.is_there() {
                continue;
            }
            match self.owner(state) {
                Owner::Closure => self.of_closure(&unit),
                Owner::Elsewhere => self.of_host(&unit),
                Owner::Above => {}
            }
        }
    }

    fn is_from_before(&self, id: &str, state: &State, reloaded: bool) -> bool {
        self.given.before.as_ref().is_some_and(|before| {
            let mut names = state.names.iter().map(String::as_str).chain([id]);
            names.any(|name| {
                before.get(name).is_some_and(|before| {
                    before.up && before.since == state.since && before.reloaded == reloaded
                })
            })
        })
    }

    /// For an undo: what stood stopped before the switch is stopped again. What a timer or a socket has started in the
    /// meantime goes on, if it is what it was.
    fn is_undone(&mut self, unit: &Running) -> bool {
        let Some(before) = &self.given.before else {
            return false;
        };
        let mut names = unit.state.names.iter().map(String::as_str).chain([unit.id]);
        if names.any(|name| before.get(name).is_some_and(|before| before.up)) {
            return false;
        }
        let is_ours = unit.old.is_there() || unit.new.is_there();
        let mut triggers = unit.state.triggered_by.iter();
        let started_by_itself =
            triggers.any(|trigger| self.is_up(trigger)) && !self.differs(unit.id);
        // Somebody has logged in meanwhile: NixOS brings these units in its closures.
        let is_somebodys = ["user@", "user-runtime-dir@"]
            .iter()
            .any(|template| unit.id.starts_with(template));
        let stays = unit.state.carries_session || unit.state.refuses_stop || is_somebodys;
        if is_ours && !started_by_itself && !stays && self.owner(unit.state) != Owner::Above {
            self.stop(unit.id, "it was down before");
        }
        true
    }

    /// Two units that run and are one from now on: PID 1 would lose one of the two processes.
    fn merges(&mut self, unit: &Running) -> bool {
        let given = self.given;
        // One of the two has another name from now on.
        let renamed = self.renamed.iter().filter(|(_, name)| name == unit.name);
        let others: Vec<&str> = renamed
            .map(|(id, _)| id.as_str())
            .chain([unit.name])
            .collect();
        let is_other = |id: &&str| {
            let state = given.states.get(*id);
            *id != unit.id && state.is_some_and(|state| state.is_up() && state.following.is_empty())
        };
        let Some(other) = others.into_iter().find(is_other).map(str::to_owned) else {
            return false;
        };
        if unit.state.carries_session {
            return false;
        }
        self.stop(unit.id, &format!("it and {other} become one unit"));
        if unit.new.is_there() {
            self.start(
                unit.name,
                &format!("{} and {other} are one unit now", unit.id),
            );
        }
        true
    }

    fn of_closure(&mut self, unit: &Running) {
        if kind(unit.id) == "target" && unit.new.is_there() {
            self.target(unit);
            return;
        }
        if let Some(why) = self.is_gone(unit) {
            self.gone(unit, &why);
            return;
        }
        if !self.differs(unit.id) && !unit.was_reloaded {
            return;
        }
        if is_masked_by_operator(unit.state, unit.old) {
            self.skip(unit.id, "masked by the operator");
            return;
        }
        match (unit.old.file(), unit.new.file()) {
            (Some(old), Some(new)) if unit.new.is_there() => {
                self.differing(unit, &compare(old, new));
            }
            _ if unit.new.is_there() => self.unknown(unit, "its files could not be compared"),
            _ => self.unknown(unit, "it is the host's again"),
        }
    }

    /// A unit of the host's: the closure may have drop-ins for it, or bring it from now on.
    fn of_host(&mut self, unit: &Running) {
        if !self.differs(unit.id) {
            return;
        }
        if is_masked_by_operator(unit.state, unit.old) {
            if unit.new.is_there() {
                self.skip(unit.id, "masked by the operator");
            }
            return;
        }
        let nothing = UnitFile::default();
        match (unit.old, unit.new) {
            (Definition::Absent | Definition::DropIns(_), new) if new.is_there() => {
                if kind(unit.id) == "target" {
                    self.target(unit);
                } else {
                    self.unknown(unit, "it is the closure's now");
                }
            }
            (Definition::DropIns(old), Definition::DropIns(new)) => {
                self.differing(unit, &compare(old, new));
            }
            (Definition::DropIns(old), Definition::Absent) => {
                self.differing(unit, &compare(old, &nothing));
            }
            (Definition::Absent, Definition::DropIns(new)) => {
                self.differing(unit, &compare(&nothing, new));
            }
            (Definition::Absent | Definition::DropIns(_), Definition::Masked) => {
                self.gone(unit, "the closure masks it");
            }
            _ => {}
        }
    }

    /// Why the new closure wants no such unit. None: it has it, or the host has.
    fn is_gone(&self, unit: &Running) -> Option<String> {
        let (old, new) = (&self.given.old, &self.given.new);
        // An instance of NixOS's that exists by its drop-ins alone.
        let is_instance = template_of(unit.id).is_some()
            && !old.files.contains_key(unit.id)
            && !new.files.contains_key(unit.id);
        if is_instance && old.has_instance_drop_ins(unit.id) && !new.has_instance_drop_ins(unit.id)
        {
            return Some("its drop-ins are gone".to_owned());
        }
        match unit.new {
            Definition::Masked if !matches!(unit.old, Definition::Masked) => {
                Some("it is masked now".to_owned())
            }
            Definition::Absent | Definition::DropIns(_)
                if unit.old.is_there() && !self.given.host_units.contains(unit.id) =>
            {
                Some("it is gone".to_owned())
            }
            _ => None,
        }
    }

    fn gone(&mut self, unit: &Running, why: &str) {
        let old = attributes(unit.old);
        if !old.stop_on_removal {
            self.skip(unit.id, &format!("{why}, and X-StopOnRemoval=false"));
        } else if unit.state.refuses_stop {
            self.skip(unit.id, &format!("{why}, and RefuseManualStop=true"));
        } else if kind(unit.id) == "slice" && self.has_members_that_stay(unit) {
            self.skip(unit.id, &format!("{why}, and units that stay are in it"));
        } else {
            self.stop(unit.id, why);
        }
    }

    /// Whether something runs in a slice that would go down with it and has no other reason to.
    fn has_members_that_stay(&self, slice: &Running) -> bool {
        let members = slice.state.stops.iter();
        let mut up = members.filter(|member| self.is_up(member));
        up.any(|member| {
            self.new_definition(member).is_there()
                || *self.old_definition(member) == Definition::Absent
        })
    }

    fn target(&mut self, unit: &Running) {
        let says = attributes(unit.new);
        if !says.stop_on_reconfiguration {
            return;
        }
        if says.refuse_start || says.only_manual_start || unit.state.refuses_stop {
            self.skip(unit.id, "X-StopOnReconfiguration=true, and it refuses");
            return;
        }
        let why = "X-StopOnReconfiguration=true";
        self.stop(unit.id, why);
        self.alone.insert(unit.name.to_owned(), why.to_owned());
    }

    /// Both files are known.
    fn differing(&mut self, unit: &Running, difference: &Difference) {
        match difference.effect {
            Effect::Nothing | Effect::Reload if unit.was_reloaded => {
                let why = "it was reloaded on the way";
                let can = unit
                    .new
                    .file()
                    .is_some_and(|file| can_reload(unit.name, file));
                if can {
                    self.reload(unit, why);
                } else {
                    self.changed(unit, why, Some(difference));
                }
            }
            Effect::Nothing => {}
            Effect::Reload => self.reload(unit, &difference.why()),
            Effect::Restart => self.changed(unit, &difference.why(), Some(difference)),
        }
    }

    /// Nobody knows what has changed.
    fn unknown(&mut self, unit: &Running, why: &str) {
        self.changed(unit, why, None);
    }

    fn reload(&mut self, unit: &Running, why: &str) {
        let nothing = UnitFile::default();
        let file = unit.new.file().unwrap_or(&nothing);
        let can = can_reload(unit.name, file) || unit.state.can_reload;
        if unit.state.active == Active::Activating {
            // Nobody can reload it, and nobody is served by it yet.
            match attributes(unit.new).forbids_restart() {
                None if !unit.is_from_before => {
                    self.restart(
                        unit.name,
                        unit.state,
                        &format!("{why}, and it is still starting"),
                    );
                }
                _ => self.skip(unit.id, &format!("{why}, and it is still starting")),
            }
        } else if can {
            self.plan
                .reload
                .insert(unit.name.to_owned(), why.to_owned());
        } else {
            self.skip(unit.id, &format!("{why}, and it has no ExecReload="));
        }
    }

    /// What runs is not what the new file says. `difference`: how they differ, if that is known.
    fn changed(&mut self, unit: &Running, why: &str, difference: Option<&Difference>) {
        match kind(unit.id) {
            // PID 1 takes the new values with the reload. A device or a scope is nobody's to restart.
            "path" | "slice" | "target" | "device" | "scope" => {}
            "mount" if is_ground(unit.name) => {
                self.reload(unit, &format!("{why}; it cannot be unmounted"));
            }
            "mount" => self.changed_mount(unit, why),
            "socket" => self.changed_socket(unit, why, difference),
            _ => self.changed_other(unit, why, difference),
        }
    }

    fn changed_mount(&mut self, unit: &Running, why: &str) {
        if unit.state.refuses_stop {
            self.skip(unit.id, "RefuseManualStop=true");
        } else if !unit.is_from_before {
            self.restart(unit.name, unit.state, why);
        }
    }

    fn changed_other(&mut self, unit: &Running, why: &str, difference: Option<&Difference>) {
        let says = attributes(unit.new);
        if says.reload_if_changed {
            self.reload(unit, &format!("{why}; X-ReloadIfChanged=true"));
        } else if let Some(forbids) = says.forbids_restart() {
            self.skip(unit.id, forbids);
        } else if unit.state.refuses_stop {
            self.skip(unit.id, "RefuseManualStop=true");
        } else if unit.is_from_before {
            // An undo that finds the old process has nothing to do.
        } else if kind(unit.id) != "service" || unit.state.carries_session {
            self.restart(unit.name, unit.state, why);
        } else if says.stop_if_changed
            || difference.is_none_or(|difference| difference.has("Service", &OF_A_STOP))
        {
            self.stop_and_start(unit, why);
        } else {
            self.restart(unit.name, unit.state, why);
        }
    }

    pub(super) fn stop(&mut self, unit: &str, why: &str) {
        self.plan.stop.insert(unit.to_owned(), why.to_owned());
    }
}
