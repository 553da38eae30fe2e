//! The time in which the machine ran.
//!
//! A virtual machine that is paused, moved or copied stands still, and its monotonic clock may go on meanwhile. What is waited
//! for stood still as well: that time is held against nobody.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Between two looks at the clock no more than this counts. A look at a machine on which nobody answers takes less.
const LONGEST_TURN: Duration = Duration::from_secs(30);

/// Counts it, as often as somebody looks.
#[derive(Debug, Clone)]
pub struct Running {
    counted: Cell<Duration>,
    looked: Cell<Instant>,
}

impl Running {
    /// Since `began`. All that has passed by now counts.
    #[must_use]
    pub fn since(began: Instant) -> Self {
        let now = Instant::now();
        Self {
            counted: Cell::new(now.saturating_duration_since(began)),
            looked: Cell::new(now),
        }
    }

    /// How long it is by now, and what has passed since the last look and does not count.
    #[must_use]
    pub fn look(&self, now: Instant) -> (Duration, Duration) {
        let passed = now.saturating_duration_since(self.looked.replace(now));
        let counts = passed.min(LONGEST_TURN);
        let counted = self.counted.get() + counts;
        self.counted.set(counted);
        (counted, passed.saturating_sub(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_which_the_machine_stood_still_does_not_count() {
        let mut now = Instant::now();
        let clock = Running::since(now);
        let mut passes = |seconds| {
            now += Duration::from_secs(seconds);
            let (counted, left_out) = clock.look(now);
            (counted.as_secs(), left_out.as_secs())
        };
        assert_eq!([passes(10), passes(0)], [(10, 0), (10, 0)]);
        assert_eq!([passes(600), passes(29)], [(40, 570), (69, 0)]);
    }

    #[test]
    fn what_has_passed_before_the_first_look_counts() {
        let began = Instant::now().checked_sub(Duration::from_mins(4));
        let clock = Running::since(began.unwrap());
        assert!(clock.look(Instant::now()).0 >= Duration::from_mins(4));
    }
}
