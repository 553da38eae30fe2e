//! Reads what `systemctl` prints. Takes text, so that it is tested with what real systemds printed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::snapshot::{Active, Ended, Job, Load, Snapshot, Unit};

/// The properties [`services`] needs.
pub(super) const PROPERTIES: &str = "Id,Names,LoadState,ActiveState,SubState,Result,NRestarts,InvocationID,Type,\
    ExecMainCode,ConditionResult,ConditionTimestampMonotonic,Transient,Requires";

/// The target whose requirements are read along with the services.
pub(super) const BOOT_COMPLETE: &str = "boot-complete.target";

/// `systemctl list-units --all --output=json`. Other columns (`job` is only there while there are jobs) do not matter.
#[derive(Deserialize)]
struct Row {
    unit: String,
    load: String,
    active: String,
    sub: String,
}

/// Reads `systemctl list-units --all --output=json`.
pub(super) fn units(text: &str) -> serde_json::Result<BTreeMap<String, Unit>> {
    let rows: Vec<Row> = serde_json::from_str(text)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let unit = Unit {
                load: Load::from(row.load.as_str()),
                active: Active::from(row.active.as_str()),
                sub: row.sub,
                ..Unit::default()
            };
            (row.unit, unit)
        })
        .collect())
}

/// Reads `systemctl show` of many units into `snapshot`: what a list of units does not tell.
pub(super) fn services(text: &str, snapshot: &mut Snapshot) {
    for block in text.split("\n\n") {
        let properties = block_of(block);
        let get = |key| properties.get(key).copied().unwrap_or_default();
        let id = get("Id");
        if id.is_empty() {
            continue;
        }
        let unit = Unit {
            load: Load::from(get("LoadState")),
            active: Active::from(get("ActiveState")),
            sub: get("SubState").to_owned(),
            restarts: get("NRestarts").parse().unwrap_or(0),
            invocation: get("InvocationID").to_owned(),
            ended: ended(&get),
            transient: get("Transient") == "yes",
        };
        snapshot.units.insert(id.to_owned(), unit);
        for name in words(get("Names")).filter(|name| name != id) {
            snapshot.aliases.insert(name, id.to_owned());
        }
        if id == BOOT_COMPLETE {
            snapshot.boot_complete_requires = words(get("Requires")).collect();
        }
    }
}

fn ended<'a>(get: &impl Fn(&'static str) -> &'a str) -> Ended {
    let ran = !matches!(get("ExecMainCode"), "" | "0");
    let asked = !matches!(get("ConditionTimestampMonotonic"), "" | "0");
    match (get("Result"), get("ConditionResult")) {
        ("success" | "", "no") if asked => Ended::Skipped,
        ("success" | "", _) if !ran => Ended::Not,
        ("success", _) if get("Type") == "oneshot" => Ended::OneshotDone,
        ("success", _) => Ended::Cleanly,
        ("start-limit-hit", _) => Ended::TooOften,
        _ => Ended::Badly,
    }
}

/// `KEY=VALUE` lines. The first of several wins.
pub(super) fn block_of(text: &str) -> BTreeMap<&str, &str> {
    let mut properties = BTreeMap::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        properties.entry(key).or_insert(value);
    }
    properties
}

/// A list of unit names. systemd quotes a name with a backslash in it, and doubles the backslash.
fn words(list: &str) -> impl Iterator<Item = String> {
    list.split_whitespace()
        .map(|word| match word.strip_prefix('"') {
            Some(quoted) => quoted.trim_end_matches('"').replace(r"\\", r"\"),
            None => word.to_owned(),
        })
}

/// Reads `systemctl list-jobs --no-legend --plain --full --after --before`. In 252 `--output=json` does not change it.
///
/// Under each job, lines that begin with `` `- `` name the jobs that wait for it.
pub(super) fn jobs(text: &str) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match (fields.as_slice(), jobs.last_mut()) {
            (["`-", "blocking", ..], Some(job)) => job.blocks_others = true,
            ([number, unit, kind, state], _) if number.parse::<u32>().is_ok() => jobs.push(Job {
                unit: (*unit).to_owned(),
                kind: (*kind).to_owned(),
                running: *state == "running",
                blocks_others: false,
            }),
            _ => {}
        }
    }
    jobs
}

#[cfg(test)]
mod tests;
