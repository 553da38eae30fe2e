//! A small systemd, and random pairs of unit trees: where the plan is walked, and where it must end.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::switch::compare::{Effect, compare};
use crate::switch::unit_file::UnitFile;

mod systemd;
mod trees;

use systemd::Systemd;
use trees::pair;

/// Services, each of which may hang only on those before it. Their names are not in that order.
const SERVICES: [&str; 5] = [
    "d.service",
    "b.service",
    "i@1.service",
    "a.service",
    "c.service",
];
/// Two of them have a socket that is there or not.
const SOCKETS: [&str; 2] = ["b.socket", "c.socket"];
const TARGETS: [&str; 2] = ["multi-user.target", "t.target"];

fn universe() -> impl Iterator<Item = &'static str> {
    SERVICES.into_iter().chain(SOCKETS).chain(TARGETS)
}

/// The file that defines a unit of the universe.
fn file_of(name: &str) -> &str {
    if name == "i@1.service" {
        "i@.service"
    } else {
        name
    }
}

fn service_of(socket: &str) -> String {
    socket.replace(".socket", ".service")
}

/// What a tree says: by name, a text or "masked". What is not in it is not there.
type Tree = BTreeMap<String, String>;

fn text_of(tree: &Tree, name: &str) -> Option<UnitFile> {
    let text = tree.get(file_of(name)).filter(|text| *text != "masked")?;
    Some(UnitFile::parse(text))
}

fn units(tree: &Tree) -> Units {
    let mut units = Units::default();
    for (name, text) in tree {
        put(&mut units, name, text);
    }
    units
}

/// How weighty the difference of a unit is between two trees.
fn effect(old: &Tree, new: &Tree, name: &str) -> Effect {
    match (text_of(old, name), text_of(new, name)) {
        (Some(old), Some(new)) => compare(&old, &new).effect,
        (None, None) => Effect::Nothing,
        _ => Effect::Restart,
    }
}

fn runs_as_written(systemd: &Systemd, tree: &Tree, name: &str) -> bool {
    let from = systemd.units.get(name).map(|unit| &unit.from);
    let file = text_of(tree, name);
    match (from, file) {
        // A target has no process.
        (Some(_), Some(_)) if TARGETS.contains(&name) => true,
        (Some(from), Some(file)) => compare(from, &file).effect < Effect::Restart,
        _ => false,
    }
}

/// Everything that a start of `names` pulls in.
fn pulled(tree: &Tree, names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let systemd = Systemd {
        loaded: tree.clone(),
        ..Systemd::default()
    };
    let mut todo: Vec<String> = names.into_iter().collect();
    let mut found = BTreeSet::new();
    while let Some(name) = todo.pop() {
        for other in systemd.words(&name, &["Wants", "Requires", "BindsTo"]) {
            if found.insert(other.clone()) {
                todo.push(other);
            }
        }
    }
    found
}

fn check(old: &Tree, new: &Tree, by_hand: &[usize], failed: &[usize]) -> Result<(), TestCaseError> {
    let mut systemd = Systemd::boot(old);
    for index in by_hand {
        systemd.stop(SERVICES[*index]);
    }
    for index in failed {
        let name = SERVICES[*index];
        if systemd.is_up(name) {
            systemd.stop(name);
            systemd.units.entry(name.to_owned()).or_default().failed = true;
        }
    }
    let before = systemd.clone();
    let situation = Situation {
        old: units(old),
        new: units(new),
        states: systemd.states(),
        ..Situation::default()
    };
    let plan = super::plan(&situation);
    systemd.walk(&plan, new);
    arrived(&before, &systemd, &plan, old, new)?;
    undone(&before, systemd, &plan, old, new)
}

