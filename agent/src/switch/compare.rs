//! What a difference of two unit files asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::unit_file::UnitFile;

/// What a difference asks for. The greater one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: what runs would not notice.
    #[default]
    Nothing,
    /// A reload is enough.
    Reload,
    /// What runs is not what the new file says.
    Restart,
}

/// How two unit files differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// What it asks for.
    pub effect: Effect,
    /// What differs and asks for something, by section and key. The key is empty where a whole section does.
    pub keys: BTreeMap<(String, String), Effect>,
}

impl Difference {
    /// Whether one of these keys of a section differs.
    #[must_use]
    pub fn has(&self, section: &str, keys: &[&str]) -> bool {
        let mut all = self.keys.keys();
        all.any(|(found, key)| found == section && keys.contains(&key.as_str()))
    }

    /// The reason in one line: the first thing that asks for the whole effect, and how many others do.
    #[must_use]
    pub fn why(&self) -> String {
        let decisive = self.keys.iter().filter(|(_, one)| **one == self.effect);
        let mut decisive = decisive.map(|((section, key), _)| match key.as_str() {
            "" => format!("[{section}]"),
            key => format!("[{section}] {key}="),
        });
        let first = decisive
            .next()
            .unwrap_or_else(|| "nothing of weight".to_owned());
        match decisive.count() {
            0 => format!("{first} changed"),
            more => format!("{first} and {more} more changed"),
        }
    }
}

/// Keys of `[Unit]` that what runs does not notice.
const UNNOTICED: [&str; 12] = [
    "AllowIsolate",
    "CollectMode",
    "Description",
    "Documentation",
    "IgnoreOnIsolate",
    "OnFailure",
    "OnFailureJobMode",
    "OnSuccess",
    "RefuseManualStart",
    "RefuseManualStop",
    "SourcePath",
    "StopWhenUnneeded",
];

/// Compares the file that runs with the one that is to run.
#[must_use]
pub fn compare(old: &UnitFile, new: &UnitFile) -> Difference {
    let mut difference = Difference::default();
    let mut put = |section: &str, key: &str, effect: Effect| {
        if effect > Effect::Nothing {
            difference.effect = difference.effect.max(effect);
            let place = (section.to_owned(), key.to_owned());
            difference.keys.insert(place, effect);
        }
    };
    let sections: BTreeSet<&String> = old.sections.keys().chain(new.sections.keys()).collect();
    for section in sections {
        let (was, is) = (old.sections.get(section), new.sections.get(section));
        let keys: BTreeSet<&String> = was.into_iter().chain(is).flat_map(BTreeMap::keys).collect();
        if keys.is_empty() && was.is_some() != is.is_some() {
            put(section, "", of_section(section));
        }
        for key in keys {
            let (was, is) = (old.values(section, key), new.values(section, key));
            if was != is {
                put(section, key, of_key(section, key, is.is_empty()));
            }
        }
    }
    difference
}

/// A section that comes or goes without a key.
fn of_section(section: &str) -> Effect {
    match section {
        "Install" | "Unit" => Effect::Nothing,
        _ => Effect::Restart,
    }
}

fn of_key(section: &str, key: &str, is_gone: bool) -> Effect {
    match (section, key) {
        // What enables a unit is read by nobody who runs it.
        ("Install", _) => Effect::Nothing,
        // It can no longer be reloaded, and there is nothing to tell it.
        ("Unit", "X-Reload-Triggers") | ("Service", "ExecReload") if is_gone => Effect::Nothing,
        ("Unit", "X-Reload-Triggers") | ("Service", "ExecReload") | ("Mount", "Options") => {
            Effect::Reload
        }
        ("Unit", key) if UNNOTICED.contains(&key) => Effect::Nothing,
        _ => Effect::Restart,
    }
}

#[cfg(test)]
mod tests;
