use super::*;
use crate::state::Event;
use crate::state::baseline::Baseline;
use crate::state::cause::Stage;
use crate::state::fault::Fault;
use boot_entries::GenerationId;
use jiff::Timestamp;

fn subject(number: u64) -> Subject {
    Subject {
        generation: GenerationId::system(number),
        toplevel: format!("/nix/store/{number}").into(),
    }
}

fn began(number: u64) -> Event {
    Event::Began {
        boot: "b".to_owned(),
        running: Some(subject(number)),
        reset: None,
    }
}

fn cause() -> Cause {
    let summary = "required a.service failed (exit-code)\u{1b}[31m".to_owned();
    Cause::new(Stage::Services, summary, Fault::of_unit("a.service"))
}

fn said(events: &[Event]) -> Option<String> {
    let tally = Tally::of(events.iter().map(|event| (Timestamp::UNIX_EPOCH, event)));
    line(&State::of(events), &tally)
}

/// The words are stable, and none of them is another's escape sequence.
#[test]
fn each_state_has_its_line() {
    let selected = |number| Event::Selected {
        subject: subject(number),
        by: None,
    };
    let proven = |number| Event::Proven {
        subject: subject(number),
        baseline: Baseline::default(),
    };
    let rejected = Event::Rejected {
        subject: subject(2),
        cause: cause(),
    };
    let rejected_again = rejected.clone();
    let by_hand = Event::Rejected {
        subject: subject(2),
        cause: Cause {
            faults: vec![Fault::Operator],
            ..cause()
        },
    };
    let degraded = Event::Degraded {
        subject: subject(1),
        cause: cause(),
    };
    let excused = Event::Excused {
        subject: subject(2),
    };
    let trial = [selected(1), began(1), proven(1), selected(2), began(2)];
    let fell = [&trial[..], &[rejected, began(1)]].concat();
    let and = |more: &[Event]| said(&[&fell[..], more].concat());
    let why = "required a.service failed (exit-code) [31m";
    assert_eq!(said(&trial[..3]), None);
    assert_eq!(
        said(&trial[..4]),
        None,
        "what waits for a reboot is as it was left"
    );
    for (line, expected) in [
        (
            said(&trial),
            "lastgood: generation 2 is on trial: there is no verdict yet; `lastgood status` tells more".to_owned(),
        ),
        (
            said(&fell),
            format!("lastgood: this machine fell back from generation 2 to generation 1: {why}; `lastgood why 2` tells why"),
        ),
        (
            and(&[proven(1)]),
            format!("lastgood: this machine fell back from generation 2 to generation 1: {why}; `lastgood why 2` tells why"),
        ),
        (
            and(std::slice::from_ref(&excused)),
            format!(
                "lastgood: generation 1 runs, and generation 2 is suspect: {why}; that may not have been its fault, and \
                 `lastgood why 2` tells more"
            ),
        ),
        (
            and(&[excused, degraded]),
            format!(
                "lastgood: generation 1, to which this machine fell back from generation 2, is not well: {why}; `lastgood why` \
                 tells what to do"
            ),
        ),
        (
            said(&fell[..6]),
            format!(
                "lastgood: generation 2 was rejected, and runs: {why}; the machine goes back by itself, `lastgood hold` keeps it up, \
                 and `lastgood why 2` tells why"
            ),
        ),
        (
            // Nothing to go back to.
            said(&[selected(2), began(2), rejected_again]),
            format!("lastgood: generation 2 was rejected, and runs: {why}; `lastgood why 2` tells why"),
        ),
    ] {
        assert_eq!(line, Some(expected));
    }
    // By hand: they know, and nobody reboots for it.
    assert_eq!(said(&[&trial[..], &[by_hand]].concat()), None);
    // Somebody was here.
    assert_eq!(and(&[selected(3)]), None);
}

#[test]
fn a_machine_that_may_not_decide_says_so_before_all() {
    let mut state = State::of(&[began(1)]);
    state.bound_by = Some("line 3: it says more".to_owned());
    state.degraded = Some(cause());
    let line = line(&state, &Tally::default()).unwrap();
    assert!(
        line.starts_with("lastgood: nothing is decided: line 3: it says more; "),
        "{line}"
    );
}
