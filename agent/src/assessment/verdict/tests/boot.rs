//! What was to run, and what only came along.

use super::*;
use crate::state::baseline::{Looks, Surroundings};
use crate::system::systemd::snapshot::Nothing;

/// A baseline that knows what to miss.
fn looked(failing: &[&str]) -> Baseline {
    Baseline {
        looks: Some(Looks::default()),
        ..baseline(failing)
    }
}

/// The boot was to start `a.service`, `b.service` and `c.socket`.
fn of_boot(units: &[(&str, Unit)]) -> Snapshot {
    let boot = ["a.service", "b.service", "c.socket", "multi-user.target"];
    Snapshot {
        boot: Some(boot.map(str::to_owned).into()),
        ..with(units)
    }
}

fn untouched() -> Unit {
    Unit {
        untouched: true,
        ..unit("inactive", "dead")
    }
}

#[test]
fn what_a_timer_a_login_or_a_connection_started_does_not_reject() {
    for outside in [
        "backup.service",
        "user-runtime-dir@1000.service",
        "user@1000.service",
        "plugged@sdb.service",
    ] {
        for state in [
            unit("failed", "failed"),
            crashing(3, Ended::Badly),
            unit("failed", "failed-before-auto-restart"),
        ] {
            let seen = |_| of_boot(&[(outside, state.clone())]);
            let (at, judgement) = usual(Some(&looked(&[])), seen);
            // It is on record, though.
            assert_eq!(at, SETTLE, "{outside} {state:?}");
            let Judgement::Healthy { baseline } = judgement else {
                panic!("{outside}: {judgement:?}")
            };
            let is_recorded = baseline.failing.contains(&Fault::of_unit(outside));
            assert!(is_recorded, "{outside} {state:?}");
        }
        let starting = |_| Snapshot {
            jobs: vec![running_job(outside, true)],
            ..of_boot(&[])
        };
        assert_eq!(usual(Some(&looked(&[])), starting).0, SETTLE, "{outside}");
    }
}

#[test]
fn what_the_boot_wants_still_rejects() {
    let seen = |_| of_boot(&[("b.service", unit("failed", "failed"))]);
    let (at, judgement) = usual(Some(&looked(&[])), seen);
    assert_eq!(at, SOON);
    assert_eq!(blamed(&judgement).0, ["b.service"]);
    let hangs = |_| Snapshot {
        jobs: vec![running_job("b.service", true)],
        ..of_boot(&[])
    };
    let (at, judgement) = usual(Some(&looked(&[])), hangs);
    assert_eq!((at, blamed(&judgement).0), (DEADLINE, vec!["b.service"]));
}

/// Declared, and nothing of the boot wants it.
#[test]
fn a_required_unit_is_judged_wherever_it_comes_from() {
    let requirements = Requirements {
        units: vec!["late.service".to_owned()],
        ..requirements()
    };
    let seen = |_| Ok(of_boot(&[("late.service", unit("failed", "failed"))]));
    let (at, judgement) = judged(&requirements, Some(&looked(&[])), seen);
    assert_eq!((at, blamed(&judgement).0), (SOON, vec!["late.service"]));
}

/// systemd left it out to break an ordering cycle: nothing says so but that it was never touched.
#[test]
fn a_unit_of_the_boot_that_was_never_started_is_missed() {
    for missed in ["b.service", "c.socket"] {
        let seen = |_| of_boot(&[(missed, untouched())]);
        let (at, judgement) = usual(Some(&looked(&[])), seen);
        let (units, summary, _) = blamed(&judgement);
        assert_eq!((at, units), (SOON, vec![missed]));
        assert!(summary.contains("was never started"), "{summary}");
        // It was like that before; nobody knows how it was before; nothing was proven before.
        let recorded = Baseline {
            looks: None,
            ..looked(&[missed])
        };
        for before in [Some(looked(&[missed])), Some(baseline(&[])), None] {
            assert_eq!(
                usual(before.as_ref(), seen),
                (
                    SETTLE,
                    Judgement::Healthy {
                        baseline: recorded.clone()
                    }
                ),
                "{before:?}"
            );
        }
    }
}

