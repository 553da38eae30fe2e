//! What goes down with another, and what the activation script asks for.

use super::*;
use crate::switch::situation::Requests;

const A: &str = "[Service]\nExecStart=/a\n";
const B: &str = "[Service]\nExecStart=/b\n";

#[test]
fn what_hangs_on_a_stopped_unit_is_up_again_at_the_end() {
    let no = format!("{A}X-RestartIfChanged=false\n");
    let no_more = format!("{B}X-RestartIfChanged=false\n");
    for (old, new) in [(A, A), (no.as_str(), no.as_str())] {
        let mut situation = given(&[
            ("base.service", A, B),
            ("d.service", old, new),
            ("e.service", old, new),
        ]);
        hangs(&mut situation, "d.service", "base.service");
        hangs(&mut situation, "e.service", "d.service");
        let plan = plan(&situation);
        assert_eq!(
            lines(&plan),
            [
                "stop base.service: [Service] ExecStart= changed",
                "take down d.service: it hangs on base.service, which is stopped",
                "take down e.service: it hangs on base.service, which is stopped",
                "start base.service: [Service] ExecStart= changed",
                "start d.service: it hangs on base.service, which is stopped",
                "start e.service: it hangs on base.service, which is stopped",
            ]
        );
        assert_eq!(plan.intended.len(), 3);
        assert!(plan.intended.values().all(|intent| *intent == Intent::Up));
    }
    // It has changed, and must not be restarted: it goes down all the same, and that is said.
    let mut situation = given(&[("base.service", A, B), ("d.service", &no, &no_more)]);
    hangs(&mut situation, "d.service", "base.service");
    let plan = plan(&situation);
    assert_eq!(plan.skipped.len(), 0);
    assert_eq!(
        plan.disturbed["d.service"],
        "it hangs on base.service, which is stopped (for itself: X-RestartIfChanged=false)"
    );
    // A unit that stood stopped stays so.
    let mut situation = given(&[("base.service", A, B), ("d.service", A, A)]);
    hangs(&mut situation, "d.service", "base.service");
    state(&mut situation, "d.service").active = Active::Inactive;
    assert_eq!(
        deeds(&super::plan(&situation)),
        ["stop base.service", "start base.service"]
    );
}

#[test]
fn a_job_of_its_own_becomes_a_start() {
    let once = |text: &str| format!("{text}X-StopIfChanged=false\n");
    let reload = |number: u8| format!("{A}ExecReload=/r{number}\n");
    for (old, new) in [(once(A), once(B)), (reload(1), reload(2))] {
        let mut situation = given(&[("base.service", A, B), ("d.service", &old, &new)]);
        hangs(&mut situation, "d.service", "base.service");
        assert_eq!(
            deeds(&plan(&situation)),
            [
                "stop base.service",
                "take down d.service",
                "start base.service",
                "start d.service"
            ]
        );
    }
}

#[test]
fn what_hangs_on_a_restarted_unit_is_restarted_by_systemd() {
    let once = |text: &str| format!("{text}X-StopIfChanged=false\n");
    let mut situation = given(&[("base.service", &once(A), &once(B)), ("d.service", A, A)]);
    hangs(&mut situation, "d.service", "base.service");
    let plan = plan(&situation);
    assert_eq!(
        deeds(&plan),
        ["take down d.service", "restart base.service"]
    );
    assert_eq!(plan.intended["d.service"], Intent::Up);
    // A mount that goes takes along what lies on it.
    let mut situation = given(&[
        ("x.mount", "[Mount]\nWhat=a\n", "[Mount]\nWhat=b\n"),
        ("d.service", A, A),
    ]);
    hangs(&mut situation, "d.service", "x.mount");
    assert_eq!(
        deeds(&super::plan(&situation)),
        ["take down d.service", "restart x.mount"]
    );
}

#[test]
fn a_target_that_goes_down_comes_up_alone() {
    let mut situation = given(&[
        ("base.service", A, B),
        ("multi-user.target", "[Unit]\n", "[Unit]\n"),
    ]);
    hangs(&mut situation, "multi-user.target", "base.service");
    let jobs: Vec<(String, Job)> = plan(&situation)
        .up
        .into_iter()
        .map(|step| (step.unit, step.job))
        .collect();
    assert_eq!(
        jobs,
        [
            ("base.service".to_owned(), Job::Start),
            ("multi-user.target".to_owned(), Job::StartAlone)
        ]
    );
}

