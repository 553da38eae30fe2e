//! What is on record, counted, and what of it the operator has not answered yet. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::state::cause::Cause;
use crate::state::fault::Fault;
use crate::state::{Event, Subject};

/// Verdicts, by the name of their event.
pub const VERDICTS: [&str; 5] = ["proven", "healthy", "rejected", "degraded", "excused"];

/// What only ever grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often the machine went back by itself: the agent rebooted it or changed it live, or the loader went on.
    pub fallbacks: u64,
    /// How often a generation was rejected, by whomever.
    pub rejections: u64,
    /// How often the agent rebooted the machine.
    pub reboots: u64,
}

impl Counts {
    /// What the event adds.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let one = |is: bool| u64::from(is);
        let by_loader = event.faults().contains(&Fault::TriesUsedUp);
        let moved = match event {
            Event::Rebooting { from, to } => from != to,
            Event::FellBack { .. } => true,
            Event::Rejected { .. } => by_loader,
            _ => false,
        };
        Self {
            fallbacks: one(moved),
            rejections: one(matches!(event, Event::Rejected { .. })),
            reboots: one(matches!(event, Event::Rebooting { .. })),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            fallbacks: self.fallbacks.saturating_add(more.fallbacks),
            rejections: self.rejections.saturating_add(more.rejections),
            reboots: self.reboots.saturating_add(more.reboots),
        }
    }

    /// Of each the greater.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        Self {
            fallbacks: self.fallbacks.max(other.fallbacks),
            rejections: self.rejections.max(other.rejections),
            reboots: self.reboots.max(other.reboots),
        }
    }
}

/// A rejection that the machine came to by itself, and that the operator has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// What was rejected.
    pub subject: Subject,
    /// Why, in a line.
    pub summary: String,
    /// That may not have been its fault: it is a suspect now.
    pub is_excused: bool,
}

/// What is on record, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often what happened.
    pub counts: Counts,
    /// When each kind of verdict came last.
    pub verdicts: BTreeMap<&'static str, Timestamp>,
    /// When the machine went back last.
    pub fallback: Option<Timestamp>,
    /// What it was left with.
    pub unanswered: Option<Unanswered>,
}

impl Tally {
    /// Of all these, in their order.
    #[must_use]
    pub fn of<'a>(records: impl IntoIterator<Item = (Timestamp, &'a Event)>) -> Self {
        let mut tally = Self::default();
        for (time, event) in records {
            tally.add(time, event);
        }
        tally
    }

    /// One more.
    pub fn add(&mut self, time: Timestamp, event: &Event) {
        let counts = Counts::of(event);
        self.counts = self.counts.plus(counts);
        if counts.fallbacks > 0 {
            self.fallback = Some(time);
        }
        if let Some(verdict) = VERDICTS.into_iter().find(|name| *name == event.name()) {
            self.verdicts.insert(verdict, time);
        }
        let is_it = |one: &Unanswered, other: &Subject| one.subject.toplevel == other.toplevel;
        match event {
            // Whatever is asked for now: somebody was here.
            Event::Selected { by: None, .. } | Event::Uninstalled => self.unanswered = None,
            Event::Rejected { subject, cause } => self.unanswered = unanswered(subject, cause),
            Event::Proven { subject, .. } => {
                self.unanswered.take_if(|one| is_it(one, subject));
            }
            Event::Excused { subject } => {
                if let Some(one) = self.unanswered.as_mut().filter(|one| is_it(one, subject)) {
                    one.is_excused = true;
                }
            }
            _ => {}
        }
    }
}

/// What the operator has said they know.
fn unanswered(subject: &Subject, cause: &Cause) -> Option<Unanswered> {
    (!cause.faults.contains(&Fault::Operator)).then(|| Unanswered {
        subject: subject.clone(),
        summary: cause.summary.clone(),
        is_excused: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::By;
    use crate::state::cause::Stage;
    use boot_entries::GenerationId;

    fn subject(number: u64) -> Subject {
        Subject {
            generation: GenerationId::system(number),
            toplevel: format!("/nix/store/{number}").into(),
        }
    }

    fn rejected(number: u64, fault: Fault) -> Event {
        Event::Rejected {
            subject: subject(number),
            cause: Cause::of(Stage::Services, fault),
        }
    }

    fn tally(events: &[Event]) -> Tally {
        let at = |second: usize| Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        Tally::of(events.iter().enumerate().map(|(n, event)| (at(n), event)))
    }

    #[test]
    fn a_fallback_is_counted_once_whoever_went_back() {
        let unit = || rejected(2, Fault::of_unit("a.service"));
        let rebooting = |to| Event::Rebooting {
            from: subject(2),
            to: subject(to),
        };
        let live = Event::FellBack {
            from: subject(2),
            to: subject(1),
        };
        for (events, fallbacks, rejections, reboots, last) in [
            (vec![unit(), rebooting(1)], 1, 1, 1, Some(1)),
            (vec![unit(), live], 1, 1, 0, Some(1)),
            (vec![rejected(2, Fault::TriesUsedUp)], 1, 1, 0, Some(0)),
            (vec![rejected(2, Fault::Operator)], 0, 1, 0, None),
            // Into itself, with its own files.
            (vec![rebooting(2)], 0, 0, 1, None),
        ] {
            let tally = tally(&events);
            let counts = Counts {
                fallbacks,
                rejections,
                reboots,
            };
            assert_eq!(tally.counts, counts, "{events:?}");
            let last = last.map(|second| Timestamp::from_second(second).unwrap());
            assert_eq!(tally.fallback, last, "{events:?}");
        }
    }

    #[test]
    fn a_fallback_is_told_until_somebody_answers() {
        let unit = || rejected(2, Fault::of_unit("a.service"));
        let proven = |number| Event::Proven {
            subject: subject(number),
            baseline: crate::state::baseline::Baseline::default(),
        };
        let excused = Event::Excused {
            subject: subject(2),
        };
        let left = |events: &[Event]| tally(events).unanswered.map(|one| one.is_excused);
        assert_eq!(left(&[unit()]), Some(false));
        // The last good one is well: that the machine fell back to it is none the less so.
        assert_eq!(left(&[unit(), proven(1)]), Some(false));
        assert_eq!(left(&[unit(), excused]), Some(true));
        assert_eq!(left(&[unit(), proven(2)]), None);
        let by = |by| Event::Selected {
            subject: subject(1),
            by,
        };
        // Nobody was here.
        assert_eq!(left(&[unit(), by(Some(By::LastResort))]), Some(false));
        let selected = by(None);
        assert_eq!(left(&[unit(), selected]), None);
        assert_eq!(left(&[unit(), rejected(2, Fault::Operator)]), None);
        assert_eq!(left(&[unit(), Event::Uninstalled]), None);
    }
}
