//! Every event in every reachable state of a machine with three generations.

use super::*;
use boot_entries::GenerationId;
use std::collections::BTreeSet;

fn subject(number: u64) -> Subject {
    Subject {
        generation: GenerationId::system(number),
        toplevel: format!("/nix/store/{number}").into(),
    }
}

fn cause(stage: Stage) -> Cause {
    Cause {
        stage,
        summary: "no".to_owned(),
        units: Vec::new(),
    }
}

fn selected(number: u64) -> Event {
    Event::Selected {
        subject: subject(number),
    }
}

fn began(number: u64) -> Event {
    Event::Began {
        boot: "b".to_owned(),
        running: Some(subject(number)),
    }
}

fn proven(number: u64) -> Event {
    Event::Proven {
        subject: subject(number),
        baseline: Baseline::default(),
    }
}

fn rejected(number: u64) -> Event {
    Event::Rejected {
        subject: subject(number),
        cause: cause(Stage::Services),
    }
}

fn rebooting(number: u64) -> Event {
    Event::Rebooting {
        to: subject(number),
    }
}

/// All states reachable in up to `depth` events, and the events.
fn reachable(depth: usize) -> (Vec<State>, Vec<Event>) {
    let mut events = vec![Event::Reached {
        stage: Stage::Activated,
    }];
    for number in 1..=3 {
        events.extend([
            selected(number),
            began(number),
            proven(number),
            rejected(number),
            rebooting(number),
            Event::Degraded {
                subject: subject(number),
                cause: cause(Stage::Services),
            },
        ]);
    }
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
    let (states, _) = reachable(5);
    assert!(states.len() > 5_000, "{}", states.len());
    for state in &states {
        let mut good: Vec<&Subject> = state.proven.iter().map(|good| &good.subject).collect();
        assert!(
            good.iter().all(|s| !state.rejected.contains_key(*s)),
            "both proven and rejected: {state:?}"
        );
        good.sort();
        good.dedup();
        assert_eq!(good.len(), state.proven.len(), "proven twice: {state:?}");
        assert!(state.protected().len() <= 4);
        for verdict in [Verdict::Healthy, Verdict::Unhealthy, Verdict::Unknown] {
            match state.reaction(verdict) {
                Reaction::FallBack { from, to } => {
                    assert_eq!(verdict, Verdict::Unhealthy);
                    assert_ne!(from, to, "A3: a reboot into itself: {state:?}");
                    assert_ne!(state.standing(&from), Standing::Proven, "A3: {state:?}");
                    assert_eq!(state.standing(&to), Standing::Proven, "{state:?}");
                    assert!(state.reboots < REBOOTS_IN_A_ROW);
                }
                Reaction::Bless(subject) => {
                    assert_eq!(verdict, Verdict::Healthy, "A1: {state:?}");
                    assert_eq!(Some(&subject), state.running());
                    assert_ne!(
                        state.standing(&subject),
                        Standing::Rejected,
                        "A5: {state:?}"
                    );
                }
                Reaction::StayUp(_) => {}
            }
        }
    }
}

#[test]
fn only_the_operator_selects_what_was_rejected() {
    let (states, events) = reachable(3);
    for state in &states {
        for event in &events {
            let after = state.clone().after(event);
            if let (Some(is), Event::Rejected { .. } | Event::Began { .. } | Event::Proven { .. }) =
                (&after.selected, event)
                && state.selected.as_ref() != Some(is)
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
    let mut events = vec![selected(2), began(2), proven(2), selected(3), began(3)];
    let state = State::of(&events);
    assert_eq!(state.standing(&subject(3)), Standing::Trial);
    let reaction = state.reaction(Verdict::Unhealthy);
    assert_eq!(
        reaction,
        Reaction::FallBack {
            from: subject(3),
            to: subject(2)
        }
    );
    events.extend([rejected(3), rebooting(2), began(2)]);
    let state = State::of(&events);
    assert_eq!(state.selected, Some(subject(2)));
    assert_eq!(state.standing(&subject(3)), Standing::Rejected);
    assert_eq!(
        state.reaction(Verdict::Healthy),
        Reaction::Bless(subject(2))
    );
    assert_eq!(
        state.loader_gave_up(&subject(2), true),
        None,
        "it was judged already"
    );
}

#[test]
fn automatic_reboots_come_to_an_end() {
    let mut state = State::of(&[began(1), proven(1), selected(2), began(2)]);
    for _ in 0..REBOOTS_IN_A_ROW {
        assert!(matches!(
            state.reaction(Verdict::Unhealthy),
            Reaction::FallBack { .. }
        ));
        state = state.after(&rebooting(1)).after(&began(2));
    }
    assert!(matches!(
        state.reaction(Verdict::Unhealthy),
        Reaction::StayUp(_)
    ));
}

#[test]
fn the_loader_gives_up_only_on_a_trial_without_tries() {
    let trial = State::of(&[proven(2), selected(3)]);
    assert_eq!(trial.loader_gave_up(&subject(3), true), None);
    assert_eq!(trial.loader_gave_up(&subject(2), false), None);
    let (who, why) = trial.loader_gave_up(&subject(2), true).unwrap();
    assert_eq!((who, why.stage), (subject(3), Stage::Loader));
    let crashed = trial.after(&began(3)).after(&Event::Reached {
        stage: Stage::Firewalled,
    });
    let (_, why) = crashed.loader_gave_up(&subject(2), true).unwrap();
    assert_eq!(why.stage, Stage::Firewalled);
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
        ..subject(1)
    };
    assert_eq!(state.standing(&specialised), Standing::Untested);
    // What is not the same is protected beside each other.
    let state = state
        .after(&Event::Selected {
            subject: reused.clone(),
        })
        .after(&Event::Proven {
            subject: specialised.clone(),
            baseline: Baseline::default(),
        });
    assert_eq!(state.protected(), [&subject(1), &reused, &specialised]);
}
