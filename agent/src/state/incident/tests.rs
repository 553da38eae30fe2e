//! Each incident has one end, in stories with a name.

use super::Hook::{OnDegraded, OnFallback, OnProven};
use super::*;
use crate::state::cause::Stage;
use crate::state::tests::{again, began, ended, proven, rebooting, rejected, selected, subject};
use crate::state::{Event, fault::Fault, reset::Way};

fn degraded(number: u64, unit: &str) -> Event {
    Event::Degraded {
        subject: subject(number),
        cause: Cause::of(Stage::Services, Fault::of_unit(unit)),
    }
}

fn hooked(hook: Hook) -> Event {
    let trouble = None;
    Event::Hooked { hook, trouble }
}

/// The hooks that became due on the way, one after the other.
fn ends(events: &[Event]) -> Vec<Hook> {
    let mut state = State::default();
    let mut found = Vec::new();
    for event in events {
        let before = state.due;
        state = state.after(event);
        if state.due.is_some() && state.due != before {
            found.extend(state.due);
        }
    }
    found
}

/// A story of a machine on which generation 1 has been proven, and the hooks that it leads to.
type Story = (&'static str, Vec<Event>, Vec<Hook>);

fn trial() -> [Event; 2] {
    [selected(2), began(2)]
}

fn fallen() -> [Event; 3] {
    [rejected(2), rebooting(2, 1), began(1)]
}

fn each_ends_so(stories: Vec<Story>) {
    let lived = [selected(1), began(1), proven(1), hooked(OnProven)];
    for (story, rest, wanted) in stories {
        let events = [&lived[..], &rest].concat();
        let found = ends(&events);
        assert_eq!(found.first(), Some(&OnProven), "{story}");
        assert_eq!(found.get(1..).unwrap_or_default(), wanted, "{story}");
    }
}

#[test]
fn each_incident_has_one_end() {
    let (trial, fallen) = (trial(), fallen());
    let live = Event::FellBack {
        from: subject(2),
        to: subject(1),
    };
    each_ends_so(vec![
        ("a boot as every day", vec![began(1), proven(1)], vec![]),
        (
            "a good trial",
            [&trial[..], &[proven(2)]].concat(),
            vec![OnProven],
        ),
        (
            "a good trial, and the boots after it",
            [
                &trial[..],
                &[proven(2), hooked(OnProven), began(2), proven(2)],
            ]
            .concat(),
            vec![OnProven],
        ),
        (
            "a bad trial",
            [&trial[..], &fallen, &[proven(1)]].concat(),
            vec![OnFallback],
        ),
        (
            "not before the one gone back to is well",
            [&trial[..], &fallen].concat(),
            vec![],
        ),
        (
            "gone back without a reboot",
            [&trial[..], &[rejected(2), live]].concat(),
            vec![OnFallback],
        ),
        (
            "a bad trial, and the last good one is not well either",
            [&trial[..], &fallen, &[degraded(1, "a.service")]].concat(),
            vec![OnDegraded],
        ),
        (
            "it stays so in the boots after it, and is told once",
            [
                &trial[..],
                &fallen,
                &[
                    degraded(1, "a.service"),
                    hooked(OnDegraded),
                    began(1),
                    degraded(1, "b.service"),
                    began(1),
                    degraded(1, "a.service"),
                ],
            ]
            .concat(),
            vec![OnDegraded],
        ),
        (
            "a proven one that is not well one day, and is again, and is not",
            vec![
                began(1),
                degraded(1, "a.service"),
                hooked(OnDegraded),
                began(1),
                proven(1),
                began(1),
                degraded(1, "a.service"),
            ],
            vec![OnDegraded, OnDegraded],
        ),
    ]);
}

#[test]
fn an_incident_that_is_interrupted_has_one_end_too() {
    let (trial, fallen) = (trial(), fallen());
    each_ends_so(vec![
        (
            "somebody selects another one before there is a verdict",
            [&trial[..], &[selected(3), began(3), proven(3)]].concat(),
            vec![OnProven],
        ),
        (
            "an operator's reboot in the middle",
            [&trial[..], &[ended(Way::Reboot), began(2), proven(2)]].concat(),
            vec![OnProven],
        ),
        (
            "a second chance is an incident of its own",
            [
                &trial[..],
                &fallen,
                &[
                    Event::Excused {
                        subject: subject(2),
                    },
                    degraded(1, "a.service"),
                    hooked(OnDegraded),
                    proven(1),
                    again(2),
                    began(2),
                    proven(2),
                ],
            ]
            .concat(),
            vec![OnDegraded, OnProven],
        ),
        (
            "an opinion on what neither runs nor is selected is no incident",
            vec![rejected(3), began(1), proven(1)],
            vec![],
        ),
        (
            "given back in the middle",
            [&trial[..], &[Event::Uninstalled, began(1), proven(1)]].concat(),
            vec![],
        ),
    ]);
}

#[test]
fn a_hook_is_due_until_it_was_run() {
    let state = State::of(&[selected(1), began(1), proven(1)]);
    let due = |state: &State| state.closing().map(|closing| closing.hook);
    assert_eq!(due(&state), Some(Hook::OnProven));
    // Killed before it was on record, or the power went.
    let state = state.after(&began(1));
    assert_eq!(due(&state), None, "not before there is a verdict");
    let state = state.after(&proven(1));
    assert_eq!(due(&state), Some(Hook::OnProven));
    let state = state.after(&hooked(Hook::OnFallback));
    assert_eq!(due(&state), Some(Hook::OnProven), "that was another one");
    let state = state.after(&hooked(Hook::OnProven));
    assert_eq!(state.closing(), None);
}

#[test]
fn a_hook_is_told_why() {
    let story = [
        proven(1),
        selected(2),
        began(2),
        rejected(2),
        rebooting(2, 1),
        began(1),
    ];
    let state = State::of(&story).after(&proven(1));
    let closing = state.closing().unwrap();
    assert_eq!(closing.subject, subject(1));
    assert_eq!(closing.cause.unwrap().faults, [Fault::Operator]);
}
