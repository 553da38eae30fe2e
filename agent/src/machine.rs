//! The state of one machine: what is selected, what is proven, what was rejected and why. Pure.
//!
//! Nothing here is stored. The ledger holds [`Event`]s, and the state is what they add up to:
//! [`State::after`] is total, so there is no sequence of records, however odd, that has no state.
//! What to do about a verdict is [`State::reaction`], total as well.
//!
//! ```text
//!              selected                began              judged
//!  untested ────────────▶ trial ─────────────────▶ trial ────┬────▶ proven    (the last good one)
//!     ▲                                              │       └────▶ rejected  (with its cause)
//!     │                                              └ the loader gave up ──▶ rejected
//!     └───────────────── selected again: the operator insists ───────────────────┘
//! ```

use std::collections::BTreeMap;

pub use boot_entries::Subject;
use serde::{Deserialize, Serialize};

use crate::assessment::verdict::Baseline;
use crate::cause::{Cause, Stage};

/// How many automatic reboots in a row there may be before the machine stays up as it is, and says so
/// (invariant A3). A verdict of "healthy" or the operator starts the count anew.
pub const REBOOTS_IN_A_ROW: u32 = 3;

/// One thing that happened. What the ledger records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// The operator, or an installer on their behalf, asked for a generation. A verdict against it is void.
    Selected {
        /// Which.
        subject: Subject,
    },
    /// A boot reached the agent.
    Began {
        /// The kernel's boot id.
        boot: String,
        /// What runs. None: a system that is no generation.
        running: Option<Subject>,
    },
    /// That boot got further.
    Reached {
        /// Where to.
        stage: Stage,
    },
    /// An assessment, or the operator, found it good.
    Proven {
        /// Which.
        subject: Subject,
        /// What the machine looked like.
        baseline: Baseline,
    },
    /// An assessment, the loader's counter, or the operator found it bad.
    Rejected {
        /// Which.
        subject: Subject,
        /// Why.
        cause: Cause,
    },
    /// It is not well, and nothing better is to be had: it stays up.
    Degraded {
        /// Which.
        subject: Subject,
        /// Why.
        cause: Cause,
    },
    /// The agent reboots the machine.
    Rebooting {
        /// To what, as far as it can choose.
        to: Subject,
    },
}

/// A boot, as far as it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
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
    /// What passed, the latest last.
    pub proven: Vec<Good>,
    /// What did not, and why.
    pub rejected: BTreeMap<Subject, Cause>,
    /// What is up but not well, and why.
    pub degraded: BTreeMap<Subject, Cause>,
    /// The furthest stage that an unjudged generation's boots have reached.
    pub furthest: BTreeMap<Subject, Stage>,
    /// The latest boot.
    pub boot: Option<Boot>,
    /// Automatic reboots in a row.
    pub reboots: u32,
}

/// What an assessment said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The machine is well.
    Healthy,
    /// It is not.
    Unhealthy,
    /// The assessor itself could not tell.
    Unknown,
}

