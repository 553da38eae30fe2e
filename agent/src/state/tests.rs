//! Every event in every reachable state of a machine with three generations.

use super::reset::{How, Reset, Way};
use super::*;
use boot_entries::GenerationId;
use std::collections::BTreeSet;

fn cause(stage: Stage) -> Cause {
    Cause::of(stage, fault::Fault::Operator)
}

pub(super) fn selected(number: u64) -> Event {
    Event::Selected {
        subject: subject(number),
        by: None,
    }
}

pub(super) fn began(number: u64) -> Event {
    Event::Began {
        boot: "b".to_owned(),
        running: Some(subject(number)),
        reset: None,
    }
}

pub(super) fn proven(number: u64) -> Event {
    Event::Proven {
        subject: subject(number),
        baseline: Baseline::default(),
    }
}

fn healthy(number: u64) -> Event {
    Event::Healthy {
        subject: subject(number),
        baseline: Baseline::default(),
    }
}

pub(super) fn rejected(number: u64) -> Event {
    Event::Rejected {
        subject: subject(number),
        cause: cause(Stage::Services),
    }
}

/// Number 4 is the closure of number 1 under another number.
pub(super) fn subject(number: u64) -> Subject {
    let closure = if number == 4 { 1 } else { number };
    Subject {
        generation: GenerationId::system(number),
        toplevel: format!("/nix/store/{closure}").into(),
    }
}

pub(super) fn rebooting(from: u64, to: u64) -> Event {
    Event::Rebooting {
        from: subject(from),
        to: subject(to),
    }
}

pub(super) fn armed(number: u64) -> Event {
    let (subject, places) = (subject(number), None);
    Event::Armed { subject, places }
}

pub(super) fn ended(way: Way) -> Event {
    Event::Ended {
        boot: "b".to_owned(),
        way,
        failed: false,
    }
}

/// A boot of this generation, and how the one before ended.
pub(super) fn after(number: u64, how: How) -> Event {
    Event::Began {
        boot: "b".to_owned(),
        running: Some(subject(number)),
        reset: Some(Reset {
            how,
            stage: None,
            words: None,
        }),
    }
}

pub(super) fn lost(number: u64) -> Event {
    after(number, How::Lost)
}

/// A second chance.
pub(super) fn again(number: u64) -> Event {
    Event::Selected {
        subject: subject(number),
        by: Some(By::Suspicion),
    }
}

/// The place that the loader reads.
pub(super) fn boot() -> &'static Path {
    Path::new("/boot")
}

/// All states reachable in up to `depth` events, and the events.
pub(super) fn reachable(depth: usize) -> (Vec<State>, Vec<Event>) {
    let stage = Stage::Activated;
    let mut events = vec![Event::Reached { stage }, rebooting(2, 1), rebooting(1, 2)];
    for number in [1, 2, 4] {
        let subject = subject(number);
        let cause = cause(Stage::Services);
        events.extend([
            selected(number),
            armed(number),
            began(number),
            proven(number),
            rejected(number),
        ]);
        events.push(Event::Excused {
            subject: subject.clone(),
        });
        events.push(Event::Degraded { subject, cause });
    }
    events.extend([ended(Way::Reboot), lost(2), again(2)]);
    let mut states = vec![State::default()];
    let mut frontier = states.clone();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for _ in 0..depth {
        let mut next = Vec::new();
        for state in &frontier {
            for event in &events {
                let after = state.clone().after(event);
                if seen.insert(format!("{after:?}")) {
                    next.push(after);
                }
            }
        }
        states.extend(next.iter().cloned());
        frontier = next;
    }
    (states, events)
}

#[test]
fn what_holds_in_every_state() {
    let (states, _) = reachable(4);
    assert!(states.len() > 2_000, "{}", states.len());
    for state in &states {
        let good: BTreeSet<&Path> = state
            .proven
            .iter()
            .map(|good| good.subject.toplevel.as_path())
            .collect();
        assert!(
            good.iter()
                .all(|closure| !state.rejected.contains_key(*closure)),
            "proven and rejected: {state:?}"
        );
        assert_eq!(good.len(), state.proven.len(), "proven twice: {state:?}");
        assert!(state.protected().len() <= 4);
        if let WhenUnhealthy::FallBack { from, to } = state.when_unhealthy() {
            assert_ne!(
                from.toplevel, to.toplevel,
                "A3: a reboot into itself: {state:?}"
            );
            assert_eq!(Some(&from), state.running());
            assert_eq!(state.standing(&to), Standing::Proven, "{state:?}");
            assert!(state.reboots < REBOOTS_IN_A_ROW);
        }
        if let WhenHealthy::Bless(subject) = state.when_healthy() {
            assert_eq!(Some(&subject), state.running());
            assert_ne!(
                state.standing(&subject),
                Standing::Rejected,
                "A5: {state:?}"
            );
        }
    }
}

