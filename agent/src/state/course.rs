//! What is recorded when, in a row: what the steps of a boot have in common with the tests that try every history. Pure.

use std::path::Path;

use super::cause::{Cause, Stage};
use super::fault::Fault;
use super::{By, Event, Standing, State, Subject, WhenUnhealthy};

impl State {
    /// What an assessment puts on record that has found `subject`, which runs, not well.
    ///
    /// What the last good one is not well for either was not the fault of what was gone back from (invariant A4). What
    /// was seen while another generation's files were read judges nobody; neither is what was proven rejected for what
    /// it is now.
    #[must_use]
    pub fn found_unwell(&self, subject: &Subject, cause: &Cause) -> Vec<Event> {
        let excused = self.excused_by(cause);
        let lifted = excused.map(|subject| Event::Excused { subject });
        let after = lifted.iter().fold(self.clone(), State::after);
        let (subject, cause) = (subject.clone(), cause.clone());
        let verdict = match after.when_unhealthy() {
            WhenUnhealthy::FallBack { .. } => Event::Rejected { subject, cause },
            WhenUnhealthy::TryAgain { .. }
            | WhenUnhealthy::GoOn { .. }
            | WhenUnhealthy::StayUp(_) => Event::Degraded { subject, cause },
        };
        lifted.into_iter().chain([verdict]).collect()
    }

    /// Why what runs was found unwell in this boot, if it was, and if coming to a verdict again could cost something. The last
    /// good one stays up whatever is found, and may be well by now.
    #[must_use]
    pub fn verdict_of_this_boot(&self) -> Option<&Cause> {
        if super::same_closure(self.last_good(), self.running()?) {
            return None;
        }
        self.degraded.as_ref().or_else(|| {
            let boot = self.boot.as_ref().filter(|boot| boot.is_left)?;
            let running = boot.running.as_ref()?;
            Some(&self.rejected.get(&running.toplevel)?.cause)
        })
    }

    /// What is put on record about a trial whose tries came to nothing, for `cause`.
    #[must_use]
    pub fn given_up(subject: &Subject, cause: &Cause) -> Vec<Event> {
        let lifted = Self::is_from_outside(cause).then(|| Event::Excused {
            subject: subject.clone(),
        });
        let rejected = Event::Rejected {
            subject: subject.clone(),
            cause: cause.clone(),
        };
        std::iter::once(rejected).chain(lifted).collect()
    }

    /// The verdict of the beginning of a boot on what was selected, if the loader has passed it over: `exhausted` as
    /// for [`State::loader_gave_up`].
    #[must_use]
    pub fn passed_over(&self, exhausted: Option<&Path>) -> Option<(Subject, Cause)> {
        let running = self.running()?;
        let is_other = self.selected.as_ref().is_some_and(|one| one != running);
        is_other
            .then(|| self.loader_gave_up(running, exhausted))
            .flatten()
    }

    /// What whoever goes back from `from` puts on record first: the verdict, where an assessor that died has left none.
    #[must_use]
    pub fn left_without_a_verdict(&self, from: &Subject) -> Option<Event> {
        let is_judged = matches!(self.standing(from), Standing::Rejected | Standing::Suspect);
        let stage = self.boot.as_ref().map_or(Stage::Begun, |boot| boot.stage);
        (!is_judged).then(|| Event::Rejected {
            subject: from.clone(),
            cause: Cause::of(stage, Fault::NoVerdict),
        })
    }

    /// What is put on record when what is proven is left for `to`, which is proven as well.
    #[must_use]
    pub fn goes_on(to: &Subject) -> Event {
        Event::Selected {
            subject: to.clone(),
            by: Some(By::LastResort),
        }
    }
}
