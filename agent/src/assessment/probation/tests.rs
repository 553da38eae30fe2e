//! Budgets, and what counts for them.

use super::*;
use crate::state::baseline::Looks;
use crate::system::systemd::snapshot::Active;

const BUDGET: Budget = Budget {
    lasts: Duration::from_mins(1),
    restarts: 2,
};

fn requirements() -> Requirements {
    Requirements {
        checks: Vec::new(),
        units: vec!["web.service".to_owned()],
        wanted: vec!["extra.service".to_owned()],
        management_ports: Vec::new(),
        changed: std::collections::BTreeSet::new(),
        missing_units: None,
        settle: Duration::from_secs(1),
        deadline: Duration::from_secs(10),
    }
}

fn baseline() -> Baseline {
    Baseline {
        failing: [Fault::of_unit("known.service")].into(),
        looks: Some(Looks {
            up: ["db.service", "extra.service"].map(str::to_owned).into(),
            ..Looks::default()
        }),
    }
}

fn seen(name: &str, unit: Unit) -> Snapshot {
    let boot = [
        "db.service",
        "new.service",
        "extra.service",
        "known.service",
    ];
    Snapshot {
        boot: Some(boot.map(str::to_owned).into()),
        units: [(name.to_owned(), unit)].into(),
        ..Snapshot::default()
    }
}

fn running(restarts: u32) -> Unit {
    Unit {
        active: Active::Active,
        sub: "running".to_owned(),
        restarts,
        ..Unit::default()
    }
}

fn failed() -> Unit {
    Unit {
        active: Active::Failed,
        sub: "failed".to_owned(),
        ended: Ended::Badly,
        ..Unit::default()
    }
}

/// Looks every second until there is an end, and says when that was.
fn ends(name: &str, at: impl Fn(u64) -> Unit) -> (u64, Conduct) {
    let (requirements, baseline) = (requirements(), baseline());
    let mut probation = Probation::new(BUDGET, &requirements, &baseline);
    let mut looks = (0..=60).map(|second| {
        let snapshot = seen(name, at(second));
        (
            second,
            probation.observe(Duration::from_secs(second), &snapshot),
        )
    });
    let end = looks.find(|(_, conduct)| *conduct != Conduct::Watched);
    end.unwrap_or((99, Conduct::Watched))
}

fn breached(name: &str, end: &(u64, Conduct)) -> Option<u64> {
    match &end.1 {
        Conduct::Breached { faults, .. } => {
            assert_eq!(*faults, [Fault::of_unit(name)]);
            Some(end.0)
        }
        Conduct::Passed => None,
        Conduct::Watched => panic!("it does not end"),
    }
}

#[test]
fn restarts_beyond_the_budget_are_a_breach() {
    // One in ten seconds; it had seven before.
    let flaps = |second: u64| running(7 + u32::try_from(second / 10).unwrap());
    for (name, when) in [
        ("db.service", Some(30)),
        ("web.service", Some(30)),
        ("new.service", Some(30)),
        ("extra.service", None),
        ("known.service", None),
        ("outside.service", None),
    ] {
        assert_eq!(breached(name, &ends(name, flaps)), when, "{name}");
    }
    let few = |second: u64| running(u32::try_from(second / 25).unwrap());
    assert_eq!(ends("db.service", few), (60, Conduct::Passed));
}

#[test]
fn a_failure_of_what_was_up_is_a_breach() {
    let fails = |second: u64| if second < 20 { running(0) } else { failed() };
    for (name, when) in [
        ("db.service", Some(22)),
        ("web.service", Some(22)),
        // It was not up when the generation was proven.
        ("new.service", None),
        ("extra.service", None),
        ("known.service", None),
        ("outside.service", None),
    ] {
        assert_eq!(breached(name, &ends(name, fails)), when, "{name}");
    }
    let blips = |second: u64| {
        if second.is_multiple_of(2) {
            running(0)
        } else {
            failed()
        }
    };
    assert_eq!(ends("db.service", blips), (60, Conduct::Passed));
}

#[test]
fn what_is_restarted_on_purpose_or_by_hand_is_no_breach() {
    let on_purpose = |second: u64| Unit {
        active: Active::Changing("activating".to_owned()),
        sub: "auto-restart".to_owned(),
        ended: Ended::Cleanly,
        restarts: u32::try_from(second).unwrap(),
        ..Unit::default()
    };
    assert_eq!(ends("db.service", on_purpose), (60, Conduct::Passed));
    // Each restart by hand sets systemd's count back to none.
    let by_hand = |second: u64| running(u32::from(second == 10) * 2);
    assert_eq!(ends("db.service", by_hand), (60, Conduct::Passed));
}

#[test]
fn what_breaches_is_said_with_the_time_it_took() {
    let Conduct::Breached { summary, .. } = ends("db.service", |_| failed()).1 else {
        panic!("no breach")
    };
    assert_eq!(summary, "2 s after it was proven: db.service failed");
}
