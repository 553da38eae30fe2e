//! The walk over all units.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Intent, Job, Plan, Reasons, Step, order};
use crate::switch::attributes::Attributes;
use crate::switch::compare::{Effect, compare};
use crate::switch::set::{Definition, Units, differs, kind};
use crate::switch::situation::{Home, Load, Requests, Situation, State};
use crate::switch::unit_file::UnitFile;

/// The target on which NixOS hangs what must run again in every switch.
const REACTIVATION: &str = "sysinit-reactivation.target";

/// A plan in the making.
pub(super) struct Planner<'a> {
    pub(super) given: &'a Situation,
    pub(super) plan: Plan,
    pub(super) restart: Reasons,
    pub(super) start: Reasons,
    /// To be up again without what they pull in.
    pub(super) alone: Reasons,
    /// What is stopped and left to its socket.
    pub(super) left_to_socket: BTreeSet<String>,
    /// Sockets whose settings changed, each with the reason: whether they can be restarted hangs on their services.
    pub(super) later: Vec<(String, String)>,
    /// What everything that is up and goes on pulls in, as the new closure has it. What goes down and up pulls in its own
    /// by itself.
    pub(super) wanted: BTreeSet<String>,
    /// What of it the old closure did not pull in.
    pub(super) newly: BTreeSet<String>,
    /// Units of PID 1 with the name that the new closure has for each, where that is another one.
    pub(super) renamed: Vec<(String, String)>,
    /// Units that PID 1 knows and that are not made of the same files in both closures.
    pub(super) differing: BTreeSet<&'a str>,
    /// What the closures make of names, as far as somebody has asked.
    old: Known,
    new: Known,
}

/// Definitions by names, each merged once.
type Known = RefCell<BTreeMap<String, Rc<Definition>>>;

fn definition(known: &Known, units: &Units, unit: &str) -> Rc<Definition> {
    let name = units.canonical(unit);
    if let Some(found) = known.borrow().get(name) {
        return Rc::clone(found);
    }
    let made = Rc::new(units.definition(name));
    known.borrow_mut().insert(name.to_owned(), Rc::clone(&made));
    made
}

/// Whose file a unit is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The closure's.
    Closure,
    /// An operator's or a transient one that lies above the closure's.
    Above,
    /// The host's, a generator's, nobody's.
    Elsewhere,
}

impl<'a> Planner<'a> {
    pub(super) fn new(given: &'a Situation) -> Self {
        let names = given.states.keys().map(String::as_str);
        let differing: BTreeSet<&str> = names
            .filter(|name| differs(&given.old, &given.new, name))
            .collect();
        let up = || given.states.iter().filter(|(_, state)| state.is_up());
        let wanted: BTreeSet<String> = up()
            .filter(|(name, _)| !differing.contains(name.as_str()) || goes_on(given, name))
            .flat_map(|(name, _)| given.new.wants(given.new.canonical(name)))
            .collect();
        let was: BTreeSet<String> = up()
            .flat_map(|(name, _)| given.old.wants(given.old.canonical(name)))
            .map(|name| given.new.canonical(&name).to_owned())
            .collect();
        let newly = wanted.difference(&was).cloned().collect();
        Self {
            given,
            plan: Plan::default(),
            restart: Reasons::new(),
            start: Reasons::new(),
            alone: Reasons::new(),
            left_to_socket: BTreeSet::new(),
            later: Vec::new(),
            wanted,
            newly,
            renamed: Vec::new(),
            differing,
            old: Known::default(),
            new: Known::default(),
        }
    }

    pub(super) fn plan(mut self, requests: &Requests) -> Plan {
        self.standing();
        self.running();
        self.mounts();
        self.pulled_in();
        self.make_way();
        self.pulled_in();
        self.requests(requests);
        self.spread();
        self.manager();
        self.tell();
        self.finish()
    }

    /// PID 1 itself, and what hangs on a reload.
    fn manager(&mut self) {
        let manager = &self.given.manager;
        self.plan.reexecute = match (&manager.runs, &manager.wanted) {
            (Some(runs), Some(wanted)) if runs != wanted => {
                Some(format!("another systemd: {wanted}"))
            }
            _ if manager.config != manager.new_config => {
                Some("etc/systemd/system.conf changed".to_owned())
            }
            _ => None,
        };
        let is_there = self.given.new.definition(REACTIVATION).is_there();
        if is_there && self.given.home != Home::User {
            self.plan.reactivate = Some(REACTIVATION.to_owned());
        }
    }

    fn finish(mut self) -> Plan {
        // One job for each unit, the greatest of those asked for.
        self.restart
            .retain(|unit, _| !self.plan.stop.contains_key(unit));
        self.start
            .retain(|unit, _| !self.restart.contains_key(unit));
        self.alone.retain(|unit, _| !self.start.contains_key(unit));
        let last: BTreeSet<String> = self
            .plan
            .last
            .iter()
            .map(|step| step.unit.clone())
            .collect();
        for set in [
            &mut self.restart,
            &mut self.start,
            &mut self.alone,
            &mut self.plan.reload,
        ] {
            set.retain(|unit, _| !last.contains(unit));
        }
        let up = [&self.restart, &self.start];
        self.plan
            .reload
            .retain(|unit, _| !up.iter().any(|set| set.contains_key(unit)));
        // All that a unit needs was up before, and so is in the plan of an undo for itself.
        let start = match self.given.before {
            Some(_) => Job::StartAlone,
            None => Job::Start,
        };
        let jobs = [
            (Job::Restart, std::mem::take(&mut self.restart)),
            (start, std::mem::take(&mut self.start)),
            (Job::StartAlone, std::mem::take(&mut self.alone)),
        ];
        let steps = jobs.into_iter().flat_map(|(job, units)| {
            units
                .into_iter()
                .map(move |(unit, why)| Step { unit, job, why })
        });
        self.plan.up = order::in_order(&self.given.new, steps.collect());
        let asked: BTreeSet<String> = self.plan.up.iter().map(|step| step.unit.clone()).collect();
        self.plan
            .skipped
            .retain(|unit, _| !asked.contains(unit) && !last.contains(unit));
        self.plan.reset_failed = asked.union(&last).cloned().collect();
        self.intend();
        self.plan
    }

