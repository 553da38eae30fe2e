//! Cases with a name: what is required. Those of time, of the baseline, and every case of a small domain, have files
//! of their own.

mod baseline;
mod boot;
mod checks;
mod domain;
mod lost;
mod patience;

use super::*;
use crate::config::Health;
use crate::system::systemd::snapshot::{Job, Load, Unit};

const SETTLE: u64 = 3;
const DEADLINE: u64 = 12;
/// The first look after [`MOMENT`].
const SOON: u64 = 1;

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn requirements() -> Requirements {
    Requirements {
        wanted: Vec::new(),
        management_ports: vec![22],
        changed: std::collections::BTreeSet::new(),
        missing_units: None,
        checks: Vec::new(),
        units: vec!["a.service".to_owned()],
        settle: secs(SETTLE),
        deadline: secs(DEADLINE),
    }
}

fn baseline(failing: &[&str]) -> Baseline {
    Baseline {
        failing: failing.iter().map(|name| Fault::of_unit(name)).collect(),
        looks: None,
    }
}

fn unit(active: &str, sub: &str) -> Unit {
    Unit {
        active: Active::from(active),
        sub: sub.to_owned(),
        ..Unit::default()
    }
}

fn unloadable(load: &str) -> Unit {
    Unit {
        load: Load::from(load),
        ..unit("inactive", "dead")
    }
}

fn crashing(restarts: u32, ended: Ended) -> Unit {
    Unit {
        restarts,
        ended,
        ..unit("activating", "auto-restart")
    }
}

fn running_job(unit: &str, blocks_others: bool) -> Job {
    Job {
        unit: unit.to_owned(),
        kind: "start".to_owned(),
        running: true,
        blocks_others,
    }
}

