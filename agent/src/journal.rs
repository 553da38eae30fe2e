//! What is said while running: lines for people on standard error, fields for the journal.
//!
//! A unit's standard error goes to the journal, which takes the level from a leading `<N>` (`sd-daemon(3)`). On a
//! terminal the mark is left out.

use std::fmt;
use std::io::{IsTerminal, stderr};

use libsystemd::logging::{Priority, journal_send};
use tracing::{Event as Said, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::machine::Event;
use crate::progress::{self, Audience};
use crate::told::plain;

/// Every journal entry about an event of the ledger has this `MESSAGE_ID`.
pub const MESSAGE_ID: &str = "7f0f2c9a5d0e4c3b9a4be1a9c1d0c6a7";

/// One line an event, with or without the journal's mark.
struct Line {
    marked: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        said: &Said<'_>,
    ) -> fmt::Result {
        if progress::was_shown() {
            write!(writer, "{}", progress::ERASE)?;
        }
        if self.marked {
            let mark = match *said.metadata().level() {
                Level::ERROR => 3,
                Level::WARN => 4,
                Level::INFO => 6,
                Level::DEBUG | Level::TRACE => 7,
            };
            write!(writer, "<{mark}>")?;
        }
        let mut line = String::new();
        context
            .field_format()
            .format_fields(Writer::new(&mut line), said)?;
        writeln!(writer, "{}", plain(&line))
    }
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Decisions as well.
    #[default]
    Normal,
    /// Everything.
    Verbose,
}

/// Starts saying things, once per process.
pub fn start(verbosity: Verbosity) {
    let level = match verbosity {
        Verbosity::Quiet => Level::WARN,
        Verbosity::Normal => Level::INFO,
        Verbosity::Verbose => Level::DEBUG,
    };
    let is_terminal = stderr().is_terminal();
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
    progress::address(match verbosity {
        Verbosity::Quiet => Audience::Nobody,
        Verbosity::Normal if is_terminal && !is_dumb => Audience::Terminal,
        // Whoever wants to know everything wants lines that stay.
        Verbosity::Normal | Verbosity::Verbose => Audience::Reader,
    });
    let line = Line {
        marked: !is_terminal && std::env::var_os("JOURNAL_STREAM").is_some(),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(stderr)
        .event_format(line)
        .finish();
    // A second start, as in tests, keeps the first: there is nothing to mend.
    drop(tracing::subscriber::set_global_default(subscriber));
}

/// Gives an event of the ledger to the journal, with fields to search for: `journalctl LASTGOOD_EVENT=rejected`.
///
/// The ledger has it already. A journal that does not listen (in a container, before it is up) costs nothing.
pub fn event(event: &Event) {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(event) else {
        return;
    };
    let text = |key: &str| {
        fields
            .get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    let subject = |key: &str| {
        ["subject", "running", "to"]
            .iter()
            .find_map(|name| fields.get(*name)?.get(key)?.as_str())
            .unwrap_or_default()
    };
    let (priority, name) = match event {
        Event::Rejected { .. } | Event::Degraded { .. } => (Priority::Error, text("event")),
        Event::Rebooting { .. } => (Priority::Warning, text("event")),
        _ => (Priority::Debug, text("event")),
    };
    let message = format!("ledger: {name} {}", subject("generation"));
    let pairs = [
        ("MESSAGE_ID", MESSAGE_ID),
        ("LASTGOOD_EVENT", name),
        ("LASTGOOD_STAGE", text("stage")),
        ("LASTGOOD_GENERATION", subject("generation")),
        ("LASTGOOD_CLOSURE", subject("toplevel")),
    ];
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    if let Err(error) = journal_send(priority, message.trim_end(), pairs) {
        tracing::debug!("the journal does not listen: {error}");
    }
}
