//! What the last good generation looked like when it was proven.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What was not well when the last good generation was proven: a fault it shares is no fault of the next one (A4).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Baseline {
    /// Units that had failed, kept crashing, or had not finished starting.
    #[serde(rename = "unwell")]
    pub failing: BTreeSet<String>,
}
