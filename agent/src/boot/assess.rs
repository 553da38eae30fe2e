//! Watches until there is a verdict, and records it. Acting on it is for others: a verdict must not get lost in acting.

use std::time::Instant;

use boot_entries::Root;

use super::bless::Healthy;
use crate::assessment::baseline::Requirements;
use crate::assessment::manager::Systemd;
use crate::assessment::{Monotonic, Outcome, assess};
use crate::config;
use crate::error::Error;
use crate::machine::{Event, Reaction, Verdict};
use crate::session::Session;
use crate::view::View;

pub(super) fn run(root: &Root) -> Result<(), Error> {
    let began = Instant::now();
    let view = View::read(root)?;
    let (Some(boot), Some(subject)) = (&view.state.boot, view.state.running()) else {
        return Err(Error::Refused(
            "there is no generation to assess: this boot has not begun".to_owned(),
        ));
    };
    let health = config::read_or_default(root, &subject.toplevel).health;
    let requirements = Requirements::from(&health);
    let mut systemd = Systemd::watching(&requirements.units);
    let outcome = assess(
        &requirements,
        view.state.baseline(),
        &mut systemd,
        &mut Monotonic { began },
    );
    let id = &subject.generation;
    match outcome {
        Outcome::Healthy(baseline) => {
            let boot = boot.id.clone();
            Healthy { boot, baseline }.leave(root)?;
            tracing::info!("healthy: generation {id}");
            Ok(())
        }
        Outcome::Unhealthy(cause) => {
            let mut session = Session::open(root)?;
            let summary = cause.summary.clone();
            let subject = subject.clone();
            match session.state.reaction(Verdict::Unhealthy) {
                Reaction::FallBack { .. } => {
                    tracing::error!("rejected: generation {id}: {summary}");
                    session.record(&Event::Rejected { subject, cause })?;
                }
                Reaction::StayUp(why) => {
                    tracing::error!("degraded: generation {id}: {summary}; it stays up: {why}");
                    session.record(&Event::Degraded { subject, cause })?;
                }
                Reaction::Bless(_) => {}
            }
            Err(Error::Refused(format!(
                "generation {id} is not healthy: {summary}"
            )))
        }
        Outcome::Unknown(why) => Err(Error::Refused(format!(
            "generation {id} could not be assessed: {why}"
        ))),
    }
}
