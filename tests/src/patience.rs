//! How long something is waited for.
//!
//! The machine that the tests run on may stand still, as a virtual machine does that is paused or copied: for minutes, while
//! its clock goes on. What is waited for stood still as well, so that time does not count.

use std::time::{Duration, Instant};

/// Between two looks no more than this passes, by what the clock says more the machine stood still. A look itself may take
/// seconds.
const LONGEST: Duration = Duration::from_secs(20);

/// What is left of it.
#[derive(Debug)]
pub struct Patience {
    left: Duration,
    looked: Instant,
}

impl Patience {
    /// So much of it.
    #[must_use]
    pub fn of(whole: Duration) -> Self {
        Self {
            left: whole,
            looked: Instant::now(),
        }
    }

    /// What is left now.
    pub fn left(&mut self) -> Duration {
        self.left_at(Instant::now())
    }

    /// Whether nothing is.
    pub fn is_over(&mut self) -> bool {
        self.left().is_zero()
    }

    fn left_at(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.looked);
        self.left = self.left.saturating_sub(passed.min(LONGEST));
        self.looked = now;
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_which_the_machine_stood_still_does_not_count() {
        let mut patience = Patience::of(Duration::from_mins(1));
        let mut now = patience.looked;
        let mut left = |passed| {
            now += Duration::from_secs(passed);
            patience.left_at(now).as_secs()
        };
        assert_eq!([left(10), left(0), left(600), left(29)], [50, 50, 30, 10]);
        assert_eq!([left(9), left(2), left(2)], [1, 0, 0]);
    }
}
