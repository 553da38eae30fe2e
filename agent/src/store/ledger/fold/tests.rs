//! What is left of any history means what all of it meant.

use proptest::prelude::*;
use std::collections::BTreeSet;

use super::*;
use crate::state::By;
use crate::state::baseline::Baseline;
use crate::state::cause::{Cause, Stage};
use crate::state::fault::Fault;
use crate::state::incident::Hook;
use crate::state::reset::{How, Reset, Way};
use crate::store::ledger::line;
use boot_entries::GenerationId;
use jiff::Timestamp;

/// Five generations of three closures.
fn subject() -> impl Strategy<Value = Subject> {
    (1_u64..6).prop_map(|number| Subject {
        generation: GenerationId::system(number),
        toplevel: format!("/nix/store/{}", number % 3).into(),
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    prop::sample::select(vec![
        Stage::Loader,
        Stage::Begun,
        Stage::Activated,
        Stage::Services,
        Stage::Probation,
        Stage::Proven,
    ])
}

fn cause() -> impl Strategy<Value = Cause> {
    (stage(), "[ab]").prop_map(|(stage, summary)| {
        let cause = serde_json::json!({ "stage": stage, "summary": summary, "units": [] });
        serde_json::from_value(cause).unwrap()
    })
}

fn by() -> impl Strategy<Value = Option<By>> {
    prop::sample::select(vec![None, None, Some(By::Suspicion), Some(By::LastResort)])
}

fn way() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![Way::Reboot, Way::Kexec, Way::SoftReboot])
}

