//! What the last good generation looked like when it was proven.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// What was not well when the last good generation was proven: a fault it shares is no fault of the next one (A4).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Recorded", into = "Recorded")]
pub struct Baseline {
    /// What had failed, kept crashing, had not finished starting, or never was.
    pub failing: BTreeSet<Fault>,
    /// What there was. None: an agent recorded it that did not look, or the operator accepted the generation unseen.
    pub looks: Option<Looks>,
}

/// What there was on a machine that was found healthy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Looks {
    /// Units of the boot that were up: services, sockets, timers, paths and mounts.
    pub up: BTreeSet<String>,
    /// How often systemd had restarted a unit by itself. Those that are not here: never.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<String, u32>,
    /// What was around them.
    #[serde(flatten)]
    pub around: Surroundings,
}

/// What of a machine is no unit's state. What could not be read is None, and is compared with nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Surroundings {
    /// Where it was listened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listening: Option<BTreeSet<Listener>>,
    /// Whether there was a default route, IPv4 or IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// The name servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolvers: Option<BTreeSet<String>>,
    /// A digest of lastgood's own table as the kernel had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firewall: Option<String>,
}

/// A TCP port that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its number.
    pub port: u16,
    /// Only this machine itself can reach it.
    #[serde(default)]
    pub local: bool,
    /// Whose it is. None: nobody knows, or the kernel's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// A baseline in JSON. Units are where agents that know nothing else look for them.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Recorded {
    unwell: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    faults: BTreeSet<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    looks: Option<Looks>,
}

impl From<Recorded> for Baseline {
    fn from(recorded: Recorded) -> Self {
        let units = recorded.unwell.iter().map(|name| Fault::of_unit(name));
        Self {
            failing: units.chain(recorded.faults).collect(),
            looks: recorded.looks,
        }
    }
}

impl From<Baseline> for Recorded {
    fn from(baseline: Baseline) -> Self {
        let mut recorded = Self {
            looks: baseline.looks,
            ..Self::default()
        };
        for fault in baseline.failing {
            if let Some(unit) = fault.unit() {
                recorded.unwell.insert(unit.to_owned());
            } else {
                recorded.faults.insert(fault);
            }
        }
        recorded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Baseline {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn units_are_written_as_ever() {
        let baseline = read(r#"{"unwell":["b.service"]}"#);
        assert_eq!(baseline.failing, [Fault::of_unit("b.service")].into());
        let text = serde_json::to_string(&baseline).unwrap();
        assert_eq!(text, r#"{"unwell":["b.service"]}"#);
    }

    #[test]
    fn what_another_version_knows_is_kept_or_passed_over() {
        assert_eq!(read(r#"{"sockets":[]}"#), Baseline::default());
        let newer = r#"{"unwell":["b.service"],"faults":[{"key":"check:dns","kind":"check"}]}"#;
        let baseline = read(newer);
        assert!(
            baseline
                .failing
                .contains(&Fault::Other("check:dns".to_owned()))
        );
        assert_eq!(serde_json::to_string(&baseline).unwrap(), newer);
    }

    #[test]
    fn what_there_was_is_kept() {
        let text = r#"{"unwell":[],"looks":{"up":["a.service"],"restarts":{"a.service":2},"listening":[{"port":22,"local":false,"unit":"ssh.service"}],"defaultRoute":true,"resolvers":["10.0.0.1"],"firewall":"ab"}}"#;
        let baseline = read(text);
        let looks = baseline.looks.clone().unwrap();
        assert_eq!(looks.around.default_route, Some(true));
        assert_eq!(serde_json::to_string(&baseline).unwrap(), text);
        // What could not be read is not taken for nothing.
        let blind = read(r#"{"unwell":[],"looks":{"up":[]}}"#);
        assert_eq!(blind.looks.unwrap().around, Surroundings::default());
    }
}
