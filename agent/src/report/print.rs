//! Answers on standard output: lines, tables, JSON, times.

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
    #[error("cannot make JSON")]
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

/// Lines of columns, each as wide as its widest cell.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            table(&[row(["a", "bb"]), row(["ccc", ""])]),
            "a    bb\nccc\n"
        );
    }
}
