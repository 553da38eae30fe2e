//! Makes a snapshot of what systemd said. Pure.

use super::snapshot::{Active, Ended, Job, Load, Nothing, Snapshot, Unit};
use crate::system::manager::value::Properties;
use crate::system::manager::{JobResult, Listed, Queued, Wanted};

/// The target whose requirements are read along with the services.
pub(super) const BOOT_COMPLETE: &str = "boot-complete.target";

/// What is wanted of a service that a list has: what the list does not tell.
pub(super) const OF_SERVICES: &[Wanted<'_>] = &[
    Wanted::unit("Names"),
    Wanted::unit("InvocationID"),
    Wanted::unit("ConditionResult"),
    Wanted::unit("ConditionTimestampMonotonic"),
    Wanted::unit("Conflicts"),
    Wanted::unit("ConflictedBy"),
    Wanted::unit("Transient"),
    Wanted::kind("Result"),
    Wanted::kind("NRestarts"),
    Wanted::kind("TimeoutStartUSec"),
    Wanted::kind("Type"),
    Wanted::kind("ExecMainCode"),
];

/// What is wanted of any other unit of the boot that is down and has nothing queued: was it ever touched?
pub(super) const OF_IDLE: &[Wanted<'_>] = &[
    Wanted::unit("ConditionTimestampMonotonic"),
    Wanted::unit("Conflicts"),
    Wanted::unit("ConflictedBy"),
];

/// What is wanted of what is asked for by a name that need not be its own, and need not be in memory.
pub(super) const OF_NAMED: &[Wanted<'_>] = &[
    Wanted::unit("Id"),
    Wanted::unit("LoadState"),
    Wanted::unit("ActiveState"),
    Wanted::unit("SubState"),
    Wanted::unit("Requires"),
    Wanted::unit("Names"),
    Wanted::unit("InvocationID"),
    Wanted::unit("ConditionResult"),
    Wanted::unit("ConditionTimestampMonotonic"),
    Wanted::unit("Transient"),
    Wanted::kind("Result"),
    Wanted::kind("NRestarts"),
    Wanted::kind("TimeoutStartUSec"),
    Wanted::kind("Type"),
    Wanted::kind("ExecMainCode"),
];

/// A unit as a list has it.
pub(super) fn listed(row: &Listed) -> Unit {
    Unit {
        load: Load::from(row.load.as_str()),
        active: Active::from(row.active.as_str()),
        sub: row.sub.clone(),
        ..Unit::default()
    }
}

/// Adds to a unit what its properties tell beyond the list.
pub(super) fn complete(unit: Unit, properties: &Properties) -> Unit {
    let restarts = properties.number("NRestarts").unwrap_or_default();
    Unit {
        restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
        invocation: properties.id("InvocationID"),
        ended: ended(properties),
        transient: properties.flag("Transient") == Some(true),
        untouched: is_untouched(&unit.active, properties),
        start_ends: start_ends(&unit, properties),
        ..unit
    }
}

fn start_ends(unit: &Unit, properties: &Properties) -> bool {
    // All ones: never.
    let limit = properties.number("TimeoutStartUSec");
    let has_end = limit.is_some_and(|limit| limit > 0 && limit < u64::MAX);
    has_end && unit.sub.starts_with("start") && unit.active != Active::Active
}

/// Adds what [`OF_IDLE`] tells.
pub(super) fn idle(unit: Unit, properties: &Properties) -> Unit {
    let untouched = is_untouched(&unit.active, properties);
    Unit { untouched, ..unit }
}

/// systemd asks for the conditions of whatever it begins to start, also if there are none.
fn is_untouched(active: &Active, properties: &Properties) -> bool {
    // One of two that exclude each other is left out of a boot, and no mistake.
    let is_exclusive = ["Conflicts", "ConflictedBy"].iter().any(|property| {
        let mut others = properties.names(property);
        others.any(|other| other != "shutdown.target" && other != "umount.target")
    });
    *active == Active::Inactive
        && !is_exclusive
        && properties.number("ConditionTimestampMonotonic") == Some(0)
}

/// A job's end as a snapshot keeps it. None: there is nothing to keep.
pub(super) fn nothing(result: &JobResult) -> Option<Nothing> {
    match result {
        JobResult::Failed => Some(Nothing::Failed),
        JobResult::Timeout => Some(Nothing::TooLong),
        JobResult::Dependency => Some(Nothing::Dependency),
        JobResult::Other(word) if word == "assert" => Some(Nothing::Assertion),
        _ => None,
    }
}

/// Adds what was asked for by a name: the unit under its own, and what the target requires.
pub(super) fn named(properties: &Properties, snapshot: &mut Snapshot) {
    let id = properties.text("Id");
    if id.is_empty() {
        return;
    }
    let unit = Unit {
        load: Load::from(properties.text("LoadState")),
        active: Active::from(properties.text("ActiveState")),
        sub: properties.text("SubState").to_owned(),
        ..Unit::default()
    };
    let unit = complete(unit, properties);
    snapshot.units.insert(id.to_owned(), unit);
    aliases(id, properties, snapshot);
    if id == BOOT_COMPLETE {
        let requires = properties.names("Requires").map(str::to_owned);
        snapshot.boot_complete_requires = requires.collect();
    }
}

/// Adds the other names of the unit `id`.
pub(super) fn aliases(id: &str, properties: &Properties, snapshot: &mut Snapshot) {
    for name in properties.names("Names").filter(|name| *name != id) {
        snapshot.aliases.insert(name.to_owned(), id.to_owned());
    }
}

/// A job, and whether any other waits for it.
pub(super) fn job(queued: Queued, blocks_others: bool) -> Job {
    Job {
        unit: queued.unit,
        kind: queued.kind,
        running: queued.running,
        blocks_others,
    }
}

fn ended(properties: &Properties) -> Ended {
    let ran = properties.number("ExecMainCode") > Some(0);
    let asked = properties.number("ConditionTimestampMonotonic") > Some(0);
    let needed = properties.flag("ConditionResult") != Some(false);
    match (properties.text("Result"), needed) {
        ("success" | "", false) if asked => Ended::Skipped,
        ("success" | "", _) if !ran => Ended::Not,
        ("success", _) if properties.text("Type") == "oneshot" => Ended::OneshotDone,
        ("success", _) => Ended::Cleanly,
        ("start-limit-hit", _) => Ended::TooOften,
        _ => Ended::Badly,
    }
}

#[cfg(test)]
mod tests;
