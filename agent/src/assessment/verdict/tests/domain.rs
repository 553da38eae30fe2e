//! Every pair of states of two units that turns into every other pair, under every baseline: laws instead of cases.

use super::*;

/// The small domain: what one unit may be like.
fn states() -> Vec<Unit> {
    vec![
        unit("active", "running"),
        unit("activating", "start"),
        crashing(1, Ended::Badly),
        unit("failed", "failed"),
        unit("inactive", "dead"),
        unloadable("not-found"),
    ]
}

/// Written down apart from the code under test.
fn is_hopeless(state: &Unit) -> bool {
    state.active == Active::Failed || state.load == Load::NotFound
}

fn has(baseline: &Baseline, unit: &str) -> bool {
    baseline.failing.contains(&Fault::of_unit(unit))
}

/// Whether `b.service`, which nobody requires, stands in the way of health before the deadline.
fn is_worse(state: &Unit, baseline: Option<&Baseline>) -> bool {
    let crashes = state.sub == "auto-restart";
    match baseline {
        None => crashes,
        Some(baseline) => {
            (crashes || state.active == Active::Failed) && !has(baseline, "b.service")
        }
    }
}

#[test]
fn every_pair_of_states_that_turns_into_every_other() {
    let baselines = [
        None,
        Some(baseline(&[])),
        Some(baseline(&["b.service"])),
        Some(baseline(&["a.service", "b.service"])),
    ];
    let states = states();
    let pairs: Vec<(&Unit, &Unit)> = states
        .iter()
        .flat_map(|a| states.iter().map(move |b| (a, b)))
        .collect();
    for baseline in &baselines {
        for first in &pairs {
            for then in &pairs {
                for turn in [1, 4, DEADLINE - 1] {
                    check_laws(baseline.as_ref(), *first, *then, turn);
                }
            }
        }
    }
}

fn check_laws(baseline: Option<&Baseline>, first: (&Unit, &Unit), then: (&Unit, &Unit), turn: u64) {
    let case = format!("{baseline:?}\n{first:?}\n{then:?} from {turn}");
    let pair = |at| if at < turn { first } else { then };
    let (at, judgement) = usual(baseline, |at| {
        with(&[
            ("a.service", pair(at).0.clone()),
            ("b.service", pair(at).1.clone()),
        ])
    });
    let (a, b) = pair(at);
    let bars = |at| pair(at).0.active != Active::Active || is_worse(pair(at).1, baseline);
    match &judgement {
        Judgement::Healthy { baseline: recorded } => {
            assert!(at >= SETTLE, "{case}");
            for before in at - SETTLE..=at {
                assert_eq!(pair(before).0.active, Active::Active, "{case}");
                assert!(
                    !bars(before) || (at >= DEADLINE && baseline.is_none()),
                    "{case}"
                );
            }
            let failing = b.active == Active::Failed || b.sub == "auto-restart";
            assert_eq!(has(recorded, "b.service"), failing, "{case}");
            assert!(!has(recorded, "a.service"), "{case}");
        }
        Judgement::Unhealthy { faults, .. } => {
            let new_failure = b.active == Active::Failed && is_worse(b, baseline);
            let given_up = is_hopeless(a) || new_failure;
            assert!(given_up || at >= DEADLINE, "{case}");
            assert!(bars(at), "{case}");
            let guilty = if a.active == Active::Active || (!is_hopeless(a) && new_failure) {
                "b.service"
            } else {
                "a.service"
            };
            assert_eq!(units_of(faults).first(), Some(&guilty), "{case}");
        }
        other => panic!("{other:?}: {case}"),
    }
    // No sooner and no later than need be.
    let settled = (SETTLE..=at).find(|end| (end - SETTLE..=*end).all(|at| !bars(at)));
    if at < DEADLINE {
        let healthy = matches!(judgement, Judgement::Healthy { .. });
        assert_eq!(settled, healthy.then_some(at), "{case}");
    }
}
