//! Work on the way down that may never come to its end: a disk that does not answer keeps whoever asks it, for ever.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::system::pulse::Pulse;

/// What `work` gives. None: it has not come to its end within `limit`, and goes on.
pub(super) fn wait<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        // Nobody may wait for it any more.
        drop(done.send(work()));
    });
    let until = Instant::now() + limit;
    let mut pulse = Pulse::default();
    loop {
        pulse.beat();
        let left = until.saturating_duration_since(Instant::now());
        match is_done.recv_timeout(left.min(TURN)) {
            Ok(given) => return Some(given),
            Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// How long is waited between two beats.
const TURN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_ends_gives_what_it_has_and_work_that_does_not_keeps_nobody() {
        assert_eq!(wait(Duration::from_mins(3), || 1), Some(1));
        let (hold, is_let_go) = mpsc::channel::<()>();
        let hangs = move || is_let_go.recv().is_err();
        assert_eq!(wait(Duration::from_millis(20), hangs), None);
        // Until here it could not end.
        drop(hold);
    }
}
