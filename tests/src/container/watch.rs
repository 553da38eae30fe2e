//! A client at the other end of the cable, who wants a page all the time and notices when there is none.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use super::nspawn::ADDRESS;
use crate::machine::http;

/// Between two glances.
const PAUSE: Duration = Duration::from_millis(2);
/// How long an answer may take. A packet that is lost is sent again after a second, so longer than this would measure
/// the client's own patience.
const PATIENCE: Duration = Duration::from_millis(200);

/// A glance takes no longer. What the clock says more, the client or the whole machine stood still.
const LONGEST: Duration = PATIENCE
    .saturating_mul(2)
    .saturating_add(Duration::from_millis(50));

/// A glance: when it ended, and the page that was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// Since the client began, without the time in which it stood still.
    pub at: Duration,
    /// None: nothing, or no page.
    pub page: Option<String>,
}

/// Looks until [`Self::end`]; dropped, it ends as well.
pub struct Watch {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Glance>>>>,
}

impl Watch {
    pub(super) fn start(world: File, port: u16) -> Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = thread::Builder::new().spawn(move || -> Result<Vec<Glance>> {
            // A network namespace is a thread's.
            setns(world, CloneFlags::CLONE_NEWNET)?;
            let (mut at, mut looked) = (Duration::ZERO, Instant::now());
            let mut glances = Vec::new();
            loop {
                // One more after the end was asked for: the last one may have been too slow.
                let is_last = ended.load(Ordering::Relaxed);
                let page = glance(port);
                let now = Instant::now();
                at += now.saturating_duration_since(looked).min(LONGEST);
                looked = now;
                glances.push(Glance { at, page });
                if is_last {
                    return Ok(glances);
                }
                thread::sleep(PAUSE);
            }
        })?;
        Ok(Self {
            end,
            thread: Some(thread),
        })
    }

    /// Ends the client, and gives what it saw.
    ///
    /// # Errors
    /// When it could not work.
    pub fn end(mut self) -> Result<Vec<Glance>> {
        self.end.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("ended already")?;
        thread
            .join()
            .map_err(|_panic| anyhow!("the client panicked"))?
    }

    /// The longest time without a page: from the end of the last good glance to the end of the next one. None: there was
    /// no page at the beginning, or none at the end.
    #[must_use]
    pub fn longest_gap(glances: &[Glance]) -> Option<Duration> {
        let (first, last) = (glances.first()?, glances.last()?);
        if first.page.is_none() || last.page.is_none() {
            return None;
        }
        let good: Vec<Duration> = glances
            .iter()
            .filter(|glance| glance.page.is_some())
            .map(|glance| glance.at)
            .collect();
        let between = good.iter().zip(good.iter().skip(1));
        Some(
            between
                .map(|(one, next)| next.saturating_sub(*one))
                .max()
                .unwrap_or_default(),
        )
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

fn glance(port: u16) -> Option<String> {
    let to = SocketAddr::from((ADDRESS, port));
    let stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    let page = http::exchange(stream, PATIENCE).ok().flatten()?;
    Some(page.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glances(pages: &[(u64, bool)]) -> Vec<Glance> {
        let glance = |(at, page): &(u64, bool)| Glance {
            at: Duration::from_millis(*at),
            page: page.then(|| "page".to_owned()),
        };
        pages.iter().map(glance).collect()
    }

    #[test]
    fn a_gap_is_from_page_to_page() {
        let seen = glances(&[(1, true), (4, true), (5, false), (9, false), (12, true)]);
        assert_eq!(Watch::longest_gap(&seen), Some(Duration::from_millis(8)));
    }

    #[test]
    fn a_gap_without_an_end_is_none() {
        assert_eq!(Watch::longest_gap(&glances(&[(1, true), (4, false)])), None);
        assert_eq!(Watch::longest_gap(&glances(&[])), None);
    }
}
