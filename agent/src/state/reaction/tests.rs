//! What follows, in every reachable state and in cases with a name.

mod tries;

use super::super::tests::{armed, began, boot, proven, rebooting, rejected, selected, subject};
use super::*;
use crate::state::Event;
use crate::state::fault::tests::one_of_each;

fn failing(faults: impl IntoIterator<Item = Fault>) -> Cause {
    Cause {
        stage: Stage::Services,
        summary: "no".to_owned(),
        units: Vec::new(),
        faults: faults.into_iter().collect(),
    }
}

#[test]
fn a_fault_that_the_last_good_one_shares_is_excused() {
    let failing = |names: &[&str]| failing(names.iter().map(|name| Fault::of_unit(name)));
    let rejection = Event::Rejected {
        subject: subject(2),
        cause: failing(&["db.service"]),
    };
    let state = State::of(&[
        proven(1),
        selected(2),
        began(2),
        rejection,
        rebooting(2, 1),
        began(1),
    ]);
    assert_eq!(
        state.excused_by(&failing(&["web.service", "db.service"])),
        Some(subject(2))
    );
    assert_eq!(state.excused_by(&failing(&["web.service"])), None);
    assert_eq!(
        state
            .clone()
            .after(&proven(1))
            .excused_by(&failing(&["db.service"])),
        None
    );
    let again = state.clone().after(&began(2));
    assert_eq!(
        again.excused_by(&failing(&["db.service"])),
        None,
        "it came up again, and is no witness for itself"
    );
    let excused = state.after(&Event::Excused {
        subject: subject(2),
    });
    assert_eq!(excused.standing(&subject(2)), Standing::Suspect);
    assert_eq!(
        excused.selected,
        Some(subject(1)),
        "no automatism selects it again"
    );
}

fn late() -> Event {
    Event::Late {
        files: ["fstab".into()].into(),
    }
}

#[test]
fn a_boot_with_anothers_files_is_tried_again_once_and_judges_nobody() {
    let again = |number| WhenUnhealthy::TryAgain {
        running: subject(number),
    };
    let trial = State::of(&[began(1), proven(1), selected(2), began(2)]);
    let is_late = trial.clone().after(&late());
    assert_eq!(is_late.when_unhealthy(), again(2));
    // The next boot has its own files. And if it has not, whatever that is, it does not go on like this.
    let next = is_late.clone().after(&rebooting(2, 2)).after(&began(2));
    for next in [next.clone(), next.after(&late())] {
        let WhenUnhealthy::FallBack { from, to } = next.when_unhealthy() else {
            panic!("{next:?}");
        };
        assert_eq!((from, to), (subject(2), subject(1)));
    }
    // The last good one after a fallback that could not turn `/etc`.
    let fallen = is_late
        .after(&rebooting(2, 1))
        .after(&began(1))
        .after(&late());
    assert_eq!(fallen.when_unhealthy(), again(1));
    let next = fallen
        .after(&rebooting(1, 1))
        .after(&began(1))
        .after(&late());
    assert_eq!(
        next.when_unhealthy(),
        WhenUnhealthy::StayUp(NoFallback::IsLastGood)
    );
    // Nothing is proven: nobody reboots a machine that the operator is setting up.
    let first = State::of(&[selected(2), began(2), late()]);
    assert_eq!(
        first.when_unhealthy(),
        WhenUnhealthy::StayUp(NoFallback::NothingProven)
    );
}

#[test]
fn automatic_reboots_come_to_an_end() {
    let mut state = State::of(&[began(1), proven(1), selected(2), began(2)]);
    for _ in 0..REBOOTS_IN_A_ROW {
        assert!(matches!(
            state.when_unhealthy(),
            WhenUnhealthy::FallBack { .. }
        ));
        state = state.after(&rebooting(2, 1)).after(&began(2));
    }
    assert!(matches!(state.when_unhealthy(), WhenUnhealthy::StayUp(_)));
}

