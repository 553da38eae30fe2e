use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::*;
use crate::state::baseline::Baseline;
use crate::state::cause::{Cause, Stage};
use boot_entries::GenerationId;
use serde::{Deserialize, Serialize};

fn subject(number: u64) -> Subject {
    Subject {
        generation: GenerationId::system(number),
        toplevel: "/nix/store/x".into(),
    }
}

fn event(number: u64) -> Event {
    Event::Selected {
        subject: subject(number),
        by: None,
    }
}

fn cause(summary: &str, log: &[&str]) -> Cause {
    let unit = |name: &str, log: &[&str]| serde_json::json!({ "unit": name, "result": "exit-code", "exitStatus": 1, "log": log });
    let units = [unit("web.service", log), unit("db.service", &[])];
    let cause = serde_json::json!({ "stage": "services", "summary": summary, "units": units });
    serde_json::from_value(cause).unwrap()
}

fn rejected(log: &[&str]) -> Event {
    Event::Rejected {
        subject: subject(2),
        cause: cause("web.service failed", log),
    }
}

fn tree() -> (tempfile::TempDir, Root) {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    (tree, root)
}

fn text(root: &Root) -> String {
    std::fs::read_to_string(root.join(PATH)).unwrap()
}

fn put(root: &Root, text: &str) {
    durable::put_text(text, &root.join(PATH)).unwrap();
}

fn write(root: &Root, events: &[&Event]) {
    record(root, Timestamp::UNIX_EPOCH, events).unwrap();
}

#[test]
fn what_is_recorded_is_read_back() {
    let (_tree, root) = tree();
    write(&root, &[&event(1)]);
    write(&root, &[&event(2), &event(3)]);
    let ledger = Ledger::read(&root).unwrap();
    assert_eq!(ledger.records.len(), 3);
    assert_eq!(ledger.state().selected.unwrap().generation.number(), 3);
}

#[test]
fn damage_is_passed_over_and_told() {
    let (_tree, root) = tree();
    write(&root, &[&event(1)]);
    let whole = text(&root);
    for cut in 1..whole.len() - 1 {
        put(&root, &format!("{whole}{}", &whole[..cut]));
        write(&root, &[&event(2)]);
        let ledger = Ledger::read(&root).unwrap();
        assert_eq!(
            (ledger.records.len(), ledger.damaged.as_slice()),
            (2, &[2][..]),
            "{cut}"
        );
        assert!(ledger.warnings()[0].contains("line 2 is damaged"));
    }
}

/// Whatever bit of whatever byte changes, no event becomes another one, and none goes without a word.
#[test]
fn a_flipped_bit_is_noticed() {
    let (_tree, root) = tree();
    let stage = Stage::Services;
    write(
        &root,
        &[
            &event(1),
            &Event::Uninstalled,
            &Event::Reached { stage },
            &rejected(&["one"]),
        ],
    );
    let whole = text(&root).into_bytes();
    let before = Ledger::of_bytes(&whole);
    assert!(before.damaged.is_empty() && before.unknown.is_empty());
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            // The end of the last line is nothing that anybody would miss.
            if at + 1 == whole.len() && flipped[at] != b'\r' {
                flipped.truncate(at + 1);
            }
            let after = Ledger::of_bytes(&flipped);
            assert!(!after.damaged.is_empty(), "byte {at}, bit {bit}");
            assert!(after.unknown.is_empty(), "byte {at}, bit {bit}");
            let is_one_of_before = |record: &Record| {
                let mut all = before.records.iter();
                all.any(|other| other.event == record.event && other.sum == record.sum)
            };
            assert!(
                after.records.iter().all(is_one_of_before),
                "byte {at}, bit {bit}"
            );
        }
    }
}

/// What agents before this one make of a line: they have no other code for it.
#[derive(Debug, Serialize, Deserialize)]
struct FirstRecord {
    #[serde(rename = "v")]
    version: u32,
    time: Timestamp,
    #[serde(flatten)]
    event: Event,
}

#[test]
fn agents_before_checksums_read_what_is_written_now_and_the_other_way_round() {
    let (_tree, root) = tree();
    let stage = Stage::Services;
    let events = [
        event(1),
        Event::Uninstalled,
        Event::Reached { stage },
        rejected(&[]),
    ];
    write(&root, &events.each_ref());
    let mut theirs = String::new();
    for (line, event) in text(&root).lines().zip(&events) {
        let read: FirstRecord = serde_json::from_str(line).unwrap();
        assert_eq!((read.version, &read.event), (1, event));
        writeln!(theirs, "{}", serde_json::to_string(&read).unwrap()).unwrap();
    }
    // They go on after lines that have a checksum.
    put(&root, &(text(&root) + &theirs));
    let ledger = Ledger::read(&root).unwrap();
    assert_eq!((ledger.records.len(), ledger.damaged.len()), (8, 0));
}

