//! Cases of declared checks: when they are run, and what they do to the verdict.

use super::{
    Baseline, DEADLINE, Declared, Fault, Judgement, Requirements, SETTLE, SOON, Snapshot, Watch,
    healthy_with, requirements, running_job, secs, unit, with, with_jobs,
};
use crate::system::check::{Ended, Failure};

fn declared(name: &str, retries: Option<u32>) -> Declared {
    Declared {
        name: name.to_owned(),
        wanted: false,
        retries,
        interval: secs(1),
        start_delay: secs(0),
    }
}

fn checked(checks: Vec<Declared>) -> Requirements {
    Requirements {
        checks,
        ..requirements()
    }
}

fn failed() -> Ended {
    Ended::Failed(Failure::Status(1))
}

/// Looks once a second. A run begins when it is due, and ends one second later as `ends` has it for the second in which
/// it ends; None: it goes on. Gives when there was a judgement, the judgement, and when runs began.
fn judged_with(
    requirements: &Requirements,
    baseline: Option<&Baseline>,
    seen: impl Fn(u64) -> Snapshot,
    ends: impl Fn(&str, u64) -> Option<Ended>,
) -> (u64, Judgement, Vec<u64>) {
    let mut watch = Watch::new(requirements, baseline);
    let mut running: Vec<String> = Vec::new();
    let mut began = Vec::new();
    for at in 0..=3 * DEADLINE {
        let mut left = Vec::new();
        for name in running {
            match ends(&name, at) {
                Some(ended) => watch.ended(name, ended),
                None => left.push(name),
            }
        }
        running = left;
        let judgement = watch.observe(secs(at), Ok(&seen(at)));
        if !matches!(judgement, Judgement::Wait { .. }) {
            return (at, judgement, began);
        }
        for name in watch.due(secs(at)) {
            watch.begun(name, secs(at));
            running.push(name.to_owned());
            began.push(at);
        }
    }
    panic!("no judgement in time");
}

fn check(name: &str) -> Fault {
    Fault::Check(name.to_owned())
}

fn summary(judgement: &Judgement) -> (&str, &[Fault]) {
    match judgement {
        Judgement::Unhealthy {
            summary, faults, ..
        } => (summary, faults),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_settles_when_checks_have_passed_and_they_are_run_again_meanwhile() {
    let asked = checked(vec![declared("web", None)]);
    let passes = |_: &str, at| Some(if at < 4 { failed() } else { Ended::Passed });
    let (at, judgement, began) = judged_with(&asked, None, |_| with(&[]), passes);
    // It runs each second but one, and is well from the fourth second on.
    assert_eq!(at, 5 + SETTLE, "{began:?}");
    assert_eq!(judgement, healthy_with(&[]));
    assert_eq!(began, [0, 2, 4, 6]);
}

/// A run that takes long, and begins a moment before the end.
#[test]
fn a_run_that_is_under_way_is_waited_for_and_no_new_one_begins() {
    let asked = checked(vec![declared("web", None)]);
    let slow = |_: &str, at: u64| (at == 1 || at >= 9).then_some(Ended::Passed);
    let (at, judgement, began) = judged_with(&asked, None, |_| with(&[]), slow);
    assert_eq!((at, began), (9, vec![0, 2]));
    assert_eq!(judgement, healthy_with(&[]));
    // If it fails, the machine was never settled.
    let fails = |_: &str, at: u64| {
        (at == 1 || at >= 9).then(|| if at == 9 { failed() } else { Ended::Passed })
    };
    let (at, _, _) = judged_with(&asked, None, |_| with(&[]), fails);
    assert!(at > 9, "{at}");
}

#[test]
fn one_that_failed_often_enough_is_final() {
    let asked = checked(vec![declared("web", Some(1))]);
    let (at, judgement, began) = judged_with(&asked, None, |_| with(&[]), |_, _| Some(failed()));
    assert_eq!(began, [0, 2]);
    assert_eq!(at, 3 + SOON);
    let (summary, faults) = summary(&judgement);
    assert_eq!(summary, "required check web failed 2 times: exit status 1");
    assert_eq!(faults, [check("web")]);
}

#[test]
fn one_that_may_be_tried_for_ever_ends_at_the_deadline() {
    let asked = checked(vec![declared("web", None)]);
    let (at, judgement, _) = judged_with(&asked, None, |_| with(&[]), |_, _| Some(failed()));
    assert_eq!(at, DEADLINE);
    let (summary, faults) = summary(&judgement);
    assert_eq!(
        summary,
        "not well within 12 s: required check web has failed 6 times, and is tried again: exit status 1"
    );
    assert_eq!(faults, [check("web")]);
}

#[test]
fn nobody_is_held_to_a_wanted_one_or_to_what_the_last_good_one_fails() {
    let wanted = Declared {
        wanted: true,
        ..declared("web", Some(0))
    };
    let shared = Baseline {
        failing: [check("web")].into(),
        ..Baseline::default()
    };
    for (one, baseline) in [(wanted, None), (declared("web", Some(0)), Some(&shared))] {
        let asked = checked(vec![one]);
        let fails = judged_with(&asked, baseline, |_| with(&[]), |_, _| Some(failed()));
        assert_eq!(fails.0, SETTLE);
        // The next one is not held to it either.
        assert_eq!(
            fails.1,
            Judgement::Healthy {
                baseline: shared.clone()
            }
        );
        let hangs = judged_with(&asked, baseline, |_| with(&[]), |_, _| None);
        assert_eq!((hangs.0, hangs.1), (SETTLE, healthy_with(&[])));
    }
}

/// Whoever falls over is named by its own name: a check says something of a machine whose units are well.
#[test]
fn checks_are_run_when_the_units_are_well() {
    let asked = checked(vec![declared("web", Some(0))]);
    let starting = |at: u64| {
        let state = if at < 5 || at == 6 {
            "activating"
        } else {
            "active"
        };
        with(&[("a.service", unit(state, ""))])
    };
    // The run that begins at 5 ends when the unit is not well any more, and does not count.
    let fails_first = |_: &str, at| Some(if at < 7 { failed() } else { Ended::Passed });
    let (at, judgement, began) = judged_with(&asked, None, starting, fails_first);
    assert_eq!(judgement, healthy_with(&[]));
    assert_eq!(began.first_chunk(), Some(&[5, 7]));
    assert_eq!(at, 8 + SETTLE);
}

/// Without a baseline a job that hangs is borne: the checks must not wait for it until it is too late.
#[test]
fn what_is_bearable_keeps_checks_waiting_for_half_of_the_time() {
    let asked = checked(vec![declared("web", None)]);
    let hangs = |_| with_jobs(&[running_job("hang.service", true)]);
    let (at, judgement, began) = judged_with(&asked, None, hangs, |_, _| Some(Ended::Passed));
    assert_eq!(began.first(), Some(&(DEADLINE / 2)));
    assert_eq!(at, DEADLINE);
    assert_eq!(judgement, healthy_with(&["hang.service"]));
}

#[test]
fn it_is_looked_when_a_check_is_due() {
    let asked = checked(vec![Declared {
        start_delay: secs(2),
        ..declared("web", None)
    }]);
    let mut watch = Watch::new(&asked, None);
    watch.observe(secs(0), Ok(&with(&[])));
    assert_eq!(watch.due(secs(0)), Vec::<&str>::new());
    assert_eq!(watch.next(secs(0)), secs(2));
    assert_eq!(watch.due(secs(2)), ["web"]);
}
