//! Against what systemd 252 said of units that were made to fail in every way.

use super::*;

/// What was said of a unit: load and active state, result, the main process's code and status; then its commands:
/// property, ignored, code, status.
type Said = (
    &'static str,
    [&'static str; 3],
    [i64; 2],
    &'static [(&'static str, bool, i64, i64)],
);

const RECORDED: &[Said] = &[
    (
        "precheck.service",
        ["loaded", "failed", "exit-code"],
        [0, 0],
        &[
            ("ExecStartPre", false, 1, 0),
            ("ExecStartPre", true, 1, 9),
            ("ExecStartPre", false, 1, 4),
            ("ExecStart", false, 0, 0),
        ],
    ),
    (
        "mainfail.service",
        ["loaded", "failed", "exit-code"],
        [1, 7],
        &[("ExecStart", false, 1, 7)],
    ),
    (
        "oneshotfail.service",
        ["loaded", "failed", "exit-code"],
        [1, 6],
        &[("ExecStart", false, 1, 0), ("ExecStart", false, 1, 6)],
    ),
    (
        "notfoundbin.service",
        ["loaded", "failed", "exit-code"],
        [1, 203],
        &[("ExecStart", false, 1, 203)],
    ),
    (
        "signal.service",
        ["loaded", "failed", "signal"],
        [2, 11],
        &[("ExecStart", false, 2, 11)],
    ),
    (
        "timeout.service",
        ["loaded", "failed", "timeout"],
        [2, 15],
        &[("ExecStart", false, 2, 15)],
    ),
    (
        "prehang.service",
        ["loaded", "failed", "timeout"],
        [0, 0],
        &[("ExecStartPre", false, 2, 15), ("ExecStart", false, 0, 0)],
    ),
    (
        "postfail.service",
        ["loaded", "failed", "exit-code"],
        [2, 15],
        &[("ExecStart", false, 2, 15), ("ExecStartPost", false, 1, 3)],
    ),
    (
        "limit.service",
        ["loaded", "failed", "exit-code"],
        [1, 5],
        &[("ExecStart", false, 1, 5)],
    ),
    (
        "loop.service",
        ["loaded", "activating", "exit-code"],
        [1, 1],
        &[("ExecStart", false, 1, 1)],
    ),
    (
        "mp.mount",
        ["loaded", "failed", "exit-code"],
        [0, 0],
        &[("ExecMount", false, 1, 32)],
    ),
    (
        "hang.service",
        ["loaded", "activating", "success"],
        [0, 0],
        &[("ExecStart", false, 0, 0)],
    ),
    (
        "depfail.service",
        ["loaded", "inactive", "success"],
        [0, 0],
        &[("ExecStart", false, 0, 0)],
    ),
    (
        "gone.service",
        ["not-found", "inactive", "success"],
        [0, 0],
        &[],
    ),
    (
        "masked.service",
        ["masked", "inactive", "success"],
        [0, 0],
        &[],
    ),
    (
        "badset.service",
        ["bad-setting", "inactive", "success"],
        [0, 0],
        &[],
    ),
    (
        "well.service",
        ["loaded", "active", "success"],
        [0, 0],
        &[("ExecStart", false, 0, 0)],
    ),
];

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn properties(unit: &str) -> Properties {
    let said = RECORDED.iter().find(|said| said.0 == unit).unwrap();
    let (_, [load, active, result], [code, status], commands) = *said;
    let error = match load {
        "loaded" => Value::Tuple(vec![text(""), text("")]),
        _ => Value::Tuple(vec![
            text("org.freedesktop.systemd1.NoSuchUnit"),
            text(&format!("Unit {unit} not found.")),
        ]),
    };
    let mut properties: Properties = [
        ("LoadState", text(load)),
        ("ActiveState", text(active)),
        ("Result", text(result)),
        ("LoadError", error),
        ("ExecMainCode", Value::Signed(code)),
        ("ExecMainStatus", Value::Signed(status)),
        (
            "InvocationID",
            Value::List(vec![Value::Number(0xee), Value::Number(1)]),
        ),
    ]
    .into_iter()
    .collect();
    for property in COMMANDS {
        let of_it = commands.iter().filter(|command| command.0 == property);
        let commands = of_it.map(|(_, ignored, code, status)| {
            Value::Tuple(vec![
                text("/bin/sh"),
                Value::List(vec![text("sh")]),
                Value::Flag(*ignored),
                Value::Number(0),
                Value::Number(0),
                Value::Number(0),
                Value::Number(0),
                Value::Number(7),
                Value::Signed(*code),
                Value::Signed(*status),
            ])
        });
        properties.insert(property, Value::List(commands.collect()));
    }
    properties
}

/// What is made of it.
fn recorded(unit: &str) -> UnitFailure {
    failure(unit, &properties(unit))
}

#[test]
fn only_a_unit_that_failed_has_a_run_that_did() {
    assert_eq!(
        failed_invocation(&properties("mainfail.service")).as_deref(),
        Some("ee01")
    );
    assert_eq!(failed_invocation(&properties("well.service")), None);
    assert_eq!(failed_invocation(&Properties::default()), None);
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
