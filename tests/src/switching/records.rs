//! What PID 1 says of units.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::container::Container;

/// What a story may want to know of a unit.
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,InvocationID,MainPID,NRestarts,FragmentPath,\
                          DropInPaths,Environment,NeedDaemonReload";

/// The properties of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record(BTreeMap<String, String>);

impl Record {
    /// A property, as `systemctl show` has it.
    #[must_use]
    pub fn get(&self, property: &str) -> &str {
        self.0.get(property).map_or("", String::as_str)
    }

    /// `active`, `failed` and so on.
    #[must_use]
    pub fn state(&self) -> &str {
        self.get("ActiveState")
    }

    /// Whether this and `other` are the same start of the same unit.
    #[must_use]
    pub fn same_start(&self, other: &Self) -> bool {
        ["InvocationID", "MainPID"]
            .iter()
            .all(|property| self.get(property) == other.get(property))
    }
}

/// What PID 1 says of these units, by the names that were asked for.
///
/// # Errors
/// When it does not answer.
pub fn show(server: &Container, units: &[&str]) -> Result<BTreeMap<String, Record>> {
    // A unit may have a hyphen or a backslash in front.
    let quoted: Vec<String> = units.iter().map(|name| format!("'{name}'")).collect();
    let text = server.run_ok(&format!(
        "systemctl show --property={PROPERTIES} -- {}",
        quoted.join(" ")
    ))?;
    let records: Vec<Record> = text.split("\n\n").map(record).collect();
    ensure!(
        records.len() == units.len(),
        "asked for {units:?}, answered:\n{text}"
    );
    let named = units.iter().map(|name| (*name).to_owned());
    Ok(named.zip(records).collect())
}

impl Record {
    /// What PID 1 says of `unit`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn of(server: &Container, unit: &str) -> Result<Self> {
        show(server, &[unit])?
            .remove(unit)
            .with_context(|| format!("nothing about {unit}"))
    }
}

fn record(text: &str) -> Record {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    Record(
        lines
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_told_by_its_invocation() {
        let one = record("Id=a.service\nActiveState=active\nInvocationID=1\nMainPID=7\n");
        assert_eq!(one.state(), "active");
        assert!(one.same_start(&one.clone()));
        assert!(!one.same_start(&record("InvocationID=2\nMainPID=7\n")));
    }
}