/// The end is what a fresh boot of the new tree would have.
fn arrived(
    before: &Systemd,
    after: &Systemd,
    plan: &Plan,
    old: &Tree,
    new: &Tree,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(&after.wrong_stops, &Vec::<String>::new(), "{:#?}", plan);
    let fresh = Systemd::boot(new);
    let started = plan.up.iter().map(|step| step.unit.clone());
    let pulled = pulled(new, started);
    for name in universe() {
        let (was_up, is_up) = (before.is_up(name), after.is_up(name));
        let change = effect(old, new, name);
        let exists = text_of(new, name).is_some();
        let wanted = universe().any(|by| after.is_up(by) && pulled_by(new, by).contains(name));
        let of = format!("{name}: {plan:#?}\nrefused: {:?}", after.refused);
        if is_up {
            prop_assert!(exists, "gone and up: {}", of);
            let excused = plan.skipped.contains_key(name);
            prop_assert!(
                excused || runs_as_written(after, new, name),
                "old definition: {}",
                of
            );
            let listens = after.units.get(name).and_then(|unit| unit.listens.clone());
            let address = text_of(new, name)
                .and_then(|file| file.last("Socket", "ListenStream").map(str::to_owned));
            prop_assert!(excused || listens == address, "nothing listens: {}", of);
            prop_assert!(
                was_up || fresh.is_up(name) || wanted || pulled.contains(name),
                "up for no reason: {}",
                of
            );
        }
        // What would be up after a boot, and is wanted by something that is up, is down only for a reason.
        let skips = |by: &str| plan.skipped.contains_key(by);
        let wanted =
            universe().any(|by| after.is_up(by) && !skips(by) && pulled_by(new, by).contains(name));
        if fresh.is_up(name) && !is_up && wanted {
            let stood = !was_up && change < Effect::Restart && text_of(old, name).is_some();
            let needs = after.words(name, &["Requires", "BindsTo", "Requisite"]);
            let lacks = needs.iter().any(|unit| !after.is_up(unit));
            let excused = stood || lacks || plan.skipped.contains_key(name);
            prop_assert!(excused, "down for no reason: {}", of);
        }
        // Whoever is not concerned does not notice.
        if was_up && change < Effect::Restart && !plan.touches(name) {
            let since = |systemd: &Systemd| systemd.units.get(name).map(|unit| unit.since);
            prop_assert_eq!(since(before), since(after), "disturbed in silence: {}", of);
        }
        if was_up && exists && change == Effect::Nothing {
            let needs = after.words(name, &["Requires", "BindsTo", "Requisite"]);
            let lacks = needs
                .iter()
                .any(|unit| text_of(new, unit).is_none() || !after.is_up(unit));
            let waits = plan.intended.get(name) == Some(&Intent::Either);
            prop_assert!(is_up || lacks || waits, "unchanged and lost: {}", of);
        }
        if !was_up && change == Effect::Nothing && is_up {
            let is_new = pulled.contains(name) || plan.up.iter().any(|step| step.unit == name);
            prop_assert!(is_new, "stood stopped and came up: {}", of);
            let newly = !universe().any(|by| before.is_up(by) && pulled_by(old, by).contains(name));
            prop_assert!(
                pulled.contains(name) || newly,
                "started for no reason: {}",
                of
            );
        }
        if plan.intended.get(name) == Some(&Intent::Down) {
            prop_assert!(!is_up || pulled.contains(name), "meant to be down: {}", of);
        }
    }
    Ok(())
}

fn pulled_by(tree: &Tree, name: &str) -> BTreeSet<String> {
    let systemd = Systemd {
        loaded: tree.clone(),
        ..Systemd::default()
    };
    systemd.words(name, &["Wants", "Requires", "BindsTo"])
}

/// The way back ends in what was before.
fn undone(
    before: &Systemd,
    mut now: Systemd,
    forward: &Plan,
    old: &Tree,
    new: &Tree,
) -> Result<(), TestCaseError> {
    let was = before.units.iter().map(|(name, unit)| {
        let (up, since) = (unit.up, unit.since);
        let touched = forward.touches(name);
        let reloaded = forward.reload.contains_key(name);
        let before = Before {
            up,
            since,
            touched,
            reloaded,
        };
        (name.clone(), before)
    });
    let was: BTreeMap<String, Before> = was.collect();
    let mut plans = Vec::new();
    // What a restart pulls in besides is stopped by a second look.
    for number in 0..2 {
        let situation = Situation {
            old: units(new),
            new: units(old),
            states: now.states(),
            before: Some(was.clone()),
            read_at: (number > 0).then_some(now.read_at),
            ..Situation::default()
        };
        let plan = super::plan(&situation);
        now.walk(&plan, old);
        plans.push(plan);
    }
    for name in universe() {
        let of = format!("{name}: {plans:#?}\nrefused: {:?}", now.refused);
        let excused = plans.iter().any(|plan| plan.skipped.contains_key(name));
        if excused && !now.is_up(name) {
            continue;
        }
        // Nobody can tell who has started a service whose socket is there.
        let by_socket = now.is_up(&name.replace(".service", ".socket"));
        if now.is_up(name) && !before.is_up(name) && by_socket {
            continue;
        }
        prop_assert_eq!(before.is_up(name), now.is_up(name), "undo: {}", of);
        if !now.is_up(name) {
            continue;
        }
        let kept = before.units.get(name).map(|unit| &unit.from)
            == now.units.get(name).map(|unit| &unit.from);
        prop_assert!(
            excused || kept || runs_as_written(&now, old, name),
            "undo, definition: {}",
            of
        );
        let listens = |systemd: &Systemd| {
            systemd
                .units
                .get(name)
                .and_then(|unit| unit.listens.clone())
        };
        prop_assert!(
            excused || listens(before) == listens(&now),
            "undo, nothing listens: {}",
            of
        );
    }
    Ok(())
}

proptest! {
    // The same cases in each run: a fault found by chance in a run about something else tells nobody anything. Another
    // number, or more cases, looks further.
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(2016), ..ProptestConfig::default() })]

    #[test]
    fn every_switch_ends_in_what_a_boot_would_have_and_every_undo_in_what_was_before(
        (old, new) in pair(),
        by_hand in prop::collection::vec(0..5_usize, 0..2),
        failed in prop::collection::vec(0..5_usize, 0..2),
    ) {
        check(&old, &new, &by_hand, &failed)?;
    }
}
