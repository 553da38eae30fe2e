//! The answer on one screen. Pure.

use super::{After, Matter, Status};
use crate::report::label::StateLabel;
use crate::report::print::local;
use crate::report::style::{Cell, Line, Style, Tone};
use crate::state::Subject;
use crate::state::cause::Stage;
use crate::state::reset::How;

/// So many lines of rejected generations and notes fit beside the rest.
const MOST: usize = 5;

/// The screen.
pub(super) fn told(status: &Status<'_>, style: Style) -> String {
    let mut lines = generations(status);
    lines.extend(boots(status));
    if status.wrong.is_empty() {
        let nothing = Cell::new(Tone::Good, "nothing that lastgood knows of");
        lines.push(row("wrong", nothing));
    }
    lines.extend(matters("wrong", Tone::Bad, &status.wrong));
    lines.extend(matters("note", Tone::Plain, &status.notes));
    style.table(&lines, &[])
}

fn row(key: &str, value: impl Into<Cell>) -> Line {
    Line::Row(vec![Cell::new(Tone::Heading, key), value.into()])
}

/// How the generations stand.
fn generations(status: &Status<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    match (status.running, status.state) {
        (Some(running), Some(state)) => {
            lines.push(row("running", named(running)));
            let text = match (state, status.stage) {
                (StateLabel::Trial, Some(reached)) if reached != Stage::Proven => {
                    format!("trial, at stage {}", reached.name())
                }
                _ => state.text().to_owned(),
            };
            lines.push(row("state", Cell::new(state.tone(), text)));
        }
        _ => lines.push(row(
            "running",
            "none that is known: a system that is no generation, or lastgood did not see this boot begin",
        )),
    }
    if let Some(active) = &status.active {
        let toplevel = active.toplevel.display();
        let text = match &active.generation {
            Some(id) => format!("generation {id} ({toplevel}), by a live switch"),
            None => format!("{toplevel}, by a live switch"),
        };
        lines.push(row("active", text));
    }
    let other = |subject: Option<&Subject>| match subject {
        None => "none".to_owned(),
        Some(subject) if status.running == Some(subject) => "what runs".to_owned(),
        Some(subject) => named(subject),
    };
    lines.push(row("selected", other(status.selected)));
    let tone = if status.last_good.is_none() {
        Tone::Limit
    } else {
        Tone::Plain
    };
    lines.push(row("last good", Cell::new(tone, other(status.last_good))));
    lines.extend(numbers("suspect", &status.suspects));
    lines.extend(numbers("rejected", &status.rejected));
    lines
}

/// So many generations as fit, by their numbers.
fn numbers(key: &str, all: &[&Subject]) -> Option<Line> {
    let many = all.len().saturating_sub(MOST);
    let few = all.iter().take(MOST);
    let mut few: Vec<String> = few.map(|one| one.generation.to_string()).collect();
    if many > 0 {
        few.push(format!("{many} more (`lastgood list-generations`)"));
    }
    (!few.is_empty()).then(|| row(key, format!("generation {}", few.join(", "))))
}

fn named(subject: &Subject) -> String {
    format!(
        "generation {} ({})",
        subject.generation,
        subject.toplevel.display()
    )
}

/// What the next boots start, and when the machine went back last.
fn boots(status: &Status<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    // That somebody rebooted it, they know.
    let came_up = status.reset;
    let came_up = came_up.filter(|reset| !matches!(reset.how, How::Orderly | How::Unknown));
    lines.extend(came_up.map(|reset| row("came up", reset.to_string())));
    let runs = runs(&status.after_failures);
    let mut each = runs.iter();
    match each.next() {
        None => lines.push(row("boots next", Cell::new(Tone::Limit, "unknown"))),
        Some(first) => {
            let because = status.next_boot_because.as_deref().unwrap_or_default();
            lines.push(row("boots next", format!("{}: {because}", titled(first))));
        }
    }
    let rest: Vec<String> = each
        .map(|after| {
            let boots = match after.failures {
                1 => "1 failed boot".to_owned(),
                count => format!("{count} failed boots"),
            };
            format!("after {boots} {}", titled(after))
        })
        .collect();
    if !rest.is_empty() {
        lines.push(row("then", rest.join(", ")));
    } else if let Some(first) = runs.first() {
        lines.push(row(
            "then",
            format!("after each failed boot again {}", first.what),
        ));
    }
    if let Some(fallback) = &status.last_fallback {
        let from = &fallback.from.generation;
        let to = fallback.to.as_ref();
        let to = to.map_or_else(String::new, |to| {
            format!(" to generation {}", to.generation)
        });
        lines.push(row(
            "fell back",
            format!(
                "from generation {from}{to} at {}: {}; `lastgood why {from}` tells the story",
                local(fallback.time),
                fallback.summary
            ),
        ));
    }
    lines
}

fn titled(after: &After) -> String {
    match after.state {
        Some(state) => format!("{} ({})", after.what, state.text()),
        None => after.what.clone(),
    }
}

/// The first of each run of boots that start the same.
fn runs(boots: &[After]) -> Vec<&After> {
    let mut runs: Vec<&After> = boots.iter().collect();
    runs.dedup_by(|next, before| next.what == before.what);
    runs
}

fn matters(key: &str, tone: Tone, all: &[Matter]) -> Vec<Line> {
    let mut lines = Vec::new();
    for matter in all {
        lines.push(Line::Row(vec![
            Cell::new(tone, key),
            matter.text.clone().into(),
        ]));
        if let Some(todo) = &matter.todo {
            let todo = format!("-> {todo}");
            lines.push(Line::Row(vec![Cell::default(), todo.into()]));
        }
    }
    lines
}
