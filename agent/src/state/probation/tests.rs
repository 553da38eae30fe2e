//! Every state that a breach may meet, and what follows.

use super::*;
use crate::state::baseline::Baseline;
use crate::state::reset::Reset;
use crate::state::{Hook, Subject, WhenUnhealthy};
use boot_entries::GenerationId;

fn generation(number: u64) -> Subject {
    Subject {
        generation: GenerationId::system(number),
        toplevel: format!("/nix/store/{number}").into(),
    }
}

fn proven(number: u64) -> Event {
    Event::Proven {
        subject: generation(number),
        baseline: Baseline::default(),
    }
}

fn selected(number: u64) -> Event {
    Event::Selected {
        subject: generation(number),
        by: None,
    }
}

fn began_after(number: u64, boot: &str, how: How) -> Event {
    Event::Began {
        boot: boot.to_owned(),
        running: Some(generation(number)),
        reset: Some(Reset {
            how,
            stage: None,
            words: None,
        }),
    }
}

fn began(number: u64, boot: &str) -> Event {
    began_after(number, boot, How::Orderly)
}

fn of(unit: &str) -> Cause {
    Cause::of(Stage::Services, Fault::of_unit(unit))
}

fn after(state: &State, events: &[Event]) -> State {
    events.iter().fold(state.clone(), State::after)
}

/// The first generation is proven, and then the second, which runs.
fn two() -> State {
    let events = [
        selected(1),
        began(1, "a"),
        proven(1),
        selected(2),
        began(2, "b"),
        proven(2),
    ];
    State::of(&events)
}

/// What `unit` does to what runs, and the state after that.
fn breach(state: &State, number: u64, unit: &str) -> (Vec<Event>, State) {
    let events = state.found_unsteady(&generation(number), &of(unit));
    let after = after(state, &events);
    (events, after)
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::name).collect()
}

#[test]
fn a_breach_demotes_and_the_machine_goes_back() {
    let state = two();
    assert_eq!(state.watched(), Some(&generation(2)));
    let (events, state) = breach(&state, 2, "web.service");
    assert_eq!(names(&events), ["rejected"]);
    assert_eq!(events[0].stage(), Some(Stage::Probation));
    assert_eq!(state.watched(), None);
    assert!(state.is_to_be_left());
    assert_eq!(state.selected, Some(generation(1)));
    let WhenUnhealthy::FallBack { from, to } = state.when_unhealthy() else {
        panic!("{:?}", state.when_unhealthy())
    };
    assert_eq!((from.clone(), to.clone()), (generation(2), generation(1)));
    let left = after(&state, &[Event::Rebooting { from, to }]);
    assert!(!left.is_to_be_left());
    let back = after(&left, &[began(1, "c"), proven(1)]);
    assert_eq!(back.due, Some(Hook::OnFallback));
    // It is the witness.
    assert_eq!(back.watched(), Some(&generation(1)));
}

#[test]
fn what_was_demoted_once_stays_the_second_time() {
    let (_, state) = breach(&two(), 2, "web.service");
    let again = [
        began(1, "c"),
        proven(1),
        Event::Steady {
            subject: generation(1),
        },
        selected(2),
        began(2, "d"),
        proven(2),
    ];
    let state = after(&state, &again);
    assert_eq!(state.watched(), Some(&generation(2)));
    assert_eq!(state.not_demoted(&generation(2)), Some(NotDemoted::Before));
    let (events, state) = breach(&state, 2, "web.service");
    assert_eq!(names(&events), ["degraded"]);
    assert!(!state.is_to_be_left());
    assert_eq!(state.last_good(), Some(&generation(2)));
    assert_eq!(state.due, Some(Hook::OnDegraded));
    // Once in this boot.
    assert_eq!(state.watched(), None);
    assert_eq!(breach(&state, 2, "db.service").0, []);
    // The operator's word changes nothing of that.
    let accepted = after(&state, &[began(2, "e"), proven(2)]);
    assert_eq!(names(&breach(&accepted, 2, "web.service").0), ["degraded"]);
}

