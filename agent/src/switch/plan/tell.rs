//! What a plan says besides what it does: who holds back the reload, what is not as the closure says, what was ill before.

use super::planner::{Owner, Planner};
use crate::switch::set::Definition;
use crate::switch::situation::{Active, State};

/// The sub states in which a list of commands is walked, and its key.
const WALKS: [(&str, &str); 5] = [
    ("condition", "ExecCondition"),
    ("start-pre", "ExecStartPre"),
    ("start", "ExecStart"),
    ("start-post", "ExecStartPost"),
    ("reload", "ExecReload"),
];

impl Planner<'_> {
    pub(super) fn tell(&mut self) {
        let given = self.given;
        for (unit, state) in &given.states {
            if let Some(why) = self.holds_back(unit, state) {
                self.plan.hold_back.insert(unit.clone(), why);
            }
            if let Some(why) = self.is_shadowed(unit, state) {
                self.plan.shadowed.insert(unit.clone(), why);
            }
            if state.is_failing() && !self.is_touched(unit) {
                let why = match state.active {
                    Active::Failed => "it had failed before",
                    _ => "it was restarting before",
                };
                self.plan
                    .failing_before
                    .insert(unit.clone(), why.to_owned());
            }
        }
    }

    fn is_touched(&self, unit: &str) -> bool {
        let name = self.given.new.canonical(unit);
        let sets = [&self.restart, &self.start, &self.alone, &self.plan.reload];
        sets.iter().any(|set| set.contains_key(name))
            || self.plan.stop.contains_key(unit)
            || self.plan.disturbed.contains_key(unit)
            || self.plan.last.iter().any(|step| step.unit == name)
    }

    /// PID 1 finds the command that runs in the new file again, or skips all that follow it and calls it done.
    fn holds_back(&self, unit: &str, state: &State) -> Option<String> {
        let walks = matches!(state.active, Active::Activating | Active::Reloading);
        let (_, key) = WALKS.iter().find(|(sub, _)| walks && state.sub == *sub)?;
        // What is stopped before the reload is not in its start any more.
        if self.plan.stop.contains_key(unit) || self.goes_down_first(unit) {
            return None;
        }
        let (old, new) = (self.old_definition(unit), self.new_definition(unit));
        let may_have_changed = match self.owner(state) {
            Owner::Closure => self.differs(unit),
            Owner::Above | Owner::Elsewhere => {
                state.needs_reload || new.is_there() && !old.is_there()
            }
        };
        if !may_have_changed {
            return None;
        }
        let old_is_whole = !matches!(*old, Definition::DropIns(_));
        if let (Some(old), Some(new)) = (old.file(), new.file()) {
            let (was, is) = (old.values("Service", key), new.values("Service", key));
            if old_is_whole && (was.len() < 2 || was == is) {
                return None;
            }
        }
        Some(format!(
            "it is in the middle of its {key}= commands, which changed"
        ))
    }

    fn goes_down_first(&self, unit: &str) -> bool {
        let name = self.given.new.canonical(unit);
        self.plan.disturbed.contains_key(unit) && self.start.contains_key(name)
    }

    fn is_shadowed(&self, unit: &str, state: &State) -> Option<String> {
        let by = if self.owner(state) == Owner::Above {
            match state.fragment.as_str() {
                "" => "a transient unit",
                file => file,
            }
        } else {
            let mut drop_ins = state.drop_ins.iter();
            drop_ins.find(|path| path.contains(".control/"))?
        };
        let is_closures = |one: &Definition| !matches!(one, Definition::Absent);
        let is_closures =
            is_closures(&self.old_definition(unit)) || is_closures(&self.new_definition(unit));
        is_closures.then(|| format!("{by} lies above the closure's"))
    }
}
