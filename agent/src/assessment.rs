//! Watches the machine until it is proven healthy or proven not, and says why.
//!
//! Read in this order: [`requirements`] (what a closure asks for), [`complaint`] (what is wrong with one snapshot),
//! [`check`] (when declared checks are run, and whether they hold), [`verdict`] (what follows from it, and when).
//! [`probation`] is what follows after a good verdict.

pub mod check;
pub mod complaint;
pub mod probation;
pub mod requirements;
pub mod verdict;

use std::time::{Duration, Instant};

use crate::state::baseline::{Baseline, Surroundings};
use crate::state::cause::{Cause, UnitFailure};
use crate::state::fault::Fault;
use crate::system::check::Ended;
use crate::system::running::Running;
use crate::system::systemd::{self, snapshot::Snapshot};
use requirements::Requirements;
use verdict::{Judgement, Watch};

/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// The most, however slow the machine is. When a verdict is near it is the least as well: few looks are left.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long nothing is looked at when nothing is told: not everything is (what activation has left is not), and what was
/// missed is seen then.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Looking takes at most one part in this many of a machine that is busy booting.
const SHARE: u32 = 5;
/// So many faults are explained; a machine with more is not understood by reading all.
const EXPLAINED: usize = 10;

/// Who looks at the machine.
pub trait Observer {
    /// What it is like now.
    ///
    /// # Errors
    /// When systemd does not answer.
    fn snapshot(&mut self) -> Result<Snapshot, systemd::Error>;

    /// Lets so much time go by. It ends sooner where something that is required has come to nothing.
    fn rest(&mut self, at_most: Duration);

    /// Waits until it may have changed, or for so long.
    fn wait(&mut self, at_most: Duration);

    /// What is around the units, once and thoroughly: for the baseline. None: nobody can say.
    fn look_around(&mut self) -> Option<Surroundings>;

    /// Begins a run of the check `name`, and does not wait for it.
    fn begin(&mut self, name: &str);

    /// The runs that have ended since this was asked last.
    fn ended(&mut self) -> Vec<(String, Ended)>;

    /// What is known about a fault beyond its name. None: nothing. What cannot be found out about a unit is left out or
    /// said in its log.
    fn explain(&mut self, fault: &Fault) -> Option<UnitFailure>;
}

/// Time, as far as an assessment needs it.
pub trait Clock {
    /// Since the agent began: what the deadline counts from.
    fn elapsed(&self) -> Duration;
}

impl Clock for Running {
    fn elapsed(&self) -> Duration {
        let (counted, left_out) = self.look(Instant::now());
        if !left_out.is_zero() {
            tracing::warn!(
                "{} s passed at once and do not count: the machine stood still, or answered no sooner",
                left_out.as_secs()
            );
        }
        counted
    }
}

/// How an assessment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The generation works; this is what the next one will be compared with.
    Healthy(Baseline),
    /// It does not.
    Unhealthy(Cause),
    /// The machine could not be seen until the deadline. Says nothing about the generation: a proven one must not be
    /// rebooted for it, a trial has not been proven by it.
    Unknown(String),
}

/// Watches until there is an outcome: at the latest one `settle` after the deadline, and as long as one look may take.
pub fn assess(
    requirements: &Requirements,
    baseline: Option<&Baseline>,
    observer: &mut impl Observer,
    clock: &impl Clock,
) -> Outcome {
    let mut watch = Watch::new(requirements, baseline);
    let mut told = String::new();
    loop {
        let began = clock.elapsed();
        // Before the look: whatever made a run fail is seen in it.
        for (name, ended) in observer.ended() {
            tell(&name, &ended);
            watch.ended(name, ended);
        }
        let seen = observer.snapshot().map_err(|error| error.to_string());
        let at = clock.elapsed();
        match watch.observe(at, seen.as_ref().map_err(String::as_str)) {
            Judgement::Wait { why } => {
                if why != told {
                    tracing::info!("waiting: {why}");
                    told = why;
                }
            }
            Judgement::Healthy { mut baseline } => {
                if let Some((looks, around)) = baseline.looks.as_mut().zip(observer.look_around()) {
                    looks.around = around;
                }
                return healthy(baseline);
            }
            Judgement::Unhealthy {
                summary,
                faults,
                stage,
            } => {
                let explained = faults.iter().take(EXPLAINED);
                return Outcome::Unhealthy(Cause {
                    stage,
                    summary,
                    units: explained.filter_map(|one| observer.explain(one)).collect(),
                    faults,
                });
            }
            Judgement::Unknown { why } => return Outcome::Unknown(why),
        }
        for name in watch.due(at) {
            observer.begin(name);
            watch.begun(name, at);
        }
        let pause = at.saturating_sub(began).saturating_mul(SHARE - 1);
        let longest = if watch.is_near() {
            PAUSE
        } else {
            LONGEST_PAUSE
        };
        observer.rest(pause.clamp(PAUSE, longest));
        let next = watch.next(at).min(at + HEARTBEAT);
        observer.wait(next.saturating_sub(clock.elapsed()));
    }
}

/// Each run that did not pass is in the journal, whatever becomes of the check.
fn tell(name: &str, ended: &Ended) {
    match ended {
        Ended::Passed => tracing::debug!("check {name} passed"),
        Ended::Failed(failure) => tracing::info!("check {name} failed: {failure}"),
        Ended::Lost(why) => tracing::info!("check {name} is run again: {why}"),
    }
}

fn healthy(baseline: Baseline) -> Outcome {
    tracing::info!("healthy");
    for fault in &baseline.failing {
        tracing::warn!(
            "{fault} is not well, but neither required nor known to have ever been better"
        );
    }
    Outcome::Healthy(baseline)
}

#[cfg(test)]
mod tests;
