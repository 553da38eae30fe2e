//! Budgets, and what counts for them.

use super::*;
use crate::state::baseline::Looks;
use crate::system::systemd::snapshot::Active;

const BUDGET: Budget = Budget {
    lasts: Duration::from_mins(1),
    restarts: 2,
    failures: 0,
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
        asked: Some(std::collections::BTreeSet::new()),
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
    let memory = Memory::default();
    let mut probation = Probation::new(BUDGET, &requirements, &baseline, &[], memory);
    let mut looks = (0..=60).map(|second| {
        let snapshot = seen(name, at(second));
        let at = Duration::from_secs(second);
        (second, probation.observe(at, &snapshot, false))
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

/// Looks every second, until there is an end, at what `at` says, in trouble from outside where it says so. Whoever watches
/// is started anew every `life` seconds.
fn lives(budget: Budget, life: u64, at: impl Fn(u64) -> (Snapshot, bool)) -> (u64, Conduct) {
    let (requirements, baseline) = (requirements(), baseline());
    let mut memory = Memory::default();
    for second in 0..=900 {
        let (snapshot, outside) = at(second);
        let mut probation = Probation::new(budget, &requirements, &baseline, &[], memory);
        let conduct = probation.observe(Duration::from_secs(second), &snapshot, outside);
        if conduct != Conduct::Watched {
            return (second, conduct);
        }
        let text = serde_json::to_string(probation.memory()).unwrap();
        let is_end = second % life == life - 1;
        memory = if is_end {
            serde_json::from_str(&text).unwrap()
        } else {
            probation.memory().clone()
        };
    }
    (999, Conduct::Watched)
}

const LONG: Budget = Budget {
    lasts: Duration::from_mins(10),
    ..BUDGET
};

#[test]
fn whoever_watches_may_be_started_anew() {
    let flaps = |second: u64| {
        let count = 7 + u32::try_from(second / 10).unwrap();
        (seen("db.service", running(count)), false)
    };
    for life in [1, 7, 1000] {
        let end = lives(LONG, life, flaps);
        assert_eq!(breached("db.service", &end), Some(30), "{life}");
        let well = lives(LONG, life, |_| (seen("db.service", running(7)), false));
        assert_eq!(well, (600, Conduct::Passed), "{life}");
    }
}

#[test]
fn trouble_from_outside_counts_for_nothing_until_it_is_calm() {
    // From 50 to 200 s the machine has no route, say, and services try again for some time after that.
    let during = lives(LONG, 1000, |second| {
        let count = u32::try_from(second.clamp(50, 300) / 5).unwrap();
        let snapshot = seen("db.service", running(count));
        (snapshot, (50..200).contains(&second))
    });
    assert_eq!(during.1, Conduct::Passed);
    // Who goes on after that is at fault.
    let after = lives(LONG, 1000, |second| {
        let count = u32::try_from(second.saturating_sub(300) / 10).unwrap();
        (
            seen("db.service", running(count)),
            (50..200).contains(&second),
        )
    });
    assert_eq!(breached("db.service", &after), Some(340));
    // What was given up meanwhile, and stays so, is excused. What fails later is not.
    let given_up = |from: u64| {
        lives(LONG, 1000, move |second| {
            let unit = if second < from { running(0) } else { failed() };
            (seen("web.service", unit), (50..200).contains(&second))
        })
    };
    assert_eq!(given_up(100).1, Conduct::Passed);
    assert_eq!(breached("web.service", &given_up(400)), Some(402));
}

#[test]
fn a_required_unit_that_ends_by_itself_and_stays_away_is_a_breach() {
    let gone = || Unit {
        active: Active::Inactive,
        sub: "dead".to_owned(),
        ended: Ended::Cleanly,
        ..Unit::default()
    };
    let ends = |name: &'static str, back: u64, asked: Option<Vec<&'static str>>| {
        lives(LONG, 1000, move |second| {
            let unit = if (20..back).contains(&second) {
                gone()
            } else {
                running(0)
            };
            let asked = asked.clone();
            let asked = asked.map(|all| all.into_iter().map(str::to_owned).collect());
            let snapshot = Snapshot {
                asked,
                ..seen(name, unit)
            };
            (snapshot, false)
        })
    };
    let nobody = || Some(Vec::new());
    let web = "web.service";
    assert_eq!(breached(web, &ends(web, 999, nobody())), Some(80));
    assert_eq!(ends(web, 70, nobody()).1, Conduct::Passed, "it comes back");
    // Somebody has stopped it.
    assert_eq!(ends(web, 999, Some(vec![web])).1, Conduct::Passed);
    // Nobody has listened.
    assert_eq!(ends(web, 999, None).1, Conduct::Passed);
    // It need not be there.
    assert_eq!(ends("db.service", 999, nobody()).1, Conduct::Passed);
}

#[test]
fn as_many_failures_as_the_budget_has_are_none() {
    let all = ["db.service", "cache.service", "web.service"];
    let baseline = Baseline {
        looks: Some(Looks {
            up: all.map(str::to_owned).into(),
            ..Looks::default()
        }),
        ..Baseline::default()
    };
    let requirements = requirements();
    for (failing, failures, expected) in [
        (&all[..1], 0, 1),
        (&all[..1], 1, 0),
        (&all[..2], 1, 2),
        (&all[..2], 2, 0),
        // One that is required may not.
        (&all[2..], 2, 1),
    ] {
        let budget = Budget { failures, ..BUDGET };
        let mut probation =
            Probation::new(budget, &requirements, &baseline, &[], Memory::default());
        let units = failing.iter().map(|name| ((*name).to_owned(), failed()));
        let snapshot = Snapshot {
            units: units.collect(),
            ..Snapshot::default()
        };
        let mut at = |second| probation.observe(Duration::from_secs(second), &snapshot, false);
        assert_eq!(at(0), Conduct::Watched);
        let count = match at(2) {
            Conduct::Breached { faults, .. } => faults.len(),
            _ => 0,
        };
        assert_eq!(count, expected, "{failing:?} {failures}");
    }
}

fn declared(name: &str, wanted: bool, retries: Option<u32>) -> Declared {
    Declared {
        name: name.to_owned(),
        wanted,
        retries,
        interval: Duration::from_secs(2),
        start_delay: Duration::from_secs(5),
    }
}

/// What the checks of a probation do when runs of `failing` fail from `from` on.
fn checked(failing: &str, from: u64, unit: impl Fn(u64) -> Unit) -> (u64, Conduct, u32) {
    let (requirements, baseline) = (requirements(), baseline());
    let all = [
        declared("page", false, None),
        declared("once", false, Some(0)),
        declared("extra", true, None),
        declared("dns", false, Some(1)),
    ];
    let all = checks(&all, |name| name == "dns");
    let mut probation = Probation::new(LONG, &requirements, &baseline, &all, Memory::default());
    let mut runs = 0;
    for second in 0..=900 {
        let at = Duration::from_secs(second);
        let snapshot = Snapshot {
            asked: None,
            ..seen("web.service", unit(second))
        };
        let conduct = probation.observe(at, &snapshot, false);
        if conduct != Conduct::Watched {
            return (second, conduct, runs);
        }
        for name in probation.due(at) {
            probation.begun(name, at);
            runs += u32::from(name == failing);
            let ended = if name == failing && second >= from {
                RunEnded::Failed(crate::system::check::Failure::Status(1))
            } else {
                RunEnded::Passed
            };
            probation.ended(name, at, ended);
        }
    }
    (999, Conduct::Watched, runs)
}

#[test]
fn a_required_check_that_fails_again_and_again_is_a_breach() {
    let up = |_| running(0);
    for name in ["page", "once"] {
        // Once a minute, the third one in a row.
        let (at, conduct, _) = checked(name, 100, up);
        let Conduct::Breached { faults, .. } = conduct else {
            panic!("{name}: {conduct:?}")
        };
        assert_eq!(faults, [Fault::Check(name.to_owned())]);
        assert_eq!(at, 241, "{name}");
    }
    let (at, conduct, runs) = checked("page", 999, up);
    assert_eq!((at, conduct), (600, Conduct::Passed));
    assert_eq!(runs, 9, "once a minute, and not at once");
    // It is only wanted, and nobody asks.
    assert_eq!(checked("extra", 0, up).2, 0);
    // What is outside is nobody's fault.
    assert_eq!(checked("dns", 0, up).1, Conduct::Passed);
}

#[test]
fn a_check_of_what_somebody_has_stopped_says_nothing() {
    let stopped = |second: u64| {
        if second < 90 {
            return running(0);
        }
        Unit {
            ended: Ended::Cleanly,
            ..Unit::default()
        }
    };
    let (_, conduct, _) = checked("page", 90, stopped);
    assert_eq!(conduct, Conduct::Passed);
}

#[test]
fn the_next_look_is_when_something_may_follow() {
    let (requirements, baseline) = (requirements(), baseline());
    let mut probation = Probation::new(BUDGET, &requirements, &baseline, &[], Memory::default());
    let second = Duration::from_secs;
    assert_eq!(probation.next(second(0)), None);
    probation.observe(second(10), &seen("db.service", running(0)), false);
    assert_eq!(probation.next(second(10)), Some(second(70)));
    probation.observe(second(11), &seen("db.service", failed()), false);
    assert_eq!(probation.next(second(11)), Some(second(13)));
}
