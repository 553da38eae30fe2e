//! What is down, and what comes up.

use super::*;

const A: &str = "[Service]\nExecStart=/a\n";
const B: &str = "[Service]\nExecStart=/b\n";

/// A running target, and x.service, which it wants in those closures in which `by` says so, and which is down.
fn down(old: &str, new: &str, by: (bool, bool)) -> Situation {
    let mut situation = given(&[
        ("multi-user.target", "[Unit]\n", "[Unit]\n"),
        ("x.service", old, new),
    ]);
    let names = || BTreeSet::from(["x.service".to_owned()]);
    if by.0 {
        situation
            .old
            .wanted
            .insert("multi-user.target".to_owned(), names());
    }
    if by.1 {
        situation
            .new
            .wanted
            .insert("multi-user.target".to_owned(), names());
    }
    if let Some(state) = situation.states.get_mut("x.service") {
        state.active = Active::Inactive;
    }
    situation
}

#[test]
fn a_unit_that_is_down_comes_up_if_it_is_wanted_and_new_or_changed() {
    for (old, new, by, want) in [
        // By hand, or a timer's between its runs.
        (A, A, (true, true), &[][..]),
        (A, A, (false, false), &[]),
        (A, B, (false, false), &[]),
        (A, B, (true, true), &["start x.service"]),
        (
            A,
            "[Unit]\nDescription=x\n[Service]\nExecStart=/a\n",
            (true, true),
            &[],
        ),
        (A, A, (false, true), &["start x.service"]),
        ("-", A, (true, true), &["start x.service"]),
        ("-", A, (false, true), &["start x.service"]),
        ("-", A, (false, false), &[]),
        ("masked", A, (true, true), &["start x.service"]),
        (A, "masked", (true, true), &[]),
        (A, "-", (true, true), &[]),
        ("-", "-", (false, true), &[]),
        (
            A,
            "[Service]\nExecStart=/b\n[Unit]\nX-OnlyManualStart=true\n",
            (true, true),
            &["NOT restart x.service"],
        ),
        (
            A,
            "[Service]\nExecStart=/b\n[Unit]\nRefuseManualStart=true\n",
            (true, true),
            &["NOT restart x.service"],
        ),
    ] {
        let plan = plan(&down(old, new, by));
        assert_eq!(deeds(&plan), want, "from {old:?} to {new:?}, wanted {by:?}");
    }
}

#[test]
fn a_unit_that_had_failed_is_tried_again_when_it_changed() {
    for (new, want) in [(A, &["was failing"][..]), (B, &["start x.service"])] {
        let mut situation = down(A, new, (true, true));
        state(&mut situation, "x.service").active = Active::Failed;
        assert_eq!(deeds(&plan(&situation)), want);
    }
}

#[test]
fn all_that_pulls_in_counts() {
    for key in ["Wants", "Requires", "BindsTo", "Upholds"] {
        let new = format!("[Unit]\n{key}=x.service\n");
        let situation = given(&[
            ("multi-user.target", "[Unit]\n", &new),
            ("x.service", "-", A),
        ]);
        assert_eq!(deeds(&plan(&situation)), ["start x.service"], "{key}");
    }
    // By another name of it.
    let new = "[Unit]\nWants=www.service\n";
    let situation = given(&[
        ("multi-user.target", "[Unit]\n", new),
        ("x.service", "-", A),
        ("www.service", "-", "alias x.service"),
    ]);
    assert_eq!(deeds(&plan(&situation)), ["start x.service"]);
    // By a unit that changed and goes on as it is.
    for (says, deed) in [
        ("X-RestartIfChanged=false\n", "NOT restart c.service"),
        (
            "X-ReloadIfChanged=true\nExecReload=/r\n",
            "reload c.service",
        ),
    ] {
        let new = format!("[Unit]\nWants=x.service\n{A}{says}");
        let situation = given(&[("c.service", A, &new), ("x.service", "-", A)]);
        assert_eq!(deeds(&plan(&situation)), [deed, "start x.service"]);
    }
    // A target that does not run pulls in nothing, and one that is new brings all of its own.
    let situation = given(&[
        ("idle.target", "-", new),
        ("x.service", "-", A),
        ("www.service", "-", "alias x.service"),
    ]);
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
    let situation = given(&[
        (
            "multi-user.target",
            "[Unit]\n",
            "[Unit]\nWants=new.target\n",
        ),
        ("new.target", "-", "[Unit]\nWants=x.service\n"),
        ("x.service", "-", A),
    ]);
    assert_eq!(
        lines(&plan(&situation)),
        [
            "start new.target: it is wanted now",
            "start x.service: new.target pulls it in"
        ]
    );
    // An instance.
    let situation = given(&[
        (
            "multi-user.target",
            "[Unit]\n",
            "[Unit]\nWants=t@one.service\n",
        ),
        ("t@.service", "-", A),
    ]);
    assert_eq!(deeds(&plan(&situation)), ["start t@one.service"]);
    // A device, which PID 1 knows by the name alone.
    let new = "[Unit]\nWants=dev-sda.device\n";
    let mut situation = given(&[("multi-user.target", "[Unit]\n", new)]);
    let device = State::default();
    situation.states.insert("dev-sda.device".to_owned(), device);
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
    // The host's own.
    let mut situation = given(&[(
        "multi-user.target",
        "[Unit]\n",
        "[Unit]\nWants=ssh.service\n",
    )]);
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
    situation.host_units.insert("ssh.service".to_owned());
    assert_eq!(deeds(&plan(&situation)), ["start ssh.service"]);
}

