//! Lines for the person at the terminal. That nobody reads them is no reason to fail.

use std::io::Write;

/// One line of progress or result.
pub(crate) fn line(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// What went wrong.
pub(crate) fn error(text: &str) {
    drop(writeln!(std::io::stderr(), "error: {text}"));
}
