//! What is said of every event.

use super::*;
use crate::state::baseline::Baseline;
use crate::state::cause::{Cause, Stage};
use crate::state::fault::Fault;
use crate::state::{Event, Subject};
use boot_entries::GenerationId;

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

fn proven(number: u64) -> Event {
    Event::Proven {
        subject: subject(number),
        baseline: Baseline::default(),
    }
}

fn unhealthy() -> Cause {
    let fault = Fault::of_unit("nginx.service");
    Cause::new(
        Stage::Services,
        "required nginx.service failed".to_owned(),
        fault,
    )
}

/// Number 1 is proven, 2 is selected, and what runs is told.
fn running(number: u64) -> State {
    let selected = Event::Selected {
        subject: subject(2),
        by: None,
    };
    State::of(&[proven(1), selected, began(number)])
}

#[test]
fn every_line() {
    let (trial, good) = (running(2), running(1));
    let rejected = Event::Rejected {
        subject: subject(2),
        cause: unhealthy(),
    };
    let degraded = |number| Event::Degraded {
        subject: subject(number),
        cause: unhealthy(),
    };
    let rebooting = Event::Rebooting {
        from: subject(2),
        to: subject(1),
    };
    let excused = Event::Excused {
        subject: subject(2),
    };
    let nobody = Event::Began {
        boot: "b".to_owned(),
        running: None,
        reset: None,
    };
    let reached = Event::Reached {
        stage: Stage::Activated,
    };
    for (event, before, level, text) in [
        (
            began(2),
            &trial,
            Level::INFO,
            "began: generation 2: /nix/store/2",
        ),
        (
            began(1),
            &good,
            Level::WARN,
            "began: generation 1: /nix/store/1, although generation 2 was selected",
        ),
        (
            nobody,
            &trial,
            Level::DEBUG,
            "began: what runs is no generation",
        ),
        (reached, &trial, Level::DEBUG, "reached: activated"),
        (proven(2), &trial, Level::INFO, "proven: generation 2"),
        (
            rejected,
            &trial,
            Level::ERROR,
            "rejected: generation 2: required nginx.service failed",
        ),
        (
            degraded(1),
            &good,
            Level::ERROR,
            "degraded: generation 1: required nginx.service failed; it stays up: it is proven: a reboot would not make it \
             better",
        ),
        (
            excused,
            &good,
            Level::WARN,
            "excused: generation 2: its rejection is lifted, because it may not have been its fault; it is tried again when the \
             last good one is well",
        ),
        (
            rebooting,
            &trial,
            Level::WARN,
            "rebooting: generation 1: falling back from generation 2",
        ),
        (
            Event::Uninstalled,
            &trial,
            Level::DEBUG,
            "uninstalled: $BOOT is given back",
        ),
    ] {
        let line = line(&event, before);
        assert_eq!((line.level, line.text.as_str()), (level, text));
        if let Some(subject) = event.subject() {
            let generation = subject.generation.to_string();
            assert!(is_about(&line.text, event.name(), &generation));
        }
    }
}

#[test]
fn a_line_is_about_one_generation() {
    let line = "proven: generation 21";
    assert!(is_about(line, "proven", "21"));
    assert!(!is_about(line, "proven", "2"));
    assert!(!is_about(line, "rejected", "21"));
    assert!(!is_about("it proven: generation 21", "proven", "21"));
    assert!(is_about("rejected: generation 3/x: no", "rejected", "3/x"));
    assert!(!is_about("rejected: generation 3/x: no", "rejected", "3"));
}
