//! `lastgood log`: what happened on this machine, boot by boot.

use std::io::Write;

use boot_entries::Root;
use jiff::Timestamp;
use serde::Serialize;
use tracing::Level;

use crate::cli::Log;
use crate::error::Error;
use crate::report::event::line;
use crate::report::print::{lasting, local, print, print_json};
use crate::report::style::{Cell, Style, Tone};
use crate::state::fault::Fault;
use crate::state::reset::{How, Reset};
use crate::state::{Event, Standing, State, Subject};
use crate::store::ledger::Record;
use crate::view::View;

/// The answer.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    version: u32,
    events: Vec<Told<'a>>,
}

/// One event, the oldest first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    time: Timestamp,
    event: &'a str,
    subject: Option<&'a Subject>,
    faults: &'a [Fault],
    /// In words, which may change.
    text: String,
    /// When the boot began in which it happened. None: before the first boot on record.
    boot_began: Option<Timestamp>,
    /// How the boot before ended, where this begins another one, and as far as that is known.
    reset: Option<&'a Reset>,
    /// It matters to people. Otherwise it is one of many small steps.
    #[serde(skip)]
    is_news: bool,
    /// The same in words.
    #[serde(skip)]
    ended: Option<String>,
}

pub(super) fn run(
    root: &Root,
    arguments: &Log,
    style: Style,
    out: &mut impl Write,
) -> Result<(), Error> {
    let view = View::read(root)?;
    let mut events = events(&view.ledger.records);
    if !arguments.output.json {
        events.retain(|told| told.is_news);
    }
    if let Some(count) = arguments.last.map(std::num::NonZeroUsize::get) {
        events.drain(..events.len().saturating_sub(count));
    }
    if arguments.output.json {
        let answer = Answer { version: 1, events };
        return Ok(print_json(out, &answer)?);
    }
    if events.is_empty() {
        let nothing = "nothing has happened on this machine yet; `lastgood install` is the first thing that does";
        return Err(Error::Refused(
            view.lost_record()
                .map_or_else(|| nothing.to_owned(), |lost| lost.to_string()),
        ));
    }
    Ok(print(out, &timeline(&events, style))?)
}

fn events(records: &[Record]) -> Vec<Told<'_>> {
    let mut state = State::default();
    let mut began: Option<Timestamp> = None;
    let mut events = Vec::new();
    for record in records {
        let event = &record.event;
        let begins = matches!(event, Event::Began { .. });
        let ended = began
            .filter(|_| begins)
            .map(|began| ended(&state, began, record));
        if begins {
            began = Some(record.time);
        }
        let said = line(event, &state);
        let after = began.filter(|_| is_about_this_boot(event, &state));
        let after = after.and_then(|began| lasting(began, record.time));
        let text = match after {
            Some(after) => format!("{}, {after} after it began", said.text),
            None => said.text,
        };
        events.push(Told {
            time: record.time,
            event: event.name(),
            subject: event.subject(),
            faults: event.faults(),
            text,
            boot_began: began,
            reset: match event {
                Event::Began { reset, .. } => reset.as_ref(),
                _ => None,
            },
            is_news: begins
                || said.level != Level::DEBUG
                || matches!(event, Event::Selected { .. } | Event::Uninstalled),
            ended,
        });
        state = state.after(event);
    }
    events
}

/// Whether it is a verdict on what runs.
fn is_about_this_boot(event: &Event, state: &State) -> bool {
    let is_verdict = matches!(
        event,
        Event::Proven { .. }
            | Event::Healthy { .. }
            | Event::Rejected { .. }
            | Event::Degraded { .. }
    );
    is_verdict && event.subject().is_some() && event.subject() == state.running()
}

/// How the boot of `state` ended, now that another one begins.
fn ended(state: &State, began: Timestamp, next: &Record) -> String {
    let within = lasting(began, next.time);
    let within = within.map_or_else(String::new, |within| format!(" {within} after this one"));
    let running = state.running();
    let is_open = running.is_some_and(|running| state.standing(running) == Standing::Trial)
        && state.healthy.is_none();
    let reached = state.boot.as_ref().map(|boot| boot.stage.name());
    let reset = match &next.event {
        Event::Began { reset, .. } => reset.as_ref().filter(|reset| reset.how != How::Unknown),
        _ => None,
    };
    let is_open = reached.filter(|_| is_open);
    if let Some(reset) = reset {
        let open = is_open.map_or_else(String::new, |reached| {
            format!(", which had come to no verdict (stage {reached})")
        });
        return format!("the next boot began{within}{open}: {reset}");
    }
    match is_open {
        Some(reached) => format!(
            "the next boot began{within}, which had come to no verdict (stage {reached}): a crash, a hang, a power cut, or \
             somebody's reboot"
        ),
        None => format!("the next boot began{within}"),
    }
}

/// A line each; every boot is a paragraph.
fn timeline(events: &[Told<'_>], style: Style) -> String {
    let mut text = String::new();
    let mut blank = String::new();
    for told in events {
        let time = format!("{}  ", local(told.time));
        if let Some(ended) = told.ended.as_ref().filter(|_| !text.is_empty()) {
            text.push_str(&style.paragraph(&blank, &ended.clone().into()));
        }
        blank = " ".repeat(time.chars().count());
        if told.event == "began" && !text.is_empty() {
            text.push('\n');
        }
        let tone = match told.event {
            "began" => Tone::Heading,
            "proven" | "healthy" => Tone::Good,
            "rejected" | "degraded" => Tone::Bad,
            "rebooting" | "late" | "excused" => Tone::Limit,
            _ => Tone::Plain,
        };
        text.push_str(&style.paragraph(&time, &Cell::new(tone, told.text.as_str())));
    }
    text
}

#[cfg(test)]
mod tests;
