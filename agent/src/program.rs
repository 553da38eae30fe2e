//! The one place where other programs are run. Their exit status is always looked at.

use std::io;
use std::process::{Command, ExitStatus, Stdio};

/// A program that could not be run, or that said no.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started or waited for.
    #[error("cannot run {program}")]
    Run {
        /// The program and its arguments.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with a status other than 0.
    #[error("{program}: {status}: {stderr}")]
    Failed {
        /// The program and its arguments.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said, in one line.
        stderr: String,
    },
}

/// Runs `command` with no input and in the C locale, and gives what it printed.
///
/// # Errors
/// When it cannot be run, or ends with a status other than 0.
pub fn stdout_of(command: &mut Command) -> Result<String, Error> {
    let program = shown(command);
    let output = match command.env("LC_ALL", "C").stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(source) => return Err(Error::Run { program, source }),
    };
    if !output.status.success() {
        return Err(Error::Failed {
            program,
            status: output.status,
            stderr: one_line(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of `text`, joined: an error is one line.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines
        .get(lines.len().saturating_sub(5)..)
        .unwrap_or_default()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_with_its_own_words() {
        let error = stdout_of(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().ends_with("exit status: 3: no"), "{error}");
    }
}