/// An emergency: what failed is told, and then what was never started for it.
#[test]
fn what_failed_is_told_before_what_it_kept_from_starting() {
    let seen = |_| {
        of_boot(&[
            ("b.service", untouched()),
            ("c.socket", unit("failed", "failed")),
        ])
    };
    let (_, judgement) = usual(Some(&looked(&[])), seen);
    let (units, summary, _) = blamed(&judgement);
    assert_eq!(units, ["c.socket", "b.service"], "{summary}");
    assert!(summary.starts_with("c.socket failed"), "{summary}");
    // Also what is required.
    let seen = |_| Snapshot {
        came_to_nothing: [("a.service".to_owned(), Nothing::Dependency)].into(),
        ..of_boot(&[
            ("a.service", unit("inactive", "dead")),
            ("c.socket", unit("failed", "failed")),
        ])
    };
    let (_, judgement) = usual(Some(&looked(&[])), seen);
    let (units, summary, _) = blamed(&judgement);
    assert_eq!(units, ["c.socket", "a.service"], "{summary}");
}

#[test]
fn what_need_not_run_is_not_missed() {
    let skipped = Unit {
        ended: Ended::Skipped,
        ..unit("inactive", "dead")
    };
    let over = Unit {
        ended: Ended::OneshotDone,
        ..unit("inactive", "dead")
    };
    let gone = Unit {
        load: Load::NotFound,
        ..untouched()
    };
    for state in [skipped, over, gone] {
        let seen = |_| of_boot(&[("b.service", state.clone())]);
        assert_eq!(
            usual(Some(&looked(&[])), seen),
            (SETTLE, healthy_with(&[])),
            "{state:?}"
        );
    }
    // Nor is what the boot was not to start, or what is yet to come.
    let other = |_| of_boot(&[("d.service", untouched())]);
    assert_eq!(
        usual(Some(&looked(&[])), other),
        (SETTLE, healthy_with(&[]))
    );
    let yet = |at| Snapshot {
        jobs: (at < 5)
            .then(|| running_job("c.socket", true))
            .into_iter()
            .collect(),
        ..of_boot(&[(
            "b.service",
            if at < 5 {
                untouched()
            } else {
                unit("active", "running")
            },
        )])
    };
    assert_eq!(usual(Some(&looked(&[])), yet).0, 5 + SETTLE);
}

/// `CollectMode=inactive-or-failed`, or what needs a unit that failed at first: the state says "inactive", with success.
#[test]
fn a_job_that_came_to_nothing_is_not_forgotten_with_its_unit() {
    for (how, words) in [
        (Nothing::Failed, "systemd has forgotten it"),
        (Nothing::Dependency, "something it requires did not come up"),
        (Nothing::Assertion, "Assert="),
    ] {
        for name in ["a.service", "b.service"] {
            let seen = |_| Snapshot {
                came_to_nothing: [(name.to_owned(), how)].into(),
                ..of_boot(&[(name, unit("inactive", "dead"))])
            };
            let (at, judgement) = usual(Some(&looked(&[])), seen);
            let (units, summary, _) = blamed(&judgement);
            assert_eq!((at, units), (SOON, vec![name]), "{how:?}");
            assert!(summary.contains(words), "{summary}");
        }
        // It is up after all.
        let up = |_| Snapshot {
            came_to_nothing: [("b.service".to_owned(), how)].into(),
            ..of_boot(&[("b.service", unit("active", "running"))])
        };
        assert_eq!(usual(Some(&looked(&[])), up), (SETTLE, healthy_with(&[])));
    }
}

/// systemd 257 says "failed" on the way to the next try; 252 does for an instant.
#[test]
fn failed_is_not_the_end_while_systemd_tries_again() {
    for name in ["a.service", "b.service"] {
        let tries = |at: u64| {
            let state = match at {
                0..5 => Unit {
                    restarts: 1,
                    ended: Ended::Badly,
                    ..unit("failed", "failed-before-auto-restart")
                },
                _ => Unit {
                    restarts: 1,
                    ..unit("active", "running")
                },
            };
            of_boot(&[(name, state)])
        };
        assert_eq!(
            usual(Some(&looked(&[])), tries),
            (5 + SETTLE, healthy_with(&[])),
            "{name}"
        );
    }
}