/// What to do about a verdict on the running generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// Record it as proven and drop its counter.
    Bless(Subject),
    /// Record it as rejected, put the last good one first, reboot.
    FallBack {
        /// What is rejected.
        from: Subject,
        /// The last good one.
        to: Subject,
    },
    /// Change nothing and say why.
    StayUp(&'static str),
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
        match event {
            Event::Selected { subject } => {
                self.rejected.remove(subject);
                self.furthest.remove(subject);
                self.selected = Some(subject.clone());
                self.reboots = 0;
            }
            Event::Began { boot, running } => {
                if let Some(running) = running {
                    self.reached(running.clone(), Stage::Begun);
                }
                self.boot = Some(Boot {
                    id: boot.clone(),
                    running: running.clone(),
                    stage: Stage::Begun,
                });
            }
            Event::Reached { stage } => {
                if let Some(boot) = &mut self.boot {
                    boot.stage = boot.stage.max(*stage);
                    if let Some(running) = boot.running.clone() {
                        self.reached(running, *stage);
                    }
                }
            }
            Event::Proven { subject, baseline } => {
                self.forget(subject);
                self.proven.push(Good {
                    subject: subject.clone(),
                    baseline: baseline.clone(),
                });
                self.reboots = 0;
                if let Some(boot) = &mut self.boot
                    && boot.running.as_ref() == Some(subject)
                {
                    boot.stage = Stage::Proven;
                }
            }
            Event::Rejected { subject, cause } => {
                self.forget(subject);
                self.rejected.insert(subject.clone(), cause.clone());
                // What was rejected is not wanted any more (invariant A5).
                if self.selected.as_ref() == Some(subject) {
                    self.selected = self.last_good().cloned();
                }
            }
            Event::Degraded { subject, cause } => {
                self.degraded.insert(subject.clone(), cause.clone());
            }
            Event::Rebooting { .. } => self.reboots = self.reboots.saturating_add(1),
        }
        self
    }

    /// A boot of something not yet judged got this far.
    fn reached(&mut self, subject: Subject, stage: Stage) {
        if matches!(
            self.standing(&subject),
            Standing::Untested | Standing::Trial
        ) {
            let furthest = self.furthest.entry(subject).or_insert(stage);
            *furthest = (*furthest).max(stage);
        }
    }

    /// Drops every former verdict on `subject`.
    fn forget(&mut self, subject: &Subject) {
        self.proven.retain(|good| good.subject != *subject);
        self.rejected.remove(subject);
        self.degraded.remove(subject);
        self.furthest.remove(subject);
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

    /// How a generation stands.
    #[must_use]
    pub fn standing(&self, subject: &Subject) -> Standing {
        if self.rejected.contains_key(subject) {
            Standing::Rejected
        } else if self.proven.iter().any(|good| good.subject == *subject) {
            Standing::Proven
        } else if self.selected.as_ref() == Some(subject) || self.furthest.contains_key(subject) {
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

    /// What to do about a verdict on the running generation.
    #[must_use]
    pub fn reaction(&self, verdict: Verdict) -> Reaction {
        let Some(running) = self.running() else {
            return Reaction::StayUp("what runs is no generation");
        };
        let standing = self.standing(running);
        match (verdict, standing) {
            (Verdict::Healthy, Standing::Rejected) => {
                Reaction::StayUp("it was rejected before: `lastgood good` accepts it")
            }
            (Verdict::Healthy, _) => Reaction::Bless(running.clone()),
            (Verdict::Unknown, _) => Reaction::StayUp("the assessor could not tell"),
            (Verdict::Unhealthy, Standing::Proven) => {
                Reaction::StayUp("it is proven: a reboot would not make it better")
            }
            (Verdict::Unhealthy, _) => match self.last_good() {
                None => Reaction::StayUp("no generation is proven yet that it could fall back to"),
                Some(_) if self.reboots >= REBOOTS_IN_A_ROW => {
                    Reaction::StayUp("too many automatic reboots in a row")
                }
                Some(to) => Reaction::FallBack {
                    from: running.clone(),
                    to: to.clone(),
                },
            },
        }
    }

    /// The verdict that the loader has passed by itself when `running` begins although something else was selected.
    ///
    /// `exhausted`: the selected generation's entry has no tries left.
    #[must_use]
    pub fn loader_gave_up(&self, running: &Subject, exhausted: bool) -> Option<(Subject, Cause)> {
        let selected = self.selected.as_ref()?;
        if selected == running || !exhausted || self.standing(selected) != Standing::Trial {
            return None;
        }
        let stage = self
            .furthest
            .get(selected)
            .copied()
            .unwrap_or(Stage::Loader);
        let how = match stage {
            Stage::Loader => {
                "and none of these boots reached the agent: its kernel or its initrd failed, or the power"
            }
            _ => {
                "and none of these boots came to a verdict: it crashed, hung, or lost power on the way"
            }
        };
        let cause = Cause {
            stage,
            summary: format!("the loader started it as often as it may, {how}"),
            units: Vec::new(),
        };
        Some((selected.clone(), cause))
    }
}

#[cfg(test)]
mod tests;
