//! The plan back.

use super::*;

const A: &str = "[Service]\nExecStart=/a\n";
const B: &str = "[Service]\nExecStart=/b\n";

/// A unit that ran before the switch.
fn was() -> Before {
    Before {
        up: true,
        since: 1,
        touched: true,
        reloaded: false,
    }
}

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
        touched: true,
        reloaded: false,
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
        let timer = was();
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
    situation.before = Some([("x.service".to_owned(), was())].into());
    assert_eq!(deeds(&plan(&situation)), [""; 0]);
    // A transient unit that has ended, and a device: nobody can start them.
    let before = situation.before.as_mut().unwrap();
    for name in ["run-u2.service", "session-2.scope", "dev-sda.device"] {
        before.insert(name.to_owned(), was());
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
    let before = was();
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
            ..was()
        };
        let situation = Situation {
            new_fstab: Fstab::parse("a /x ext4 rw"),
            before: Some([("x.mount".to_owned(), before)].into()),
            ..Situation::default()
        };
        assert_eq!(deeds(&plan(&situation)), want);
    }
}

#[test]
fn what_was_reloaded_on_the_way_reads_the_old_files_again() {
    let text = |more: &str| format!("{A}{more}");
    let trigger = |number: u8| format!("{A}ExecReload=/r\n[Unit]\nX-Reload-Triggers={number}\n");
    let restart = &["stop x.service", "start x.service"][..];
    for (old, new, want) in [
        (trigger(1), trigger(2), &["reload x.service"][..]),
        (text("ExecReload=/r\n"), trigger(1), &["reload x.service"]),
        // The activation script has asked for it.
        (
            text("ExecReload=/r\n"),
            text("ExecReload=/r\n"),
            &["reload x.service"],
        ),
        (text(""), text("ExecReload=/r\n"), restart),
        (
            text("Nice=1\n"),
            text("ExecReload=/r\nX-ReloadIfChanged=true\n"),
            restart,
        ),
    ] {
        let mut situation = given(&[("x.service", &new, &old)]);
        let before = Before {
            reloaded: true,
            ..was()
        };
        situation.before = Some([("x.service".to_owned(), before)].into());
        assert_eq!(
            deeds(&plan(&situation)),
            want,
            "from {old:?} to {new:?} and back"
        );
        // By now it is another process, which has read the old files.
        state(&mut situation, "x.service").since = 2;
        let unchanged = old == new;
        assert_eq!(
            plan(&situation).touches("x.service"),
            !unchanged && effect_of(&new, &old),
            "{old:?}"
        );
    }
}

fn effect_of(old: &str, new: &str) -> bool {
    use crate::switch::compare::{Effect, compare};
    use crate::switch::unit_file::UnitFile;
    compare(&UnitFile::parse(old), &UnitFile::parse(new)).effect > Effect::Nothing
}

#[test]
fn what_ended_by_itself_is_not_started_again() {
    let oneshot = "[Service]\nType=oneshot\nExecStart=/a\n";
    for (text, touched, is_wanted, want) in [
        (A, true, false, &["start x.service"][..]),
        (A, false, true, &["start x.service"]),
        (A, false, false, &[]),
        (oneshot, false, true, &[]),
        (oneshot, true, true, &["start x.service"]),
    ] {
        let mut situation = given(&[
            ("multi-user.target", "[Unit]\n", "[Unit]\n"),
            ("x.service", text, text),
        ]);
        state(&mut situation, "x.service").active = Active::Inactive;
        if is_wanted {
            wanted(&mut situation, "multi-user.target", "x.service");
        }
        let before = Before { touched, ..was() };
        situation.before = Some(
            [
                ("multi-user.target".to_owned(), was()),
                ("x.service".to_owned(), before),
            ]
            .into(),
        );
        assert_eq!(
            deeds(&plan(&situation)),
            want,
            "{touched} {is_wanted} {text}"
        );
    }
}

#[test]
fn a_plan_that_is_made_again_finds_only_what_is_left() {
    let mut situation = given(&[
        ("x.service", A, B),
        ("y.service", A, B),
        ("z.service", A, "-"),
    ]);
    state(&mut situation, "x.service").since = 11;
    state(&mut situation, "z.service").since = 11;
    situation.read_at = Some(10);
    assert_eq!(
        deeds(&plan(&situation)),
        ["stop y.service", "stop z.service", "start y.service"]
    );
}
