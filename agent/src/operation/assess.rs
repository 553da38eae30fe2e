//! Watches until there is a verdict, and records it. Acting on it is for others: a verdict must not get lost in acting. Only
//! where there are no others, because systemd is gone, it is acted upon here.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_entries::Root;

use super::check::Checker;
use super::fall_back::fall_back;
use super::{begin, last_resort};
use crate::activation::firewall;
use crate::assessment::requirements::{Requirements, missing_units};
use crate::assessment::{Observer, Outcome};
use crate::config;
use crate::error::Error;
use crate::host;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::baseline::{Baseline, Surroundings};
use crate::state::cause::{Cause, Stage, UnitFailure};
use crate::state::fault::Fault;
use crate::state::{Subject, WhenUnhealthy};
use crate::store::handover::{Healthy, Snippets, Units};
use crate::system::check::Ended;
use crate::system::pulse::Pulse;
use crate::system::running::Running;
use crate::system::systemd::{self, Systemd, snapshot::Snapshot};
use crate::system::{command_line, surroundings};
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
    // What was waited for others counts as well.
    let clock = Running::since(began);
    let view = &session.view;
    let (Some(boot), Some(subject)) = (view.this_boot(), view.running()) else {
        return Ok(Assessed::NotOurs);
    };
    let (boot, subject) = (boot.id.clone(), subject.clone());
    // Whoever starts multi-user.target anew (`systemctl default`), or sysinit.target where that is not up, has systemd start again
    // what has failed. (A login has not: the job of a target that is up is dropped, with those of what that only wants.) A
    // verdict of this boot is not come to anew.
    if let Some(cause) = session.state().verdict_of_this_boot().cloned() {
        return Ok(Assessed::Unhealthy(subject, cause));
    }
    let baseline = session.state().baseline().cloned();
    let good = session
        .state()
        .last_good()
        .map(|good| good.toplevel.clone());
    // Others may change things while we watch.
    drop(session);
    let config = config::read_or_default(root, &subject.toplevel);
    let left = Units::read(root).map_err(|error| one_line(&error));
    let requirements = Requirements {
        missing_units: missing_units(host::kind(root).ok(), left, &subject.toplevel),
        management_ports: config.firewall.management_ports.clone(),
        changed: changed(root, good.as_deref(), &subject.toplevel, baseline.as_ref()),
        ..Requirements::from(&config.health)
    };
    let target = command_line::target(root).unwrap_or_else(|error| {
        tracing::error!("{}; taking systemd's default target", one_line(&error));
        None
    });
    let mut machine = Machine {
        root,
        ports: requirements.management_ports.clone(),
        checker: Checker::new(root, &subject.toplevel, &config.health.checks),
        systemd: Systemd::watching(&requirements.units, target.as_deref()),
        pulse: Pulse::from(began),
        last_resort: last_resort::Watch::default(),
    };
    let outcome = crate::assessment::assess(&requirements, baseline.as_ref(), &mut machine, &clock);
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
    if cause.faults.contains(&Fault::NoAnswer) {
        act(root);
    }
    Ok(Assessed::Unhealthy(subject, cause))
}

/// Acts upon a verdict that nobody else acts upon: a PID 1 that is dead starts no unit, and not every machine has a watchdog.
/// What is proven stays as it is.
fn act(root: &Root) {
    let asks = |view: View| matches!(view.state.when_unhealthy(), WhenUnhealthy::FallBack { .. });
    if !root.is_live() || !View::read(root).is_ok_and(asks) {
        return;
    }
    if let Err(error) = fall_back(root) {
        tracing::error!("{}", one_line(&error));
    }
}

