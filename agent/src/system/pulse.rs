//! Ends this process when its loop does not turn any more.
//!
//! The assessment lasts for the whole start of a `Type=oneshot`. systemd enforces `WatchdogSec=` there only from the first
//! `WATCHDOG=1` on, and each `daemon-reload` and `daemon-reexec` ends that until the next one: what hangs by then hangs for
//! ever (252, 257 and 262). And it counts by the clock: where a virtual machine is paused for longer, and goes on, what has
//! stood still with it is ended. So it is not told anything there. Nor is `TimeoutStartSec=` of use, put off again and again
//! with `EXTEND_TIMEOUT_USEC=` (`sd_notify(3)`): each of these two forgets that it was put off, and counts from the start of
//! the unit, so that whoever reloads in the middle of a long assessment would end it. So a thread counts down here, each turn
//! of the loop winds it up, and where it runs out the process ends by `SIGALRM`. A process that waits in a system call ends by
//! that as well, if it can be killed at all.
//!
//! The thread counts in steps: a machine that stood still for an hour, and goes on, has lost one.
//!
//! Only a unit that has `WatchdogSec=` is watched. Everywhere else this does nothing. A loop without an end is that of a
//! service that runs, and systemd is told of each turn as well: if it ends such a one by mistake it starts it again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libsystemd::daemon::{NotifyState, notify, watchdog_enabled};
use nix::sys::signal::{Signal, raise};

use super::running::Running;

/// How often it is wound up at most.
const EVERY: Duration = Duration::from_secs(1);
/// What has gone on for so long hangs, however lively it looks. Longer than the longest assessment (`config.rs`,
/// `Seconds`), shorter than the limits of the unit and of a trial as a whole (the generator's drop-in).
const LONGEST: Duration = Duration::from_mins(30);
/// In so many steps the limit passes.
const STEPS: u32 = 9;

/// Whether systemd is told, in this process: a loop without an end has begun. The loops inside it tell it as well, or it would
/// take a long wait for a hang.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// The pulse of one loop. It beats once a second at most, however fast the loop turns.
#[derive(Debug)]
pub struct Pulse {
    next: Instant,
    /// How long it has gone on. None: it may go on for ever.
    ran: Option<Running>,
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
            ran: Some(Running::since(began)),
        }
    }
}

impl Pulse {
    /// Of a loop that goes on for as long as it is asked to.
    #[must_use]
    pub fn endless() -> Self {
        IS_TOLD.store(true, Ordering::Relaxed);
        Self {
            next: Instant::now(),
            ran: None,
        }
    }

    /// The loop has turned.
    pub fn beat(&mut self) {
        if !self.is_due(Instant::now()) {
            return;
        }
        let Some(limit) = watchdog_enabled(false).filter(|limit| !limit.is_zero()) else {
            return;
        };
        Left::wind_up(limit);
        if !IS_TOLD.load(Ordering::Relaxed) {
            return;
        }
        // Nothing hangs on one of them: the next one comes in time.
        if let Err(error) = notify(false, &[NotifyState::Watchdog]) {
            tracing::debug!("the service manager does not listen: {error}");
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let ran = self.ran.as_ref().map(|ran| ran.look(now).0);
        if now < self.next || ran.is_some_and(|ran| ran >= LONGEST) {
            return false;
        }
        self.next = now + EVERY;
        true
    }
}

/// How many steps are left of the limit.
#[derive(Debug)]
struct Left(AtomicU32);

impl Left {
    const fn whole() -> Self {
        Self(AtomicU32::new(STEPS))
    }

    /// The whole limit is left again. The first time, somebody begins to count.
    fn wind_up(limit: Duration) {
        static LEFT: Left = Left::whole();
        static COUNTS: OnceLock<()> = OnceLock::new();
        LEFT.0.store(STEPS, Ordering::Relaxed);
        COUNTS.get_or_init(|| {
            let count = move || {
                loop {
                    thread::sleep(limit / STEPS);
                    if LEFT.is_over() {
                        // Nothing is said: what the loop hangs in may be what it says something by. systemd names the signal.
                        if raise(Signal::SIGALRM).is_err() {
                            std::process::abort();
                        }
                    }
                }
            };
            let began = thread::Builder::new().name("pulse".to_owned()).spawn(count);
            if let Err(error) = began {
                tracing::warn!("nobody watches whether this goes on: {error}");
            }
        });
    }

    /// A step has passed. Whether it was the last one.
    fn is_over(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) <= 1
    }
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
    fn one_that_stood_still_for_an_hour_goes_on() {
        let began = Instant::now();
        let mut pulse = Pulse::from(began);
        assert!(pulse.is_due(began + Duration::from_mins(29)));
        assert!(pulse.is_due(began + Duration::from_mins(89)));
    }

    #[test]
    fn systemd_hears_of_all_loops_inside_one_that_is_endless() {
        let _outer = Pulse::endless();
        assert!(IS_TOLD.load(Ordering::Relaxed));
    }

    #[test]
    fn one_that_is_endless_goes_on() {
        let began = Instant::now();
        let mut pulse = Pulse::endless();
        assert!(pulse.is_due(began + LONGEST * 50));
    }

    #[test]
    fn the_limit_is_over_with_its_last_step() {
        let left = Left::whole();
        let passed = (1..100).find(|_| left.is_over());
        assert_eq!(passed, Some(STEPS));
    }
}
