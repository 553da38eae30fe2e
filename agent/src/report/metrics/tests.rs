use super::*;
use crate::state::Event;
use crate::state::baseline::Baseline;
use crate::state::cause::Cause;
use crate::state::fault::Fault;
use boot_entries::GenerationId;

fn subject(number: u64) -> Subject {
    Subject {
        generation: GenerationId::system(number),
        toplevel: format!("/nix/store/\"{number}\\").into(),
    }
}

fn text_of(events: &[Event], change: impl FnOnce(&mut Facts<'_>)) -> String {
    let at = |second: usize| Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
    let tally = Tally::of(events.iter().enumerate().map(|(n, event)| (at(n), event)));
    let state = State::of(events);
    let mut facts = Facts {
        version: "1.2.3",
        now: at(99),
        state: &state,
        is_this_boot: true,
        tally: &tally,
        counts: tally.counts,
        damaged: 0,
        unknown: 0,
    };
    change(&mut facts);
    text(&facts)
}

fn began(number: u64) -> Event {
    Event::Began {
        boot: "b".to_owned(),
        running: Some(subject(number)),
        reset: None,
    }
}

fn fallback() -> Vec<Event> {
    let selected = |number| Event::Selected {
        subject: subject(number),
        by: None,
    };
    vec![
        selected(1),
        began(1),
        Event::Proven {
            subject: subject(1),
            baseline: Baseline::default(),
        },
        selected(2),
        began(2),
        Event::Rejected {
            subject: subject(2),
            cause: Cause::of(Stage::Services, Fault::of_unit("a.service")),
        },
        Event::Rebooting {
            from: subject(2),
            to: subject(1),
        },
        began(1),
    ]
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(
        text.lines().any(|one| one == line),
        "{line} is not in\n{text}"
    );
}

#[test]
fn a_fallback_is_told_in_numbers() {
    let text = text_of(&fallback(), |_| {});
    for line in [
        r#"lastgood_info{version="1.2.3"} 1"#,
        r#"lastgood_generation_info{part="running",generation="1",closure="/nix/store/\"1\\"} 1"#,
        r#"lastgood_generation_info{part="selected",generation="1",closure="/nix/store/\"1\\"} 1"#,
        r#"lastgood_running_state{state="proven"} 1"#,
        r#"lastgood_running_state{state="rejected"} 0"#,
        r#"lastgood_boot_stage{stage="begun"} 1"#,
        r#"lastgood_boot_stage{stage="proven"} 0"#,
        "lastgood_degraded_faults 0",
        "lastgood_fallback_unanswered 1",
        "lastgood_automatic_reboots_in_a_row 1",
        "lastgood_fallbacks_total 1",
        "lastgood_rejections_total 1",
        "lastgood_automatic_reboots_total 1",
        r#"lastgood_last_verdict_timestamp_seconds{verdict="rejected"} 5"#,
        "lastgood_last_fallback_timestamp_seconds 6",
        "lastgood_written_timestamp_seconds 99",
    ] {
        has(&text, line);
    }
    assert!(!text.contains("trial_boots_left"), "{text}");
}

#[test]
fn a_trial_has_boots_left_and_trouble_is_counted() {
    let trial = text_of(&fallback()[..5], |facts| {
        facts.damaged = 2;
        facts.unknown = 1;
    });
    for line in [
        "lastgood_trial_boots_left 2",
        r#"lastgood_running_state{state="trial"} 1"#,
        "lastgood_ledger_damaged_lines 2",
        "lastgood_ledger_unknown_lines 1",
        "lastgood_fallback_unanswered 0",
    ] {
        has(&trial, line);
    }
    let mut events = fallback();
    let faults = vec![Fault::Firewall, Fault::of_unit("a.service")];
    events.push(Event::Degraded {
        subject: subject(1),
        cause: Cause {
            faults,
            ..Cause::of(Stage::Services, Fault::Firewall)
        },
    });
    has(&text_of(&events, |_| {}), "lastgood_degraded_faults 2");
    // What is on record of another boot says nothing of this one.
    let other = text_of(&events, |facts| facts.is_this_boot = false);
    has(&other, "lastgood_degraded_faults 0");
    has(&other, r#"lastgood_running_state{state="proven"} 0"#);
}

/// A ledger is shortened, and may be lost. A counter never falls for it.
#[test]
fn what_was_counted_before_is_read_back() {
    let counts = Counts {
        fallbacks: 40,
        rejections: 50,
        reboots: 30,
    };
    let text = text_of(&[], |facts| facts.counts = counts);
    assert_eq!(counts_in(&text), counts);
    assert_eq!(
        counts_in("lastgood_fallbacks_total x\nother 3\n"),
        Counts::default()
    );
}

/// Prometheus refuses a file in which a name is described twice, or a sample stands apart from its like.
#[test]
fn each_name_is_described_once_and_before_its_samples() {
    let text = text_of(&fallback(), |_| {});
    let mut described = std::collections::BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            rest.split(' ').next().unwrap().clone_into(&mut current);
            assert!(described.insert(current.clone()), "{current}");
        } else if !line.starts_with('#') {
            let end = line.find(['{', ' ']).unwrap();
            assert_eq!(&line[..end], current);
        }
    }
}

#[test]
fn what_is_watched_is_told_until_it_is_steady() {
    let mut events = vec![];
    for number in [1, 2] {
        events.push(began(number));
        events.push(Event::Proven {
            subject: subject(number),
            baseline: Baseline::default(),
        });
    }
    let watched = text_of(&events, |_| {});
    assert!(watched.contains("lastgood_in_probation 1"), "{watched}");
    events.push(Event::Steady {
        subject: subject(2),
    });
    let steady = text_of(&events, |_| {});
    assert!(steady.contains("lastgood_in_probation 0"), "{steady}");
}
