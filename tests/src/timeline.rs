//! When what happened, in seconds since the machine was first switched on.

use std::fmt;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::machine::Fact;

/// What an event is, where something is made of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// The machine is switched on.
    PowerOn,
    /// The machine is off.
    PowerOff,
    /// The serial line said so.
    Said(Fact),
    /// The story goes on.
    Chapter,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Since the first power-on.
    pub at: Duration,
    /// What happened.
    pub what: String,
    /// What that is. None: nobody asks.
    pub mark: Option<Mark>,
}

/// The events of one machine, in order.
#[derive(Debug)]
pub struct Timeline {
    begun: Instant,
    live: bool,
    events: Vec<Event>,
}

impl Timeline {
    /// An empty timeline. A `live` one prints each event as it happens.
    #[must_use]
    pub fn new(live: bool) -> Self {
        Self {
            begun: Instant::now(),
            live,
            events: Vec::new(),
        }
    }

    /// The instant all times count from.
    #[must_use]
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Adds an event that happens now.
    pub fn note(&mut self, what: impl Into<String>) {
        self.add(what.into(), None);
    }

    /// Adds an event of which something is made later.
    pub fn mark(&mut self, mark: Mark, what: impl Into<String>) {
        self.add(what.into(), Some(mark));
    }

    fn add(&mut self, what: String, mark: Option<Mark>) {
        let event = Event {
            at: self.begun.elapsed(),
            what,
            mark,
        };
        if self.live {
            // Nobody to tell when standard output is gone.
            drop(writeln!(std::io::stdout(), "{event}"));
        }
        self.events.push(event);
    }

    /// Every event so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.1}s  {}", self.at.as_secs_f64(), self.what)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events
            .iter()
            .try_for_each(|event| writeln!(f, "{event}"))
    }
}
