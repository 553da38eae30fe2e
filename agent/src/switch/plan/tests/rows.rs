//! One running unit, and what a change of it comes to.

use super::*;
use crate::switch::situation::Home;

const A: &str = "[Service]\nExecStart=/a\n";
const B: &str = "[Service]\nExecStart=/b\n";

fn with(text: &str, more: &str) -> String {
    format!("{text}{more}")
}

/// What one unit's change comes to.
fn of(name: &str, old: &str, new: &str) -> Vec<String> {
    deeds(&plan(&given(&[(name, old, new)])))
}

#[test]
fn a_service_by_its_attributes() {
    for (old, new, want) in [
        (A.to_owned(), A.to_owned(), &[][..]),
        (A.to_owned(), with("[Unit]\nDescription=x\n", A), &[]),
        (
            A.to_owned(),
            B.to_owned(),
            &["stop x.service", "start x.service"],
        ),
        (
            with(A, "X-StopIfChanged=false\n"),
            with(B, "X-StopIfChanged=false\n"),
            &["restart x.service"],
        ),
        // The old process is stopped by the old file's word.
        (
            with(A, "X-StopIfChanged=false\nExecStop=/old\n"),
            with(A, "X-StopIfChanged=false\nExecStop=/new\n"),
            &["stop x.service", "start x.service"],
        ),
        (
            with(A, "X-StopIfChanged=false\n"),
            with(A, "X-StopIfChanged=false\nExecStopPost=/new\n"),
            &["stop x.service", "start x.service"],
        ),
        (
            with(A, "X-StopIfChanged=false\nKillMode=process\n"),
            with(A, "X-StopIfChanged=false\n"),
            &["stop x.service", "start x.service"],
        ),
        (
            with(A, "ExecReload=/r\n"),
            with(B, "ExecReload=/r\nX-ReloadIfChanged=true\n"),
            &["reload x.service"],
        ),
        (
            A.to_owned(),
            with(B, "X-ReloadIfChanged=true\n"),
            &["NOT restart x.service"],
        ),
        (
            A.to_owned(),
            with(B, "X-RestartIfChanged=false\n"),
            &["NOT restart x.service"],
        ),
        // What counts is what the new closure says.
        (
            with(A, "X-RestartIfChanged=false\n"),
            B.to_owned(),
            &["stop x.service", "start x.service"],
        ),
        (
            A.to_owned(),
            with(B, "[Unit]\nX-OnlyManualStart=true\n"),
            &["NOT restart x.service"],
        ),
        (
            A.to_owned(),
            with(B, "[Unit]\nRefuseManualStop=true\n"),
            &["NOT restart x.service"],
        ),
        (
            A.to_owned(),
            with(B, "[Unit]\nRefuseManualStart=true\n"),
            &["NOT restart x.service"],
        ),
        (
            A.to_owned(),
            with(A, "ExecReload=/r\n"),
            &["reload x.service"],
        ),
        (
            with(A, "ExecReload=/r\n[Unit]\nX-Reload-Triggers=1\n"),
            with(A, "ExecReload=/r\n[Unit]\nX-Reload-Triggers=2\n"),
            &["reload x.service"],
        ),
        (
            with(A, "[Unit]\nX-Reload-Triggers=1\n"),
            with(A, "[Unit]\nX-Reload-Triggers=2\n"),
            &["NOT restart x.service"],
        ),
        (
            with(A, "Type=notify-reload\n[Unit]\nX-Reload-Triggers=1\n"),
            with(A, "Type=notify-reload\n[Unit]\nX-Reload-Triggers=2\n"),
            &["reload x.service"],
        ),
        (
            with(A, "[Unit]\nX-Restart-Triggers=1\n"),
            with(A, "[Unit]\nX-Restart-Triggers=2\n"),
            &["stop x.service", "start x.service"],
        ),
    ] {
        assert_eq!(of("x.service", &old, &new), want, "from {old:?} to {new:?}");
    }
}