#[test]
fn the_loader_gives_up_only_on_a_trial_that_was_armed_and_has_no_tries() {
    let trial = State::of(&[proven(2), selected(3)]);
    assert_eq!(
        trial.loader_gave_up(&subject(2), Some(boot())),
        None,
        "an old counter says nothing"
    );
    let ran = trial.clone().after(&began(3));
    assert!(
        ran.loader_gave_up(&subject(2), Some(boot())).is_some(),
        "it has run, so its entry is there"
    );
    let trial = trial.after(&armed(3));
    assert_eq!(trial.loader_gave_up(&subject(3), Some(boot())), None);
    assert_eq!(trial.loader_gave_up(&subject(2), None), None);
    let (who, why) = trial.loader_gave_up(&subject(2), Some(boot())).unwrap();
    assert_eq!((who, why.stage), (subject(3), Stage::Loader));
    let stage = Stage::Firewalled;
    let crashed = trial.after(&began(3)).after(&Event::Reached { stage });
    let (_, why) = crashed.loader_gave_up(&subject(2), Some(boot())).unwrap();
    assert_eq!(why.stage, Stage::Firewalled);
}

/// Entries that never heard of the selection say nothing about it.
#[test]
fn the_loader_gives_up_only_where_the_entry_was_written() {
    let places = Some(["/boot2".into()].into());
    let in_one = Event::Armed {
        subject: subject(3),
        places,
    };
    let trial = State::of(&[proven(2), selected(3), in_one]);
    assert_eq!(trial.loader_gave_up(&subject(2), Some(boot())), None);
    let mirror = Some(Path::new("/boot2"));
    assert!(trial.loader_gave_up(&subject(2), mirror).is_some());
    let again = trial.after(&selected(3));
    assert!(!again.is_armed_in(Path::new("/boot2")));
    assert!(again.after(&armed(3)).is_armed_in(boot()));
}

/// On an ESP that cannot be written the loader starts a trial for ever. Only the agent can end that.
#[test]
fn a_trial_that_begins_once_too_often_is_rejected() {
    let mut state = State::of(&[proven(1), selected(2)]);
    for _ in 0..TRIES {
        state = state.after(&began(2));
        assert_eq!(state.is_not_counted(), None);
    }
    let fourth = state.clone().after(&began(2));
    assert!(fourth.is_not_counted().is_some());
    assert_eq!(fourth.clone().after(&rejected(2)).is_not_counted(), None);
    assert_eq!(
        fourth.clone().after(&selected(2)).attempts,
        0,
        "the operator insists"
    );
    // Nobody to go back to, or nothing to go back from.
    let mut alone = State::of(&[selected(2)]);
    let mut good = State::of(&[selected(1), proven(1)]);
    for _ in 0..9 {
        alone = alone.after(&began(2));
        good = good.after(&began(1));
    }
    assert_eq!(
        (alone.is_not_counted(), good.is_not_counted()),
        (None, None)
    );
}

/// A generation that was the last good one for many boots, and is not any more because another one is, is proven all the
/// same: however often it begins, nobody rejects it for that.
#[test]
fn boots_of_what_is_proven_are_no_tries() {
    let mut state = State::of(&[proven(1), selected(2), proven(2)]);
    for _ in 0..9 {
        state = state.after(&began(2));
    }
    state = state.after(&proven(1));
    for _ in 0..9 {
        state = state.after(&began(2));
        assert_eq!(state.is_not_counted(), None);
    }
}

/// Every set of faults that something was rejected for, against every set that the last good one has. What cannot be
/// shared (no verdict, a power cut, the operator's word) is never excused, whatever comes together.
#[test]
fn only_what_can_be_shared_and_is_shared_is_excused() {
    // A few that can be shared, and a few that cannot.
    let few = |can: bool, count| {
        one_of_each()
            .into_iter()
            .filter(move |(.., is)| *is == can)
            .take(count)
    };
    let all: Vec<_> = few(true, 5).chain(few(false, 5)).collect();
    let sets: Vec<Vec<&(Fault, &str, bool)>> = (0..1_u32 << all.len())
        .map(|bits| {
            let chosen = all.iter().enumerate();
            let chosen = chosen.filter(|(at, _)| bits & (1 << at) != 0);
            chosen.map(|(_, one)| one).collect()
        })
        .collect();
    let causes: Vec<Cause> = sets
        .iter()
        .map(|set| failing(set.iter().map(|(fault, ..)| fault.clone())))
        .collect();
    let mut excused = 0;
    for (rejected, cause) in sets.iter().zip(&causes) {
        let rejection = Event::Rejected {
            subject: subject(2),
            cause: cause.clone(),
        };
        let events = [proven(1), selected(2), began(2), rejection, rebooting(2, 1)];
        let state = State::of(&events).after(&began(1));
        for (running, cause) in sets.iter().zip(&causes) {
            let has = |key: &str| running.iter().any(|(_, other, _)| *other == key);
            let is_shared =
                |(_, key, is_shareable): &&(Fault, &str, bool)| *is_shareable && has(key);
            let expected = !rejected.is_empty() && rejected.iter().all(is_shared);
            assert_eq!(
                state.excused_by(cause),
                expected.then(|| subject(2)),
                "{rejected:?} {running:?}"
            );
            excused += u32::from(expected);
        }
    }
    // Each non-empty set of those that can be shared, under all that contain it.
    let can_be_shared = all.iter().filter(|(.., is_shareable)| *is_shareable);
    let count = u32::try_from(can_be_shared.count()).unwrap();
    let rest = u32::try_from(all.len()).unwrap() - count;
    assert_eq!(excused, (3_u32.pow(count) - 2_u32.pow(count)) << rest);
}

