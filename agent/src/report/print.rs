//! Answers on standard output: lines, JSON, times.

use std::io::{self, Write};
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// An answer that cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Standard output is gone.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// It cannot be made.
    #[error("cannot make JSON of the answer; leave out --json")]
    Json(#[from] serde_json::Error),
}

/// Prints `text` as it is.
///
/// # Errors
/// When nobody reads it any more.
pub fn print(out: &mut impl Write, text: &str) -> Result<(), Error> {
    out.write_all(text.as_bytes()).map_err(Error::Output)
}

/// Prints what a dry run does not do, a line each.
///
/// # Errors
/// As [`print`].
pub fn print_would(out: &mut impl Write, lines: &[String]) -> Result<(), Error> {
    for line in lines {
        print(out, &format!("would {line}\n"))?;
    }
    Ok(())
}

/// Prints `value` as JSON that people can read, too.
///
/// # Errors
/// As [`print`], and when it cannot be made.
pub fn print_json(out: &mut impl Write, value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(out, &text)
}

/// Local time, as nixos-rebuild writes it.
#[must_use]
pub fn local(time: Timestamp) -> String {
    let zoned = time.to_zoned(TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// [`local`], for a file's time.
#[must_use]
pub fn local_of(time: Option<SystemTime>) -> String {
    let time = time.and_then(|time| Timestamp::try_from(time).ok());
    time.map_or_else(|| "Unknown".to_owned(), local)
}

/// A length of time in two units at most. None: the clock was set back in between.
#[must_use]
pub fn lasting(from: Timestamp, to: Timestamp) -> Option<String> {
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let seconds = to.as_second().checked_sub(from.as_second())?;
    if seconds < 0 {
        return None;
    }
    let mut left = seconds;
    let mut parts = Vec::new();
    for (length, unit) in UNITS {
        let count = left / length;
        left %= length;
        if count > 0 || !parts.is_empty() {
            parts.push((count, unit));
        }
    }
    let shown = parts.iter().take(2).filter(|(count, _)| *count > 0);
    let shown: Vec<String> = shown
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    Some(if shown.is_empty() {
        "less than a second".to_owned()
    } else {
        shown.join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_two_units() {
        for (seconds, shown) in [
            (0, "less than a second"),
            (1, "1 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3601, "1 h"),
            (90_000, "1 d 1 h"),
        ] {
            let from = Timestamp::UNIX_EPOCH;
            let to = Timestamp::from_second(seconds).unwrap();
            assert_eq!(lasting(from, to).as_deref(), Some(shown));
            assert_eq!(lasting(to, from).is_some(), seconds == 0);
        }
    }
}
