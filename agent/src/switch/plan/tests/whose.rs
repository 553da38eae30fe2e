//! Whose file a unit is made of, and under which name.

use super::*;
use crate::switch::situation::{Home, Load};

const A: &str = "[Service]\nExecStart=/a\n";
const B: &str = "[Service]\nExecStart=/b\n";

#[test]
fn only_what_runs_from_the_closure_is_touched() {
    let touched = ["stop x.service", "start x.service"];
    for (fragment, want) in [
        ("/etc/systemd/system/x.service", &touched[..]),
        ("/run/systemd/generator/x.service", &[]),
        ("/usr/lib/systemd/system/x.service", &[]),
        ("", &[]),
    ] {
        let mut situation = given(&[("x.service", A, B)]);
        state(&mut situation, "x.service").fragment = fragment.to_owned();
        assert_eq!(deeds(&plan(&situation)), want, "{fragment}");
    }
    // On a plain host the closure's units are linked elsewhere.
    let mut situation = given(&[("x.service", A, B)]);
    situation.home = Home::Generator;
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
    state(&mut situation, "x.service").fragment =
        "/run/systemd/generator.early/x.service".to_owned();
    assert_eq!(deeds(&plan(&situation)), touched);
    // Those of users.
    let mut situation = given(&[("x.service", A, B)]);
    situation.home = Home::User;
    state(&mut situation, "x.service").fragment = "/etc/systemd/user/x.service".to_owned();
    assert_eq!(deeds(&plan(&situation)), touched);
    state(&mut situation, "x.service").fragment =
        "/home/a/.config/systemd/user/x.service".to_owned();
    assert_eq!(deeds(&plan(&situation)), ["is shadowed"]);
    // One that follows another is touched with that.
    let mut situation = given(&[("x.service", A, B)]);
    state(&mut situation, "x.service").following = "y.service".to_owned();
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
}

#[test]
fn what_lies_above_the_closures_unit_is_told() {
    let mut situation = given(&[
        ("x.service", A, B),
        ("y.service", A, A),
        ("z.service", A, A),
    ]);
    let transient = state(&mut situation, "x.service");
    transient.fragment = "/run/systemd/transient/x.service".to_owned();
    transient.transient = true;
    state(&mut situation, "y.service").drop_ins =
        vec!["/etc/systemd/system.control/y.service.d/50-CPUWeight.conf".to_owned()];
    state(&mut situation, "z.service").drop_ins =
        vec!["/etc/systemd/system/z.service.d/x.conf".to_owned()];
    assert_eq!(
        lines(&plan(&situation)),
        [
            "is shadowed: x.service: /run/systemd/transient/x.service lies above the closure's",
            "is shadowed: y.service: /etc/systemd/system.control/y.service.d/50-CPUWeight.conf lies above the closure's",
        ]
    );
    // A drop-in of set-property does not keep a changed unit from being restarted.
    let mut situation = given(&[("x.service", A, B)]);
    state(&mut situation, "x.service").drop_ins =
        vec!["/run/systemd/system.control/x.service.d/50-CPUWeight.conf".to_owned()];
    assert_eq!(
        deeds(&plan(&situation)),
        ["stop x.service", "start x.service", "is shadowed"]
    );
}

#[test]
fn what_the_operator_has_masked_is_left_alone() {
    for (old, new) in [(A, B), ("-", B)] {
        let mut situation = given(&[("x.service", old, new)]);
        runs_as(&mut situation, "x.service");
        let masked = state(&mut situation, "x.service");
        masked.load = Load::Masked;
        masked.fragment = String::new();
        if old == A {
            masked.fragment = "/etc/systemd/system/x.service".to_owned();
        }
        wanted(&mut situation, "x.service", "x.service");
        assert_eq!(deeds(&plan(&situation)), ["NOT restart x.service"], "{old}");
    }
}

#[test]
fn instances_follow_their_template() {
    let mut situation = given(&[("t@.service", A, B)]);
    runs_as(&mut situation, "t@one.service");
    runs_as(&mut situation, "t@a.b.service");
    assert_eq!(
        deeds(&plan(&situation)),
        [
            "stop t@a.b.service",
            "stop t@one.service",
            "start t@a.b.service",
            "start t@one.service"
        ]
    );
    // Its own file instead of the template's, and back.
    for (template, old, new) in [(A, "-", B), (A, B, "-")] {
        let mut situation = given(&[
            ("t@.service", template, template),
            ("t@one.service", old, new),
        ]);
        runs_as(&mut situation, "t@one.service");
        assert_eq!(
            deeds(&plan(&situation)),
            ["stop t@one.service", "start t@one.service"]
        );
    }
    let mut situation = given(&[("t@.service", A, "-")]);
    runs_as(&mut situation, "t@one.service");
    assert_eq!(deeds(&plan(&situation)), ["stop t@one.service"]);
}