#[test]
fn new_units_of_every_kind_come_up() {
    for (name, text) in [
        ("x.socket", "[Socket]\nListenStream=1\n"),
        ("x.path", "[Path]\nPathExists=/a\n"),
        ("x.timer", "[Timer]\nOnBootSec=1\n"),
        ("x.mount", "[Mount]\nWhat=a\n"),
        ("x.target", "[Unit]\n"),
    ] {
        let new = format!("[Unit]\nWants={name}\n");
        let situation = given(&[("multi-user.target", "[Unit]\n", &new), (name, "-", text)]);
        let plan = plan(&situation);
        assert_eq!(deeds(&plan), [format!("start {name}")]);
        assert_eq!(intents(&plan), [(name, Intent::Up)]);
    }
}

#[test]
fn what_changed_and_is_down_is_known_as_such() {
    let plan = plan(&down(A, B, (false, false)));
    assert_eq!(plan.dormant, BTreeSet::from(["x.service".to_owned()]));
    let plan = super::plan(&down(A, A, (false, false)));
    assert_eq!(plan.dormant, BTreeSet::new());
    // What is gone, too: something may start it before the reload.
    let plan = super::plan(&down(A, "-", (false, false)));
    assert_eq!(plan.dormant, BTreeSet::from(["x.service".to_owned()]));
    let plan = super::plan(&down("-", A, (false, false)));
    assert_eq!(plan.dormant, BTreeSet::new());
}

#[test]
fn what_must_be_up_before_another_is_asked_for_first() {
    for (a, b) in [("a.service", "b.service"), ("b.service", "a.service")] {
        for key in ["Requisite", "Requires", "BindsTo", "After"] {
            let text = |exec: &str| format!("[Unit]\n{key}={b}\n[Service]\nExecStart={exec}\n");
            let once = "X-StopIfChanged=false\n";
            for (a_more, b_more) in [("", ""), (once, ""), ("", once), (once, once)] {
                let plan = plan(&given(&[
                    (
                        a,
                        &format!("{}{a_more}", text("/1")),
                        &format!("{}{a_more}", text("/2")),
                    ),
                    (b, &format!("{A}{b_more}"), &format!("{B}{b_more}")),
                ]));
                let order: Vec<&str> = plan.up.iter().map(|step| step.unit.as_str()).collect();
                assert_eq!(order, [b, a], "{key}");
            }
        }
        let before = format!("[Unit]\nBefore={a}\n{B}");
        let plan = plan(&given(&[(a, A, B), (b, A, &before)]));
        let order: Vec<&str> = plan.up.iter().map(|step| step.unit.as_str()).collect();
        assert_eq!(order, [b, a], "Before");
    }
    // A circle is nobody's order, and loses nobody.
    let circle = |of: &str| format!("[Unit]\nAfter={of}\n{B}");
    let plan = plan(&given(&[
        ("a.service", A, &circle("b.service")),
        ("b.service", A, &circle("a.service")),
    ]));
    assert_eq!(plan.up.len(), 2);
}
