//! What costs a try, what makes a suspect, and what is done when nothing passes.

use super::super::super::tests::{
    after, again, armed, began, boot, ended, lost, proven, rebooting, rejected, selected, subject,
};
use super::super::*;
use crate::state::incident::Hook;
use crate::state::reset::{Reset, Way};
use crate::state::{By, Event};

fn unwell(number: u64, stage: Stage) -> Event {
    Event::Degraded {
        subject: subject(number),
        cause: Cause::of(stage, Fault::of_unit("a.service")),
    }
}

fn last_resort(number: u64) -> Event {
    Event::Selected {
        subject: subject(number),
        by: Some(By::LastResort),
    }
}

/// 1 and 2 are proven, 3 is a trial that was bad, and 2 is not well either.
#[test]
fn when_nothing_passes_what_came_furthest_stays_up() {
    let fallen = State::of(&[
        proven(1),
        proven(2),
        selected(3),
        began(3),
        rejected(3),
        rebooting(3, 2),
        began(2),
    ]);
    let goes = |from, to| WhenUnhealthy::GoOn {
        from: subject(from),
        to: subject(to),
    };
    // It can be reached: nothing is better than that.
    let reachable = fallen.clone().after(&unwell(2, Stage::Services));
    let stays = |why| WhenUnhealthy::StayUp(why);
    assert_eq!(reachable.when_unhealthy(), stays(NoFallback::IsLastGood));
    // It cannot: another one may do better, and is not rejected for having been asked.
    let gone = fallen.after(&unwell(2, Stage::Network));
    assert_eq!(gone.when_unhealthy(), goes(2, 1));
    let other = [last_resort(1), rebooting(2, 1), began(1)];
    let other = other.iter().fold(gone, State::after);
    assert_eq!(other.standing(&subject(2)), Standing::Proven);
    assert_eq!(other.selected, Some(subject(1)));
    // It is well: it is the last good one from now on.
    let well = other.clone().after(&proven(1));
    assert_eq!(well.last_good(), Some(&subject(1)));
    // It is as bad, or worse: back to what came further, once.
    for (stage, what) in [
        (Stage::Begun, goes(1, 2)),
        (Stage::Network, stays(NoFallback::NothingBetter)),
        (Stage::Services, stays(NoFallback::IsLastGood)),
    ] {
        let worse = other.clone().after(&unwell(1, stage));
        assert_eq!(worse.when_unhealthy(), what, "{stage:?}");
    }
    let back = [
        unwell(1, Stage::Begun),
        last_resort(2),
        rebooting(1, 2),
        began(2),
    ];
    let back = back.iter().fold(other, State::after);
    for stage in [Stage::Begun, Stage::Network] {
        let end = back.clone().after(&unwell(2, stage));
        assert!(
            matches!(end.when_unhealthy(), WhenUnhealthy::StayUp(_)),
            "{stage:?}"
        );
    }
}

/// A machine that is only not well, and has not come here by itself, is left alone.
#[test]
fn a_proven_one_that_ends_in_emergency_mode_one_day_is_not_rebooted() {
    let state = State::of(&[proven(1), proven(2), began(2), unwell(2, Stage::Firewalled)]);
    assert_eq!(
        state.when_unhealthy(),
        WhenUnhealthy::StayUp(NoFallback::IsLastGood)
    );
}

#[test]
fn only_a_failure_costs_a_try() {
    let trial = State::of(&[proven(1), selected(2), armed(2), began(2)]);
    assert_eq!(trial.attempts, 1);
    let after = |event: &Event| trial.clone().after(event);
    assert_eq!(after(&ended(Way::Reboot)).attempts, 0, "the operator's");
    assert_eq!(after(&ended(Way::PowerOff)).attempts, 0);
    assert_eq!(after(&ended(Way::SoftReboot)).attempts, 1, "it goes on");
    let failed = Event::Ended {
        boot: "b".to_owned(),
        way: Way::Reboot,
        failed: true,
    };
    assert_eq!(after(&failed).attempts, 1, "nobody knows how it was");
    let another = Event::Ended {
        boot: "c".to_owned(),
        way: Way::Reboot,
        failed: false,
    };
    assert_eq!(after(&another).attempts, 1);
    let left = after(&rejected(2)).after(&rebooting(2, 1));
    assert!(!left.gives_back("b", Way::Reboot, false), "ours");
    // Somebody who reboots for ever gets a verdict all the same.
    let mut state = trial;
    for _ in 0..9 {
        state = state.after(&ended(Way::Reboot)).after(&began(2));
    }
    assert!(state.is_not_counted().is_some());
}

#[test]
fn user_space_that_is_started_anew_is_no_try() {
    let trial = State::of(&[proven(1), selected(2), armed(2), began(2)]);
    let again = trial
        .after(&ended(Way::SoftReboot))
        .after(&after(2, How::SoftReboot));
    assert_eq!(again.attempts, 1);
}

