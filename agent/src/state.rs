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
//!     └── suspect ◀───── the last good one has the same fault: excused ───────────┘
//! ```
//!
//! A suspect is tried again by itself, once, when the last good one is well again.
//!
//! Verdicts are about closures: the same closure under another number is the same system.

pub mod baseline;
mod boots;
pub mod cause;
mod course;
mod event;
pub mod fault;
pub mod incident;
pub mod ladder;
pub mod probation;
pub mod reaction;
pub mod reset;
pub mod started_by;
pub mod switching;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use boot_entries::Subject;
use boot_entries::owner::{Owner, Ownership};
pub use boots::{BootRecord, Ends, GIVEN_BACK};
pub use event::{By, Event};
pub use reaction::{REBOOTS_IN_A_ROW, WhenHealthy, WhenUnhealthy};

use baseline::Baseline;
use cause::{Cause, Stage};
use incident::{Hook, Incident};
use probation::Probation;
use switching::Switching;

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
    /// It did not pass, and that may not have been its fault.
    Suspect,
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
    /// What did not pass for something that was not its own fault as far as anybody can tell, by closure.
    pub suspects: BTreeMap<PathBuf, Rejection>,
    /// Suspects that have had their second chance.
    pub tried_again: BTreeSet<PathBuf>,
    /// How far those came that were found unwell since anything was last found well.
    pub unwell: BTreeMap<PathBuf, Stage>,
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
    /// How these boots ended.
    pub ends: Ends,
    /// What the latest automatic reboot came from, until the next verdict.
    pub fallen_from: Option<Subject>,
    /// Automatic reboots in a row.
    pub reboots: u32,
    /// What is open.
    pub incident: Option<Incident>,
    /// The hook that is to be run.
    pub due: Option<Hook>,
    /// What was told to be degraded at last.
    pub told: Option<PathBuf>,
    /// The closure that the machine went back from at last.
    pub came_from: Option<PathBuf>,
    /// Who was watched after a verdict, and what came of it.
    pub probation: Probation,
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
            Event::Selected { subject, by } => self.is_selected(subject, *by),
            Event::Armed { subject, places } if self.selected.as_ref() == Some(subject) => {
                self.armed = true;
                self.armed_in.clone_from(places);
            }
            Event::Armed { .. } => {}
            Event::Began {
                boot,
                running,
                reset,
            } => self.began(boot, running.as_ref(), reset.as_ref()),
            Event::Ended { boot, way, failed } => self.ended(boot, *way, *failed),
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
            Event::Degraded { subject, cause } => {
                self.degraded = Some(cause.clone());
                self.is_unwell(subject, cause.stage);
                self.closes_badly(subject);
            }
            Event::Excused { subject } => {
                if let Some(rejection) = self.rejected.remove(&subject.toplevel) {
                    self.suspects.insert(subject.toplevel.clone(), rejection);
                }
                self.unwell.remove(&subject.toplevel);
                self.fallen_from = None;
            }
            Event::Steady { subject } => self.is_steady(subject),
            Event::Hooked { hook, .. } => self.is_closed_by(*hook),
            Event::Named { owner } => self.owner = Some(owner.clone()),
            Event::Uninstalled => {
                self.selected = None;
                self.armed = false;
                self.armed_in = None;
                self.fallen_from = None;
                self.incident = None;
                self.due = None;
                self.uninstalled = true;
            }
            Event::Rebooting { from, to } => {
                self.fallen_from = Some(from.clone());
                self.reboots = self.reboots.saturating_add(1);
                if let Some(boot) = &mut self.boot {
                    boot.is_left = true;
                }
                if from.toplevel != to.toplevel {
                    self.falls(from);
                }
            }
            Event::FellBack { from, to } => {
                self.fallen_from = Some(from.clone());
                self.falls(from);
                self.due = Some(Hook::OnFallback);
                // It runs from now on, though the command line names the other.
                if let Some(boot) = &mut self.boot
                    && boot.running.as_ref() == Some(from)
                {
                    boot.running = Some(to.clone());
                }
            }
            Event::Switching(intent) => self.switching(intent),
            Event::SwitchedTo => self.switched_to(),
            Event::Switched => self.switched(),
            Event::SwitchedBack(_) => self.switching = None,
        }
        self
    }

    fn is_selected(&mut self, subject: &Subject, by: Option<By>) {
        let toplevel = &subject.toplevel;
        self.rejected.remove(toplevel);
        self.furthest.remove(toplevel);
        self.selected = Some(subject.clone());
        self.armed = false;
        self.armed_in = None;
        self.attempts = 0;
        self.ends = Ends::default();
        self.uninstalled = false;
        match by {
            // It was tried, and is the least that is left: nothing begins anew.
            Some(By::LastResort) => {}
            Some(By::Suspicion) => {
                self.tried_again.insert(toplevel.clone());
                self.starts_anew();
            }
            None => {
                self.suspects.remove(toplevel);
                self.tried_again.remove(toplevel);
                self.probation.breached = false;
                self.starts_anew();
            }
        }
        self.selection_moved();
    }

    fn starts_anew(&mut self) {
        self.fallen_from = None;
        self.reboots = 0;
        self.unwell.clear();
        self.told = None;
        self.opens();
    }

    fn is_unwell(&mut self, subject: &Subject, stage: Stage) {
        let known = self.unwell.entry(subject.toplevel.clone()).or_insert(stage);
        *known = (*known).max(stage);
    }

    fn proven(&mut self, subject: &Subject, baseline: &Baseline) {
        self.forget(&subject.toplevel);
        self.tried_again.remove(&subject.toplevel);
        // Whoever becomes the last good one, what is tried from now on is tried anew.
        self.attempts = 0;
        self.ends = Ends::default();
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
        self.unwell.clear();
        self.closes_well(subject);
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
        // What is neither run nor wanted is an opinion, and no incident.
        if same_closure(self.running(), subject) || same_closure(self.selected.as_ref(), subject) {
            self.falls(subject);
        }
        self.forget(&subject.toplevel);
        self.is_demoted(subject, cause);
        self.is_unwell(subject, cause.stage);
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

    /// Drops every former verdict on a closure.
    fn forget(&mut self, toplevel: &Path) {
        if self
            .selected
            .as_ref()
            .is_some_and(|s| s.toplevel == toplevel)
        {
            self.attempts = 0;
            self.ends = Ends::default();
        }
        self.suspects.remove(toplevel);
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

    /// The id of the latest boot. Empty: there was none.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        self.boot.as_ref().map_or("", |boot| boot.id.as_str())
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
        } else if same_closure(self.selected.as_ref(), subject) {
            Standing::Trial
        } else if self.suspects.contains_key(toplevel) {
            Standing::Suspect
        } else if self.furthest.contains_key(toplevel) {
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
mod simulator;
#[cfg(test)]
mod tests;
