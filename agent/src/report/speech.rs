//! What is said while running: lines for people on standard error.
//!
//! A unit's standard error goes to the journal, which takes the level from a leading `<N>` (`sd-daemon(3)`). On a
//! terminal the mark is left out.

use std::fmt;
use std::io::{IsTerminal, stderr};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::line::plain;
use super::progress::{self, Audience};

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
        said: &Event<'_>,
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
        // It would print them on standard error as well, and panic where that is gone: the journal goes down before the last
        // of a machine's services does.
        .log_internal_errors(false)
        .event_format(line)
        .finish();
    // A second start, as in tests, keeps the first: there is nothing to mend.
    drop(tracing::subscriber::set_global_default(subscriber));
}