/// Which units that listened under the last good generation are other ones in `after`: by their files, and what is added to
/// them. One that cannot be read is.
fn changed(
    root: &Root,
    good: Option<&Path>,
    after: &Path,
    baseline: Option<&Baseline>,
) -> BTreeSet<String> {
    let looks = baseline.and_then(|baseline| baseline.looks.as_ref());
    let listened = looks.and_then(|looks| looks.around.listening.as_ref());
    let units = listened
        .into_iter()
        .flatten()
        .filter_map(|one| one.unit.clone());
    units
        .filter(|unit| {
            good.is_none_or(|good| files_of(root, good, unit) != files_of(root, after, unit))
        })
        .collect()
}

/// What a closure says of a unit, in no particular form.
fn files_of(root: &Root, closure: &Path, unit: &str) -> Option<Vec<(PathBuf, Vec<u8>)>> {
    let units = closure.join("etc/systemd/system");
    let mut all = Vec::new();
    if let Ok(text) = root.open(units.join(unit)).and_then(io::read_to_string) {
        all.push((PathBuf::new(), text.into_bytes()));
    }
    let drop_ins = root.resolve(units.join(format!("{unit}.d"))).ok()?;
    for entry in std::fs::read_dir(drop_ins).into_iter().flatten() {
        let path = entry.ok()?.path();
        all.push((path.file_name()?.into(), std::fs::read(&path).ok()?));
    }
    all.sort();
    Some(all)
}

/// systemd, and what activation has left.
struct Machine<'a> {
    root: &'a Root,
    /// Management ports.
    ports: Vec<u16>,
    systemd: Systemd,
    pulse: Pulse,
    last_resort: last_resort::Watch,
    checker: Checker,
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
        snapshot.around = Some(surroundings::glance(&self.ports));
        Ok(snapshot)
    }

    fn look_around(&mut self) -> Option<Surroundings> {
        Some(Surroundings {
            firewall: firewall::digest(self.root),
            ..surroundings::look(&self.ports)
        })
    }

    fn rest(&mut self, at_most: Duration) {
        self.systemd.rest(at_most);
    }

    fn wait(&mut self, at_most: Duration) {
        self.systemd.wait(at_most);
    }

    fn begin(&mut self, name: &str) {
        self.checker.begin(name);
    }

    fn ended(&mut self) -> Vec<(String, Ended)> {
        self.checker.ended()
    }

    fn explain(&mut self, fault: &Fault) -> Option<UnitFailure> {
        self.pulse.beat();
        fault.witness().map(|unit| self.systemd.failure(&unit))
    }
}

fn record(session: &mut Session, subject: &Subject, cause: &Cause) -> Result<(), Error> {
    for event in session.state().found_unwell(subject, cause) {
        session.record(&event)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::baseline::{Listener, Looks};
    use boot_entries::durable;

    #[test]
    fn a_unit_with_other_files_is_another_one() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let put = |path: &str, text: &str| {
            let place = root.join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            durable::put_text(text, &place).unwrap();
        };
        for closure in ["old", "new"] {
            put(&format!("{closure}/etc/systemd/system/same.service"), "x");
            put(
                &format!("{closure}/etc/systemd/system/text.service"),
                closure,
            );
            put(&format!("{closure}/etc/systemd/system/more.service"), "x");
        }
        put("new/etc/systemd/system/more.service.d/a.conf", "y");
        let names = [
            "same.service",
            "text.service",
            "more.service",
            "host.service",
        ];
        let listening = names.iter().zip(1..).map(|(name, port)| Listener {
            port,
            local: false,
            unit: Some((*name).to_owned()),
        });
        let mut looks = Looks::default();
        looks.around.listening = Some(listening.collect());
        let baseline = Baseline {
            looks: Some(looks),
            ..Baseline::default()
        };
        let of = |good| changed(&root, good, Path::new("/new"), Some(&baseline));
        let found = of(Some(Path::new("/old")));
        let wanted = ["more.service", "text.service"].map(str::to_owned);
        assert_eq!(found, wanted.into());
        assert_eq!(of(None).len(), 4, "nobody knows what they were");
    }
}