    fn intend(&mut self) {
        let mut intended = std::mem::take(&mut self.plan.intended);
        for unit in self.plan.stop.keys() {
            // What is an alias now is looked for under its new name.
            if self.given.new.canonical(unit) == unit {
                let intent = if self.left_to_socket.contains(unit) {
                    Intent::Either
                } else {
                    Intent::Down
                };
                intended.insert(unit.clone(), intent);
            }
        }
        for unit in self.plan.reload.keys() {
            intended.insert(unit.clone(), Intent::Up);
        }
        for step in self.plan.up.iter().chain(&self.plan.last) {
            if step.job != Job::Stop {
                intended.insert(step.unit.clone(), self.intent(&step.unit));
            }
        }
        self.plan.intended = intended;
    }

    /// The state that a unit is in when it has been started.
    pub(super) fn intent(&self, unit: &str) -> Intent {
        let definition = self.new_definition(unit);
        let ends = definition.file().is_some_and(|file| {
            file.last("Service", "Type") == Some("oneshot")
                && !file.flag("Service", "RemainAfterExit", false)
        });
        if ends { Intent::Ran } else { Intent::Up }
    }

    /// Whose file a unit is made of.
    pub(super) fn owner(&self, state: &State) -> Owner {
        let file = state.fragment.as_str();
        let is_in = |place: &str| file.contains(place);
        let above = is_in(".control/") || is_in("/systemd/transient/");
        let (home, above) = match self.given.home {
            Home::Etc => (
                "/etc/systemd/system/",
                above || is_in("/run/systemd/generator.early/"),
            ),
            Home::Generator => ("/run/systemd/generator.early/", above),
            Home::User => (
                "/etc/systemd/user/",
                above || is_in("/.config/systemd/") || is_in("/systemd/generator.early/"),
            ),
        };
        if above || state.transient {
            Owner::Above
        } else if file.starts_with(home) {
            Owner::Closure
        } else {
            Owner::Elsewhere
        }
    }

    pub(super) fn new_definition(&self, unit: &str) -> Rc<Definition> {
        definition(&self.new, &self.given.new, unit)
    }

    pub(super) fn old_definition(&self, unit: &str) -> Rc<Definition> {
        definition(&self.old, &self.given.old, unit)
    }

    /// Whether a unit that PID 1 knows is not made of the same files any more.
    pub(super) fn differs(&self, unit: &str) -> bool {
        self.differing.contains(unit)
    }

    pub(super) fn is_up(&self, unit: &str) -> bool {
        self.given.states.get(unit).is_some_and(State::is_up)
    }

    /// In an undo only what was up comes up.
    pub(super) fn may_start(&self, unit: &str) -> bool {
        self.given
            .before
            .as_ref()
            .is_none_or(|before| before.get(unit).is_some_and(|before| before.up))
    }

    /// Down and up in one job, after all else if the asking session hangs on it.
    pub(super) fn restart(&mut self, unit: &str, state: &State, why: &str) {
        if state.carries_session {
            self.carry(unit, why);
        } else {
            self.restart.insert(unit.to_owned(), why.to_owned());
        }
    }

    pub(super) fn carry(&mut self, unit: &str, why: &str) {
        self.last(
            unit,
            Job::Restart,
            &format!("{why}; it carries this session"),
        );
    }

    pub(super) fn last(&mut self, unit: &str, job: Job, why: &str) {
        let is_there = self
            .plan
            .last
            .iter()
            .any(|step| step.unit == unit && step.job == job);
        if !is_there {
            let (unit, why) = (unit.to_owned(), why.to_owned());
            self.plan.last.push(Step { unit, job, why });
        }
    }

    pub(super) fn skip(&mut self, unit: &str, why: &str) {
        self.plan.skipped.insert(unit.to_owned(), why.to_owned());
    }
}

/// Whether a unit that is up and made of other files now goes on as it is.
fn goes_on(given: &Situation, unit: &str) -> bool {
    let old = given.old.definition(given.old.canonical(unit));
    let new = given.new.definition(given.new.canonical(unit));
    match (old.file(), new.file()) {
        _ if kind(unit) == "target" => new.is_there() || !old.is_there(),
        (Some(old), Some(new)) => {
            let says = Attributes::of(new);
            compare(old, new).effect < Effect::Restart
                || says.reload_if_changed
                || says.forbids_restart().is_some()
        }
        _ => false,
    }
}

/// Whether PID 1 takes a unit for masked, and not because the old closure says so.
pub(super) fn is_masked_by_operator(state: &State, old: &Definition) -> bool {
    state.load == Load::Masked && !matches!(old, Definition::Masked)
}

/// What a definition says about its own switch.
pub(super) fn attributes(definition: &Definition) -> Attributes {
    definition.file().map(Attributes::of).unwrap_or_default()
}

/// Whether a running unit of this definition can be reloaded.
pub(super) fn can_reload(unit: &str, file: &UnitFile) -> bool {
    kind(unit) == "mount"
        || !file.values("Service", "ExecReload").is_empty()
        || file.last("Service", "Type") == Some("notify-reload")
}
