//! `lastgood log`: what happened on this machine, boot by boot.

use std::io::Write;

use boot_entries::Root;
use jiff::Timestamp;
use serde::Serialize;
use tracing::Level;

use crate::cli::Log;
use crate::error::Error;
use crate::report::event::line;
use crate::report::print::{local, print, print_json};
use crate::state::fault::Fault;
use crate::state::{Event, State, Subject};
use crate::view::View;

/// The answer.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    version: u32,
    events: Vec<Told<'a>>,
}

/// One event, the oldest first.
#[derive(Debug, Serialize)]
struct Told<'a> {
    time: Timestamp,
    event: &'a str,
    subject: Option<&'a Subject>,
    faults: &'a [Fault],
    /// In words, which may change.
    text: String,
    /// It matters to people. Otherwise it is one of many small steps.
    #[serde(skip)]
    is_news: bool,
}

pub(super) fn run(root: &Root, arguments: &Log, out: &mut impl Write) -> Result<(), Error> {
    let view = View::read(root)?;
    let mut state = State::default();
    let mut events = Vec::new();
    for record in &view.ledger.records {
        let said = line(&record.event, &state);
        events.push(Told {
            time: record.time,
            event: record.event.name(),
            subject: record.event.subject(),
            faults: record.event.faults(),
            text: said.text,
            is_news: said.level != Level::DEBUG || matches!(record.event, Event::Selected { .. }),
        });
        state = state.after(&record.event);
    }
    if !arguments.output.json {
        events.retain(|told| told.is_news);
    }
    if let Some(count) = arguments.last {
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
    Ok(print(out, &timeline(&events))?)
}

/// A line each; every boot is a paragraph.
fn timeline(events: &[Told<'_>]) -> String {
    let mut text = String::new();
    for told in events {
        if told.event == "began" && !text.is_empty() {
            text.push('\n');
        }
        for piece in [local(told.time).as_str(), "  ", &told.text, "\n"] {
            text.push_str(piece);
        }
    }
    text
}
