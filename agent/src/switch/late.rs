//! What was started in the middle of a switch from its old definition.
//!
//! Between the stop of a unit and the end of the reload a timer, a path, a bus name, a connection or `Restart=` may have
//! started it again. It then runs what the old closure said, and the start that follows does nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Plan;

/// The units that must be restarted now, because they run from their old definition.
///
/// `since` says of each unit that is up when it left `inactive` the last time (`InactiveExitTimestampMonotonic`),
/// `reload_ended` when the reload ended, both in microseconds of the same clock. PID 1 starts nothing while it reloads.
#[must_use]
pub fn late(plan: &Plan, since: &BTreeMap<String, u64>, reload_ended: u64) -> BTreeSet<String> {
    let changed = plan.stop.keys().chain(&plan.dormant);
    let is_late = |unit: &&String| since.get(*unit).is_some_and(|since| *since <= reload_ended);
    changed.filter(is_late).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_started_before_the_reload_ended_runs_its_old_definition() {
        let plan = Plan {
            stop: BTreeMap::from([
                ("stopped.service".to_owned(), String::new()),
                ("by-timer.service".to_owned(), String::new()),
                ("after.service".to_owned(), String::new()),
            ]),
            dormant: BTreeSet::from(["dormant.service".to_owned(), "idle.service".to_owned()]),
            ..Plan::default()
        };
        let since = [
            ("by-timer.service", 70),
            ("after.service", 101),
            ("dormant.service", 100),
            ("untouched.service", 50),
        ];
        let since = since.map(|(unit, since)| (unit.to_owned(), since)).into();
        let found = late(&plan, &since, 100);
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            ["by-timer.service", "dormant.service"]
        );
    }
}
