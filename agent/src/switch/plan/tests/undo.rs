//! The plan back.

use super::*;

const A: &str = "[Service]\nExecStart=/a\n";
const B: &str = "[Service]\nExecStart=/b\n";

/// One unit that ran (or did not) when the switch from A to B began, and how it is now.
fn back(was_up: bool, now: Option<u64>, forward: (&str, &str)) -> Vec<String> {
    let mut situation = given(&[("x.service", forward.1, forward.0)]);
    runs_as(&mut situation, "x.service");
    match now {
        Some(since) => state(&mut situation, "x.service").since = since,
        None => state(&mut situation, "x.service").active = Active::Inactive,
    }
    let before = Before {
        up: was_up,
        since: 1,
    };
    situation.before = Some([("x.service".to_owned(), before)].into());
    deeds(&plan(&situation))
}

#[test]
fn each_unit_is_as_it_was() {
    let both = ["stop x.service", "start x.service"];
    let with = |text: &str, more: &str| format!("{text}{more}");
    for (was_up, now, forward, want) in [
        // It was restarted on the way.
        (true, Some(2), (A, B), &both[..]),
        // Nobody has touched it yet: it is the old process.
        (true, Some(1), (A, B), &[]),
        (true, None, (A, B), &["start x.service"]),
        (true, None, (A, A), &["start x.service"]),
        (true, None, (A, "-"), &["start x.service"]),
        (true, Some(2), (A, A), &[]),
        (false, Some(2), (A, A), &["stop x.service"]),
        (false, Some(2), (A, B), &["stop x.service"]),
        (false, Some(2), ("-", B), &["stop x.service"]),
        (false, None, (A, B), &[]),
        (false, None, (A, A), &[]),
    ] {
        assert_eq!(
            back(was_up, now, forward),
            want,
            "{was_up} {now:?} {forward:?}"
        );
    }
    let reload = |text: &str| with(text, "X-ReloadIfChanged=true\nExecReload=/r\n");
    assert_eq!(
        back(true, Some(1), (&reload(A), &reload(B))),
        ["reload x.service"],
        "it may have been reloaded on the way"
    );
}

#[test]
fn what_a_timer_has_started_meanwhile_goes_on() {
    for (new, want) in [(A, &[][..]), (B, &["stop x.service"])] {
        let mut situation = given(&[("x.timer", "[Timer]\n", "[Timer]\n"), ("x.service", new, A)]);
        triggers(&mut situation, "x.timer", "x.service");
        let timer = Before { up: true, since: 1 };
        situation.before = Some([("x.timer".to_owned(), timer)].into());
        assert_eq!(deeds(&plan(&situation)), want);
    }
}

#[test]
fn what_is_not_the_closures_is_left_alone() {
    let mut situation = given(&[("x.service", A, A)]);
    for name in ["run-u1.service", "session-1.scope", "host.service"] {
        situation.states.insert(name.to_owned(), up());
    }
    situation.before = Some([("x.service".to_owned(), Before { up: true, since: 1 })].into());
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
    // A transient unit that has ended, and a device: nobody can start them.
    let before = situation.before.as_mut().unwrap();
    for name in ["run-u2.service", "session-2.scope", "dev-sda.device"] {
        before.insert(name.to_owned(), Before { up: true, since: 1 });
    }
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
}

#[test]
fn a_socket_that_the_reload_has_closed_is_opened_again() {
    let mut situation = given(&[
        (
            "x.socket",
            "[Socket]\nListenStream=2\n",
            "[Socket]\nListenStream=1\n",
        ),
        ("x.service", A, A),
    ]);
    triggers(&mut situation, "x.socket", "x.service");
    let before = Before { up: true, since: 1 };
    situation.before = Some(
        [
            ("x.socket".to_owned(), before),
            ("x.service".to_owned(), before),
        ]
        .into(),
    );
    assert_eq!(
        deeds(&plan(&situation)),
        [
            "stop x.service",
            "stop x.socket",
            "start x.socket",
            "start x.service"
        ]
    );
}

#[test]
fn a_mount_comes_back_only_if_it_was_mounted() {
    use crate::switch::fstab::Fstab;
    for (was_up, want) in [(true, &["start x.mount"][..]), (false, &[])] {
        let before = Before {
            up: was_up,
            since: 1,
        };
        let situation = Situation {
            new_fstab: Fstab::parse("a /x ext4 rw"),
            before: Some([("x.mount".to_owned(), before)].into()),
            ..Situation::default()
        };
        assert_eq!(deeds(&plan(&situation)), want);
    }
}