/// While something on record binds that nobody here knows, nothing is decided that it could forbid.
#[test]
fn what_is_not_known_ties_the_hands() {
    let (states, _) = reachable(3);
    let mut acted = 0;
    for state in states {
        let bound = State {
            bound_by: Some("line 7".to_owned()),
            ..state.clone()
        };
        let is_fall_back =
            |state: &State| matches!(state.when_unhealthy(), WhenUnhealthy::FallBack { .. });
        let is_blessed = |state: &State| matches!(state.when_healthy(), WhenHealthy::Bless(_));
        let gave_up = |state: &State| state.loader_gave_up(&subject(1), Some(boot()));
        acted += usize::from(is_fall_back(&state) && is_blessed(&state));
        assert!(!is_fall_back(&bound) && !is_blessed(&bound), "{state:?}");
        assert_eq!(gave_up(&bound), None, "{state:?}");
        assert_eq!(bound.is_not_counted(), None, "{state:?}");
        assert_eq!(bound.excused_by(&cause(Stage::Services)), None);
        // The operator's word counts, and what follows is still bound.
        let after = bound.after(&selected(2)).after(&proven(1));
        assert_eq!(after.last_good(), Some(&subject(1)));
        assert!(after.bound_by.is_some());
    }
    assert!(acted > 0);
}

#[test]
fn only_the_operator_selects_what_was_rejected() {
    let (states, events) = reachable(3);
    for state in &states {
        for event in events
            .iter()
            .filter(|event| !matches!(event, Event::Selected { .. }))
        {
            let after = state.clone().after(event);
            if let Some(is) = after
                .selected
                .as_ref()
                .filter(|is| state.selected.as_ref() != Some(is))
            {
                assert_eq!(
                    after.standing(is),
                    Standing::Proven,
                    "A5: {state:?} {event:?}"
                );
            }
        }
    }
}

#[test]
fn the_story_of_a_bad_generation() {
    let mut events = vec![
        selected(2),
        began(2),
        proven(2),
        selected(3),
        armed(3),
        began(3),
    ];
    let state = State::of(&events);
    assert_eq!(state.standing(&subject(3)), Standing::Trial);
    let (from, to) = (subject(3), subject(2));
    assert_eq!(state.when_unhealthy(), WhenUnhealthy::FallBack { from, to });
    events.extend([rejected(3), rebooting(3, 2), began(2)]);
    let state = State::of(&events);
    assert_eq!(state.selected, Some(subject(2)));
    assert_eq!(state.standing(&subject(3)), Standing::Rejected);
    assert_eq!(state.when_healthy(), WhenHealthy::Bless(subject(2)));
    assert_eq!(
        state.loader_gave_up(&subject(2), Some(boot())),
        None,
        "it was judged already"
    );
}

/// The same closure under another number is the same system: neither rebooted into nor judged against itself.
#[test]
fn verdicts_are_about_closures() {
    let state = State::of(&[began(1), proven(1), selected(4), armed(4), began(4)]);
    assert_eq!(state.standing(&subject(4)), Standing::Proven);
    assert!(matches!(state.when_unhealthy(), WhenUnhealthy::StayUp(_)));
    let state = State::of(&[proven(2), rejected(1)]);
    assert_eq!(
        state.standing(&subject(4)),
        Standing::Rejected,
        "A5: under a new number as well"
    );
}

/// An older proven generation that the operator went back to may have rotted: then the last good one is better. It is
/// not rejected for it: the last good one may have the same trouble.
#[test]
fn a_proven_generation_that_is_not_the_last_good_one_is_left_and_not_rejected() {
    let state = State::of(&[proven(1), proven(2), selected(1), armed(1), began(1)]);
    // The agent's own end is no reason.
    assert!(matches!(state.when_unhealthy(), WhenUnhealthy::StayUp(_)));
    let unwell = Event::Degraded {
        subject: subject(1),
        cause: Cause::of(Stage::Services, fault::Fault::of_unit("a.service")),
    };
    let (from, to) = (subject(1), subject(2));
    let state = state.after(&unwell);
    assert_eq!(state.when_unhealthy(), WhenUnhealthy::GoOn { from, to });
}

