//! The state of one machine: what is selected, what is proven, what was rejected and why. Pure.
//!
//! Nothing here is stored. The ledger holds [`Event`]s, and the state is what they add up to:
//! [`State::after`] is total, so there is no sequence of records, however odd, that has no state.
//! What to do about a verdict is in [`reaction`], total as well.
//!
//! ```text
//!              selected                began              judged
//!  untested ────────────▶ trial ─────────────────▶ trial ────┬────▶ proven    (the last good one)
//!     ▲                                              │       └────▶ rejected  (with its cause)
//!     │                                              └ the loader gave up ──▶ rejected
//!     ├───────────────── selected again: the operator insists ───────────────────┤
//!     └───────────────── the last good one has the same fault: excused ──────────┘
//! ```
//!
//! Verdicts are about closures: the same closure under another number is the same system.

pub mod baseline;
pub mod cause;
mod event;
pub mod fault;
pub mod ladder;
pub mod reaction;
pub mod started_by;
pub mod switching;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use boot_entries::Subject;
use boot_entries::name::TRIES;
use boot_entries::owner::{Owner, Ownership};
pub use event::Event;
pub use reaction::{REBOOTS_IN_A_ROW, WhenHealthy, WhenUnhealthy};

use baseline::Baseline;
use cause::{Cause, Stage};
use switching::Switching;

/// A boot, as far as it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRecord {
    /// The kernel's boot id.
    pub id: String,
    /// What runs.
    pub running: Option<Subject>,
    /// The furthest stage.
    pub stage: Stage,
}

/// A generation that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Good {
    /// Which.
    pub subject: Subject,
    /// What the machine looked like then.
    pub baseline: Baseline,
}

/// A trial that was found healthy in a boot that the loader did not make, and so is none the less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthyTrial {
    /// Which.
    pub subject: Subject,
    /// The boot it was found healthy in: the kernel's id.
    pub boot: Option<String>,
}

/// A generation that did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which.
    pub subject: Subject,
    /// Why.
    pub cause: Cause,
}

/// How a generation stands on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has tried it here.
    Untested,
    /// Selected or started, and not yet judged.
    Trial,
    /// It passed.
    Proven,
    /// It did not.
    Rejected,
}

/// What all events add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What the operator asked for.
    pub selected: Option<Subject>,
    /// Whether its entry was written since.
    pub armed: bool,
    /// Where it was. None: everywhere.
    pub armed_in: Option<BTreeSet<PathBuf>>,
    /// What passed, the latest last.
    pub proven: Vec<Good>,
    /// What did not, and why, by closure.
    pub rejected: BTreeMap<PathBuf, Rejection>,
    /// The latest trial that is healthy and not proven.
    pub healthy: Option<HealthyTrial>,
    /// Why what runs is not well, if it is not.
    pub degraded: Option<Cause>,
    /// The furthest stage that an unjudged closure's boots have reached.
    pub furthest: BTreeMap<PathBuf, Stage>,
    /// The latest boot.
    pub boot: Option<BootRecord>,
    /// What of `/etc` systemd has read in that boot before it was the running generation's.
    pub late: BTreeSet<PathBuf>,
    /// Boots of the selected generation since it was selected that came to no verdict, the present one included; one
    /// more than it has tries stands for all that are too many.
    pub attempts: u32,
    /// What the latest automatic reboot came from, until the next verdict.
    pub fallen_from: Option<Subject>,
    /// Automatic reboots in a row.
    pub reboots: u32,
    /// `$BOOT` was given back.
    pub uninstalled: bool,
    /// What entries are marked with.
    pub owner: Option<Owner>,
    /// Something was selected or judged before there was an owner: entries of ours may have no mark.
    pub wrote_unmarked: bool,
    /// A live switch that has not come to its end.
    pub switching: Option<Switching>,
    /// What is on record that this agent does not know and that may forbid anything (invariant A13), in words. No event
    /// brings it about and none ends it: whoever reads the ledger says so.
    pub bound_by: Option<String>,
}

