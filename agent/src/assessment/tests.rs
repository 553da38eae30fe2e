//! The loop, with a machine and a clock made of data.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::state::cause::Stage;
use crate::system::program;
use crate::system::systemd::snapshot::{Active, Unit};

/// Time that passes only when somebody lets it.
struct Paused(Rc<Cell<Duration>>);

impl Clock for Paused {
    fn elapsed(&self) -> Duration {
        self.0.get()
    }

    fn pause(&mut self, length: Duration) {
        self.0.set(self.0.get() + length);
    }
}

/// A machine that is always the same, and takes its time to answer.
struct Still {
    state: Option<Active>,
    takes: Duration,
    now: Rc<Cell<Duration>>,
    looks: u32,
}

impl Observer for Still {
    fn snapshot(&mut self) -> Result<Snapshot, systemd::Error> {
        self.looks += 1;
        self.now.set(self.now.get() + self.takes);
        let Some(active) = self.state.clone() else {
            return Err(systemd::Error::Ask(program::Error::Run {
                program: "systemctl".to_owned(),
                source: std::io::ErrorKind::NotFound.into(),
            }));
        };
        let unit = Unit {
            active,
            ..Unit::default()
        };
        let mut snapshot = Snapshot::default();
        snapshot.units.insert("nginx.service".to_owned(), unit);
        Ok(snapshot)
    }

    fn explain(&mut self, fault: &Fault) -> Option<UnitFailure> {
        Some(UnitFailure {
            unit: fault.unit()?.to_owned(),
            result: "exit-code".to_owned(),
            exit_status: Some(1),
            log: Vec::new(),
        })
    }
}

fn assessed(state: Option<Active>, takes: Duration) -> (Outcome, u32, Duration) {
    let now = Rc::new(Cell::new(Duration::from_secs(2)));
    let mut machine = Still {
        state,
        takes,
        now: Rc::clone(&now),
        looks: 0,
    };
    let requirements = Requirements {
        wanted: Vec::new(),
        missing_units: None,
        units: vec!["nginx.service".to_owned()],
        settle: Duration::from_secs(10),
        deadline: Duration::from_mins(1),
    };
    let outcome = assess(
        &requirements,
        None,
        &mut machine,
        &mut Paused(Rc::clone(&now)),
    );
    (outcome, machine.looks, now.get())
}

#[test]
fn a_healthy_machine_gives_its_baseline() {
    let (outcome, _, ended) = assessed(Some(Active::Active), Duration::ZERO);
    assert_eq!(outcome, Outcome::Healthy(Baseline::default()));
    assert_eq!(ended, Duration::from_secs(12));
}

#[test]
fn an_unhealthy_one_gives_the_cause_with_the_units_own_words() {
    let (outcome, ..) = assessed(Some(Active::Failed), Duration::ZERO);
    let Outcome::Unhealthy(cause) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(cause.stage, Stage::Firewalled);
    assert_eq!(cause.summary, "required nginx.service failed");
    assert_eq!(cause.units.first().unwrap().exit_status, Some(1));
    assert_eq!(cause.faults, [Fault::of_unit("nginx.service")]);
}

#[test]
fn a_machine_that_does_not_answer_ends_at_the_deadline_too() {
    let (outcome, _, ended) = assessed(None, Duration::from_secs(10));
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert!(ended < Duration::from_secs(60 + 10 + 5), "{ended:?}");
}

#[test]
fn a_slow_machine_is_asked_less_often() {
    let (_, looks, ended) = assessed(
        Some(Active::Changing("activating".to_owned())),
        Duration::from_millis(400),
    );
    assert_eq!(u64::from(looks), 1 + (ended.as_secs() - 2) / 2, "every 2 s");
}
