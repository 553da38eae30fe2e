//! What happened around a verdict. Pure.

use boot_entries::Subject;
use jiff::Timestamp;
use serde::Serialize;

use crate::report::label::StateLabel;
use crate::state::{Event, State, WhenUnhealthy};
use crate::store::ledger::Record;

/// What happened around a verdict, as far as it is on record.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Story<'a> {
    /// When it was selected last before that.
    pub(super) selected_at: Option<Timestamp>,
    /// How many boots of it began since, or at all where it was not selected.
    pub(super) boots: usize,
    /// When the boot began that the verdict is about. None: the verdict came in a boot of something else.
    pub(super) began: Option<Timestamp>,
    /// Where the machine went from there.
    pub(super) back_to: Option<&'a Subject>,
    /// The agent rebooted it. Else the loader had gone there by itself.
    #[serde(skip)]
    is_rebooted: bool,
    /// The agent went there without a reboot.
    #[serde(skip)]
    is_live: bool,
    /// It was switched to while something else ran, and the switch was undone.
    #[serde(skip)]
    is_undone: bool,
    /// Why the machine stayed up as it was, if it did.
    #[serde(skip)]
    stayed_up: Option<String>,
}

impl<'a> Story<'a> {
    /// What happened around the verdict on `subject` that is number `at` of `records`.
    pub(super) fn of(records: &'a [Record], at: usize, subject: &'a Subject) -> Self {
        let (before, after) = records.split_at(at.min(records.len()));
        let is_of = |one: &Subject| one == subject;
        let selected = before.iter().rposition(
            |record| matches!(&record.event, Event::Selected { subject, .. } if is_of(subject)),
        );
        let since = before.get(selected.unwrap_or(0)..).unwrap_or_default();
        let begins = |record: &&Record| matches!(&record.event, Event::Began { running: Some(running), .. } if is_of(running));
        let last = before
            .iter()
            .rev()
            .find(|record| matches!(record.event, Event::Began { .. }));
        let ran = last.and_then(|record| record.event.subject());
        let is_bad = after
            .first()
            .is_some_and(|verdict| verdict.event.cause().is_some());
        let rebooted = after
            .iter()
            .take_while(|record| !matches!(record.event, Event::Began { .. }))
            .find_map(|record| match &record.event {
                Event::Rebooting { from, to } if is_of(from) => Some(to),
                _ => None,
            });
        let live = after.iter().find_map(|record| match &record.event {
            Event::FellBack { from, to } if is_of(from) => Some(to),
            _ => None,
        });
        let is_rejected = matches!(
            after.first().map(|one| &one.event),
            Some(Event::Rejected { .. })
        );
        let by_loader = ran.filter(|ran| is_rejected && *ran != subject);
        let state = || State::of(before.iter().map(|record| &record.event));
        let stayed_up = match after.first().map(|one| &one.event) {
            Some(Event::Degraded { .. }) => match state().when_unhealthy() {
                WhenUnhealthy::StayUp(why) => Some(why.to_string()),
                _ => None,
            },
            _ => None,
        };
        Self {
            selected_at: selected
                .and_then(|at| before.get(at))
                .map(|record| record.time),
            boots: since.iter().filter(begins).count(),
            began: last
                .filter(|_| ran == Some(subject))
                .map(|record| record.time),
            back_to: live.or(rebooted).or(by_loader).filter(|_| is_bad),
            is_rebooted: rebooted.is_some(),
            is_live: live.is_some(),
            is_undone: after.iter().take(2).any(|record| {
                matches!(&record.event, Event::SwitchedBack(back) if back.subject.as_ref().is_some_and(is_of))
            }),
            stayed_up,
        }
    }

    /// What the machine did then, in words.
    pub(super) fn then(&self, state: StateLabel) -> Option<String> {
        match (self.back_to, &self.stayed_up) {
            _ if self.is_undone => {
                Some("the live switch to it was undone; nothing was rebooted for it".to_owned())
            }
            (Some(to), _) if self.is_live => Some(format!(
                "the machine went back without a reboot, to generation {}",
                to.generation
            )),
            (Some(to), _) if self.is_rebooted => Some(format!(
                "the machine rebooted by itself, to generation {}",
                to.generation
            )),
            (Some(to), _) if self.began.is_none() && self.boots > 0 => Some(format!(
                "the loader went on to generation {}",
                to.generation
            )),
            (None, Some(why)) => Some(format!("the machine stayed up: {why}")),
            _ if state == StateLabel::Rejected => Some("nothing was rebooted for it".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
