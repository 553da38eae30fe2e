//! What forbids a live switch: two closures that say different things of the same matter (`switch-inhibitors`).

use std::collections::{BTreeMap, BTreeSet};

/// The names of the matters in which two closures differ. One that only one of them knows forbids nothing.
#[must_use]
pub fn inhibitors(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    let differ = old.iter().filter(|(name, value)| {
        let other = new.get(*name);
        other.is_some_and(|other| other != *value)
    });
    differ.map(|(name, _)| name.clone()).collect()
}
