//! The lines that say what a plan does.

use super::plan::Plan;

/// One line about one unit. The dry run and the real run are made of the same ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The word of a dry run: "would stop".
    pub would: &'static str,
    /// The word of the real run: "stopping".
    pub doing: &'static str,
    /// The unit, or the swap device.
    pub unit: String,
    /// Why.
    pub why: String,
}

impl Plan {
    /// All lines, in the order in which things happen.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        Vec::new()
    }
}
