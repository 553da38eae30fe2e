//! The serial line: every line with its time, in memory for waiting and in a log file for people.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::fact::Fact;
use crate::patience::Patience;

/// How many lines an error shows.
const TAIL: usize = 30;
/// So often at least it is looked whether time is up.
const LOOK: Duration = Duration::from_secs(5);

/// One line, without terminal control sequences.
#[derive(Debug, Clone)]
pub struct Line {
    /// Since the machine was first switched on.
    pub at: Duration,
    /// The text.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.2} {}", self.at.as_secs_f64(), self.text)
    }
}

/// The line, over every power cycle of a machine.
pub(crate) struct Serial {
    shared: Arc<Shared>,
}

struct Shared {
    begun: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lines: Vec<Line>,
    /// What has come of a line that has not ended: who hangs has often said why.
    unfinished: String,
    /// Lines before this one have been waited for.
    next: usize,
    /// Whether somebody is at the other end.
    open: bool,
    log: File,
}

impl Serial {
    pub(crate) fn new(log: &Path, begun: Instant) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let state = State {
            lines: Vec::new(),
            unfinished: String::new(),
            next: 0,
            open: false,
            log,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                begun,
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
        })
    }

    /// Reads `source` until it ends, in a thread of its own.
    pub(crate) fn attach(&self, source: impl Read + Send + 'static) -> JoinHandle<()> {
        let shared = Arc::clone(&self.shared);
        shared.lock().open = true;
        thread::spawn(move || {
            shared.read(source);
            shared.lock().open = false;
            shared.changed.notify_all();
        })
    }

    /// Waits for a line that states `fact`, after the one the last wait ended at.
    pub(crate) fn wait(&self, fact: &Fact, within: Duration) -> Result<Line> {
        let mut patience = Patience::of(within);
        let mut state = self.shared.lock();
        let mut looked_at = state.next;
        loop {
            while let Some(line) = state.lines.get(looked_at).cloned() {
                looked_at += 1;
                if fact.is_in(&line.text) {
                    state.next = looked_at;
                    return Ok(line);
                }
            }
            if !state.open {
                bail!(
                    "the machine went off before {fact:?}; its last lines:\n{}",
                    state.tail()
                );
            }
            let left = patience.left();
            if left.is_zero() {
                bail!(
                    "no {fact:?} within {} s; the last lines:\n{}",
                    within.as_secs(),
                    state.tail()
                );
            }
            let waited = self.shared.changed.wait_timeout(state, left.min(LOOK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything said so far has been waited for.
    pub(crate) fn skip(&self) {
        let mut state = self.shared.lock();
        state.next = state.lines.len();
    }

    /// How many lines state `fact`.
    pub(crate) fn count(&self, fact: &Fact) -> usize {
        self.shared
            .lock()
            .lines
            .iter()
            .filter(|line| fact.is_in(&line.text))
            .count()
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> String {
        self.shared.lock().tail()
    }
}

impl Shared {
    /// A panic in another thread leaves the lines as good as they were.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut source: impl Read) {
        let mut buffer = [0; 4096];
        let mut pending = Vec::new();
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            for byte in buffer.iter().take(count) {
                if matches!(byte, b'\n' | b'\r') {
                    self.add(&std::mem::take(&mut pending));
                } else {
                    pending.push(*byte);
                }
            }
            self.lock().unfinished = plain(&String::from_utf8_lossy(&pending));
        }
        self.lock().unfinished.clear();
        self.add(&pending);
    }

    fn add(&self, raw: &[u8]) {
        let text = plain(&String::from_utf8_lossy(raw));
        if text.is_empty() {
            return;
        }
        let line = Line {
            at: self.begun.elapsed(),
            text,
        };
        let mut state = self.lock();
        // The log is for people; the lines in memory are what a test is judged by.
        drop(writeln!(state.log, "{line}"));
        state.lines.push(line);
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(TAIL);
        let last = self.lines.get(from..).unwrap_or_default();
        let mut last: Vec<String> = last.iter().map(Line::to_string).collect();
        if !self.unfinished.is_empty() {
            last.push(format!("{:8} {}", "…", self.unfinished));
        }
        last.join("\n")
    }
}

/// `raw` without escape sequences, which firmware and loader use to paint the screen, and without blanks around.
fn plain(raw: &str) -> String {
    let mut text = String::new();
    let mut chars = raw.chars();
    while let Some(char) = chars.next() {
        if char != '\u{1b}' {
            if !char.is_control() {
                text.push(char);
            }
            continue;
        }
        match chars.next() {
            Some('[') => while chars.next().is_some_and(|char| !matches!(char, '@'..='~')) {},
            Some('(' | ')') => drop(chars.next()),
            _ => {}
        }
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(text: &'static str) -> Serial {
        let log = tempfile::NamedTempFile::new().unwrap();
        let serial = Serial::new(log.path(), Instant::now()).unwrap();
        serial.attach(text.as_bytes()).join().unwrap();
        serial
    }

    /// Whoever hangs, hangs in the middle of a line.
    #[test]
    fn a_line_that_has_not_ended_is_shown() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let serial = Serial::new(log.path(), Instant::now()).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reading = serial.attach(reader);
        writer.write_all(b"one\nBdsDxe: starting Bo").unwrap();
        writer.write_all(b"ot0001").unwrap();
        serial
            .wait(&Fact::from("one"), Duration::from_mins(1))
            .unwrap();
        let shown = || serial.tail().ends_with(" BdsDxe: starting Boot0001");
        let begun = Instant::now();
        while !shown() && begun.elapsed() < Duration::from_mins(1) {
            thread::yield_now();
        }
        assert!(shown(), "{}", serial.tail());
        drop(writer);
        reading.join().unwrap();
        assert_eq!(serial.tail().matches("Boot0001").count(), 1);
    }

    #[test]
    fn a_wait_begins_after_the_last_one() {
        let serial = serial("a 1\r\n\r\nb\na 2\n");
        let wait = |text| {
            serial
                .wait(&Fact::from(text), Duration::ZERO)
                .map(|line| line.text)
        };
        assert_eq!(wait("a").unwrap(), "a 1");
        assert_eq!(wait("a").unwrap(), "a 2");
        serial.shared.lock().next = 0;
        serial.skip();
        let error = wait("b").unwrap_err().to_string();
        assert!(
            error.contains("went off") && error.contains("a 2"),
            "{error}"
        );
    }

    #[test]
    fn painting_is_not_text() {
        assert_eq!(
            plain("\u{1b}[2J\u{1b}[01;01H\u{1b}(BBdsDxe: \u{1b}[0mstarting "),
            "BdsDxe: starting"
        );
    }
}
