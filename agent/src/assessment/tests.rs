//! The loop, with a machine and a clock made of data.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::state::cause::Stage;
use crate::system::manager;
use crate::system::systemd::snapshot::{Active, Unit};

/// Time that passes only when somebody lets it.
struct Paused(Rc<Cell<Duration>>);

impl Clock for Paused {
    fn elapsed(&self) -> Duration {
        self.0.get()
    }
}

/// A machine that is always the same, and takes its time to answer.
struct Still {
    state: Option<Active>,
    takes: Duration,
    /// It tells something all the time.
    talks: bool,
    now: Rc<Cell<Duration>>,
    looks: u32,
}

impl Observer for Still {
    fn snapshot(&mut self) -> Result<Snapshot, systemd::Error> {
        self.looks += 1;
        self.now.set(self.now.get() + self.takes);
        let Some(active) = self.state.clone() else {
            return Err(systemd::Error::Ask(manager::Error::Broken { doing: "it" }));
        };
        let unit = Unit {
            active,
            ..Unit::default()
        };
        let mut snapshot = Snapshot::default();
        snapshot.units.insert("nginx.service".to_owned(), unit);
        Ok(snapshot)
    }

    fn rest(&mut self, at_most: Duration) {
        self.now.set(self.now.get() + at_most);
    }

    fn wait(&mut self, at_most: Duration) {
        if !self.talks {
            self.now.set(self.now.get() + at_most);
        }
    }

    fn look_around(&mut self) -> Option<Surroundings> {
        None
    }

    fn begin(&mut self, _: &str) {}

    fn ended(&mut self) -> Vec<(String, Ended)> {
        Vec::new()
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

fn assessed(state: Option<Active>, takes: Duration, talks: bool) -> (Outcome, u32, Duration) {
    let now = Rc::new(Cell::new(Duration::from_secs(2)));
    let mut machine = Still {
        state,
        takes,
        talks,
        now: Rc::clone(&now),
        looks: 0,
    };
    let requirements = Requirements {
        wanted: Vec::new(),
        missing_units: None,
        management_ports: Vec::new(),
        changed: std::collections::BTreeSet::new(),
        checks: Vec::new(),
        units: vec!["nginx.service".to_owned()],
        settle: Duration::from_secs(10),
        deadline: Duration::from_mins(1),
    };
    let outcome = assess(&requirements, None, &mut machine, &Paused(Rc::clone(&now)));
    (outcome, machine.looks, now.get())
}

#[test]
fn a_healthy_machine_gives_its_baseline() {
    let (outcome, _, ended) = assessed(Some(Active::Active), Duration::ZERO, true);
    assert_eq!(outcome, Outcome::Healthy(Baseline::default()));
    assert_eq!(ended, Duration::from_secs(12));
}

#[test]
fn an_unhealthy_one_gives_the_cause_with_the_units_own_words() {
    let (outcome, ..) = assessed(Some(Active::Failed), Duration::ZERO, true);
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
    let (outcome, _, ended) = assessed(None, Duration::from_secs(10), false);
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert!(ended < Duration::from_secs(60 + 10 + 5), "{ended:?}");
}

#[test]
fn a_slow_machine_is_asked_less_often() {
    let (_, looks, ended) = assessed(
        Some(Active::Changing("activating".to_owned())),
        Duration::from_millis(400),
        true,
    );
    assert_eq!(u64::from(looks), 1 + (ended.as_secs() - 2) / 2, "every 2 s");
}

#[test]
fn a_machine_that_tells_nothing_is_looked_at_when_something_may_follow() {
    let (outcome, looks, ended) = assessed(Some(Active::Active), Duration::ZERO, false);
    assert_eq!(outcome, Outcome::Healthy(Baseline::default()));
    // At 2 s, after a heartbeat, and when it has settled.
    assert_eq!((looks, ended), (3, Duration::from_secs(12)));

    let (outcome, looks, ended) = assessed(Some(Active::Failed), Duration::ZERO, false);
    assert!(matches!(outcome, Outcome::Unhealthy(_)), "{outcome:?}");
    assert_eq!(
        (looks, ended),
        (2, Duration::from_secs(2) + verdict::MOMENT)
    );

    let never = Active::Changing("activating".to_owned());
    let (_, _, ended) = assessed(Some(never), Duration::ZERO, false);
    assert_eq!(ended, Duration::from_mins(1));
}
