//! Incidents: from a selection, or from trouble, to a verdict that stands. Pure.
//!
//! An update tool may hold something for as long as the outcome is open (a lock on the fleet, a maintenance window). So
//! each incident ends with exactly one closing hook:
//!
//! | what ends it | hook |
//! |---|---|
//! | what runs is found good, and nothing was gone back from | `on-proven` |
//! | what was gone back to is found good | `on-fallback` |
//! | it is not, and the machine stays up | `on-degraded` |
//!
//! A hook is due until it is on record that it was run: a crash or a power cut in between makes it due again, or makes
//! another one due, if the next verdict is another one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cause::Cause;
use super::{State, Subject, WhenUnhealthy, same_closure};

/// What is run at the end of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// What was selected works.
    OnProven,
    /// The machine went back, and works.
    OnFallback,
    /// The machine stays up although it is not well.
    OnDegraded,
}

impl Hook {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::OnProven, Self::OnFallback, Self::OnDegraded];

    /// Its name, as in lastgood.toml.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnProven => "on-proven",
            Self::OnFallback => "on-fallback",
            Self::OnDegraded => "on-degraded",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Incident {
    /// Something was gone back from.
    pub fell: bool,
}

/// A hook that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Which.
    pub hook: Hook,
    /// What runs.
    pub subject: Subject,
    /// What the machine is not well for, or what it went back for.
    pub cause: Option<Cause>,
}

impl State {
    /// The hook that is due in this boot, now that there is a verdict.
    #[must_use]
    pub fn closing(&self) -> Option<Closing> {
        let hook = self.due?;
        let subject = self.running()?.clone();
        let cause = match hook {
            Hook::OnProven => None,
            Hook::OnDegraded => self.degraded.clone(),
            Hook::OnFallback => self.came_from().map(|rejection| rejection.cause.clone()),
        };
        Some(Closing {
            hook,
            subject,
            cause,
        })
    }

    /// What the machine went back from at last, and why.
    #[must_use]
    pub fn came_from(&self) -> Option<&super::Rejection> {
        let from = self.came_from.as_ref()?;
        self.rejected.get(from).or_else(|| self.suspects.get(from))
    }

    /// Something is asked for. What was open goes on in it.
    pub(super) fn opens(&mut self) {
        self.incident = Some(Incident::default());
        self.due = None;
    }

    pub(super) fn falls(&mut self, from: &Subject) {
        self.incident.get_or_insert_default().fell = true;
        self.came_from = Some(from.toplevel.clone());
    }

    /// What runs was found good.
    pub(super) fn closes_well(&mut self, subject: &Subject) {
        self.told = None;
        // What was asked for is still to be tried, where something else was started meanwhile.
        let is_awaited = self.selected.is_none() || same_closure(self.selected.as_ref(), subject);
        if !same_closure(self.running(), subject) {
            return;
        }
        // It is not so any more, and nobody was told.
        if self.due == Some(Hook::OnDegraded) {
            self.due = None;
        }
        if !is_awaited {
            return;
        }
        if let Some(incident) = self.incident {
            self.due = Some(if incident.fell {
                Hook::OnFallback
            } else {
                Hook::OnProven
            });
        }
    }

    /// The hook was run.
    pub(super) fn is_closed_by(&mut self, hook: Hook) {
        if self.due == Some(hook) {
            self.due = None;
            self.incident = None;
        }
    }

    /// What runs was found bad. Once for as long as it stays so.
    pub(super) fn closes_badly(&mut self, subject: &Subject) {
        if !matches!(self.when_unhealthy(), WhenUnhealthy::StayUp(_)) {
            return;
        }
        let is_news = self.told.as_deref() != Some(&subject.toplevel);
        if self.incident.is_some() || is_news {
            self.incident.get_or_insert_default();
            self.due = Some(Hook::OnDegraded);
            self.told = Some(subject.toplevel.clone());
        }
    }
}

#[cfg(test)]
mod tests;