/// `a.service`, which is required, runs; and so do these.
fn with(units: &[(&str, Unit)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot
        .units
        .insert("a.service".to_owned(), unit("active", "running"));
    for (name, unit) in units {
        snapshot.units.insert((*name).to_owned(), unit.clone());
    }
    snapshot
}

fn with_jobs(jobs: &[Job]) -> Snapshot {
    Snapshot {
        jobs: jobs.to_vec(),
        ..with(&[])
    }
}

/// Looks once a second until there is a judgement, and says when that was.
fn judged(
    requirements: &Requirements,
    baseline: Option<&Baseline>,
    seen: impl Fn(u64) -> Result<Snapshot, &'static str>,
) -> (u64, Judgement) {
    let mut watch = Watch::new(requirements, baseline);
    for at in 0..=DEADLINE + SETTLE {
        let seen = seen(at);
        let judgement = watch.observe(secs(at), seen.as_ref().map_err(|why| *why));
        if !matches!(judgement, Judgement::Wait { .. }) {
            return (at, judgement);
        }
    }
    panic!("no judgement in time");
}

fn usual(baseline: Option<&Baseline>, seen: impl Fn(u64) -> Snapshot) -> (u64, Judgement) {
    judged(&requirements(), baseline, |at| Ok(seen(at)))
}

fn units_of(faults: &[Fault]) -> Vec<&str> {
    faults.iter().filter_map(Fault::unit).collect()
}

fn blamed(judgement: &Judgement) -> (Vec<&str>, &str, Stage) {
    match judgement {
        Judgement::Unhealthy {
            summary,
            faults,
            stage,
        } => (units_of(faults), summary, *stage),
        other => panic!("{other:?}"),
    }
}

fn healthy_with(failing: &[&str]) -> Judgement {
    Judgement::Healthy {
        baseline: baseline(failing),
    }
}

#[test]
fn well_for_as_long_as_it_takes_is_healthy() {
    assert_eq!(usual(None, |_| with(&[])), (SETTLE, healthy_with(&[])));
}

#[test]
fn what_cannot_get_well_is_not_waited_for() {
    for bad in [
        unit("failed", "failed"),
        unloadable("not-found"),
        unloadable("masked"),
        unloadable("bad-setting"),
    ] {
        let (at, judgement) = usual(None, |_| with(&[("a.service", bad.clone())]));
        assert_eq!(
            (at, blamed(&judgement).0),
            (SOON, vec!["a.service"]),
            "{bad:?}"
        );
    }
}

/// Nothing says that it has ever ended badly.
#[test]
fn a_unit_at_its_start_limit_is_told_as_that() {
    let often = Unit {
        ended: Ended::TooOften,
        ..unit("failed", "failed")
    };
    let (at, judgement) = usual(None, |_| with(&[("a.service", often.clone())]));
    assert_eq!(at, SOON);
    let (units, summary, _) = blamed(&judgement);
    assert_eq!(units, ["a.service"]);
    assert!(
        summary.starts_with("required a.service is at its start limit"),
        "{summary}"
    );
    let well = baseline(&[]);
    let other = |_| {
        with(&[
            ("a.service", unit("active", "running")),
            ("b.service", often.clone()),
        ])
    };
    let (_, judgement) = usual(Some(&well), other);
    assert!(
        blamed(&judgement)
            .1
            .starts_with("b.service is at its start limit")
    );
}

#[test]
fn a_masked_unit_that_runs_is_well() {
    let runs = Unit {
        load: Load::Masked,
        ..unit("active", "running")
    };
    assert_eq!(
        usual(None, |_| with(&[("a.service", runs.clone())])).0,
        SETTLE
    );
}

#[test]
fn a_crash_loop_of_a_required_unit_is_told_at_the_deadline() {
    let loops = |at: u64| {
        with(&[(
            "a.service",
            crashing(u32::try_from(at).unwrap(), Ended::Badly),
        )])
    };
    let (at, judgement) = usual(None, loops);
    assert_eq!(at, DEADLINE);
    assert_eq!(
        blamed(&judgement).1,
        "not well within 12 s: required a.service is activating (auto-restart)"
    );
}

#[test]
fn a_restart_between_two_looks_restarts_the_settling() {
    let once = |at| Unit {
        restarts: u32::from(at >= 2),
        ..unit("active", "running")
    };
    assert_eq!(
        usual(None, |at| with(&[("a.service", once(at))])).0,
        3 + SETTLE
    );
    let by_hand = |at| Unit {
        invocation: (at >= 2).to_string(),
        ..unit("active", "running")
    };
    assert_eq!(
        usual(None, |at| with(&[("a.service", by_hand(at))])).0,
        3 + SETTLE
    );
    let down = |at| {
        if at == 2 {
            unit("deactivating", "stop")
        } else {
            unit("active", "running")
        }
    };
    assert_eq!(
        usual(None, |at| with(&[("a.service", down(at))])).0,
        3 + SETTLE
    );
}

#[test]
fn a_required_unit_that_flaps_for_ever_is_unhealthy() {
    let flaps = |at: u64| Unit {
        restarts: u32::try_from(at / 2).unwrap(),
        ..unit("active", "running")
    };
    let (at, judgement) = usual(None, |at| with(&[("a.service", flaps(at))]));
    assert!((DEADLINE..=DEADLINE + 1).contains(&at), "{at}");
    assert_eq!(blamed(&judgement).0, ["a.service"]);
}

#[test]
fn a_baseline_never_excuses_what_is_required() {
    let fails = |_| with(&[("a.service", unit("failed", "failed"))]);
    assert_eq!(
        blamed(&usual(Some(&baseline(&["a.service"])), fails).1).0,
        ["a.service"]
    );
}

#[test]
fn what_is_wanted_only_is_held_against_nobody() {
    let fails = with(&[
        ("a.service", unit("active", "running")),
        ("backup.service", unit("failed", "failed")),
    ]);
    let judged = |wanted: &[&str]| {
        let requirements = Requirements {
            wanted: wanted.iter().map(|&name| name.to_owned()).collect(),
            ..requirements()
        };
        let (no_baseline, mut at) = (baseline(&[]), 0);
        let mut watch = Watch::new(&requirements, Some(&no_baseline));
        loop {
            match watch.observe(secs(at), Ok(&fails)) {
                Judgement::Wait { .. } => at += 1,
                ended => break ended,
            }
        }
    };
    assert_eq!(blamed(&judged(&[])).0, ["backup.service"]);
    assert_eq!(
        judged(&["backup.service"]),
        healthy_with(&["backup.service"])
    );
}

#[test]
fn neither_activation_nor_firewall_is_ever_excused() {
    let everything = baseline(&complaint::NEVER_EXCUSED);
    for (name, stage) in complaint::NEVER_EXCUSED
        .into_iter()
        .zip([Stage::Begun, Stage::Activated])
    {
        for baseline in [None, Some(&everything)] {
            let (_, judgement) = usual(baseline, |_| with(&[(name, unit("failed", "failed"))]));
            let (units, _, reached) = blamed(&judgement);
            assert_eq!((units, reached), (vec![name], stage));
        }
        let waits = with_jobs(&[Job {
            running: false,
            ..running_job(name, false)
        }]);
        assert_eq!(usual(Some(&everything), |_| waits.clone()).0, DEADLINE);
    }
}

#[test]
fn the_agents_own_trouble_is_not_the_generations() {
    let own = |_| with(&[("lastgood-collect.service", unit("failed", "failed"))]);
    assert_eq!(
        usual(Some(&baseline(&[])), own),
        (SETTLE, healthy_with(&[]))
    );
}

#[test]
fn the_report_names_all_that_failed_together_the_required_first() {
    let fails = |at| {
        let later = if at >= 1 { "failed" } else { "activating" };
        with(&[
            ("0.service", unit("failed", "failed")),
            ("a.service", unit(later, "")),
            ("z.service", unit(later, "")),
        ])
    };
    let (at, judgement) = usual(Some(&baseline(&[])), fails);
    let (units, summary, _) = blamed(&judgement);
    assert_eq!(
        at, 1,
        "nothing is on its way any more, and all have failed for a while"
    );
    assert_eq!(units, ["a.service", "0.service", "z.service"]);
    assert_eq!(
        summary,
        "required a.service failed; 0.service failed; z.service failed"
    );
}

#[test]
fn a_failure_taken_back_at_once_is_forgiven() {
    let brief = |at| {
        with(&[(
            "b.service",
            unit(if at == 1 { "failed" } else { "active" }, ""),
        )])
    };
    assert_eq!(usual(Some(&baseline(&[])), brief).0, 2 + SETTLE);
}

#[test]
fn an_emergency_shell_is_not_a_running_system() {
    let shell = |_| with(&[("emergency.target", unit("active", "active"))]);
    assert_eq!(blamed(&usual(None, shell).1).0, ["emergency.target"]);
}

#[test]
fn what_boot_complete_requires_is_required_in_systemds_sense() {
    let skipped = Unit {
        ended: Ended::Skipped,
        ..unit("inactive", "dead")
    };
    let by_target = |check: &Unit| {
        let mut snapshot = with(&[("check.service", check.clone())]);
        snapshot.boot_complete_requires = vec![
            "check.service".to_owned(),
            "lastgood-assess.service".to_owned(),
        ];
        usual(None, |_| snapshot.clone())
    };
    assert_eq!(by_target(&skipped).0, SETTLE);
    assert_eq!(
        by_target(&Unit {
            ended: Ended::OneshotDone,
            ..skipped.clone()
        })
        .0,
        SETTLE
    );
    assert_eq!(
        blamed(&by_target(&unit("failed", "failed")).1).0,
        ["check.service"]
    );
    let declared = usual(None, |_| with(&[("a.service", skipped.clone())]));
    assert_eq!(declared.0, DEADLINE);
    assert!(
        blamed(&declared.1)
            .1
            .ends_with("its conditions are not met"),
        "{declared:?}"
    );
}

#[test]
fn a_required_unit_may_be_named_by_an_alias() {
    let mut snapshot = with(&[("ssh.service", unit("failed", "failed"))]);
    snapshot
        .aliases
        .insert("sshd.service".to_owned(), "ssh.service".to_owned());
    let health = Health {
        required_units: vec!["sshd".to_owned()],
        ..Health::default()
    };
    let requirements = Requirements {
        deadline: secs(DEADLINE),
        ..Requirements::from(&health)
    };
    assert_eq!(requirements.units, ["sshd.service"]);
    let (_, judgement) = judged(&requirements, None, |_| Ok(snapshot.clone()));
    assert_eq!(blamed(&judgement).0, ["ssh.service"]);
}

/// It may be the one that takes more down with it, or that mends what fell.
#[test]
fn what_is_on_its_way_is_given_a_moment_and_no_more() {
    let failed = || ("a.service", unit("failed", "failed"));
    let on_its_way = |_| with(&[failed(), ("b.service", unit("activating", "start"))]);
    assert_eq!(usual(None, on_its_way).0, GATHER.as_secs());
    let job = |unit, running| {
        move |_| Snapshot {
            jobs: vec![Job {
                running,
                ..job_of(unit)
            }],
            ..with(&[failed()])
        }
    };
    // A handler (`OnFailure=`) is nothing that the boot waits for. What waits may be what systemd has not come to yet.
    for (unit, expected) in [
        ("repair.service", GATHER.as_secs()),
        ("lastgood-assess.service", SOON),
        ("boot-complete.target", SOON),
    ] {
        for running in [true, false] {
            assert_eq!(usual(None, job(unit, running)).0, expected, "{unit}");
        }
    }
}

fn job_of(unit: &str) -> Job {
    Job {
        blocks_others: false,
        ..running_job(unit, true)
    }
}
