//! Lines for the person at the terminal. That nobody reads them is no reason to fail.

use std::io::Write;

/// One line of progress or result.
pub(crate) fn line(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// What went wrong, and what was behind it. No backtrace: these errors are about the project, not about this program.
pub(crate) fn error(error: &anyhow::Error) {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        text += "\n  because: ";
        text += &cause.to_string();
    }
    drop(writeln!(std::io::stderr(), "{text}"));
}
