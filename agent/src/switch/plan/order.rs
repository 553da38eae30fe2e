//! What must be up before another comes before it.

use std::collections::{BTreeMap, BTreeSet};

use super::Step;
use crate::switch::set::{Units, kind};

/// The steps in such an order. PID 1 orders jobs that it knows. It cannot know the one that is asked for next: a start
/// with `Requisite=` on a unit whose own start comes a moment later fails.
pub(super) fn in_order(units: &Units, steps: Vec<Step>) -> Vec<Step> {
    let mut before: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for step in &steps {
        let definition = units.definition(units.canonical(&step.unit));
        let Some(file) = definition.file() else {
            continue;
        };
        let words = |section: &'static str, key: &'static str| {
            file.words(section, key)
                .map(|name| units.canonical(name).to_owned())
        };
        let first = ["Requisite", "Requires", "BindsTo", "After"];
        let mut first: BTreeSet<String> = first.iter().flat_map(|key| words("Unit", key)).collect();
        first.extend(words("Service", "Sockets"));
        if let Some(stem) = step.unit.strip_suffix(".service") {
            first.insert(format!("{stem}.socket"));
        }
        before.entry(step.unit.clone()).or_default().extend(first);
        for later in words("Unit", "Before") {
            before.entry(later).or_default().insert(step.unit.clone());
        }
    }
    let mut steps: BTreeMap<String, Step> = steps
        .into_iter()
        .map(|step| (step.unit.clone(), step))
        .collect();
    // A socket cannot come up once something has pulled in its service.
    let (sockets, others): (Vec<String>, Vec<String>) = steps
        .keys()
        .cloned()
        .partition(|name| kind(name) == "socket");
    let names: Vec<String> = [sockets, others].concat();
    let mut ordered = Vec::with_capacity(names.len());
    for name in &names {
        place(
            name,
            &before,
            &mut steps,
            &mut BTreeSet::new(),
            &mut ordered,
        );
    }
    ordered
}

/// Puts what comes before `name`, then the step itself. `open`: those that wait for this one; a circle is cut there.
fn place(
    name: &str,
    before: &BTreeMap<String, BTreeSet<String>>,
    steps: &mut BTreeMap<String, Step>,
    open: &mut BTreeSet<String>,
    ordered: &mut Vec<Step>,
) {
    if !steps.contains_key(name) || !open.insert(name.to_owned()) {
        return;
    }
    for first in before.get(name).into_iter().flatten() {
        place(first, before, steps, open, ordered);
    }
    open.remove(name);
    ordered.extend(steps.remove(name));
}
