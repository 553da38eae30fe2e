//! What is said of a plan, in its own lines.

use std::collections::BTreeSet;

use super::said::Speaker;
use crate::switch::plan::Plan;
use crate::switch::situation::Situation;

/// What the real run does: a line for each unit, in its order.
pub(super) fn plan(plan: &Plan, speaker: &mut Speaker) {
    for line in plan.lines() {
        speaker.line(line.real());
    }
}

/// What a plan does that the one before did not.
pub(super) fn more(before: &Plan, plan: &Plan, speaker: &mut Speaker) {
    for line in plan.more_lines(before) {
        speaker.line(line.real());
    }
}

/// What somebody should know before.
pub(super) fn notes(situation: &Situation, speaker: &mut Speaker) {
    for problem in situation.old.problems.iter().chain(&situation.new.problems) {
        speaker.warn(problem.clone());
    }
}

/// Units that wait for something that comes later.
pub(super) fn waiting(units: &BTreeSet<String>, speaker: &mut Speaker) {
    if !units.is_empty() {
        let names: Vec<&str> = units.iter().map(String::as_str).collect();
        speaker.warn(format!(
            "still on its way: {}; what comes of it is not known yet",
            names.join(", ")
        ));
    }
}
