//! The right to change things, one run at a time: the lock, and the machine as it was when that was taken.
//!
//! What is changed, and in which order, is for [`crate::operation`]. Here is only what every change begins with (the
//! lock) and rests on (the ledger).

mod told;

use std::time::Duration;

use boot_entries::Root;
use jiff::Timestamp;
use tracing::Level;

use crate::error::Error;
use crate::host::RANDOM_UUID;
use crate::report;
use crate::report::line::one_line;
use crate::state::{Event, State};
use crate::store::{ledger, lock};
use crate::system::{console, journal};
use crate::view::View;
use told::Told;

/// How long an operator's command waits for another run to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a step of a boot does: nearly as long as its unit may take, because a verdict must not get lost.
const LONG_PATIENCE: Duration = Duration::from_mins(4);

/// The right to change things, or to look while nobody else does, and the machine as it was when that right was taken.
#[derive(Debug)]
pub struct Session {
    /// The machine as it was then, and as the events recorded since have made it.
    pub view: View,
    /// A step of a boot says what it records; a command of the operator says what it has done, in its own words.
    says_events: bool,
    /// What is told outside of ledger and journal.
    told: Told,
    /// None: nothing is to be changed, and there is none to share.
    _lock: Option<lock::Lock>,
}

impl Session {
    /// Takes the lock, and only then reads anything: for a command of the operator.
    ///
    /// # Errors
    /// When another run keeps the lock, or something cannot be read.
    pub fn open(root: &Root) -> Result<Self, Error> {
        Self::open_with(root, || lock::take(root, PATIENCE).map(Some))
    }

    /// The same for a command that changes nothing, and creates nothing either: not even a lock, where there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn look(root: &Root) -> Result<Self, Error> {
        Self::open_with(root, || {
            let lock = lock::share(root, PATIENCE)?;
            if lock.is_none() {
                tracing::debug!(
                    "looking without a lock: there is none yet, so nobody has changed anything"
                );
            }
            Ok(lock)
        })
    }

    /// The same for a step of a boot, which has more time.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at_boot(root: &Root) -> Result<Self, Error> {
        Self::open_at_boot_within(root, LONG_PATIENCE)
    }

    /// The same with a time limit of one's own.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at_boot_within(root: &Root, patience: Duration) -> Result<Self, Error> {
        let mut session = Self::open_with(root, || lock::take(root, patience).map(Some))?;
        session.says_events = true;
        Ok(session)
    }

    fn open_with(
        root: &Root,
        lock: impl FnOnce() -> Result<Option<lock::Lock>, lock::Error>,
    ) -> Result<Self, Error> {
        if !std::fs::metadata(root.directory()).is_ok_and(|found| found.is_dir()) {
            let directory = root.directory().display();
            return Err(Error::Refused(format!(
                "{directory} is no directory; give --root the top of a tree"
            )));
        }
        let lock = lock()?;
        let view = View::read(root)?;
        Ok(Self {
            told: Told::of(&view),
            view,
            says_events: false,
            _lock: lock,
        })
    }

    /// What the ledger adds up to.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.view.state
    }

    /// Adds an event to the ledger, and to the journal where there is one.
    ///
    /// # Errors
    /// When the ledger cannot be written: then it has not happened.
    pub fn record(&mut self, event: &Event) -> Result<(), Error> {
        self.record_all(&[event])
    }

    /// The same for several events, in this order.
    ///
    /// # Errors
    /// As [`Self::record`]: then none of them has happened, or those before the one that is missing.
    pub fn record_all(&mut self, events: &[&Event]) -> Result<(), Error> {
        // Before the first entry of all. Where there are some without a mark, marking them is for a run that is asked
        // to write entries.
        let leads_to_entries = events.iter().any(|event| event.leads_to_entries());
        let is_named = events
            .iter()
            .any(|event| matches!(event, Event::Named { .. }));
        let named = (leads_to_entries && !is_named && !self.state().wrote_unmarked)
            .then(|| self.naming())
            .flatten();
        let all: Vec<&Event> = named.iter().chain(events.iter().copied()).collect();
        let now = Timestamp::now();
        ledger::record(&self.view.root, now, &all)?;
        for event in &all {
            self.say(event);
            let state = std::mem::take(&mut self.view.state);
            self.view.state = state.after(event);
        }
        self.told.tell(&self.view, now, &all);
        // After the record, and when nothing waits for what follows: neither a fallback nor a counter that is to go.
        let may_wait =
            |event: &&Event| matches!(event, Event::Selected { .. } | Event::Degraded { .. });
        let may_wait = events.iter().all(may_wait);
        if may_wait
            && std::mem::take(&mut self.view.ledger.is_due)
            && let Err(error) = ledger::tend(&self.view.root, &|subject| self.view.lists(subject))
        {
            tracing::warn!("{} is not tidied: {}", ledger::PATH, one_line(&error));
        }
        Ok(())
    }

    /// Says once, to whoever reads, that `event` happens now: to the journal with fields, and then to the console;
    /// without a journal on standard error.
    fn say(&self, event: &Event) {
        let line = report::event::line(event, self.state());
        let is_taken = self.view.root.is_live() && journal::event(event, line.level, &line.text);
        if !self.says_events {
            return;
        }
        match line.level {
            Level::ERROR | Level::WARN | Level::INFO if is_taken && journal::has_stderr() => {
                console::line(&line.text);
            }
            Level::ERROR => tracing::error!("{}", line.text),
            Level::WARN => tracing::warn!("{}", line.text),
            Level::INFO => tracing::info!("{}", line.text),
            _ => {}
        }
    }

    /// The event that gives the system what its entries are known by. None: it has that, or there is nothing to be had.
    #[must_use]
    pub fn naming(&self) -> Option<Event> {
        if self.state().owner.is_some() {
            return None;
        }
        // The kernel's that runs, whatever tree this is about.
        let uuid = std::fs::read_to_string(RANDOM_UUID).inspect_err(|error| {
            tracing::warn!(
                "entries are not marked as this system's: cannot read {RANDOM_UUID}: {error}"
            );
        });
        let owner = uuid.ok()?.split('-').next()?.parse().ok()?;
        Some(Event::Named { owner })
    }
}
