//! What the last good generation looked like when it was proven.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// What was not well when the last good generation was proven: a fault it shares is no fault of the next one (A4).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Recorded", into = "Recorded")]
pub struct Baseline {
    /// What had failed, kept crashing, or had not finished starting.
    pub failing: BTreeSet<Fault>,
}

/// A baseline in JSON. Units are where agents that know nothing else look for them.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Recorded {
    unwell: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    faults: BTreeSet<Fault>,
}

impl From<Recorded> for Baseline {
    fn from(recorded: Recorded) -> Self {
        let units = recorded.unwell.iter().map(|name| Fault::of_unit(name));
        Self {
            failing: units.chain(recorded.faults).collect(),
        }
    }
}

impl From<Baseline> for Recorded {
    fn from(baseline: Baseline) -> Self {
        let mut recorded = Self::default();
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
        let newer = r#"{"unwell":["b.service"],"faults":[{"key":"probe:dns","kind":"probe"}]}"#;
        let baseline = read(newer);
        assert!(
            baseline
                .failing
                .contains(&Fault::Other("probe:dns".to_owned()))
        );
        assert_eq!(serde_json::to_string(&baseline).unwrap(), newer);
    }
}
