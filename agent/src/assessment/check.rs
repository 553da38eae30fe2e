//! The declared checks of a closure: when each is run, and whether it holds. Pure: it sees no clock and runs nothing.
//!
//! | state | meaning | what may come next |
//! |---|---|---|
//! | [`State::Waiting`] | the boot has not finished | due, when it has |
//! | [`State::Due`] | it is run at that time, or as soon as there is room | running |
//! | [`State::Running`] | a run is under way | passed, due again, failed |
//! | [`State::Passed`] | the last run was good | running again after the interval; waiting, when a unit is not well any more |
//! | [`State::Failed`] | it failed more often in a row than it may | nothing |
//!
//! A check says something of a machine whose units are well. So it is run when they are, and a run during which they were
//! not does not count: the unit is named instead.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config;
use crate::system::check::{Ended, Failure};

/// So many run at once: a machine that has just booted is busy.
pub const AT_ONCE: usize = 4;

/// A check, as far as its times and its weight go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What it is called.
    pub name: String,
    /// Its failure is told, and held against nobody.
    pub wanted: bool,
    /// How often in a row it may fail and be tried again. None: as long as there is time.
    pub retries: Option<u32>,
    /// The time between two runs.
    pub interval: Duration,
    /// The time between the end of the boot and the first run.
    pub start_delay: Duration,
}

impl Declared {
    /// All that a closure declares, in the order of their names.
    #[must_use]
    pub fn all(checks: &config::Checks) -> Vec<Self> {
        let declared = checks.iter().map(|(name, check)| {
            let check = check.get_ref();
            Self {
                name: name.as_str().to_owned(),
                wanted: check.wanted,
                retries: check.retries,
                interval: check.interval,
                start_delay: check.start_delay,
            }
        });
        declared.collect()
    }
}

/// Where a check is. Times are counted from the same instant as observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The units are not well yet.
    Waiting,
    /// It is to be run, not before this time.
    Due(Duration),
    /// A run is under way. False: what comes of it does not count.
    Running(bool),
    /// A run was good, and ended at this time.
    Passed(Duration),
    /// It failed more often in a row than it may.
    Failed,
}

/// What happens to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The units are well, or not any more.
    Ready(bool),
    /// A run has begun.
    Begun,
    /// It has ended.
    Ended(Ended),
}

/// One check, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Where it is.
    pub state: State,
    /// Whether the units are well.
    pub ready: bool,
    /// The last run that counts was good.
    pub holds: bool,
    /// So many runs in a row have failed.
    pub failures: u32,
    /// How the last one of them failed.
    pub last: Option<Failure>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            state: State::Waiting,
            ready: false,
            holds: false,
            failures: 0,
            last: None,
        }
    }
}

impl Progress {
    /// After this event, at this time. What cannot happen in a state changes nothing.
    #[must_use]
    pub fn after(&self, declared: &Declared, at: Duration, event: &Event) -> Self {
        let mut next = self.clone();
        match event {
            Event::Ready(ready) => next.be_ready(declared, at, *ready),
            Event::Begun => {
                if matches!(self.state, State::Due(_) | State::Passed(_)) {
                    next.state = State::Running(true);
                }
            }
            Event::Ended(ended) => {
                if let State::Running(counts) = self.state {
                    next.end(declared, at, ended, counts);
                }
            }
        }
        next
    }

    fn be_ready(&mut self, declared: &Declared, at: Duration, ready: bool) {
        self.ready = ready;
        if self.state == State::Failed {
            return;
        }
        if ready {
            if self.state == State::Waiting {
                self.state = State::Due(at + declared.start_delay);
            }
            return;
        }
        self.holds = false;
        self.failures = 0;
        self.state = match self.state {
            State::Running(_) => State::Running(false),
            _ => State::Waiting,
        };
    }

    fn end(&mut self, declared: &Declared, at: Duration, ended: &Ended, counts: bool) {
        self.state = match ended {
            _ if !counts && self.ready => State::Due(at + declared.start_delay),
            _ if !counts => State::Waiting,
            Ended::Passed => {
                self.holds = true;
                self.failures = 0;
                self.last = None;
                State::Passed(at)
            }
            Ended::Failed(failure) => {
                self.holds = false;
                self.failures = self.failures.saturating_add(1);
                self.last = Some(failure.clone());
                if declared
                    .retries
                    .is_some_and(|retries| self.failures > retries)
                {
                    State::Failed
                } else {
                    State::Due(at + declared.interval)
                }
            }
            Ended::Lost(_) => State::Due(at + declared.interval),
        };
    }