/// systemd 262 says "start-limit-hit" where 257 and 252 say how it ended the last time: the same words for both.
#[test]
fn a_unit_that_was_restarted_until_systemd_gave_up_is_told_as_that() {
    for ended in [Ended::TooOften, Ended::Badly] {
        let state = Unit {
            restarts: 4,
            ended,
            ..unit("failed", "failed")
        };
        let (_, judgement) = usual(Some(&looked(&[])), |_| {
            of_boot(&[("b.service", state.clone())])
        });
        let summary = blamed(&judgement).1;
        assert!(
            summary.starts_with("b.service failed, also after 4 restarts"),
            "{summary}"
        );
    }
}

/// Down once in a while: seen up for longer than `settle` every time.
#[test]
fn how_often_it_died_decides_how_long_it_must_stay() {
    let requirements = Requirements {
        settle: secs(1),
        ..requirements()
    };
    // After two seconds and after four.
    let dies = |at: u64| {
        let restarts = u32::try_from(at.min(4) / 2).unwrap();
        of_boot(&[(
            "b.service",
            Unit {
                restarts,
                ..unit("active", "running")
            },
        )])
    };
    let mut watch = Watch::new(&requirements, None);
    let mut healthy = (0..=DEADLINE).filter(|at| {
        let judgement = watch.observe(secs(*at), Ok(&dies(*at)));
        *at >= 2 && matches!(judgement, Judgement::Healthy { .. })
    });
    assert_eq!(healthy.next(), Some(8), "twice the time between two deaths");
}

/// A machine that is well at the deadline has come to that late, and is not rejected for it.
#[test]
fn no_unit_must_stay_up_longer_than_the_deadline() {
    let requirements = Requirements {
        settle: secs(1),
        ..requirements()
    };
    let dies = |at: u64| {
        let restarts = u32::try_from(at.min(8) / 4).unwrap();
        Ok(of_boot(&[(
            "a.service",
            Unit {
                restarts,
                ..unit("active", "running")
            },
        )]))
    };
    let mut watch = Watch::new(&requirements, None);
    let mut healthy = (0..=DEADLINE + 1).filter(|at| {
        let judgement = watch.observe(secs(*at), dies(*at).as_ref().map_err(|why: &&str| *why));
        *at >= 8 && matches!(judgement, Judgement::Healthy { .. })
    });
    assert_eq!(healthy.next(), Some(DEADLINE + 1));
}

/// However long it is up in between: here for two seconds, which is longer than `settle`.
#[test]
fn a_slow_crash_loop_is_not_well_at_the_deadline() {
    let requirements = Requirements {
        settle: secs(1),
        ..requirements()
    };
    let state = |at: u64| Unit {
        restarts: u32::try_from(at / 3).unwrap(),
        ..unit("active", "running")
    };
    // Something else takes its time, so that it is seen to die.
    let seen = |at: u64| {
        let job = (at < DEADLINE).then(|| running_job("c.socket", true));
        Ok(Snapshot {
            jobs: job.into_iter().collect(),
            ..of_boot(&[("b.service", state(at))])
        })
    };
    let (at, judgement) = judged(&requirements, Some(&looked(&[])), seen);
    assert_eq!((at, blamed(&judgement).0), (DEADLINE, vec!["b.service"]));
}

#[test]
fn what_there_was_is_recorded_where_somebody_looked_around() {
    let around = Surroundings {
        default_route: Some(true),
        ..Surroundings::default()
    };
    let restarted = Unit {
        restarts: 1,
        ..unit("active", "running")
    };
    let seen = |_| Snapshot {
        around: Some(around.clone()),
        ..of_boot(&[
            ("b.service", restarted.clone()),
            ("c.socket", unit("inactive", "dead")),
            ("multi-user.target", unit("active", "active")),
            ("other.service", unit("active", "running")),
        ])
    };
    let Judgement::Healthy { baseline } = usual(None, seen).1 else {
        panic!("not healthy")
    };
    let looks = baseline.looks.unwrap();
    assert_eq!(
        looks.up,
        ["a.service", "b.service"].map(str::to_owned).into()
    );
    assert_eq!(looks.restarts, [("b.service".to_owned(), 1)].into());
    assert_eq!(looks.around, around);
}
