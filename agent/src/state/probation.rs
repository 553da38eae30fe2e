//! After a generation was proven it is watched for a while. What a breach of its budgets puts on record. Pure.
//!
//! | what runs | on record | what follows |
//! |---|---|---|
//! | was gone back to for a breach, and has all its faults | the other one is excused, this one degraded | it stays up (invariant A4) |
//! | was never demoted, and another one is proven | rejected at the stage `probation` | the machine goes back, once |
//! | was demoted before in its life, or nothing else is proven, or the machine has just gone back for a breach | degraded | it stays up, and that is told |
//!
//! A demotion is remembered for the life of a generation, whoever selects it again and however often it is proven. So
//! there are at most as many as there are generations, and at most one between two selections of the operator.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::cause::{Cause, Stage};
use super::fault::Fault;
use super::reset::How;
use super::{Event, Standing, State, Subject, same_closure};

/// Who was watched after a verdict, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probation {
    /// What was gone back from for a breach, at any time: none is a second time.
    pub demoted: BTreeSet<PathBuf>,
    /// What was watched for long enough.
    pub steady: BTreeSet<PathBuf>,
    /// Something was demoted since somebody asked for something, and since anything was steady.
    pub breached: bool,
}

/// Why a breach demotes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDemoted {
    /// No other generation is proven.
    NothingElse,
    /// It was demoted before.
    Before,
    /// The machine has just gone back for a breach.
    JustWentBack,
    /// Something [binds](State::bound_by), or `$BOOT` was given back.
    NotOurs,
}

impl NotDemoted {
    /// In half a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NothingElse => "no other generation is proven",
            Self::Before => "it was gone back from for such a thing once, and is not a second time",
            Self::JustWentBack => "the machine has just gone back for such a thing",
            Self::NotOurs => "nothing is decided here now",
        }
    }
}

impl State {
    /// What is to be watched now: what runs, if it was proven in this boot, is the last good one, has not been watched for
    /// long enough, and is not unwell already. Not the only proven one, from which nothing could follow, unless it is the
    /// witness of a breach.
    #[must_use]
    pub fn watched(&self) -> Option<&Subject> {
        let boot = self.boot.as_ref()?;
        let running = boot.running.as_ref()?;
        let is_judged = boot.stage == Stage::Proven && same_closure(self.last_good(), running);
        let is_ours = self.bound_by.is_none() && !self.uninstalled && self.switching.is_none();
        let is_going = boot.is_left || boot.ended.is_some();
        (is_judged
            && is_ours
            && !is_going
            && self.degraded.is_none()
            && !self.probation.steady.contains(&running.toplevel)
            && (self.has_another(running) || self.probation.breached))
            .then_some(running)
    }

    /// What a breach of its probation puts on record about `subject`. Nothing, if it is not watched any more.
    #[must_use]
    pub fn found_unsteady(&self, subject: &Subject, cause: &Cause) -> Vec<Event> {
        if self.watched() != Some(subject) {
            return Vec::new();
        }
        let cause = Cause {
            stage: Stage::Probation,
            ..cause.clone()
        };
        let excused = self.excused_by_a_breach(&cause);
        let (subject, why_not) = (subject.clone(), self.not_demoted(subject));
        match (excused, why_not) {
            (Some(other), _) => vec![
                Event::Excused { subject: other },
                Event::Degraded { subject, cause },
            ],
            (None, Some(_)) => vec![Event::Degraded { subject, cause }],
            (None, None) => vec![Event::Rejected { subject, cause }],
        }
    }

    /// Why a breach of what runs demotes nothing. None: it does.
    #[must_use]
    pub fn not_demoted(&self, subject: &Subject) -> Option<NotDemoted> {
        if self.bound_by.is_some() || self.uninstalled {
            Some(NotDemoted::NotOurs)
        } else if !self.has_another(subject) {
            Some(NotDemoted::NothingElse)
        } else if self.probation.demoted.contains(&subject.toplevel) {
            Some(NotDemoted::Before)
        } else if self.probation.breached {
            Some(NotDemoted::JustWentBack)
        } else {
            None
        }
    }

    /// Whether what runs was demoted in this boot, and the machine has not gone back yet: whoever was to bring that about
    /// has died.
    #[must_use]
    pub fn is_to_be_left(&self) -> bool {
        let Some(boot) = &self.boot else { return false };
        let rejection = boot
            .running
            .as_ref()
            .and_then(|running| self.rejected.get(&running.toplevel));
        boot.stage == Stage::Proven
            && !boot.is_left
            && boot.ended.is_none()
            && rejection.is_some_and(|one| one.cause.stage == Stage::Probation)
    }

    fn has_another(&self, subject: &Subject) -> bool {
        let mut proven = self.proven.iter();
        proven.any(|good| good.subject.toplevel != subject.toplevel)
    }

    /// The generation that was demoted for what this one has as well (invariant A4). A verdict came between the two, so
    /// that [`State::excused_by`] knows nothing of it.
    fn excused_by_a_breach(&self, cause: &Cause) -> Option<Subject> {
        let came_by = self.boot.as_ref()?.reset.as_ref().map(|reset| reset.how);
        // The kernel is still the one that the other has used: what it spoils there, all share.
        if !self.probation.breached || came_by == Some(How::SoftReboot) {
            return None;
        }
        let rejection = self.rejected.get(self.came_from.as_ref()?)?;
        let faults = &rejection.cause.faults;
        let is_shared = |fault: &Fault| fault.is_shareable() && cause.faults.contains(fault);
        let is_excused = rejection.cause.stage == Stage::Probation
            && !same_closure(self.running(), &rejection.subject)
            && !faults.is_empty()
            && faults.iter().all(is_shared);
        is_excused.then(|| rejection.subject.clone())
    }

    /// A rejection is on record. One for a breach is remembered, and whatever the machine goes back to is watched anew: it
    /// is the witness.
    pub(super) fn is_demoted(&mut self, subject: &Subject, cause: &Cause) {
        self.probation.steady.remove(&subject.toplevel);
        if cause.stage == Stage::Probation {
            self.probation.demoted.insert(subject.toplevel.clone());
            self.probation.breached = true;
            self.probation.steady.clear();
        }
    }

    /// It was watched for long enough.
    pub(super) fn is_steady(&mut self, subject: &Subject) {
        if self.standing(subject) == Standing::Proven {
            self.probation.steady.insert(subject.toplevel.clone());
            self.probation.breached = false;
        }
    }
}

#[cfg(test)]
mod tests;
