//! What is to be thought of a unit.

use super::*;
use crate::system::manager::{JobId, Value};

fn now(active: &str, sub: &str, result: &str) -> Now {
    Now {
        load: "loaded".to_owned(),
        active: active.to_owned(),
        sub: sub.to_owned(),
        result: result.to_owned(),
        kind: "simple".to_owned(),
        ..Now::default()
    }
}

/// `W` well, `O` on its way, `N` not.
fn letter(verdict: &Verdict) -> char {
    match verdict {
        Verdict::Well => 'W',
        Verdict::OnItsWay => 'O',
        Verdict::Not(_) => 'N',
    }
}

/// Every state that systemd has, for every intent: Up, Ran, Down, Either.
#[test]
fn the_state_counts_and_not_the_word() {
    for (active, sub, result, expected) in [
        ("active", "running", "success", "WWNW"),
        ("active", "exited", "success", "WWNW"),
        ("reloading", "reload", "success", "WWNW"),
        ("activating", "start", "success", "OONW"),
        ("activating", "auto-restart", "exit-code", "NNNW"),
        ("activating", "auto-restart-queued", "exit-code", "NNNW"),
        ("deactivating", "stop-sigterm", "success", "OOOW"),
        ("failed", "failed", "exit-code", "NNWN"),
        ("inactive", "dead", "success", "NWWW"),
        ("inactive", "dead", "start-limit-hit", "NNWW"),
    ] {
        let state = now(active, sub, result);
        let all = [Intent::Up, Intent::Ran, Intent::Down, Intent::Either];
        let letters: String = all
            .map(|intent| letter(&verdict(intent, &state, None)))
            .iter()
            .collect();
        assert_eq!(letters, expected, "{active} {sub} {result}");
    }
}

#[test]
fn one_that_ended_well_and_waits_for_its_next_start_is_well() {
    let waits = |status: u64| {
        let mut all = Properties::default();
        for (name, text) in [
            ("LoadState", "loaded"),
            ("ActiveState", "activating"),
            ("SubState", "auto-restart"),
            ("Result", if status == 0 { "success" } else { "exit-code" }),
            ("Restart", "always"),
        ] {
            all.insert(name, Value::Text(text.to_owned()));
        }
        all.insert("ExecMainCode", Value::Number(EXITED));
        all.insert("ExecMainStatus", Value::Number(status));
        Now::of(&all)
    };
    let ran = now("active", "running", "success");
    for before in [None, Some(&ran)] {
        assert_eq!(letter(&verdict(Intent::Up, &waits(0), before)), 'W');
        assert_eq!(letter(&verdict(Intent::Up, &waits(1), before)), 'N');
    }
    assert_eq!(letter(&verdict(Intent::Down, &waits(0), None)), 'N');
}

#[test]
fn what_is_down_and_has_a_start_before_it_is_on_its_way() {
    let job = |unit: &str, kind: &str| Queued {
        id: JobId(1),
        unit: unit.to_owned(),
        kind: kind.to_owned(),
        running: false,
    };
    let jobs = [
        job("a.service", "start"),
        job("b.service", "stop"),
        job("c.service", "start"),
    ];
    let failed = ["a.service", "b.service", "c.service", "d.service"];
    let mut judged = Judged {
        failed: failed
            .map(|name| (name.to_owned(), "it is inactive".to_owned()))
            .into(),
        ..Judged::default()
    };
    // The third one is between two tries.
    let down = ["a.service", "b.service", "d.service"]
        .map(str::to_owned)
        .into();
    judged.queued(&down, &jobs);
    assert_eq!(judged.waiting, BTreeSet::from(["a.service".to_owned()]));
    let left: Vec<&str> = judged.failed.keys().map(String::as_str).collect();
    assert_eq!(left, ["b.service", "c.service", "d.service"]);
}

#[test]
fn one_that_came_up_and_was_started_again_is_not_well() {
    let first = now("active", "running", "success");
    let again = Now {
        restarts: 1,
        ..first.clone()
    };
    assert_eq!(letter(&verdict(Intent::Up, &again, Some(&first))), 'N');
    assert_eq!(letter(&verdict(Intent::Up, &again, None)), 'W');
    assert_eq!(letter(&verdict(Intent::Up, &again, Some(&again))), 'W');
}

#[test]
fn a_false_condition_is_the_closure_s_own_wish() {
    let skipped = Now {
        is_skipped: true,
        ..now("inactive", "dead", "success")
    };
    assert_eq!(letter(&verdict(Intent::Up, &skipped, None)), 'W');
    let oneshot = Now {
        kind: "oneshot".to_owned(),
        ..now("inactive", "dead", "success")
    };
    assert_eq!(letter(&verdict(Intent::Up, &oneshot, None)), 'W');
    let script = Now {
        is_done: true,
        ..now("inactive", "dead", "success")
    };
    assert_eq!(letter(&verdict(Intent::Up, &script, None)), 'W');
    let gone = Now {
        load: "not-found".to_owned(),
        ..now("inactive", "dead", "success")
    };
    assert_eq!(
        verdict(Intent::Up, &gone, None),
        Verdict::Not("it is not-found".to_owned())
    );
}
