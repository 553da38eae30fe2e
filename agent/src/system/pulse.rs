//! Tells the service manager that a loop still turns.
//!
//! systemd does not enforce `WatchdogSec=` while a `Type=oneshot` starts (252, 257 and 262), and the assessment lasts for the
//! whole start. What it does enforce is `TimeoutStartSec=`, which a service puts off with `EXTEND_TIMEOUT_USEC=`
//! (`sd_notify(3)`). So the unit has a short limit, and each turn of a loop puts it off by what `WatchdogSec=` says. When
//! the loop hangs, nobody does: no thread of its own may go on here.
//!
//! Only a unit that has `WatchdogSec=` and `NotifyAccess=` is told anything. Everywhere else this does nothing.

use std::time::{Duration, Instant};

use libsystemd::daemon::{NotifyState, notify, watchdog_enabled};

/// How often it is told at most.
const EVERY: Duration = Duration::from_secs(1);
/// What has gone on for so long hangs, however lively it looks. Longer than the longest assessment (`config.rs`,
/// `Seconds`), shorter than the limit that a trial has as a whole (the generator's drop-in).
const LONGEST: Duration = Duration::from_mins(30);

/// The pulse of one loop. It says something once a second at most, however fast the loop turns.
#[derive(Debug)]
pub struct Pulse {
    next: Instant,
    /// None: it may go on for ever.
    end: Option<Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self::from(Instant::now())
    }
}

impl From<Instant> for Pulse {
    /// Of a loop that began at that time.
    fn from(began: Instant) -> Self {
        Self {
            next: began,
            end: Some(began + LONGEST),
        }
    }
}

impl Pulse {
    /// Of a loop that goes on for as long as it is asked to.
    #[must_use]
    pub fn endless() -> Self {
        Self {
            next: Instant::now(),
            end: None,
        }
    }

    /// The loop has turned.
    pub fn beat(&mut self) {
        if !self.is_due(Instant::now()) {
            return;
        }
        let Some(words) = watchdog_enabled(false).and_then(words) else {
            return;
        };
        // Nothing hangs on one of them: the next one comes in time.
        if let Err(error) = notify(false, &words) {
            tracing::debug!("the service manager does not listen: {error}");
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        if now < self.next || self.end.is_some_and(|end| now >= end) {
            return false;
        }
        self.next = now + EVERY;
        true
    }
}

/// What is said to a manager that wants to hear something every `limit`. Both words: one that enforces `WatchdogSec=`
/// earlier than those known is content as well.
fn words(limit: Duration) -> Option<[NotifyState; 2]> {
    let micros = u64::try_from(limit.as_micros())
        .ok()
        .filter(|micros| *micros > 0)?;
    let longer = NotifyState::Other(format!("EXTEND_TIMEOUT_USEC={micros}"));
    Some([NotifyState::Watchdog, longer])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_turns_is_told_now_and_then_and_not_for_ever() {
        let began = Instant::now();
        let mut pulse = Pulse::from(began);
        let mut told = Vec::new();
        for half in 0..2 * 40 * 60 {
            if pulse.is_due(began + Duration::from_millis(half * 500)) {
                told.push(half / 2);
            }
        }
        assert_eq!(told.get(..3), Some([0, 1, 2].as_slice()));
        assert_eq!(told.last(), Some(&(30 * 60 - 1)));
    }

    #[test]
    fn one_that_is_endless_goes_on() {
        let began = Instant::now();
        let mut pulse = Pulse::endless();
        assert!(pulse.is_due(began + LONGEST * 50));
    }

    #[test]
    fn the_limit_is_put_off_by_what_the_unit_says() {
        let said = words(Duration::from_secs(90))
            .unwrap()
            .map(|word| word.to_string());
        assert_eq!(said, ["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=90000000"]);
        assert!(words(Duration::ZERO).is_none());
    }
}
