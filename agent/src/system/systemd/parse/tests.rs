//! Against what systemd 252 printed in a container whose units were made to fail in every way.

use super::*;

fn real() -> Snapshot {
    let mut snapshot = Snapshot {
        units: units(include_str!("../fixtures/list-units.json")).unwrap(),
        jobs: jobs(include_str!("../fixtures/list-jobs.txt")),
        ..Snapshot::default()
    };
    services(include_str!("../fixtures/show-services.txt"), &mut snapshot);
    snapshot
}

#[test]
fn every_state_is_read() {
    let snapshot = real();
    let is = |name: &str| {
        let (_, unit) = snapshot.unit(name).unwrap();
        (unit.load.clone(), unit.active.clone(), unit.sub.clone())
    };
    let changing = |word: &str| Active::Changing(word.to_owned());
    for (name, load, active, sub) in [
        ("well.service", Load::Loaded, Active::Active, "running"),
        ("-.mount", Load::Loaded, Active::Active, "mounted"),
        ("mp.mount", Load::Loaded, Active::Failed, "failed"),
        ("precheck.service", Load::Loaded, Active::Failed, "failed"),
        (
            "hang.service",
            Load::Loaded,
            changing("activating"),
            "start",
        ),
        (
            "loop.service",
            Load::Loaded,
            changing("activating"),
            "auto-restart",
        ),
        ("gone.service", Load::NotFound, Active::Inactive, "dead"),
        ("masked.service", Load::Masked, Active::Inactive, "dead"),
        (
            "badset.service",
            Load::Unusable("bad-setting".to_owned()),
            Active::Inactive,
            "dead",
        ),
    ] {
        assert_eq!(is(name), (load, active, sub.to_owned()), "{name}");
    }
}

#[test]
fn the_way_a_service_ended_is_read() {
    let snapshot = real();
    for (name, ended) in [
        ("well.service", Ended::Not),
        ("hang.service", Ended::Not),
        ("waits.service", Ended::Not),
        ("depfail.service", Ended::Not),
        ("done.service", Ended::OneshotDone),
        ("condition.service", Ended::Skipped),
        ("loop.service", Ended::Badly),
        ("precheck.service", Ended::Badly),
    ] {
        assert_eq!(snapshot.unit(name).unwrap().1.ended, ended, "{name}");
    }
    assert!(snapshot.unit("loop.service").unwrap().1.restarts > 0);
}

#[test]
fn a_service_that_was_started_too_often_is_told_from_one_that_ended_badly() {
    let mut snapshot = Snapshot::default();
    // As systemd 252 and 257 have it after `systemctl restart` in a loop.
    services(
        "Id=a.service\nNames=a.service\nActiveState=failed\nSubState=failed\nResult=start-limit-hit\nExecMainCode=1\n",
        &mut snapshot,
    );
    assert_eq!(snapshot.unit("a.service").unwrap().1.ended, Ended::TooOften);
}

#[test]
fn a_unit_answers_to_its_other_names() {
    assert_eq!(real().unit("sshd.service").unwrap().0, "ssh.service");
}

#[test]
fn a_quoted_name_is_the_same_unit() {
    let name = r"systemd-fsck@dev-disk-by\x2duuid-1.service";
    assert!(
        real().aliases.values().all(|own| own != name),
        "an alias of itself"
    );
    assert_eq!(
        words(r#"a.service "b\\x2d.slice""#).collect::<Vec<_>>(),
        ["a.service", r"b\x2d.slice"]
    );
}

#[test]
fn the_target_tells_what_it_requires() {
    let required = real().boot_complete_requires;
    assert!(
        required.contains(&"well.service".to_owned()),
        "{required:?}"
    );
    assert!(
        required.contains(&"lastgood-assess.service".to_owned()),
        "{required:?}"
    );
}

#[test]
fn jobs_tell_who_runs_and_who_is_waited_for() {
    let jobs = real().jobs;
    let job = |unit: &str| {
        let job = jobs.iter().find(|job| job.unit == unit).unwrap();
        (job.running, job.blocks_others)
    };
    assert_eq!(job("hang.service"), (true, true));
    assert_eq!(job("slow.service"), (true, false), "begun by a timer");
    assert_eq!(job("multi-user.target"), (false, true));
    assert_eq!(job("boot-complete.target"), (false, true));
}

#[test]
fn a_settled_system_has_no_jobs() {
    assert_eq!(super::jobs(""), []);
    assert_eq!(super::jobs("No jobs running.\n"), []);
}

#[test]
fn what_is_no_list_is_an_error() {
    assert!(units("Failed to list units").is_err());
}