fn reset() -> impl Strategy<Value = Reset> {
    let how = vec![How::Lost, How::Orderly, How::Panic, How::SoftReboot];
    (prop::sample::select(how), prop::option::of(stage())).prop_map(|(how, stage)| Reset {
        how,
        stage,
        words: None,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let places = prop::option::of(prop::collection::btree_set(
        prop::sample::select(vec!["/boot", "/boot2"]).prop_map(PathBuf::from),
        0..3,
    ));
    let baseline = prop::collection::btree_set("[ab]", 0..2).prop_map(|names| Baseline {
        failing: names.iter().map(|name| Fault::of_unit(name)).collect(),
        looks: None,
    });
    prop_oneof![
        3 => (subject(), by()).prop_map(|(subject, by)| Event::Selected { subject, by }),
        2 => ("[ab]", way(), any::<bool>())
            .prop_map(|(boot, way, failed)| Event::Ended { boot, way, failed }),
        1 => Just(Event::Hooked { hook: Hook::OnProven, trouble: None }),
        3 => (subject(), places).prop_map(|(subject, places)| Event::Armed { subject, places }),
        6 => ("[ab]", prop::option::of(subject()), prop::option::of(reset()))
            .prop_map(|(boot, running, reset)| Event::Began { boot, running, reset }),
        3 => stage().prop_map(|stage| Event::Reached { stage }),
        1 => prop::collection::btree_set(
            prop::sample::select(vec!["fstab", "hostname"]).prop_map(PathBuf::from),
            1..3,
        )
        .prop_map(|files| Event::Late { files }),
        3 => (subject(), baseline)
            .prop_map(|(subject, baseline)| Event::Proven { subject, baseline }),
        2 => subject().prop_map(|subject| Event::Healthy { subject, baseline: Baseline::default() }),
        3 => (subject(), cause()).prop_map(|(subject, cause)| Event::Rejected { subject, cause }),
        2 => (subject(), cause()).prop_map(|(subject, cause)| Event::Degraded { subject, cause }),
        1 => subject().prop_map(|subject| Event::Excused { subject }),
        1 => subject().prop_map(|subject| Event::Steady { subject }),
        1 => Just(Event::Uninstalled),
        1 => prop::sample::select(vec!["0123abcd", "4567cdef"])
            .prop_map(|owner| Event::Named { owner: owner.parse().unwrap() }),
        2 => (subject(), subject()).prop_map(|(from, to)| Event::Rebooting { from, to }),
    ]
}

/// A line of the ledger: an event, one of a newer agent's, or what a power cut left.
fn text() -> impl Strategy<Value = String> {
    let known = event().prop_map(|event| line::write(Timestamp::UNIX_EPOCH, &event, 0).unwrap().0);
    let more = event().prop_map(|event| {
        let text = serde_json::to_string(&event).unwrap();
        let text = text.strip_prefix('{').unwrap();
        line::sealed(&format!(
            r#"{{"v":1,"time":"1970-01-01T00:00:00Z","more":1,{text}"#
        ))
        .0
    });
    let unknown = Just(line::sealed(r#"{"v":1,"event":"unheard-of"}"#).0);
    prop_oneof![
        20 => known,
        1 => more,
        1 => unknown,
        1 => Just("{\"v\":1".to_owned()),
    ]
}

fn lines(texts: &[String]) -> Vec<Line<'_>> {
    let read = |(at, text): (usize, &'_ String)| line::read(at + 1, text.as_bytes());
    let texts = texts.iter().enumerate();
    texts
        .map(|(at, text)| (text.as_bytes(), read((at, text))))
        .collect()
}

fn state(lines: &[Line<'_>], stays: &[bool]) -> State {
    let events = events(lines).filter(|(at, _)| stays[*at]);
    State::of(events.map(|(_, event)| event))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fold_means_what_all_of_it_meant(
        texts in prop::collection::vec(text(), 0..60),
        recent in 0_usize..6,
        causes in 0_usize..3,
    ) {
        let lines = lines(&texts);
        let bounds = Bounds { lines: recent, causes, ..Bounds::default() };
        let stays = fold(&lines, bounds, &|_| false).unwrap();
        prop_assert_eq!(state(&lines, &stays), state(&lines, &vec![true; lines.len()]));
        for (at, (text, meaning)) in lines.iter().enumerate() {
            let text = String::from_utf8_lossy(text);
            if at + recent >= lines.len() || text.contains("more") || text.contains("unheard-of") {
                prop_assert!(stays[at], "{}", text);
            } else if *meaning == Meaning::Damaged {
                prop_assert!(!stays[at]);
            }
        }
    }

    #[test]
    fn what_is_forgotten_is_nobodys(events in prop::collection::vec(event(), 0..60), needed in 0_u64..3) {
        let texts: Vec<String> = events
            .iter()
            .map(|event| line::write(Timestamp::UNIX_EPOCH, event, 0).unwrap().0)
            .collect();
        let lines = lines(&texts);
        let before = state(&lines, &vec![true; lines.len()]);
        let needed = PathBuf::from(format!("/nix/store/{needed}"));
        let bounds = Bounds { lines: 2, causes: 0, closures: 1, ..Bounds::default() };
        let stays = fold(&lines, bounds, &|subject| subject.toplevel == needed).unwrap();
        let after = state(&lines, &stays);
        let protected = before.protected().into_iter().map(|subject| &subject.toplevel);
        let kept: BTreeSet<&PathBuf> = protected.chain([&needed]).collect();
        for closure in kept {
            let of = |state: &State| {
                let good = state.proven.iter().find(|good| good.subject.toplevel == *closure);
                (good.cloned(), state.rejected.get(closure).cloned())
            };
            prop_assert_eq!(of(&after), of(&before));
        }
        prop_assert_eq!(after.last_good(), before.last_good());
        prop_assert_eq!(
            (after.selected, after.attempts, after.reboots, after.fallen_from, after.owner),
            (before.selected, before.attempts, before.reboots, before.fallen_from, before.owner)
        );
    }
}

proptest! {
    // Long ones take long.
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fold_is_short(events in prop::collection::vec(event(), 100..160)) {
        let texts: Vec<String> = events
            .iter()
            .map(|event| line::write(Timestamp::UNIX_EPOCH, event, 0).unwrap().0)
            .collect();
        let lines = lines(&texts);
        let bounds = Bounds { lines: 0, causes: 0, ..Bounds::default() };
        let stays = fold(&lines, bounds, &|_| false).unwrap();
        let count = stays.iter().filter(|stays| **stays).count();
        // Two verdicts for each closure, the selection with its tries, the boot, the reboots, the owner.
        let reboots = usize::try_from(state(&lines, &stays).reboots).unwrap();
        prop_assert!(count <= 24 + reboots, "{} lines stay", count);
    }
}