    /// When it is to be run next. None: not by itself. One that holds is run again only if `again`.
    fn due(&self, declared: &Declared, again: bool) -> Option<Duration> {
        match self.state {
            State::Due(at) => Some(at),
            State::Passed(at) => again.then(|| at + declared.interval),
            State::Waiting | State::Running(_) | State::Failed => None,
        }
    }
}

/// What is wrong with a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble<'a> {
    /// The check.
    pub declared: &'a Declared,
    /// It is not tried any more.
    pub is_final: bool,
    /// What, in half a sentence that follows its name.
    pub words: String,
}

/// All checks of one assessment.
#[derive(Debug, Clone)]
pub struct Checks<'a> {
    declared: &'a [Declared],
    progress: BTreeMap<&'a str, Progress>,
}

impl<'a> Checks<'a> {
    /// None has been run yet.
    #[must_use]
    pub fn new(declared: &'a [Declared]) -> Self {
        let progress = declared
            .iter()
            .map(|one| (one.name.as_str(), Progress::default()));
        Self {
            declared,
            progress: progress.collect(),
        }
    }

    /// Whether the units are well at `at`: until they are, none is run.
    pub fn ready(&mut self, at: Duration, ready: bool) {
        for declared in self.declared {
            if self.of(declared).is_some_and(|one| one.ready != ready) {
                self.tell(declared, at, &Event::Ready(ready));
            }
        }
    }

    /// A run of `name` has begun.
    pub fn begun(&mut self, name: &str, at: Duration) {
        self.happened(name, at, &Event::Begun);
    }

    /// A run of `name` has ended.
    pub fn ended(&mut self, name: &str, at: Duration, ended: Ended) {
        self.happened(name, at, &Event::Ended(ended));
    }

    /// Those that are to be run now. Those that hold are among them only if `again`.
    #[must_use]
    pub fn due(&self, at: Duration, again: bool) -> Vec<&'a str> {
        let running = self.each().filter(|(_, one)| is_running(one)).count();
        let due = self
            .each()
            .filter(|(declared, one)| one.due(declared, again).is_some_and(|due| due <= at));
        due.map(|(declared, _)| declared.name.as_str())
            .take(AT_ONCE.saturating_sub(running))
            .collect()
    }

    /// When one is to be run next, after `at`.
    #[must_use]
    pub fn next(&self, at: Duration, again: bool) -> Option<Duration> {
        let times = self
            .each()
            .filter_map(|(declared, one)| one.due(declared, again));
        times.filter(|due| *due > at).min()
    }

    /// Whether a run is under way that `counts`, given the check's name and weight.
    pub fn is_running(&self, mut counts: impl FnMut(&Declared) -> bool) -> bool {
        self.each()
            .any(|(declared, one)| is_running(one) && counts(declared))
    }

    /// What does not hold, required or wanted.
    pub fn troubles(&self) -> impl Iterator<Item = Trouble<'a>> {
        self.each()
            .filter(|(_, one)| !one.holds)
            .map(|(declared, one)| Trouble {
                declared,
                is_final: one.state == State::Failed,
                words: words(one),
            })
    }

    /// Those whose last run failed.
    pub fn failing(&self) -> impl Iterator<Item = &'a str> {
        let failing = self
            .each()
            .filter(|(_, one)| !one.holds && one.last.is_some());
        failing.map(|(declared, _)| declared.name.as_str())
    }

    fn each(&self) -> impl Iterator<Item = (&'a Declared, &Progress)> {
        self.declared
            .iter()
            .filter_map(|declared| Some((declared, self.of(declared)?)))
    }

    fn of(&self, declared: &Declared) -> Option<&Progress> {
        self.progress.get(declared.name.as_str())
    }

    fn happened(&mut self, name: &str, at: Duration, event: &Event) {
        if let Some(declared) = self.declared.iter().find(|one| one.name == name) {
            self.tell(declared, at, event);
        }
    }

    fn tell(&mut self, declared: &'a Declared, at: Duration, event: &Event) {
        if let Some(one) = self.progress.get_mut(declared.name.as_str()) {
            *one = one.after(declared, at, event);
        }
    }
}

fn is_running(one: &Progress) -> bool {
    matches!(one.state, State::Running(_))
}

/// What is to be said of one that does not hold.
fn words(one: &Progress) -> String {
    let times = match one.failures {
        1 => String::new(),
        count => format!(" {count} times"),
    };
    match (&one.state, &one.last) {
        (State::Failed, Some(failure)) => format!("failed{times}: {failure}"),
        (_, Some(failure)) if one.failures > 0 => {
            format!("has failed{times}, and is tried again: {failure}")
        }
        (State::Running(_), _) => "has not ended its first run".to_owned(),
        (State::Waiting, _) => "waits for the units to be well".to_owned(),
        _ => "has not been run yet".to_owned(),
    }
}

#[cfg(test)]
mod tests;
