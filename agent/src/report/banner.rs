//! The one line that whoever logs in is shown where the machine is not as they left it. Pure.
//!
//! The beginning of each line (up to the first colon after `lastgood:`) is stable: scripts may look for it.

use super::print::local;
use super::tally::Tally;
use crate::state::cause::Cause;
use crate::state::switching::Phase;
use crate::state::{Standing, State, Subject, WhenUnhealthy};

/// The line. None: there is nothing to say.
///
/// `state` and `tally` are those of this boot: whoever has none says nothing.
#[must_use]
pub fn line(state: &State, tally: &Tally) -> Option<String> {
    let line = told(state, tally)?;
    // A terminal obeys what is no text, and a summary may hold what a service wrote.
    let line: String = line
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect();
    Some(format!("lastgood: {line}"))
}

/// The most important that there is.
fn told(state: &State, tally: &Tally) -> Option<String> {
    let running = state.running();
    if let Some(what) = &state.bound_by {
        return Some(format!(
            "nothing is decided: {what}; a newer lastgood wrote it, and `lastgood status` says what to do"
        ));
    }
    let unanswered = tally.unanswered.as_ref();
    // Whatever runs, and whyever: what was rejected and runs is rather to be told so.
    let fell = unanswered.filter(|one| running.is_some_and(|running| *running != one.subject));
    if let Some(cause) = &state.degraded {
        return Some(unwell(running, cause, fell.map(|one| &one.subject)));
    }
    if let Some(one) = unanswered.filter(|one| running == Some(&one.subject)) {
        let id = &one.subject.generation;
        let then = if matches!(state.when_unhealthy(), WhenUnhealthy::FallBack { .. }) {
            "the machine goes back by itself, `lastgood hold` keeps it up, and"
        } else {
            ""
        };
        let then = format!("{then} `lastgood why {id}` tells why");
        let (summary, then) = (&one.summary, then.trim_start());
        return Some(format!(
            "generation {id} was rejected, and runs: {summary}; {then}"
        ));
    }
    if let (Some(one), Some(running)) = (fell, running) {
        let (from, to) = (&one.subject.generation, &running.generation);
        let summary = &one.summary;
        return Some(if one.is_excused {
            format!(
                "generation {to} runs, and generation {from} is suspect: {summary}; that may not have been its fault, and \
                 `lastgood why {from}` tells more"
            )
        } else {
            format!(
                "this machine fell back from generation {from} to generation {to}: {summary}; `lastgood why {from}` tells why"
            )
        });
    }
    if let Some(switching) = &state.switching
        && switching.phase == Phase::Waiting
    {
        let by = switching.intent.confirm_by;
        let by = by.map_or_else(String::new, |by| format!(" until {}", local(by)));
        let to = switching.intent.subject.as_ref();
        let to = to.map_or_else(String::new, |to| {
            format!(" to generation {}", to.generation)
        });
        return Some(format!(
            "a live switch waits: the one{to} is undone unless `lastgood confirm` is run{by}"
        ));
    }
    let running = running.filter(|running| state.standing(running) == Standing::Trial)?;
    let is_healthy = state
        .healthy
        .as_ref()
        .is_some_and(|healthy| healthy.subject == *running);
    let id = &running.generation;
    Some(if is_healthy {
        format!(
            "generation {id} is on trial: it is healthy, and the next boot by the loader proves it; `lastgood status` tells more"
        )
    } else {
        format!(
            "generation {id} is on trial: there is no verdict yet; `lastgood status` tells more"
        )
    })
}

fn unwell(running: Option<&Subject>, cause: &Cause, fell_from: Option<&Subject>) -> String {
    let what = running.map_or_else(
        || "what runs".to_owned(),
        |running| format!("generation {}", running.generation),
    );
    let after = fell_from.map_or_else(String::new, |from| {
        format!(
            ", to which this machine fell back from generation {},",
            from.generation
        )
    });
    format!(
        "{what}{after} is not well: {}; `lastgood why` tells what to do",
        cause.summary
    )
}

#[cfg(test)]
mod tests;
