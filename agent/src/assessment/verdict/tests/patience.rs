//! Cases of time: what is waited for, how long, and what follows when it is up.

use super::*;

#[test]
fn a_machine_that_cannot_be_seen_is_neither() {
    let unknown = Judgement::Unknown {
        why: "no answer".to_owned(),
    };
    assert_eq!(
        judged(&requirements(), None, |_| Err("no answer")),
        (DEADLINE, unknown)
    );
    let blink = |at| {
        if at == 2 {
            Err("no answer")
        } else {
            Ok(with(&[]))
        }
    };
    assert_eq!(judged(&requirements(), None, blink).0, 3 + SETTLE);
}

#[test]
fn a_machine_that_is_well_when_time_is_up_may_finish_settling() {
    let late = |at| {
        with(&[(
            "a.service",
            unit(
                if at < DEADLINE - 1 {
                    "activating"
                } else {
                    "active"
                },
                "",
            ),
        )])
    };
    assert_eq!(usual(None, late).0, DEADLINE - 1 + SETTLE);
    let then_breaks = |at| {
        if at == DEADLINE + 1 {
            with(&[("a.service", unit("activating", ""))])
        } else {
            late(at)
        }
    };
    assert_eq!(blamed(&usual(None, then_breaks).1).0, ["a.service"]);
}

#[test]
fn a_failed_unit_that_is_queued_again_has_not_been_given_up() {
    let again = Snapshot {
        jobs: vec![running_job("a.service", false)],
        ..with(&[("a.service", unit("failed", "failed"))])
    };
    let recovers = |at| if at < 5 { again.clone() } else { with(&[]) };
    assert_eq!(usual(None, recovers), (5 + SETTLE, healthy_with(&[])));
}

/// Whatever else is well: what runs is not the closure.
#[test]
fn a_boot_without_the_closures_units_is_never_healthy() {
    use crate::assessment::requirements::missing_units;
    use crate::host::Kind;
    use crate::store::handover::Units;
    use std::path::Path;

    let closure = Path::new("/nix/store/a");
    let whole = Units::none(closure);
    let lacking = |problems: &[&str], missed: &[&str]| Units {
        problems: problems.iter().map(|&one| one.to_owned()).collect(),
        missed: missed.iter().map(|&one| one.to_owned()).collect(),
        ..whole.clone()
    };
    for (left, expected) in [
        (Ok(Some(whole.clone())), None),
        (
            Ok(None),
            Some("the generator has left no word in this boot"),
        ),
        (Err("cannot read x".to_owned()), Some("cannot read x")),
        (
            Ok(Some(Units::none("/nix/store/b"))),
            Some("systemd has those of /nix/store/b"),
        ),
        (Ok(Some(lacking(&["x"], &[]))), Some("x")),
        (Ok(Some(lacking(&[], &["y"]))), Some("y")),
        (Ok(Some(lacking(&["x"], &["y"]))), Some("y; and 1 more")),
    ] {
        for host in [None, Some(Kind::Plain), Some(Kind::NixOs)] {
            let why = missing_units(host, left.clone(), closure);
            let expected = expected.filter(|_| host == Some(Kind::Plain));
            let told = why.as_ref().map(|missing| missing.why.as_str());
            assert_eq!(told, expected, "{host:?}");
            let requirements = Requirements {
                missing_units: why,
                units: Vec::new(),
                ..requirements()
            };
            let mut watch = Watch::new(&requirements, None);
            let snapshot = Snapshot::default();
            let last = (0..20).map(|second| {
                let at = Duration::from_secs(second);
                watch.observe(at, Ok(&snapshot))
            });
            let is_healthy = last
                .into_iter()
                .any(|one| matches!(one, Judgement::Healthy { .. }));
            assert_eq!(is_healthy, expected.is_none(), "{expected:?}");
        }
    }
}

/// Whoever sleeps until [`Watch::next`] while nothing changes misses nothing.
#[test]
fn nothing_follows_before_the_next_moment() {
    let requirements = requirements();
    let known = baseline(&[]);
    let failed = [("a.service", unit("failed", "failed"))];
    let other = [("b.service", unit("failed", "failed"))];
    let starting = [("a.service", unit("activating", "start"))];
    for baseline in [None, Some(&known)] {
        for snapshot in [with(&[]), with(&failed), with(&other), with(&starting)] {
            let mut watch = Watch::new(&requirements, baseline);
            let mut at = secs(1);
            let mut looks = 0;
            while let Judgement::Wait { .. } = watch.observe(at, Ok(&snapshot)) {
                let next = watch.next(at);
                assert!(next > at && looks < 9, "{at:?} {next:?} {snapshot:?}");
                let mut between = at;
                while between + Duration::from_millis(250) < next {
                    between += Duration::from_millis(250);
                    let judged = watch.clone().observe(between, Ok(&snapshot));
                    assert!(
                        matches!(judged, Judgement::Wait { .. }),
                        "{between:?}: {judged:?}"
                    );
                }
                at = next;
                looks += 1;
            }
        }
    }
}

/// A model server that loads for ten minutes, a database that replays its log: they say so to systemd, and systemd ends
/// the start if they do not.
#[test]
fn a_start_within_its_own_time_limit_is_late_and_not_failed() {
    let starts = |start_ends| Unit {
        start_ends,
        ..unit("activating", "start")
    };
    for name in ["a.service", "b.service"] {
        let seen = |until: u64, start_ends: bool| {
            move |at: u64| Snapshot {
                jobs: (at < until)
                    .then(|| running_job(name, true))
                    .into_iter()
                    .collect(),
                ..with(&[(
                    name,
                    if at < until {
                        starts(start_ends)
                    } else {
                        unit("active", "running")
                    },
                )])
            }
        };
        let well = baseline(&[]);
        let judge = |seen: &dyn Fn(u64) -> Snapshot| {
            let requirements = requirements();
            let mut watch = Watch::new(&requirements, Some(&well));
            let mut looks = (0..).map(|at| (at, watch.observe(secs(at), Ok(&seen(at)))));
            looks
                .find(|(_, one)| !matches!(one, Judgement::Wait { .. }))
                .unwrap()
        };
        // It comes late.
        let (at, judgement) = judge(&seen(20, true));
        assert!(
            matches!(judgement, Judgement::Healthy { .. }),
            "{judgement:?}"
        );
        assert_eq!(at, 20 + SETTLE);
        // It never comes: there is an end to it.
        let (at, judgement) = judge(&seen(999, true));
        assert_eq!((at, blamed(&judgement).0), (2 * DEADLINE, vec![name]));
        // Nobody ends its start: it hangs.
        let (at, judgement) = judge(&seen(999, false));
        assert_eq!((at, blamed(&judgement).0), (DEADLINE, vec![name]));
    }
}

#[test]
fn what_is_late_excuses_nothing_else() {
    let late = Unit {
        start_ends: true,
        ..unit("activating", "start")
    };
    let seen = |_| {
        with(&[
            ("a.service", late.clone()),
            ("b.service", crashing(1, Ended::Badly)),
        ])
    };
    let (at, judgement) = usual(Some(&baseline(&[])), seen);
    assert_eq!(at, DEADLINE);
    assert_eq!(blamed(&judgement).0, ["a.service", "b.service"]);
}

#[test]
fn the_assessment_ends_before_its_own_unit_does() {
    for deadline in 1..=800 {
        let latest = latest(secs(deadline));
        assert!(latest >= secs(deadline), "{deadline}");
        assert!(latest + secs(800) < Duration::from_mins(30), "{deadline}");
    }
}