#[test]
fn every_other_kind_of_unit() {
    let pair = |section: &str, key: &str| {
        (
            format!("[{section}]\n{key}=1\n"),
            format!("[{section}]\n{key}=2\n"),
        )
    };
    for (name, section, key, want) in [
        ("x.timer", "Timer", "OnCalendar", &["restart x.timer"][..]),
        (
            "x.automount",
            "Automount",
            "TimeoutIdleSec",
            &["restart x.automount"],
        ),
        ("x.swap", "Swap", "Priority", &["restart x.swap"]),
        ("x.path", "Path", "PathExists", &[]),
        ("x.slice", "Slice", "MemoryMax", &[]),
        ("x.target", "Unit", "After", &[]),
        ("multi-user.target", "Unit", "After", &[]),
        ("x.mount", "Mount", "Options", &["reload x.mount"]),
        ("x.mount", "Mount", "What", &["restart x.mount"]),
        ("x.mount", "Mount", "Type", &["restart x.mount"]),
        ("-.mount", "Mount", "What", &["reload -.mount"]),
        ("nix.mount", "Mount", "What", &["reload nix.mount"]),
        (
            "nix-store.mount",
            "Mount",
            "What",
            &["reload nix-store.mount"],
        ),
    ] {
        let (old, new) = pair(section, key);
        assert_eq!(of(name, &old, &new), want, "{name} {key}");
    }
}

#[test]
fn what_is_gone_or_masked_is_stopped() {
    let stays = "[Unit]\nX-StopOnRemoval=false\n";
    for (name, old, new, want) in [
        ("x.service", A, "-", &["stop x.service"][..]),
        ("x.service", A, "masked", &["stop x.service"]),
        ("x.service", stays, "-", &["NOT restart x.service"]),
        ("x.service", stays, "masked", &["NOT restart x.service"]),
        ("x.target", "[Unit]\n", "-", &["stop x.target"]),
        ("x.path", "[Path]\n", "-", &["stop x.path"]),
        ("x.timer", "[Timer]\n", "-", &["stop x.timer"]),
        ("x.socket", "[Socket]\n", "-", &["stop x.socket"]),
        ("x.mount", "[Mount]\n", "-", &["stop x.mount"]),
        ("x.slice", "[Slice]\n", "-", &["stop x.slice"]),
    ] {
        assert_eq!(of(name, old, new), want, "{name} from {old:?} to {new:?}");
    }
    let plan = plan(&given(&[("x.service", A, "-")]));
    assert_eq!(intents(&plan), [("x.service", Intent::Down)]);
    assert_eq!(lines(&plan), ["stop x.service: it is gone"]);
    // PID 1 has the old file, and refuses.
    let mut situation = given(&[("x.service", A, "-")]);
    state(&mut situation, "x.service").refuses_stop = true;
    assert_eq!(deeds(&super::plan(&situation)), ["NOT restart x.service"]);
}

#[test]
fn a_slice_that_is_gone_stays_while_something_stays_in_it() {
    let mut situation = given(&[("x.slice", "[Slice]\n", "-"), ("in.service", A, A)]);
    hangs(&mut situation, "in.service", "x.slice");
    assert_eq!(deeds(&plan(&situation)), ["NOT restart x.slice"]);
    let mut situation = given(&[("x.slice", "[Slice]\n", "-"), ("in.service", A, "-")]);
    hangs(&mut situation, "in.service", "x.slice");
    assert_eq!(
        deeds(&plan(&situation)),
        ["stop in.service", "stop x.slice"]
    );
}

#[test]
fn who_is_in_the_middle_of_its_start_is_stopped_or_waited_for() {
    let two = "[Service]\nType=oneshot\nExecStart=/1\nExecStart=/2\n";
    let other = "[Service]\nType=oneshot\nExecStart=/1\nExecStart=/3\n";
    let no = "X-RestartIfChanged=false\n";
    let one = "[Service]\nType=oneshot\nExecStart=/1\n";
    let pre = "[Service]\nExecStartPre=/p\nExecStartPre=/q\n";
    for (old, new, sub, want) in [
        (
            two.to_owned(),
            other.to_owned(),
            "start",
            &["stop x.service", "start x.service"][..],
        ),
        (
            two.to_owned(),
            with(other, no),
            "start",
            &["NOT restart x.service", "wait for x.service"],
        ),
        (
            two.to_owned(),
            with(two, no),
            "start",
            &["NOT restart x.service"],
        ),
        (
            one.to_owned(),
            with("[Service]\nType=oneshot\nExecStart=/2\n", no),
            "start",
            &["NOT restart x.service"],
        ),
        (
            two.to_owned(),
            with(other, no),
            "start-post",
            &["NOT restart x.service"],
        ),
        (
            pre.to_owned(),
            with("[Service]\nExecStartPre=/p\nExecStartPre=/r\n", no),
            "start-pre",
            &["NOT restart x.service", "wait for x.service"],
        ),
        (two.to_owned(), two.to_owned(), "start", &[]),
    ] {
        let mut situation = given(&[("x.service", &old, &new)]);
        let starting = state(&mut situation, "x.service");
        starting.active = Active::Activating;
        starting.sub = sub.to_owned();
        assert_eq!(deeds(&plan(&situation)), want, "from {old:?} to {new:?}");
    }
    // A unit that is gone and stays skips its rest as well.
    let stays = with(two, "[Unit]\nX-StopOnRemoval=false\n");
    let mut situation = given(&[("x.service", &stays, "-")]);
    let starting = state(&mut situation, "x.service");
    starting.active = Active::Activating;
    starting.sub = "start".to_owned();
    assert_eq!(
        deeds(&plan(&situation)),
        ["NOT restart x.service", "wait for x.service"]
    );
    // Nobody can reload what is still starting.
    let (old, new) = (with(A, "ExecReload=/1\n"), with(A, "ExecReload=/2\n"));
    let mut situation = given(&[("x.service", &old, &new)]);
    state(&mut situation, "x.service").active = Active::Activating;
    assert_eq!(deeds(&plan(&situation)), ["restart x.service"]);
}

