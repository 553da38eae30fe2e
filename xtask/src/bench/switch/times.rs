//! Times in turns, and the table they are printed in.

use std::time::Duration;

use anyhow::Result;

/// How long each took.
#[derive(Debug, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(super) fn median(&self) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied()
    }

    fn least(&self) -> Option<Duration> {
        self.0.iter().min().copied()
    }
}

/// The two programs' times of one case.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) ours: Times,
    pub(super) peers: Times,
}

impl Pair {
    /// The line above all others.
    pub(super) fn header() -> String {
        format!(
            "{:36}  {:>17}  {:>17}  {:>6}",
            "", "lastgood, ms", "the peer, ms", "ratio"
        )
    }

    /// The same, with ours so much sooner.
    pub(super) fn sooner(&self, by: Duration) -> Self {
        let ours = self.ours.0.iter().map(|took| took.saturating_sub(by));
        Self {
            ours: Times(ours.collect()),
            peers: Times(self.peers.0.clone()),
        }
    }

    /// A line under [`Self::header`]: medians, and the least of each.
    pub(super) fn line(&self, case: &str) -> String {
        let both = |times: &Times| match (times.median(), times.least()) {
            (Some(median), Some(least)) => format!("{:.1} ({:.1})", ms(median), ms(least)),
            _ => "-".to_owned(),
        };
        let ratio = match (self.ours.median(), self.peers.median()) {
            (Some(ours), Some(peers)) => format!("{:.1}", peers.as_secs_f64() / ours.as_secs_f64()),
            _ => "-".to_owned(),
        };
        format!(
            "{case:36}  {:>17}  {:>17}  {ratio:>6}",
            both(&self.ours),
            both(&self.peers)
        )
    }
}

/// Times `work` so many times.
pub(super) fn timed(times: usize, mut work: impl FnMut() -> Result<Duration>) -> Result<Times> {
    let mut all = Times::default();
    for _ in 0..times {
        all.add(work()?);
    }
    Ok(all)
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
