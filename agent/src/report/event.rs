//! Events in words: one line each, said where they are recorded. Pure.
//!
//! A line begins with what the journal's fields say as well: `EVENT: generation GENERATION`, where the event is about
//! one. What follows is for people, and may change.

use tracing::Level;

use crate::state::cause::{Cause, Stage};
use crate::state::switching::Back;
use crate::state::{By, Event, State, Subject, WhenUnhealthy};

/// One line about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// The line.
    pub text: String,
}

/// The line about `event`, which happens in the state `before`.
#[must_use]
pub fn line(event: &Event, before: &State) -> Line {
    let (level, rest) = match event {
        Event::Selected { by, .. } => selected(*by),
        Event::Ended { boot, way, failed } if before.gives_back(boot, *way, *failed) => {
            let rest = "in order, before there was a verdict: this boot is no try";
            (Level::INFO, rest.to_owned())
        }
        Event::Ended { .. } | Event::Armed { .. } | Event::SwitchedTo => {
            (Level::DEBUG, String::new())
        }
        Event::Hooked { hook, trouble } => match trouble {
            None => (Level::INFO, format!("{hook} was run")),
            Some(trouble) => (Level::ERROR, format!("{hook}: {trouble}")),
        },
        Event::Began { boot, running, .. } => began(boot, running.as_ref(), before),
        Event::Reached { stage } => (Level::DEBUG, stage.name().to_owned()),
        Event::Late { files } => {
            let files: Vec<String> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let rest = format!(
                "systemd had read these files of /etc before they were this generation's: {}",
                files.join(", ")
            );
            (Level::WARN, rest)
        }
        Event::Proven { .. } => (Level::INFO, String::new()),
        Event::Steady { .. } => {
            let rest = "its probation is over: it was well for as long as it was watched";
            (Level::INFO, rest.to_owned())
        }
        Event::Healthy { .. } => {
            let rest = if before.late.is_empty() {
                "it stays a trial, because the loader did not make this boot"
            } else {
                "it stays a trial, because files of another generation were read in this boot; the next boot reads its own"
            };
            (Level::INFO, rest.to_owned())
        }
        Event::Rejected { cause, .. } => (Level::ERROR, cause.summary.clone()),
        Event::Degraded { cause, .. } => {
            let summary = &cause.summary;
            let rest = match before.clone().after(event).when_unhealthy() {
                WhenUnhealthy::StayUp(why) => {
                    let words = unsteady(cause, before).unwrap_or_else(|| why.to_string());
                    format!("{summary}; it stays up: {words}")
                }
                WhenUnhealthy::FallBack { .. } | WhenUnhealthy::GoOn { .. } => summary.clone(),
                WhenUnhealthy::TryAgain { .. } => format!(
                    "{summary}; {}, so it is tried again",
                    before.why_tried_again()
                ),
            };
            (Level::ERROR, rest)
        }
        Event::Excused { .. } => {
            let rest = "its rejection is lifted, because it may not have been its fault; it is tried again when the last good one \
                        is well";
            (Level::WARN, rest.to_owned())
        }
        Event::Uninstalled => (Level::DEBUG, "$BOOT is given back".to_owned()),
        Event::Named { owner } => (Level::DEBUG, format!("entries are marked {owner}")),
        Event::Rebooting { from, to } if from == to => {
            (Level::WARN, "trying it again with its own files".to_owned())
        }
        Event::Rebooting { from, .. } => {
            let rest = format!("falling back from generation {}", from.generation);
            (Level::WARN, rest)
        }
        Event::FellBack { from, .. } => {
            let rest = format!(
                "went back from generation {} without a reboot",
                from.generation
            );
            (Level::WARN, rest)
        }
        Event::Switching(intent) => {
            let (before, after) = (intent.before.display(), intent.after.display());
            (Level::INFO, format!("live, from {before} to {after}"))
        }
        Event::Switched => (Level::INFO, "the live switch stays".to_owned()),
        Event::SwitchedBack(back) => (Level::ERROR, undone(back)),
    };
    let generation = event.subject().map(|s| s.generation.to_string());
    let head = head(event.name(), generation.as_deref());
    Line {
        level,
        text: match rest.as_str() {
            "" => head,
            rest => format!("{head}: {rest}"),
        },
    }
}

/// Why what was proven, and is not steady, is not gone back from.
fn unsteady(cause: &Cause, before: &State) -> Option<String> {
    let running = before
        .running()
        .filter(|_| cause.stage == Stage::Probation)?;
    Some(before.not_demoted(running)?.words().to_owned())
}

/// Somebody's selection is told by whoever was asked for it.
fn selected(by: Option<By>) -> (Level, String) {
    let (level, rest) = match by {
        None => (Level::DEBUG, ""),
        Some(By::Suspicion) => (
            Level::WARN,
            "the last good one is well again, so that it gets a second chance at the next boot",
        ),
        Some(By::LastResort) => (Level::ERROR, "nothing better is left that is proven"),
    };
    (level, rest.to_owned())
}

fn began(boot: &str, running: Option<&Subject>, before: &State) -> (Level, String) {
    let Some(running) = running else {
        return (Level::DEBUG, "what runs is no generation".to_owned());
    };
    let soft_reboot = boot.split_once('+');
    let soft_reboot = soft_reboot.map(|(_, count)| format!(" (soft-reboot {count})"));
    let closure = running.toplevel.display();
    let closure = format!("{closure}{}", soft_reboot.unwrap_or_default());
    match before.selected.as_ref().filter(|s| *s != running) {
        None => (Level::INFO, closure),
        Some(selected) => {
            let selected = &selected.generation;
            let rest = format!("{closure}, although generation {selected} was selected");
            (Level::WARN, rest)
        }
    }
}

fn undone(back: &Back) -> String {
    let before = back.before.display();
    let why = back.cause.as_ref().map(|cause| cause.summary.clone());
    let why = why.unwrap_or_else(|| back.undone.to_string());
    let left = match back.left.as_slice() {
        [] => String::new(),
        left => format!("; not put back: {}", left.join("; ")),
    };
    format!("the live switch is undone, {before} is active again: {why}{left}")
}

/// What the line about an event begins with.
fn head(name: &str, generation: Option<&str>) -> String {
    match generation {
        Some(generation) => format!("{name}: generation {generation}"),
        None => name.to_owned(),
    }
}

/// Whether `text` is the line about an event of this name (`LASTGOOD_EVENT`) and this generation
/// (`LASTGOOD_GENERATION`).
#[must_use]
pub fn is_about(text: &str, name: &str, generation: &str) -> bool {
    let rest = text.strip_prefix(&head(name, Some(generation)));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
}

#[cfg(test)]
mod tests;
