//! Every state against every event, and what follows for all checks together.

use super::*;

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn declared(name: &str) -> Declared {
    Declared {
        name: name.to_owned(),
        wanted: false,
        retries: Some(1),
        interval: secs(5),
        start_delay: secs(2),
    }
}

fn failed() -> Ended {
    Ended::Failed(Failure::Status(1))
}

/// Written down apart from the code: at second 100, one row a state, one column an event.
#[test]
#[allow(clippy::too_many_lines, reason = "a table: each line is a case")]
fn every_state_and_every_event() {
    let events = [
        Event::Ready(true),
        Event::Ready(false),
        Event::Begun,
        Event::Ended(Ended::Passed),
        Event::Ended(failed()),
        Event::Ended(Ended::Lost("x".to_owned())),
    ];
    // `ready` is what it was before; `failures` too, of one that may fail once.
    for (state, ready, failures, after) in [
        (
            State::Waiting,
            false,
            0,
            [
                "due 102", "waiting", "waiting", "waiting", "waiting", "waiting",
            ],
        ),
        (
            State::Due(secs(90)),
            true,
            0,
            ["due 90", "waiting", "running", "due 90", "due 90", "due 90"],
        ),
        (
            State::Due(secs(90)),
            true,
            1,
            ["due 90", "waiting", "running", "due 90", "due 90", "due 90"],
        ),
        (
            State::Running(true),
            true,
            0,
            [
                "running",
                "void",
                "running",
                "passed 100",
                "due 105",
                "due 105",
            ],
        ),
        (
            State::Running(true),
            true,
            1,
            [
                "running",
                "void",
                "running",
                "passed 100",
                "failed",
                "due 105",
            ],
        ),
        (
            State::Running(false),
            true,
            0,
            ["void", "void", "void", "due 102", "due 102", "due 102"],
        ),
        (
            State::Running(false),
            false,
            1,
            ["void", "void", "void", "waiting", "waiting", "waiting"],
        ),
        (
            State::Passed(secs(90)),
            true,
            0,
            [
                "passed 90",
                "waiting",
                "running",
                "passed 90",
                "passed 90",
                "passed 90",
            ],
        ),
        (State::Failed, true, 2, ["failed"; 6]),
        (State::Failed, false, 2, ["failed"; 6]),
    ] {
        for (event, expected) in events.iter().zip(after) {
            let before = Progress {
                state,
                ready,
                holds: matches!(state, State::Passed(_)),
                failures,
                last: None,
            };
            let next = before.after(&declared("a"), secs(100), event);
            let word = match next.state {
                State::Waiting => "waiting".to_owned(),
                State::Due(at) => format!("due {}", at.as_secs()),
                State::Running(true) => "running".to_owned(),
                State::Running(false) => "void".to_owned(),
                State::Passed(at) => format!("passed {}", at.as_secs()),
                State::Failed => "failed".to_owned(),
            };
            assert_eq!(word, expected, "{state:?} {ready} {failures} {event:?}");
            // What holds, has passed, and no unit was unwell since.
            let holds = match event {
                Event::Ready(false) => before.holds && state == State::Failed,
                Event::Ended(Ended::Passed) if state == State::Running(true) => true,
                Event::Ended(Ended::Failed(_)) if state == State::Running(true) => false,
                _ => before.holds,
            };
            assert_eq!(next.holds, holds, "{state:?} {event:?}");
            let expected = if let Event::Ready(ready) = event {
                *ready
            } else {
                ready
            };
            assert_eq!(next.ready, expected);
        }
    }
}

/// A slow starter: without `retries` there is no last try.
#[test]
fn without_retries_it_is_tried_for_ever() {
    let declared = Declared {
        retries: None,
        ..declared("a")
    };
    let mut one = Progress::default().after(&declared, secs(0), &Event::Ready(true));
    for count in 1..=50 {
        let at = secs(10 * count);
        one = one.after(&declared, at, &Event::Begun);
        one = one.after(&declared, at, &Event::Ended(failed()));
        assert_eq!(one.state, State::Due(at + declared.interval));
    }
    assert_eq!(one.failures, 50);
    one = one.after(&declared, secs(1000), &Event::Begun);
    one = one.after(&declared, secs(1001), &Event::Ended(Ended::Passed));
    assert_eq!((one.state, one.failures), (State::Passed(secs(1001)), 0));
}

#[test]
fn so_many_run_at_once_and_the_rest_when_there_is_room() {
    let all: Vec<Declared> = (0..AT_ONCE + 2).map(|n| declared(&n.to_string())).collect();
    let mut checks = Checks::new(&all);
    assert_eq!(checks.due(secs(0), true), Vec::<&str>::new());
    checks.ready(secs(0), true);
    assert_eq!(checks.due(secs(1), true), Vec::<&str>::new());
    assert_eq!(checks.next(secs(1), true), Some(secs(2)));
    let first = checks.due(secs(2), true);
    assert_eq!(first, ["0", "1", "2", "3"]);
    for name in first {
        checks.begun(name, secs(2));
    }
    assert_eq!(checks.due(secs(2), true), Vec::<&str>::new());
    checks.ended("2", secs(3), Ended::Passed);
    assert_eq!(checks.due(secs(3), true), ["4"]);
    checks.ended("1", secs(3), failed());
    assert_eq!(checks.due(secs(3), true), ["4", "5"]);
}

#[test]
fn one_that_holds_is_run_again_while_that_matters() {
    let all = [declared("a")];
    let mut checks = Checks::new(&all);
    checks.ready(secs(0), true);
    checks.begun("a", secs(2));
    assert!(checks.is_running(|one| one.name == "a"));
    assert!(!checks.is_running(|_| false));
    checks.ended("a", secs(3), Ended::Passed);
    assert_eq!(checks.troubles().count(), 0);
    assert_eq!(checks.next(secs(3), true), Some(secs(8)));
    assert_eq!(checks.next(secs(3), false), None);
    assert_eq!(checks.due(secs(8), true), ["a"]);
    assert_eq!(checks.due(secs(8), false), Vec::<&str>::new());
    // It goes on to hold while it is run again.
    checks.begun("a", secs(8));
    assert_eq!(checks.troubles().count(), 0);
    checks.ended("a", secs(9), failed());
    assert_eq!(checks.troubles().count(), 1);
}

#[test]
fn what_is_said_of_one_that_does_not_hold() {
    let all = [declared("a")];
    let mut checks = Checks::new(&all);
    let mut told = Vec::new();
    let mut note = |checks: &Checks<'_>| {
        let trouble = checks.troubles().next();
        told.push(
            trouble.map_or_else(String::new, |one| format!("{} {}", one.is_final, one.words)),
        );
    };
    note(&checks);
    checks.ready(secs(0), true);
    note(&checks);
    checks.begun("a", secs(2));
    note(&checks);
    checks.ended("a", secs(3), failed());
    note(&checks);
    checks.begun("a", secs(8));
    note(&checks);
    checks.ended("a", secs(38), Ended::Failed(Failure::Late(secs(30))));
    note(&checks);
    assert_eq!(
        told,
        [
            "false waits for the units to be well",
            "false has not been run yet",
            "false has not ended its first run",
            "false has failed, and is tried again: exit status 1",
            "false has failed, and is tried again: exit status 1",
            "true failed 2 times: ended after 30 s",
        ]
    );
    assert_eq!(checks.failing().collect::<Vec<_>>(), ["a"]);
}