/// Ledgers written by earlier versions must stay readable.
#[test]
fn the_format() {
    let (_tree, root) = tree();
    let stage = Stage::Activated;
    write(&root, &[&event(1), &Event::Reached { stage }]);
    assert_eq!(
        text(&root),
        "{\"v\":1,\"time\":\"1970-01-01T00:00:00Z\",\"event\":\"selected\",\
         \"subject\":{\"generation\":\"1\",\"toplevel\":\"/nix/store/x\"},\"crc\":\"475cbc0b\"}\n\
         {\"v\":1,\"time\":\"1970-01-01T00:00:00Z\",\"event\":\"reached\",\"stage\":\"activated\",\
         \"binding\":false,\"crc\":\"2a44e5bc\"}\n"
    );
}

/// What a reader makes of a ledger, in a few lines.
fn summary(ledger: &Ledger) -> String {
    let state = ledger.state();
    let id = |subject: Option<&Subject>| {
        subject.map_or_else(|| "none".to_owned(), |s| s.generation.to_string())
    };
    let list = |all: Vec<String>| {
        if all.is_empty() {
            "none".to_owned()
        } else {
            all.join(" ")
        }
    };
    let unknown = ledger
        .unknown
        .iter()
        .map(|Unknown { line, binding, .. }| format!("{line}{}", if *binding { "!" } else { "" }));
    let rejected = state.rejected.values();
    let rejected =
        rejected.map(|one| format!("{} ({})", one.subject.generation, one.cause.summary));
    let rows = [
        ("known lines", ledger.records.len().to_string()),
        ("unknown lines", list(unknown.collect())),
        (
            "damaged lines",
            list(ledger.damaged.iter().map(usize::to_string).collect()),
        ),
        ("is bound", state.bound_by.is_some().to_string()),
        ("is due", ledger.is_due.to_string()),
        ("selected", id(state.selected.as_ref())),
        ("armed", format!("{} {:?}", state.armed, state.armed_in)),
        ("last good", id(state.last_good())),
        ("rejected", list(rejected.collect())),
        (
            "stage",
            format!("{:?}", state.boot.as_ref().map(|boot| boot.stage)),
        ),
        ("fallen from", id(state.fallen_from.as_ref())),
        ("reboots", state.reboots.to_string()),
        ("uninstalled", state.uninstalled.to_string()),
        (
            "owner",
            format!("{:?}", state.owner.map(|owner| owner.to_string())),
        ),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        writeln!(text, "{name}: {value}").unwrap();
    }
    text
}

