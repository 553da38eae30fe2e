//! What is only wrong by comparison.

use super::*;

#[test]
fn a_new_failure_is_unhealthy_and_a_shared_one_is_not() {
    let fails = |_| with(&[("b.service", unit("failed", "failed"))]);
    let (at, judgement) = usual(Some(&baseline(&["c.service"])), fails);
    assert_eq!((at, blamed(&judgement).0), (SOON, vec!["b.service"]));
    let shared = baseline(&["b.service"]);
    assert_eq!(
        usual(Some(&shared), fails),
        (SETTLE, healthy_with(&["b.service"]))
    );
}

#[test]
fn a_line_stays_a_line_and_the_units_are_all_there() {
    let names = ["b.service", "c.service", "d.service", "e.service"];
    let fails = |_| with(&names.map(|name| (name, unit("failed", "failed"))));
    let (_, judgement) = usual(Some(&baseline(&[])), fails);
    let (units, summary, _) = blamed(&judgement);
    assert_eq!(units, names);
    assert_eq!(
        summary,
        "b.service failed; c.service failed; d.service failed; and 1 more"
    );
}

#[test]
fn with_nothing_to_compare_a_failure_is_recorded() {
    let fails = |_| with(&[("b.service", unit("failed", "failed"))]);
    assert_eq!(usual(None, fails), (SETTLE, healthy_with(&["b.service"])));
}

#[test]
fn a_baseline_forgets_what_got_well() {
    assert_eq!(
        usual(Some(&baseline(&["b.service"])), |_| with(&[])).1,
        healthy_with(&[])
    );
}

#[test]
fn a_boot_that_does_not_finish_names_what_hangs() {
    let mut jobs = vec![
        running_job("hang.service", true),
        running_job("multi-user.target", true),
    ];
    jobs.iter_mut().skip(1).for_each(|job| job.running = false);
    let (at, judgement) = usual(Some(&baseline(&[])), |_| with_jobs(&jobs));
    assert_eq!((at, blamed(&judgement).0), (DEADLINE, vec!["hang.service"]));
    let shared = baseline(&["hang.service"]);
    assert_eq!(
        usual(Some(&shared), |_| with_jobs(&jobs)),
        (SETTLE, healthy_with(&["hang.service"]))
    );
    assert_eq!(
        usual(None, |_| with_jobs(&jobs)),
        (DEADLINE, healthy_with(&["hang.service"]))
    );
}

/// A disk that is not there, the mount that waits for it, and what is required and waits for both.
#[test]
fn a_device_that_never_comes_is_told_before_what_waits_for_it() {
    let disk = "dev-disk.device";
    let mut required = running_job("a.service", true);
    required.running = false;
    let mut seen = with(&[("a.service", unit("inactive", "dead"))]);
    seen.jobs = vec![required, running_job(disk, true)];
    let (at, judgement) = usual(Some(&baseline(&[])), |_| seen.clone());
    assert_eq!(
        (at, blamed(&judgement).0),
        (DEADLINE, vec![disk, "a.service"])
    );
}

#[test]
fn neither_our_own_jobs_nor_a_timers_are_waited_for() {
    let jobs = [
        running_job("lastgood-assess.service", true),
        running_job("apt-daily.service", false),
    ];
    assert_eq!(
        usual(Some(&baseline(&[])), |_| with_jobs(&jobs)),
        (SETTLE, healthy_with(&[]))
    );
}

#[test]
fn a_new_crash_loop_counts_like_a_failure_but_may_end() {
    let loops = |at: u64| {
        with(&[(
            "b.service",
            crashing(u32::try_from(at).unwrap(), Ended::Badly),
        )])
    };
    let (at, judgement) = usual(Some(&baseline(&[])), loops);
    assert_eq!((at, blamed(&judgement).0), (DEADLINE, vec!["b.service"]));
    assert_eq!(
        usual(Some(&baseline(&["b.service"])), loops),
        (SETTLE, healthy_with(&["b.service"]))
    );
    assert_eq!(usual(None, loops), (DEADLINE, healthy_with(&["b.service"])));
}

#[test]
fn a_crash_loop_that_is_never_seen_down_is_recorded() {
    let quick = |at: u64| Unit {
        restarts: u32::try_from(at / 2).unwrap(),
        ..unit("active", "running")
    };
    let (at, judgement) = usual(None, |at| with(&[("b.service", quick(at))]));
    assert_eq!((at, judgement), (DEADLINE, healthy_with(&["b.service"])));
}

#[test]
fn restarting_on_purpose_is_no_crash() {
    let on_purpose = |at: u64| {
        let restarts = u32::try_from(at).unwrap();
        let pause = crashing(restarts, Ended::Cleanly);
        let run = Unit {
            restarts,
            ..unit("active", "running")
        };
        with(&[("b.service", if at.is_multiple_of(2) { pause } else { run })])
    };
    assert_eq!(
        usual(Some(&baseline(&[])), on_purpose),
        (SETTLE, healthy_with(&[]))
    );
}

#[test]
fn what_no_baseline_can_know_is_not_compared() {
    let failed = || unit("failed", "failed");
    let seen = |_| {
        with(&[
            (
                "run-r1.service",
                Unit {
                    transient: true,
                    ..failed()
                },
            ),
            ("session-3.scope", failed()),
            ("sshd@4-10.0.0.1:22-10.0.0.9:3910.service", failed()),
        ])
    };
    assert_eq!(
        usual(Some(&baseline(&[])), seen),
        (SETTLE, healthy_with(&[]))
    );
    let instance = |_| with(&[("backup@0-home.service", failed())]);
    assert_eq!(
        blamed(&usual(Some(&baseline(&[])), instance).1).0,
        ["backup@0-home.service"]
    );
}

/// Some fail in every boot, and nobody misses what they do.
#[test]
fn a_snippet_that_fails_is_judged_like_a_unit_that_does() {
    let snapshot = Snapshot {
        failed_snippets: ["users".to_owned()].into(),
        ..Snapshot::default()
    };
    let requirements = Requirements {
        units: Vec::new(),
        ..requirements()
    };
    let last = |baseline: Option<&Baseline>| {
        let mut watch = Watch::new(&requirements, baseline);
        let mut looks =
            (0..=DEADLINE + SETTLE).map(|second| watch.observe(secs(second), Ok(&snapshot)));
        looks.find(|one| !matches!(one, Judgement::Wait { .. }))
    };
    let fault = Fault::Snippet("users".to_owned());
    let shared = Baseline {
        failing: [fault.clone()].into(),
        looks: None,
    };
    for baseline in [None, Some(&shared)] {
        let Some(Judgement::Healthy { baseline }) = last(baseline) else {
            panic!("{baseline:?}");
        };
        assert_eq!(baseline, shared, "it is on record");
    }
    let Some(Judgement::Unhealthy {
        faults, summary, ..
    }) = last(Some(&Baseline::default()))
    else {
        panic!("not known from before");
    };
    assert_eq!(faults, [fault]);
    assert_eq!(summary, "activation snippet users failed");
}