#[test]
fn a_last_good_one_that_a_soft_reboot_led_to_is_booted_for_what_the_kernel_keeps() {
    let cause = Cause::of(Stage::Services, Fault::of_unit("a.service"));
    let back = [
        proven(1),
        selected(2),
        armed(2),
        began(2),
        Event::Rejected {
            subject: subject(2),
            cause: cause.clone(),
        },
        rebooting(2, 1),
        ended(Way::SoftReboot),
        after(1, How::SoftReboot),
    ];
    let state = State::of(&back);
    assert_eq!(state.excused_by(&cause), None, "the kernel may have it");
    let state = state.after(&unwell(1, Stage::Services));
    assert!(matches!(
        state.when_unhealthy(),
        WhenUnhealthy::TryAgain { .. }
    ));
    let why = state.why_tried_again();
    assert_eq!(
        why,
        "the kernel is still as the other generation has left it"
    );
    let late = state.clone().after(&super::late());
    assert!(late.why_tried_again().starts_with("files of another"));
    // What is still wrong then, with another kernel, is not the trial's fault.
    let booted = state.after(&rebooting(1, 1)).after(&after(1, How::Orderly));
    assert_eq!(booted.excused_by(&cause), Some(subject(2)));
    let stays = booted.after(&unwell(1, Stage::Services));
    assert!(matches!(stays.when_unhealthy(), WhenUnhealthy::StayUp(_)));
    let well = stays.after(&proven(1));
    assert_eq!(well.excused_by(&cause), None, "the incident is over");
}

#[test]
fn boots_that_just_ended_make_a_suspect_and_nothing_worse() {
    let cut = [
        proven(1),
        selected(2),
        armed(2),
        began(2),
        lost(2),
        lost(2),
        lost(1),
    ];
    let state = State::of(&cut);
    let (subject, cause) = state.loader_gave_up(&subject(1), Some(boot())).unwrap();
    assert_eq!(cause.faults, [Fault::TriesUsedUp, Fault::Power]);
    assert!(State::is_from_outside(&cause));
    let rejection = Event::Rejected {
        subject: subject.clone(),
        cause,
    };
    let excused = Event::Excused {
        subject: subject.clone(),
    };
    let state = state.after(&rejection).after(&excused);
    assert_eq!(state.standing(&subject), Standing::Suspect);
    assert_eq!(
        state.second_chance(),
        None,
        "the last good one is not well yet"
    );
    let state = state.after(&proven(1));
    assert_eq!(
        state.second_chance(),
        None,
        "the incident has not come to its end"
    );
    let ended = Event::Hooked {
        hook: Hook::OnFallback,
        trouble: None,
    };
    let state = state.after(&ended);
    assert_eq!(state.second_chance(), Some(&subject));
    // Once: the next time it must be asked for.
    let state = state.after(&again(2));
    assert_eq!(state.standing(&subject), Standing::Trial);
    let more = [
        armed(2),
        began(2),
        rejected(2),
        rebooting(2, 1),
        began(1),
        excused,
        proven(1),
    ];
    let state = more.iter().fold(state, State::after);
    assert_eq!(state.standing(&subject), Standing::Suspect);
    assert_eq!(state.second_chance(), None);
    let state = state.after(&selected(2));
    assert!(state.tried_again.is_empty() && state.suspects.is_empty());
}

/// One boot that never came as far as the agent may have been a bad kernel's.
#[test]
fn boots_that_never_began_are_its_own() {
    for story in [
        vec![began(2), lost(2), lost(1)],
        vec![began(2), lost(1)],
        vec![began(1)],
        vec![began(2), lost(2), after(2, How::Watchdog), lost(1)],
        vec![began(2), lost(2), lost(2), after(1, How::Panic)],
    ] {
        let before = [proven(1), selected(2), armed(2)];
        let state = State::of(before.iter().chain(&story));
        let (_, cause) = state.loader_gave_up(&subject(1), Some(boot())).unwrap();
        let is_outside = State::is_from_outside(&cause);
        let ends_with_a_mark = matches!(story.last(), Some(Event::Began { reset: Some(reset), .. }) if reset.how == How::Panic);
        assert!(!is_outside, "{story:?}");
        assert_eq!(cause.faults.contains(&Fault::Panic), ends_with_a_mark);
    }
}

/// A panic is its that ran then. The boot on record may have ended in order before that.
#[test]
fn a_panic_of_a_boot_that_never_began_tells_how_far_it_came() {
    let panicked = |before: &[Event]| {
        let end = Event::Began {
            boot: "c".to_owned(),
            running: Some(subject(1)),
            reset: Some(Reset {
                how: How::Panic,
                stage: Some(Stage::Initrd),
                words: Some("Kernel panic - not syncing: no init".to_owned()),
            }),
        };
        let state = State::of(before).after(&end);
        state.loader_gave_up(&subject(1), Some(boot())).unwrap().1
    };
    let never = panicked(&[
        proven(1),
        began(1),
        selected(2),
        armed(2),
        ended(Way::Reboot),
    ]);
    assert_eq!(never.stage, Stage::Initrd);
    assert!(never.summary.ends_with("no init"), "{}", never.summary);
    assert_eq!(never.faults, [Fault::TriesUsedUp, Fault::Panic]);
    // The boot that is on record was cut off: it may have been this one's panic, which says nothing of the trial.
    let other = panicked(&[proven(1), began(1), selected(2), armed(2)]);
    assert_eq!(
        (other.stage, other.faults),
        (Stage::Loader, vec![Fault::TriesUsedUp])
    );
}

#[test]
fn waiting_gets_longer_and_has_an_end() {
    let mut state = State::default();
    let mut waits = Vec::new();
    for _ in 0..5 {
        waits.push(state.backoff().as_secs());
        state = state.after(&rebooting(2, 1));
    }
    assert_eq!(waits, [0, 15, 60, 0, 0]);
}