/// A rejection that an agent recorded which knew units only.
#[test]
fn what_was_rejected_before_there_were_faults_is_excused_as_well() {
    let old = r#"{"stage":"services","summary":"no","units":[
        {"unit":"db.service","result":"exit-code","exitStatus":1,"log":[]},
        {"unit":"lastgood-firewall.service","result":"exit-code","exitStatus":1,"log":[]}]}"#;
    let rejection = Event::Rejected {
        subject: subject(2),
        cause: serde_json::from_str(old).unwrap(),
    };
    let events = [proven(1), selected(2), began(2), rejection, rebooting(2, 1)];
    let state = State::of(&events).after(&began(1));
    let db = Fault::of_unit("db.service");
    assert_eq!(state.excused_by(&failing([db.clone()])), None);
    let both = failing([db, Fault::Firewall]);
    assert_eq!(state.excused_by(&both), Some(subject(2)));
}

#[test]
fn the_loaders_verdicts_name_their_fault() {
    let trial = State::of(&[proven(1), selected(2), armed(2)]);
    let (_, cause) = trial.loader_gave_up(&subject(1), Some(boot())).unwrap();
    assert_eq!(cause.faults, [Fault::TriesUsedUp]);
    let begun = (0..=TRIES).fold(trial, |state, _| state.after(&began(2)));
    assert_eq!(begun.is_not_counted().unwrap().faults, [Fault::NotCounted]);
}

#[test]
fn a_machine_stays_up_for_the_reason_that_holds() {
    let ran = |events: &[Event]| State::of(events).when_unhealthy();
    for (events, why) in [
        (vec![proven(1)], NoFallback::NoGeneration),
        (vec![selected(2), began(2)], NoFallback::NothingProven),
        (vec![proven(1), began(1)], NoFallback::IsLastGood),
        (vec![proven(1), began(4)], NoFallback::IsLastGood),
        (
            vec![proven(1), Event::Uninstalled, began(2)],
            NoFallback::Uninstalled,
        ),
    ] {
        assert_eq!(ran(&events), WhenUnhealthy::StayUp(why), "{events:?}");
    }
    let mut many = vec![proven(1), selected(2), began(2)];
    many.extend(std::iter::repeat_n(
        rebooting(2, 1),
        REBOOTS_IN_A_ROW as usize,
    ));
    assert_eq!(
        ran(&many),
        WhenUnhealthy::StayUp(NoFallback::TooManyReboots)
    );
    let healthy = State::of(&[proven(1), began(2), rejected(2)]).when_healthy();
    assert_eq!(healthy, WhenHealthy::Leave(NotBlessed::Rejected));
    assert_eq!(
        State::default().when_healthy(),
        WhenHealthy::Leave(NotBlessed::NoGeneration)
    );
}

#[test]
fn a_boot_whose_verdict_the_entries_did_not_say_yet_is_left_at_once() {
    let cut = [
        proven(1),
        selected(2),
        armed(2),
        began(2),
        rejected(2),
        began(2),
    ];
    let state = State::of(&cut);
    assert!(state.is_to_be_left_at_once(true));
    assert!(
        !state.is_to_be_left_at_once(false),
        "the entries rule it out: somebody has chosen it"
    );
    for (what, last) in [
        ("it is the last good one", began(1)),
        ("somebody wants it", selected(2)),
    ] {
        let state = state.clone().after(&last);
        assert!(!state.is_to_be_left_at_once(true), "{what}");
    }
    let trial = State::of(&cut[..4]);
    assert!(!trial.is_to_be_left_at_once(true), "nobody has judged it");
    let mut tired = state;
    tired.reboots = REBOOTS_IN_A_ROW;
    assert!(!tired.is_to_be_left_at_once(true), "it ends");
}