impl State {
    /// What a sequence of events adds up to.
    #[must_use]
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        events.into_iter().fold(Self::default(), Self::after)
    }

    /// The state after one more event.
    #[must_use]
    pub fn after(mut self, event: &Event) -> Self {
        self.wrote_unmarked |= self.owner.is_none() && event.leads_to_entries();
        match event {
            Event::Selected { subject } => {
                self.rejected.remove(&subject.toplevel);
                self.furthest.remove(&subject.toplevel);
                self.selected = Some(subject.clone());
                self.armed = false;
                self.armed_in = None;
                self.attempts = 0;
                self.fallen_from = None;
                self.reboots = 0;
                self.uninstalled = false;
                self.selection_moved();
            }
            Event::Armed { subject, places } if self.selected.as_ref() == Some(subject) => {
                self.armed = true;
                self.armed_in.clone_from(places);
            }
            Event::Armed { .. } => {}
            Event::Began { boot, running } => {
                let is_counted = !self.is_same_kernel(boot);
                self.degraded = None;
                self.late.clear();
                if let Some(running) = running {
                    self.reached(running, Stage::Begun);
                    // It could not run if its entry had not been written.
                    let is_selected = self.selected.as_ref() == Some(running);
                    self.armed |= is_selected;
                    // What the machine falls back to is no trial, however often it begins.
                    // Nor does a soft-reboot use a try: no loader has counted it.
                    if is_selected && is_counted && !same_closure(self.last_good(), running) {
                        // One more than it may have is too many, however many more.
                        self.attempts = self.attempts.saturating_add(1).min(TRIES + 1);
                    }
                }
                self.boot = Some(BootRecord {
                    id: boot.clone(),
                    running: running.clone(),
                    stage: Stage::Begun,
                });
            }
            Event::Reached { stage } => {
                if let Some(boot) = &mut self.boot {
                    boot.stage = boot.stage.max(*stage);
                    if let Some(running) = boot.running.clone() {
                        self.reached(&running, *stage);
                    }
                }
            }
            Event::Late { files } => self.late.extend(files.iter().cloned()),
            Event::Proven { subject, baseline } => self.proven(subject, baseline),
            Event::Healthy { subject, .. } => self.healthy(subject),
            Event::Rejected { subject, cause } => self.rejected(subject, cause),
            Event::Degraded { cause, .. } => self.degraded = Some(cause.clone()),
            Event::Excused { subject } => {
                self.rejected.remove(&subject.toplevel);
                self.fallen_from = None;
            }
            Event::Named { owner } => self.owner = Some(owner.clone()),
            Event::Uninstalled => {
                self.selected = None;
                self.armed = false;
                self.armed_in = None;
                self.fallen_from = None;
                self.uninstalled = true;
            }
            Event::Rebooting { from, .. } => {
                self.fallen_from = Some(from.clone());
                self.reboots = self.reboots.saturating_add(1);
            }
            Event::FellBack { from, .. } => self.fallen_from = Some(from.clone()),
            Event::Switching(intent) => self.switching(intent),
            Event::SwitchedTo => self.switched_to(),
            Event::Switched => self.switched(),
            Event::SwitchedBack(_) => self.switching = None,
        }
        self
    }

    /// Whether `boot` is of the kernel that runs since the latest boot: a soft-reboot adds a number to its id.
    fn is_same_kernel(&self, boot: &str) -> bool {
        let kernel = |id: &str| id.split('.').next().unwrap_or_default().to_owned();
        let known = self.boot.as_ref();
        known.is_some_and(|known| known.id != boot && kernel(&known.id) == kernel(boot))
    }

    fn proven(&mut self, subject: &Subject, baseline: &Baseline) {
        self.forget(&subject.toplevel);
        // Whoever becomes the last good one, what is tried from now on is tried anew.
        self.attempts = 0;
        self.proven.push(Good {
            subject: subject.clone(),
            baseline: baseline.clone(),
        });
        if let Some(boot) = &mut self.boot
            && boot.running.as_ref() == Some(subject)
        {
            boot.stage = Stage::Proven;
            self.degraded = None;
            self.fallen_from = None;
        }
        self.reboots = 0;
    }

    /// It proves nothing, and takes nothing away.
    fn healthy(&mut self, subject: &Subject) {
        // Boots without a verdict are counted, and this one has come to one.
        if same_closure(self.selected.as_ref(), subject) {
            self.attempts = 0;
        }
        if self.standing(subject) == Standing::Trial {
            self.healthy = Some(HealthyTrial {
                subject: subject.clone(),
                boot: self.boot.as_ref().map(|boot| boot.id.clone()),
            });
        }
    }

    fn rejected(&mut self, subject: &Subject, cause: &Cause) {
        self.forget(&subject.toplevel);
        let rejection = Rejection {
            subject: subject.clone(),
            cause: cause.clone(),
        };
        self.rejected.insert(subject.toplevel.clone(), rejection);
        // What was rejected is not wanted any more (invariant A5).
        if same_closure(self.selected.as_ref(), subject) {
            self.selected = self.last_good().cloned();
        }
    }

    /// A boot of something not yet judged got this far.
    fn reached(&mut self, subject: &Subject, stage: Stage) {
        if matches!(self.standing(subject), Standing::Untested | Standing::Trial) {
            let furthest = self
                .furthest
                .entry(subject.toplevel.clone())
                .or_insert(stage);
            *furthest = (*furthest).max(stage);
        }
    }

    /// Drops every former verdict on a closure.
    fn forget(&mut self, toplevel: &Path) {
        if self
            .selected
            .as_ref()
            .is_some_and(|s| s.toplevel == toplevel)
        {
            self.attempts = 0;
        }
        self.proven.retain(|good| good.subject.toplevel != toplevel);
        self.rejected.remove(toplevel);
        self.furthest.remove(toplevel);
        let healthy = self.healthy.take();
        self.healthy = healthy.filter(|healthy| healthy.subject.toplevel != toplevel);
    }

    /// The proven generation a fallback goes to: the one proven last.
    #[must_use]
    pub fn last_good(&self) -> Option<&Subject> {
        self.proven.last().map(|good| &good.subject)
    }

    /// What the last good generation looked like when it was proven.
    #[must_use]
    pub fn baseline(&self) -> Option<&Baseline> {
        self.proven.last().map(|good| &good.baseline)
    }

    /// What runs.
    #[must_use]
    pub fn running(&self) -> Option<&Subject> {
        self.boot.as_ref()?.running.as_ref()
    }

    /// What entries of this system bear.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        Ownership {
            owner: self.owner.clone(),
            marks_all: !self.wrote_unmarked,
        }
    }

    /// How a generation stands.
    #[must_use]
    pub fn standing(&self, subject: &Subject) -> Standing {
        let toplevel = &subject.toplevel;
        if self.rejected.contains_key(toplevel) {
            Standing::Rejected
        } else if self
            .proven
            .iter()
            .any(|good| good.subject.toplevel == *toplevel)
        {
            Standing::Proven
        } else if same_closure(self.selected.as_ref(), subject)
            || self.furthest.contains_key(toplevel)
        {
            Standing::Trial
        } else {
            Standing::Untested
        }
    }

    /// What must survive every cleaning (invariant B2): the selected, the running, and the two generations proven
    /// last.
    #[must_use]
    pub fn protected(&self) -> Vec<&Subject> {
        let good = self.proven.iter().rev().take(2).map(|good| &good.subject);
        let mut all: Vec<&Subject> = self
            .selected
            .iter()
            .chain(self.running())
            .chain(good)
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// Whether the selected generation's entry was written in `place` since it was selected.
    #[must_use]
    pub fn is_armed_in(&self, place: &Path) -> bool {
        let everywhere_or = self.armed_in.as_ref();
        self.armed && everywhere_or.is_none_or(|places| places.contains(place))
    }
}

fn same_closure(one: Option<&Subject>, other: &Subject) -> bool {
    one.is_some_and(|one| one.toplevel == other.toplevel)
}

#[cfg(test)]
mod tests;
