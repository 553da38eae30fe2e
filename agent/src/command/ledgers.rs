//! Ledgers to tell of, for tests.

use boot_entries::{Root, durable};
use serde_json::{Value, json};

use crate::host;
use crate::store::ledger::{Ledger, Record};

fn subject(number: u64) -> Value {
    json!({"generation": number.to_string(), "toplevel": format!("/nix/store/{number}")})
}

fn cause(stage: &str, summary: &str, unit: Option<&str>, fault: &str) -> Value {
    let units: Vec<Value> = unit
        .iter()
        .map(|unit| json!({"unit": unit, "result": "exit-code", "exitStatus": 1, "log": []}))
        .collect();
    json!({"stage": stage, "summary": summary, "units": units, "faults": [{"key": fault, "kind": ""}]})
}

/// The first generation is proven. The second fails, and the agent goes back. The third crashes twice without a word,
/// and the loader goes back.
pub(super) fn two_fallbacks() -> Vec<Record> {
    let failed = cause(
        "services",
        "required nginx.service failed",
        Some("nginx.service"),
        "unit:nginx.service",
    );
    let used_up = cause(
        "loader",
        "the loader started it as often as it may",
        None,
        "loader:tries-used-up",
    );
    of(&[
        (
            "10:00:00",
            json!({"event": "selected", "subject": subject(1)}),
        ),
        (
            "10:00:10",
            json!({"event": "proven", "subject": subject(1), "baseline": {"unwell": []}}),
        ),
        (
            "12:00:00",
            json!({"event": "selected", "subject": subject(2)}),
        ),
        (
            "12:05:00",
            json!({"event": "began", "boot": "b1", "running": subject(2)}),
        ),
        ("12:05:05", json!({"event": "reached", "stage": "services"})),
        (
            "12:05:45",
            json!({"event": "rejected", "subject": subject(2), "cause": failed}),
        ),
        (
            "12:05:46",
            json!({"event": "rebooting", "from": subject(2), "to": subject(1)}),
        ),
        (
            "12:07:00",
            json!({"event": "began", "boot": "b2", "running": subject(1)}),
        ),
        (
            "12:30:00",
            json!({"event": "selected", "subject": subject(3)}),
        ),
        (
            "13:00:00",
            json!({"event": "began", "boot": "b3", "running": subject(3)}),
        ),
        (
            "13:00:05",
            json!({"event": "reached", "stage": "firewalled"}),
        ),
        (
            "13:10:00",
            json!({"event": "began", "boot": "b4", "running": subject(3)}),
        ),
        (
            "13:20:00",
            json!({"event": "began", "boot": "b5", "running": subject(1)}),
        ),
        (
            "13:20:01",
            json!({"event": "rejected", "subject": subject(3), "cause": used_up}),
        ),
    ])
}

/// What runs is the last good one, and it fails.
pub(super) fn degraded() -> Vec<Record> {
    let failed = cause(
        "services",
        "required nginx.service failed",
        Some("nginx.service"),
        "unit:nginx.service",
    );
    of(&[
        (
            "10:00:00",
            json!({"event": "selected", "subject": subject(1)}),
        ),
        (
            "10:00:10",
            json!({"event": "proven", "subject": subject(1), "baseline": {"unwell": []}}),
        ),
        (
            "12:05:00",
            json!({"event": "began", "boot": "b1", "running": subject(1)}),
        ),
        (
            "12:05:45",
            json!({"event": "degraded", "subject": subject(1), "cause": failed}),
        ),
    ])
}

fn of(events: &[(&str, Value)]) -> Vec<Record> {
    let tree = tempfile::tempdir().unwrap();
    let line = |(time, event): &(&str, Value)| {
        let mut line = event.clone();
        line["v"] = 1.into();
        line["time"] = format!("2026-01-01T{time}Z").into();
        format!("{line}\n")
    };
    let text: String = events.iter().map(line).collect();
    let place = tree.path().join(host::LEDGER.trim_start_matches('/'));
    durable::put_text(&text, &place).unwrap();
    let ledger = Ledger::read(&Root::new(tree.path())).unwrap();
    assert_eq!(ledger.records.len(), events.len());
    ledger.records
}