#[test]
fn a_reused_number_is_another_generation() {
    let state = State::of(&[began(1), proven(1)]);
    let reused = Subject {
        toplevel: "/nix/store/other".into(),
        ..subject(1)
    };
    assert_eq!(state.standing(&reused), Standing::Untested);
    let specialised = Subject {
        generation: subject(1).generation.specialised("x").unwrap(),
        toplevel: "/nix/store/special".into(),
    };
    assert_eq!(state.standing(&specialised), Standing::Untested);
    // What is not the same is protected beside each other.
    let state = state
        .after(&Event::Selected {
            subject: reused.clone(),
            by: None,
        })
        .after(&Event::Proven {
            subject: specialised.clone(),
            baseline: Baseline::default(),
        });
    assert_eq!(state.protected(), [&subject(1), &reused, &specialised]);
}

#[test]
fn an_uninstalled_machine_is_left_alone_until_something_is_selected() {
    let mut state = State::of(&[
        proven(1),
        selected(2),
        armed(2),
        Event::Uninstalled,
        began(2),
    ]);
    assert!(state.uninstalled && state.selected.is_none());
    assert!(matches!(state.when_unhealthy(), WhenUnhealthy::StayUp(_)));
    assert_eq!(
        state.last_good(),
        Some(&subject(1)),
        "what was learnt stays"
    );
    state = state.after(&selected(2));
    assert!(!state.uninstalled);
    assert!(matches!(
        state.when_unhealthy(),
        WhenUnhealthy::FallBack { .. }
    ));
}

/// A system that has a mark from the first has written no entry without it.
#[test]
fn what_was_written_before_there_was_a_mark_is_known() {
    let owner: Owner = "0123abcd".parse().unwrap();
    let named = Event::Named {
        owner: owner.clone(),
    };
    let both = |events: &[Event]| {
        let state = State::of(events);
        (state.owner.is_some(), state.wrote_unmarked)
    };
    assert_eq!(both(&[began(1)]), (false, false));
    assert_eq!(
        both(&[began(1), named.clone(), selected(1), proven(1)]),
        (true, false)
    );
    assert_eq!(
        both(&[selected(1), named.clone(), selected(2)]),
        (true, true)
    );
    assert_eq!(both(&[proven(1)]), (false, true));
    assert_eq!(State::of(&[named]).owner, Some(owner));
}

/// After a kexec the loader's counter has nothing to do with what runs, so that nothing is proven; nor is anything
/// lost.
#[test]
fn a_trial_that_is_healthy_without_the_loader_stays_one() {
    let before = [proven(1), selected(2), armed(2), began(2)];
    let state = State::of(&before).after(&healthy(2));
    assert_eq!(state.standing(&subject(2)), Standing::Trial);
    assert_eq!(state.last_good(), Some(&subject(1)));
    assert_eq!(state.selected, Some(subject(2)));
    let found = state.healthy.as_ref().unwrap();
    assert_eq!(
        (&found.subject, found.boot.as_deref()),
        (&subject(2), Some("b"))
    );
    for verdict in [proven(2), rejected(2)] {
        assert_eq!(state.clone().after(&verdict).healthy, None);
    }
    assert!(state.after(&proven(3)).healthy.is_some());
    // That it began as often as it may is no sign that nobody counts.
    let boots = [began(2), healthy(2), began(2), began(2), began(2)];
    let state = boots.iter().fold(State::of(&before), State::after);
    assert_eq!(state.is_not_counted(), None);
    assert!(state.after(&began(2)).is_not_counted().is_some());
    let state = State::of(&[proven(1), healthy(1), healthy(3)]);
    assert_eq!(
        state.healthy, None,
        "what is proven, or was never tried, is no trial"
    );
}

/// The kernel's id stays over a soft-reboot, and a number is added: no loader has counted that boot.
#[test]
fn a_soft_reboot_uses_no_try() {
    let began = |boot: &str| Event::Began {
        boot: boot.to_owned(),
        running: Some(subject(2)),
        reset: None,
    };
    let of = |boots: &[&str]| {
        let boots: Vec<Event> = boots.iter().map(|boot| began(boot)).collect();
        State::of([proven(1), selected(2)].iter().chain(&boots)).attempts
    };
    assert_eq!(of(&["a"]), 1);
    assert_eq!(of(&["a", "a.1"]), 1);
    assert_eq!(of(&["a", "a.1", "a.2"]), 1);
    assert_eq!(of(&["a", "a.1", "b"]), 2);
    assert_eq!(of(&["a", "b", "b.1", "c"]), 3);
}
