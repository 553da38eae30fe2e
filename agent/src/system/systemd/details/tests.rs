//! Against what systemd 252 said of units that were made to fail in every way.

use super::*;

/// The two answers about `unit` in the recorded file.
fn recorded(unit: &str) -> UnitFailure {
    let text = include_str!("../fixtures/show-one.txt");
    let start = format!("== {unit}\n");
    let (_, rest) = text.split_once(&start).unwrap();
    let section = rest.split("\n== ").next().unwrap();
    let (state, commands) = section.split_once("--\n").unwrap_or((section, ""));
    failure(unit, state, commands)
}

#[test]
fn the_status_is_the_failing_commands() {
    for (unit, result, status) in [
        ("mainfail.service", "exit-code", Some(7)),
        ("oneshotfail.service", "exit-code", Some(6)),
        ("notfoundbin.service", "exit-code", Some(203)),
        ("limit.service", "exit-code", Some(5)),
        ("loop.service", "exit-code", Some(1)),
        ("signal.service", "signal", Some(11)),
        // Not the ignored `-sh -c 'exit 9'` before it.
        ("precheck.service", "exit-code", Some(4)),
        // ExecMainStatus is 15 here: systemd killed what was running.
        ("postfail.service", "exit-code", Some(3)),
        // Its arguments have line breaks, and a line like a property.
        ("multi.service", "exit-code", Some(4)),
        ("mp.mount", "exit-code", Some(32)),
        ("timeout.service", "timeout", None),
        ("prehang.service", "timeout", None),
    ] {
        let failure = recorded(unit);
        assert_eq!(
            (failure.result.as_str(), failure.exit_status),
            (result, status),
            "{unit}"
        );
    }
}

#[test]
fn what_has_not_failed_shows_its_state() {
    for (unit, result) in [
        ("hang.service", "activating"),
        ("depfail.service", "inactive"),
        ("gone.service", "not-found"),
        ("masked.service", "masked"),
        ("badset.service", "bad-setting"),
        ("well.service", "active"),
    ] {
        let failure = recorded(unit);
        assert_eq!(
            (failure.result.as_str(), failure.exit_status),
            (result, None),
            "{unit}"
        );
    }
    assert_eq!(
        recorded("gone.service").log,
        ["Unit gone.service not found."]
    );
}

#[test]
fn the_log_has_the_programs_words_and_systemds_complaint() {
    assert_eq!(
        all(include_str!("../fixtures/journal-precheck.json")),
        [
            "nginx: [emerg] unknown directive lisen in /etc/nginx.conf:3",
            "precheck.service: Control process exited, code=exited, status=4/NOPERMISSION",
            "precheck.service: Failed with result 'exit-code'.",
            "Failed to start precheck.service - A pre-check that says no.",
        ]
    );
}

#[test]
fn bytes_that_are_no_text_are_kept_as_far_as_they_are() {
    let lines = all(include_str!("../fixtures/journal-bytes.json"));
    assert_eq!(lines.first().unwrap(), "bad \u{fffd} byte");
}

#[test]
fn the_end_of_a_long_log_is_kept() {
    let entry =
        |n: usize| format!("{{\"MESSAGE\":\"line {n}\",\"_PID\":\"7\",\"PRIORITY\":\"6\"}}\n");
    let lines = all(&(0..50).map(entry).collect::<String>());
    assert_eq!(lines.len(), LINES);
    assert_eq!(lines.last().unwrap(), "line 49");
}

#[test]
fn one_entry_cannot_fill_the_log() {
    let trace = "frame\\n".repeat(100);
    let json = format!(
        "{{\"MESSAGE\":\"first\"}}\nnot json\n{{\"MESSAGE\":\"{trace}\"}}\n{{\"MESSAGE\":null}}"
    );
    let lines = all(&json);
    assert_eq!(lines.len(), 1 + LINES_OF_ENTRY);
    assert_eq!(lines.first().unwrap(), "first");
    assert_eq!(shortened(&"é".repeat(LINE + 1)).chars().count(), LINE + 1);
}

/// A log of which nobody knows whose run it is.
fn all(json_lines: &str) -> Vec<String> {
    log(json_lines, "x.service", None)
}

/// What a process wrote that ended at once has no run's name in the journal, and is what says why.
#[test]
fn the_log_is_of_the_run_that_failed() {
    let entry = |text: &str, unit: &str, run: Option<&str>| {
        let run = run.map(|run| format!(r#","_SYSTEMD_INVOCATION_ID":"{run}""#));
        let run = run.unwrap_or_default();
        format!("{{\"MESSAGE\":\"{text}\",\"_SYSTEMD_UNIT\":\"{unit}\"{run}}}\n")
    };
    let json = [
        entry("former", "x.service", Some("a")),
        entry("nobody knows", "x.service", None),
        entry("this", "x.service", Some("b")),
        entry("dumped core", "coredump@1.service", Some("c")),
    ]
    .concat();
    let of = |run| log(&json, "x.service", run);
    assert_eq!(of(Some("b")), ["nobody knows", "this", "dumped core"]);
    assert_eq!(of(None).len(), 4);
}
