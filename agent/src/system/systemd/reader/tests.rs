//! Against what systemd 252 said in a container whose units were made to fail in every way.

use super::*;
use crate::system::manager::{JobId, Value};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A service that is asked by name: type, result, restarts, code, whether its condition held, whether that was asked.
fn service(name: &str, said: (&str, &str, u64, i64, bool, bool)) -> Properties {
    let (kind, result, restarts, code, held, asked) = said;
    [
        ("Id", text(name)),
        ("Names", Value::List(vec![text(name)])),
        ("LoadState", text("loaded")),
        ("ActiveState", text("inactive")),
        ("SubState", text("dead")),
        ("ConditionResult", Value::Flag(held)),
        (
            "ConditionTimestampMonotonic",
            Value::Number(u64::from(asked) * 4_561_671_872),
        ),
        ("Transient", Value::Flag(false)),
        (
            "InvocationID",
            Value::List(vec![Value::Number(0xab), Value::Number(9)]),
        ),
        ("Type", text(kind)),
        ("Result", text(result)),
        ("NRestarts", Value::Number(restarts)),
        ("ExecMainCode", Value::Signed(code)),
    ]
    .into_iter()
    .collect()
}

fn read(properties: &Properties) -> Snapshot {
    let mut snapshot = Snapshot::default();
    named(properties, &mut snapshot);
    snapshot
}

#[test]
fn every_state_is_read() {
    let changing = Active::Changing("activating".to_owned());
    for (said, load, active) in [
        (
            ("loaded", "active", "running"),
            Load::Loaded,
            Active::Active,
        ),
        (("loaded", "failed", "failed"), Load::Loaded, Active::Failed),
        (
            ("loaded", "activating", "auto-restart"),
            Load::Loaded,
            changing,
        ),
        (
            ("not-found", "inactive", "dead"),
            Load::NotFound,
            Active::Inactive,
        ),
        (
            ("masked", "inactive", "dead"),
            Load::Masked,
            Active::Inactive,
        ),
        (
            ("bad-setting", "inactive", "dead"),
            Load::Unusable("bad-setting".to_owned()),
            Active::Inactive,
        ),
    ] {
        let row = Listed {
            name: "x.service".to_owned(),
            description: "x.service".to_owned(),
            load: said.0.to_owned(),
            active: said.1.to_owned(),
            sub: said.2.to_owned(),
            following: String::new(),
            job: None,
        };
        let unit = listed(&row);
        assert_eq!(
            (unit.load, unit.active, unit.sub.as_str()),
            (load, active, said.2)
        );
    }
}

#[test]
fn the_way_a_service_ended_is_read() {
    for (said, ended) in [
        (("simple", "success", 0, 0, true, true), Ended::Not),
        // Never asked whether it need run, so that "no" means nothing.
        (("simple", "success", 0, 0, false, false), Ended::Not),
        (("oneshot", "success", 0, 1, true, true), Ended::OneshotDone),
        (("simple", "success", 0, 1, true, true), Ended::Cleanly),
        (("simple", "success", 0, 0, false, true), Ended::Skipped),
        (("simple", "exit-code", 9, 1, true, true), Ended::Badly),
        (("simple", "exit-code", 0, 0, true, true), Ended::Badly),
        (
            ("simple", "start-limit-hit", 0, 1, true, true),
            Ended::TooOften,
        ),
    ] {
        let snapshot = read(&service("x.service", said));
        let (_, unit) = snapshot.unit("x.service").unwrap();
        assert_eq!(
            (unit.ended, unit.restarts),
            (ended, u32::try_from(said.2).unwrap()),
            "{said:?}"
        );
        assert_eq!((unit.invocation.as_str(), unit.transient), ("ab09", false));
    }
}

#[test]
fn a_unit_answers_to_its_other_names() {
    let mut ssh = service("ssh.service", ("notify", "success", 0, 0, true, true));
    ssh.insert(
        "Names",
        Value::List(vec![text("ssh.service"), text("sshd.service")]),
    );
    ssh.insert("Transient", Value::Flag(true));
    let snapshot = read(&ssh);
    let (own, unit) = snapshot.unit("sshd.service").unwrap();
    assert_eq!((own, unit.transient), ("ssh.service", true));
    assert_eq!(snapshot.aliases.len(), 1, "none of itself");
}

#[test]
fn the_target_tells_what_it_requires() {
    let requires = Value::List(vec![text("sysinit.target"), text(r"a\x2db.service")]);
    for (name, due) in [(BOOT_COMPLETE, 2), ("other.target", 0)] {
        let properties = [("Id", text(name)), ("Requires", requires.clone())];
        let snapshot = read(&properties.into_iter().collect());
        assert_eq!(snapshot.boot_complete_requires.len(), due, "{name}");
        if due > 0 {
            assert_eq!(snapshot.boot_complete_requires[1], r"a\x2db.service");
        }
    }
}

#[test]
fn what_says_nothing_is_no_unit() {
    assert_eq!(read(&Properties::default()), Snapshot::default());
}

#[test]
fn jobs_tell_who_runs_and_who_is_waited_for() {
    let queued = |running| Queued {
        id: JobId(3),
        unit: "a.service".to_owned(),
        kind: "start".to_owned(),
        running,
    };
    let read = job(queued(true), true);
    assert_eq!((read.running, read.blocks_others), (true, true));
    let read = job(queued(false), false);
    assert_eq!((read.running, read.blocks_others), (false, false));
}