#[test]
fn what_cannot_come_back_is_told() {
    let no_start = format!("{A}[Unit]\nRefuseManualStart=true\n");
    let mut situation = given(&[
        ("base.service", A, "-"),
        ("refuses.service", &no_start, &no_start),
    ]);
    for (name, transient) in [
        ("t.service", true),
        ("s.scope", false),
        ("host.service", false),
    ] {
        let state = State { transient, ..up() };
        situation.states.insert(name.to_owned(), state);
        hangs(&mut situation, name, "base.service");
    }
    hangs(&mut situation, "refuses.service", "base.service");
    let plan = plan(&situation);
    assert_eq!(plan.disturbed.len(), 4);
    let started: Vec<&str> = plan.up.iter().map(|step| step.unit.as_str()).collect();
    assert_eq!(started, ["host.service"]);
    for name in ["t.service", "s.scope", "refuses.service"] {
        assert_eq!(plan.intended[name], Intent::Either, "{name}");
    }
}

#[test]
fn the_activation_script_is_followed() {
    let text = |more: &str| format!("{A}{more}");
    let old = [
        ("plain.service", text("")),
        ("again.service", text("")),
        ("t@.service", text("")),
        ("r.service", text("X-ReloadIfChanged=true\nExecReload=/r\n")),
        ("no.service", text("X-RestartIfChanged=false\n")),
        ("changed.service", text("")),
        ("can.service", text("ExecReload=/r\n")),
        ("cannot.service", text("")),
        ("x.slice", "[Slice]\n".to_owned()),
        ("down.service", text("")),
        ("-.mount", "[Mount]\n".to_owned()),
    ];
    let rows: Vec<(&str, &str, &str)> = old
        .iter()
        .map(|(name, text)| {
            let new = if *name == "changed.service" { B } else { text };
            (*name, text.as_str(), new)
        })
        .chain([("gone.service", A, "-")])
        .collect();
    let mut situation = given(&rows);
    runs_as(&mut situation, "t@one.service");
    state(&mut situation, "down.service").active = Active::Inactive;
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
    let requests = Requests {
        restart: names(&[
            "plain",
            "again.service",
            "t@one.service",
            "r.service",
            "no.service",
            "changed.service",
            "x.slice",
            "down.service",
            "-.mount",
            "gone.service",
            "unknown.service",
        ]),
        reload: names(&[
            "can.service",
            "cannot.service",
            "again.service",
            "changed.service",
            "down.service",
        ]),
    };
    let without = plan(&situation);
    let with = plan_with(&situation, &requests);
    assert_eq!(with.stop, without.stop, "the stops are over by then");
    assert_eq!(
        deeds(&with),
        [
            "stop changed.service",
            "stop gone.service",
            "NOT restart cannot.service",
            "NOT restart no.service",
            "reload -.mount",
            "reload can.service",
            "reload r.service",
            "restart again.service",
            "start changed.service",
            "start down.service",
            "restart plain.service",
            "restart t@one.service",
        ]
    );
}

#[test]
fn a_restart_does_not_stop_another_by_the_new_files_word() {
    let once = |text: &str| format!("{text}X-StopIfChanged=false\n");
    let no = |stop: &str| {
        format!("{A}ExecStop={stop}\nX-RestartIfChanged=false\n[Unit]\nRequires=base.service\n")
    };
    let mut situation = given(&[
        ("base.service", &once(A), &once(B)),
        ("d.service", &no("/old"), &no("/new")),
    ]);
    hangs(&mut situation, "d.service", "base.service");
    assert_eq!(
        deeds(&plan(&situation)),
        [
            "stop base.service",
            "take down d.service",
            "start base.service",
            "start d.service"
        ]
    );
}

#[test]
fn a_restart_takes_along_what_hangs_on_it_by_the_new_files() {
    let once = |text: &str| format!("{text}X-StopIfChanged=false\n");
    let no = |more: &str| format!("[Unit]\n{more}{A}X-RestartIfChanged=false\n");
    for (old, new, along) in [
        ("", "Requires=base.service\n", true),
        ("", "PartOf=base.service\n", true),
        ("Requires=base.service\n", "", false),
    ] {
        let mut situation = given(&[
            ("base.service", &once(A), &once(B)),
            ("d.service", &no(old), &no(new)),
        ]);
        if !old.is_empty() {
            hangs(&mut situation, "d.service", "base.service");
        }
        let plan = plan(&situation);
        assert_eq!(
            plan.disturbed.contains_key("d.service"),
            along,
            "{old:?} {new:?}"
        );
        assert_eq!(
            plan.skipped.contains_key("d.service"),
            !along,
            "{old:?} {new:?}"
        );
    }
}