#[test]
fn what_the_one_before_has_as_well_was_not_its_fault() {
    let (_, state) = breach(&two(), 2, "web.service");
    let state = after(&state, &[began(1, "c"), proven(1)]);
    for (unit, expected) in [
        ("web.service", vec!["excused", "degraded"]),
        // Another fault excuses nothing. And the machine does not go back a second time.
        ("db.service", vec!["degraded"]),
    ] {
        let (events, after) = breach(&state, 1, unit);
        assert_eq!(names(&events), expected, "{unit}");
        let is_excused = expected.contains(&"excused");
        let standing = after.standing(&generation(2));
        assert_eq!(standing == Standing::Suspect, is_excused, "{unit}");
        assert!(!after.is_to_be_left());
        assert_eq!(after.last_good(), Some(&generation(1)));
    }
    // It gets its second chance, and is not gone back from once more.
    let (_, state) = breach(&state, 1, "web.service");
    let well = after(&state, &[began(1, "d"), proven(1)]);
    let well = after(
        &well,
        &[Event::Hooked {
            hook: Hook::OnFallback,
            trouble: None,
        }],
    );
    assert_eq!(well.second_chance(), None, "it is watched itself");
    let steady = Event::Steady {
        subject: generation(1),
    };
    let well = after(&well, &[steady]);
    assert_eq!(well.second_chance(), Some(&generation(2)));
    let again = after(
        &well,
        &[
            Event::Selected {
                subject: generation(2),
                by: Some(crate::state::By::Suspicion),
            },
            began(2, "e"),
            proven(2),
        ],
    );
    assert_eq!(names(&breach(&again, 2, "web.service").0), ["degraded"]);
}

#[test]
fn after_a_soft_reboot_the_kernel_may_be_what_both_suffer_from() {
    let (_, state) = breach(&two(), 2, "web.service");
    let soft = began_after(1, "b+1", How::SoftReboot);
    let state = after(&state, &[soft, proven(1)]);
    let (events, state) = breach(&state, 1, "web.service");
    assert_eq!(names(&events), ["degraded"]);
    assert_eq!(state.standing(&generation(2)), Standing::Rejected);
}

#[test]
fn who_is_not_watched() {
    let bound = State {
        bound_by: Some("more".to_owned()),
        ..two()
    };
    let late = |event: Event| after(&two(), &[event]);
    let alone = State::of(&[selected(1), began(1, "a"), proven(1)]);
    let said = Event::Proven {
        subject: generation(3),
        baseline: Baseline::default(),
    };
    for (what, state) in [
        ("nothing on record", State::default()),
        ("the only one that is proven", alone),
        ("a record that is not known", bound),
        ("given back", late(Event::Uninstalled)),
        ("not proven in this boot", late(began(2, "c"))),
        ("somebody has accepted another one", late(said)),
        (
            "watched for long enough",
            late(Event::Steady {
                subject: generation(2),
            }),
        ),
        (
            "unwell already",
            late(Event::Degraded {
                subject: generation(2),
                cause: of("web.service"),
            }),
        ),
        (
            "rejected by the operator",
            late(Event::Rejected {
                subject: generation(2),
                cause: Cause::of(Stage::Proven, Fault::Operator),
            }),
        ),
        (
            "on its way down",
            late(Event::Ended {
                boot: "b".to_owned(),
                way: crate::state::reset::Way::Reboot,
                failed: false,
            }),
        ),
    ] {
        assert_eq!(state.watched(), None, "{what}");
        assert!(!state.is_to_be_left(), "{what}");
        let subject = generation(2);
        assert_eq!(
            state.found_unsteady(&subject, &of("a.service")),
            [],
            "{what}"
        );
    }
}

#[test]
fn steady_is_who_was_proven_and_until_something_is_demoted() {
    let steady = |number| Event::Steady {
        subject: generation(number),
    };
    let state = after(&two(), &[steady(1), steady(2), steady(3)]);
    assert_eq!(state.probation.steady.len(), 2);
    // A later boot watches it no more.
    let state = after(&state, &[began(2, "c"), proven(2)]);
    assert_eq!(state.watched(), None);
    let (_, demoted) = breach(&two(), 2, "web.service");
    assert!(demoted.probation.steady.is_empty());
    assert!(demoted.probation.breached);
    let steady = after(&demoted, &[began(1, "c"), proven(1), steady(1)]);
    assert!(!steady.probation.breached);
    assert!(steady.probation.demoted.contains(&generation(2).toplevel));
}