/// One ledger of every format that was ever written, and such as may be written one day.
#[test]
fn every_format_there_was_and_some_that_may_come() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/ledger/fixtures");
    let mut count = 0;
    let mut wrong = String::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "jsonl") {
            continue;
        }
        count += 1;
        let bytes = std::fs::read(&path).unwrap();
        let found = summary(&Ledger::of_bytes(&bytes));
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        if found != expected {
            writeln!(wrong, "{} means:\n{found}", path.display()).unwrap();
        }
        // What it means stays so when it is written anew, and what is not known is still there.
        let (_tree, root) = tree();
        put(&root, &String::from_utf8_lossy(&bytes));
        let before = Ledger::read(&root).unwrap();
        let bounds = fold::Bounds {
            lines: 0,
            causes: 0,
            ..fold::Bounds::default()
        };
        tend_within(&root, &|_| true, bounds).unwrap();
        let mut after = Ledger::read(&root).unwrap();
        after.add_logs(&root).unwrap();
        assert_eq!(after.damaged, [0; 0], "{}", path.display());
        let known = |ledger: &Ledger| State {
            bound_by: None,
            ..ledger.state()
        };
        assert_eq!(known(&after), known(&before), "{}", path.display());
        let unknown = |ledger: &Ledger| {
            let all = ledger.unknown.iter();
            all.map(|one| (one.binding, one.what.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(unknown(&after), unknown(&before), "{}", path.display());
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 20, "{count}");
}

#[test]
fn what_units_wrote_is_kept_apart_and_for_few() {
    let (tree, root) = tree();
    let group = tree.path().metadata().unwrap().gid();
    let groups = format!("root:x:0:\nsystemd-journal:x:{group}:\n");
    durable::put_text(&groups, &root.join("/etc/group")).unwrap();
    let event = rejected(&["password: hunter2", "bye"]);
    write(&root, &[&event]);
    assert!(!text(&root).contains("hunter2"));
    assert!(text(&root).contains("\"log\":[]") && text(&root).contains("\"logLines\":2"));
    let mode = |path: &str| {
        let found = root.join(path).metadata().unwrap();
        (found.permissions().mode() & 0o777, found.gid())
    };
    assert_eq!(mode(PATH), (0o644, group));
    assert_eq!(mode(logs::PATH), (0o640, group));
    assert_eq!(mode("/var/lib/lastgood/logs"), (0o750, group));
    let mut ledger = Ledger::read(&root).unwrap();
    assert_ne!(ledger.records[0].event, event);
    ledger.add_logs(&root).unwrap();
    assert_eq!(ledger.records[0].event, event);
    assert!(!ledger.records[0].log_withheld);
    // And for somebody who may not read them.
    let mut ledger = Ledger::read(&root).unwrap();
    ledger.merge(&logs::Logs::Withheld);
    assert!(ledger.records[0].log_withheld);
    assert_eq!(ledger.state().rejected.len(), 1);
}

#[test]
fn without_that_group_only_root_reads_what_units_wrote() {
    let (_tree, root) = tree();
    write(&root, &[&rejected(&["x"])]);
    let found = root.join(logs::PATH).metadata().unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_old_ledger_with_what_units_wrote_loses_it_to_those_who_may_read_it() {
    let (_tree, root) = tree();
    let event = rejected(&["password: hunter2"]);
    let first = FirstRecord {
        version: 1,
        time: Timestamp::UNIX_EPOCH,
        event: event.clone(),
    };
    let line = serde_json::to_string(&first).unwrap() + "\n";
    let other = "{\"v\":1,\"time\":\"1970-01-01T00:00:00Z\",\"event\":\"uninstalled\"}\n";
    put(&root, &format!("{other}{line}{{torn\n"));
    let before = Ledger::read(&root).unwrap();
    assert!(before.is_due);
    // Twice: the first one was cut short after the logs.
    for _ in 0..2 {
        put(&root, &format!("{other}{line}{{torn\n"));
        tend(&root, &|_| true).unwrap();
    }
    let rewritten = text(&root);
    assert!(rewritten.starts_with(other) && rewritten.ends_with("{torn\n"));
    assert!(!rewritten.contains("hunter2"));
    let logs = std::fs::read_to_string(root.join(logs::PATH)).unwrap();
    assert_eq!(logs.lines().count(), 1, "{logs}");
    let mut ledger = Ledger::read(&root).unwrap();
    assert!(!ledger.is_due);
    ledger.add_logs(&root).unwrap();
    assert_eq!(ledger.state(), before.state());
    tend(&root, &|_| true).unwrap();
    assert_eq!(text(&root), rewritten);
}

#[test]
fn the_log_stays_small_and_keeps_the_newest() {
    let (_tree, root) = tree();
    let long = "x".repeat(10_000);
    for number in 0..60 {
        let time = Timestamp::from_second(number).unwrap();
        record(&root, time, &[&rejected(&[&long])]).unwrap();
        assert!(root.join(logs::PATH).metadata().unwrap().len() <= 256 * 1024);
    }
    let mut ledger = Ledger::read(&root).unwrap();
    ledger.add_logs(&root).unwrap();
    assert_eq!(ledger.records[59].event, rejected(&[&long]));
    assert_eq!(ledger.records[0].event, rejected(&[]));
}

/// A server that boots, is upgraded and rejects for years.
#[test]
fn a_long_ledger_becomes_short_and_means_the_same() {
    let (_tree, root) = tree();
    let of = |number: u64| Subject {
        generation: GenerationId::system(number),
        toplevel: format!("/nix/store/{number}").into(),
    };
    let mut events = Vec::new();
    for number in 1..300 {
        let (subject, stage) = (of(number), Stage::Services);
        events.push(Event::Selected {
            subject: subject.clone(),
            by: None,
        });
        for boot in 0..3 {
            events.push(Event::Began {
                boot: format!("{number}-{boot}"),
                running: Some(subject.clone()),
                reset: None,
            });
            events.push(Event::Reached { stage });
        }
        events.push(match number % 7 {
            0 => Event::Rejected {
                subject,
                cause: cause("", &[]),
            },
            _ => Event::Proven {
                subject,
                baseline: Baseline::default(),
            },
        });
    }
    write(&root, &events.iter().collect::<Vec<_>>());
    let before = Ledger::read(&root).unwrap();
    assert!(before.is_due);
    tend(&root, &|_| false).unwrap();
    let after = Ledger::read(&root).unwrap();
    assert!(!after.is_due);
    assert_eq!(after.state(), before.state());
    assert!(after.records.len() < 900, "{}", after.records.len());
    let latest = |ledger: &Ledger| {
        let all = ledger.records.iter().rev().take(500);
        all.map(|record| record.event.clone()).collect::<Vec<_>>()
    };
    assert_eq!(latest(&after), latest(&before));
}

#[test]
fn a_long_ledger_that_is_bound_keeps_every_line() {
    let (_tree, root) = tree();
    let events: Vec<Event> = (0..40).map(|number| event(number % 3)).collect();
    write(&root, &events.iter().collect::<Vec<_>>());
    let before = text(&root)
        + &line::sealed(r#"{"v":1,"time":"2026-01-01T00:00:00Z","event":"frozen"}"#).0
        + "\n";
    put(&root, &before);
    assert!(Ledger::read(&root).unwrap().state().bound_by.is_some());
    let bounds = fold::Bounds {
        lines: 2,
        causes: 0,
        ..fold::Bounds::default()
    };
    tend_within(&root, &|_| true, bounds).unwrap();
    assert_eq!(text(&root), before);
}
