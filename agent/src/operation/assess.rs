//! Watches until there is a verdict, and records it. Acting on it is for others: a verdict must not get lost in acting.

use std::time::{Duration, Instant};

use boot_entries::Root;

use super::{begin, last_resort};
use crate::assessment::requirements::{Requirements, missing_units};
use crate::assessment::{Monotonic, Observer, Outcome};
use crate::config;
use crate::error::Error;
use crate::host;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::Subject;
use crate::state::cause::{Cause, Stage, UnitFailure};
use crate::state::fault::Fault;
use crate::store::handover::{Healthy, Snippets, Units};
use crate::system::command_line;
use crate::system::pulse::Pulse;
use crate::system::systemd::{self, Systemd, snapshot::Snapshot};
use crate::view::View;

/// How an assessment ended.
#[derive(Debug)]
pub enum Assessed {
    /// This boot is no generation's.
    NotOurs,
    /// It is healthy; the blessing is to follow.
    Healthy(Subject),
    /// It is not, or nobody could tell. This is on record, if it could be written.
    Unhealthy(Subject, Cause),
}

/// Assesses the running generation.
///
/// # Errors
/// When the machine cannot be read, or a healthy verdict cannot be left for the blessing.
pub fn assess(root: &Root) -> Result<Assessed, Error> {
    let began = Instant::now();
    let session = begin::session(root)?;
    let view = &session.view;
    let (Some(boot), Some(subject)) = (view.this_boot(), view.running()) else {
        return Ok(Assessed::NotOurs);
    };
    let (boot, subject) = (boot.id.clone(), subject.clone());
    let baseline = session.state().baseline().cloned();
    // Others may change things while we watch.
    drop(session);
    let health = config::read_or_default(root, &subject.toplevel).health;
    let left = Units::read(root).map_err(|error| one_line(&error));
    let requirements = Requirements {
        missing_units: missing_units(host::kind(root).ok(), left, &subject.toplevel),
        ..Requirements::from(&health)
    };
    let target = command_line::target(root).unwrap_or_else(|error| {
        tracing::error!("{}; taking systemd's default target", one_line(&error));
        None
    });
    let mut machine = Machine {
        root,
        systemd: Systemd::watching(&requirements.units, target.as_deref()),
        pulse: Pulse::from(began),
        last_resort: last_resort::Watch::default(),
    };
    let outcome = crate::assessment::assess(
        &requirements,
        baseline.as_ref(),
        &mut machine,
        &mut Monotonic { began },
    );
    let cause = match outcome {
        Outcome::Healthy(baseline) => {
            Healthy { boot, baseline }.leave(root)?;
            return Ok(Assessed::Healthy(subject));
        }
        Outcome::Unhealthy(cause) => cause,
        Outcome::Unknown(why) => {
            let stage = View::read(root)?.this_boot().map(|boot| boot.stage);
            let fault = Fault::NoAnswer;
            let summary = format!("{fault}: {why}");
            Cause::new(stage.unwrap_or(Stage::Begun), summary, fault)
        }
    };
    // What was seen is told even where it cannot be recorded. The step fails either way.
    let recorded =
        begin::session(root).and_then(|mut session| record(&mut session, &subject, &cause));
    if let Err(error) = recorded {
        tracing::error!("cannot record the verdict: {}", one_line(&error));
    }
    Ok(Assessed::Unhealthy(subject, cause))
}

/// systemd, and what activation has left.
struct Machine<'a> {
    root: &'a Root,
    systemd: Systemd,
    pulse: Pulse,
    last_resort: last_resort::Watch,
}

impl Observer for Machine<'_> {
    fn snapshot(&mut self) -> Result<Snapshot, systemd::Error> {
        // Each turn of the assessment's loop takes a look. Not what happens within one: that may be what hangs.
        self.pulse.beat();
        self.last_resort.turn(self.root);
        let mut snapshot = self.systemd.snapshot()?;
        match Snippets::read(self.root) {
            Ok(left) => snapshot.failed_snippets = left.unwrap_or_default().0,
            // The agent's own trouble says nothing of the generation.
            Err(error) => tracing::error!("{}", one_line(&error)),
        }
        Ok(snapshot)
    }

    fn wait(&mut self, at_most: Duration) {
        self.systemd.wait(at_most);
    }

    fn explain(&mut self, fault: &Fault) -> Option<UnitFailure> {
        self.pulse.beat();
        fault.unit().map(|unit| self.systemd.failure(unit))
    }
}

fn record(session: &mut Session, subject: &Subject, cause: &Cause) -> Result<(), Error> {
    for event in session.state().found_unwell(subject, cause) {
        session.record(&event)?;
    }
    Ok(())
}