#[test]
fn an_instance_by_drop_ins_goes_with_them_and_one_by_hand_stays() {
    let drop_in = "[Service]\nNice=1\n";
    for (old, new, want) in [
        (drop_in, drop_in, &[][..]),
        (drop_in, "-", &["stop t@one.service"]),
        (drop_in, "masked", &["stop t@one.service"]),
        (
            drop_in,
            "[Service]\nNice=2\n",
            &["stop t@one.service", "start t@one.service"],
        ),
    ] {
        let mut situation = given(&[("t@.service", A, A), ("t@one.service.d/x.conf", old, new)]);
        runs_as(&mut situation, "t@one.service");
        runs_as(&mut situation, "t@by-hand.service");
        assert_eq!(deeds(&plan(&situation)), want, "{new:?}");
    }
}

#[test]
fn drop_ins_count_wherever_they_are() {
    for directory in ["a-b.service.d", "a-.service.d", "service.d"] {
        let path = format!("{directory}/x.conf");
        let situation = given(&[
            ("a-b.service", A, A),
            (&path, "[Service]\nNice=1\n", "[Service]\nNice=2\n"),
        ]);
        assert_eq!(
            deeds(&plan(&situation)),
            ["stop a-b.service", "start a-b.service"],
            "{directory}"
        );
    }
    let situation = given(&[
        ("a.service", A, A),
        (
            "b.service.d/x.conf",
            "[Service]\nNice=1\n",
            "[Service]\nNice=2\n",
        ),
    ]);
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
}

#[test]
fn a_name_with_a_backslash_or_a_dash_in_front_is_a_name() {
    for name in [
        r"dev-disk-by\x2dlabel-root.service",
        "-leading.service",
        "a b.service",
    ] {
        let plan = plan(&given(&[(name, A, B)]));
        assert!(plan.stop.contains_key(name), "{plan:?}");
        assert_eq!(plan.up.len(), 1);
    }
}

#[test]
fn two_that_become_one_are_stopped_before() {
    let mut situation = given(&[("a.service", A, A), ("b.service", B, "alias a.service")]);
    assert_eq!(
        lines(&plan(&situation)),
        [
            "stop a.service: it and b.service become one unit",
            "stop b.service: it and a.service become one unit",
            "start a.service: b.service and a.service are one unit now",
        ]
    );
    // The other one does not run: only the name is new.
    situation.states.remove("a.service");
    assert_eq!(
        deeds(&plan(&situation)),
        ["stop b.service", "start a.service"]
    );
    let situation = given(&[("b.service", A, "alias a.service"), ("a.service", "-", A)]);
    let plan = plan(&situation);
    assert_eq!(deeds(&plan), [""; 0], "the process is kept: {plan:?}");
}

#[test]
fn files_that_nobody_could_read_count_as_changed() {
    let mut situation = given(&[("x.service", A, B)]);
    situation.old.texts.clear();
    assert_eq!(
        lines(&plan(&situation)),
        [
            "stop x.service: its files could not be compared",
            "start x.service: its files could not be compared",
        ]
    );
}

#[test]
fn on_a_plain_host_units_change_hands() {
    let plain = |units: &[(&str, &str, &str)], fragment: &str| {
        let mut situation = given(units);
        situation.home = Home::Generator;
        situation.host_units = BTreeSet::from(["x.service".to_owned()]);
        runs_as(&mut situation, "x.service");
        state(&mut situation, "x.service").fragment = fragment.to_owned();
        lines(&plan(&situation))
    };
    let both = |why: &str| {
        vec![
            format!("stop x.service: {why}"),
            format!("start x.service: {why}"),
        ]
    };
    assert_eq!(
        plain(
            &[("x.service", "-", A)],
            "/usr/lib/systemd/system/x.service"
        ),
        both("it is the closure's now")
    );
    assert_eq!(
        plain(
            &[("x.service", A, "-")],
            "/run/systemd/generator.early/x.service"
        ),
        both("it is the host's again")
    );
    for (old, new) in [
        ("-", "[Service]\nNice=1\n"),
        ("[Service]\nNice=1\n", "-"),
        ("[Service]\nNice=1\n", "[Service]\nNice=2\n"),
    ] {
        assert_eq!(
            plain(
                &[("x.service.d/o.conf", old, new)],
                "/usr/lib/systemd/system/x.service"
            ),
            both("[Service] Nice= changed"),
            "from {old:?} to {new:?}"
        );
    }
    assert_eq!(
        plain(
            &[("x.service", "-", "masked")],
            "/usr/lib/systemd/system/x.service"
        ),
        ["stop x.service: the closure masks it"]
    );
}
