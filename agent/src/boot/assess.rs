//! Watches until there is a verdict, and records it. Acting on it is for others: a verdict must not get lost in acting.

use std::time::Instant;

use boot_entries::Root;

use super::attempt;
use super::bless::Healthy;
use crate::assessment::requirements::Requirements;
use crate::assessment::{Monotonic, Outcome, assess};
use crate::config;
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::cause::{Cause, Stage};
use crate::state::fault::Fault;
use crate::state::{Event, Subject, WhenUnhealthy};
use crate::system::systemd::Systemd;
use crate::view::View;

pub(super) fn run(root: &Root) -> Result<(), Error> {
    let began = Instant::now();
    let session = attempt::session(root)?;
    let (Some(boot), Some(subject)) = (session.this_boot(), session.running()) else {
        tracing::info!("nothing to assess: this boot is no generation's");
        return Ok(());
    };
    let (boot, subject) = (boot.id.clone(), subject.clone());
    let baseline = session.state.baseline().cloned();
    // Others may change things while we watch.
    drop(session);
    let health = config::read_or_default(root, &subject.toplevel).health;
    let requirements = Requirements::from(&health);
    let mut systemd = Systemd::watching(&requirements.units);
    let outcome = assess(
        &requirements,
        baseline.as_ref(),
        &mut systemd,
        &mut Monotonic { began },
    );
    let cause = match outcome {
        Outcome::Healthy(baseline) => {
            Healthy { boot, baseline }.leave(root)?;
            tracing::info!("healthy: generation {}", subject.generation);
            return Ok(());
        }
        Outcome::Unhealthy(cause) => cause,
        Outcome::Unknown(why) => {
            let stage = View::read(root)?.this_boot().map(|boot| boot.stage);
            let fault = Fault::NoAnswer;
            let summary = format!("{fault}: {why}");
            Cause::new(stage.unwrap_or(Stage::Begun), summary, fault)
        }
    };
    let summary = cause.summary.clone();
    // What was seen is told even where it cannot be recorded. The step fails either way.
    let recorded = attempt::session(root).and_then(|mut s| record(&mut s, &subject, cause));
    if let Err(error) = recorded {
        tracing::error!("cannot record the verdict: {}", one_line(&error));
    }
    Err(Error::Refused(format!(
        "generation {} is not healthy: {summary}",
        subject.generation
    )))
}

fn record(session: &mut Session, subject: &Subject, cause: Cause) -> Result<(), Error> {
    let subject = subject.clone();
    match session.state.when_unhealthy() {
        WhenUnhealthy::FallBack { .. } => session.record(&Event::Rejected { subject, cause }),
        WhenUnhealthy::StayUp(_) => {
            if let Some(excused) = session.state.excused_by(&cause) {
                session.record(&Event::Excused { subject: excused })?;
            }
            session.record(&Event::Degraded { subject, cause })
        }
    }
}