#[test]
fn what_was_failing_is_named_and_not_touched() {
    let mut situation = given(&[
        ("x.service", A, A),
        ("y.service", A, A),
        ("z.service", A, B),
    ]);
    wanted(&mut situation, "y.service", "x.service");
    state(&mut situation, "x.service").active = Active::Failed;
    let restarting = state(&mut situation, "y.service");
    restarting.active = Active::Activating;
    restarting.sub = "auto-restart".to_owned();
    let restarting = state(&mut situation, "z.service");
    restarting.active = Active::Activating;
    restarting.sub = "auto-restart".to_owned();
    assert_eq!(
        lines(&plan(&situation)),
        [
            "stop z.service: [Service] ExecStart= changed",
            "start z.service: [Service] ExecStart= changed",
            "was failing: x.service: it had failed before",
            "was failing: y.service: it was restarting before",
        ]
    );
}

#[test]
fn a_start_limit_is_forgotten_before_a_wanted_start() {
    let stop = with(A, "X-StopIfChanged=false\n");
    let plan = plan(&given(&[
        ("x.service", A, B),
        ("y.service", &stop, &with(B, "X-StopIfChanged=false\n")),
        ("z.service", A, "-"),
    ]));
    assert_eq!(
        plan.reset_failed.iter().collect::<Vec<_>>(),
        ["x.service", "y.service"]
    );
}

#[test]
fn targets_go_down_and_up_only_where_they_ask_for_it() {
    let asks = "[Unit]\nX-StopOnReconfiguration=true\n";
    let plan = plan(&given(&[
        ("x.target", asks, asks),
        ("y.target", "[Unit]\n", "[Unit]\n"),
    ]));
    assert_eq!(deeds(&plan), ["stop x.target", "start x.target"]);
    // Without what somebody has stopped by hand.
    assert_eq!(plan.up[0].job, Job::StartAlone);
    let refuses = "[Unit]\nX-StopOnReconfiguration=true\nRefuseManualStart=true\n";
    let plan = super::plan(&given(&[("x.target", refuses, refuses)]));
    assert_eq!(deeds(&plan), ["NOT restart x.target"]);
}

#[test]
fn a_oneshot_that_does_not_remain_is_to_run_to_its_end() {
    let text = |more: &str| format!("[Service]\nType=oneshot\nExecStart=/a\n{more}");
    let plan = plan(&given(&[
        ("x.service", &text(""), &text("Nice=1\n")),
        ("y.service", &text(""), &text("RemainAfterExit=yes\n")),
    ]));
    assert_eq!(
        intents(&plan),
        [("x.service", Intent::Ran), ("y.service", Intent::Up)]
    );
}

#[test]
fn systemd_itself() {
    let mut situation = given(&[("sysinit-reactivation.target", "-", "[Unit]\n")]);
    situation.manager.runs = Some("/nix/store/a/systemd".to_owned());
    let reexecutes = |situation: &Situation| plan(situation).reexecute.is_some();
    assert!(!reexecutes(&situation), "a closure that brings none");
    situation.manager.wanted = situation.manager.runs.clone();
    assert!(!reexecutes(&situation));
    situation.manager.wanted = Some("/nix/store/b/systemd".to_owned());
    assert!(reexecutes(&situation));
    situation.manager.runs = None;
    assert!(!reexecutes(&situation), "nobody knows what runs");
    situation.manager.new_config = Some("/nix/store/c".to_owned());
    assert!(reexecutes(&situation));
    assert_eq!(
        plan(&situation).reactivate.as_deref(),
        Some("sysinit-reactivation.target")
    );
    situation.home = Home::User;
    assert_eq!(plan(&situation).reactivate, None);
}
