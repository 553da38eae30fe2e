//! Running programs: their exit status is always looked at, their own words are in the error.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `program` with `args` and gives what it printed.
///
/// # Errors
/// When it cannot be started or ends with a status other than 0.
pub fn run<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Result<String> {
    output(Command::new(program).args(args))
}

/// Runs `command` with no input and in the C locale, and gives what it printed.
///
/// # Errors
/// When it cannot be started or ends with a status other than 0.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{}: {}\n{}",
            shown(command),
            output.status,
            last_lines(&said, 20)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command that runs inside the tree `root` as if it were `/`, with `/dev` and `/proc`.
///
/// The mounts live in a mount namespace of their own: however this process ends, none is left in the tree.
#[must_use]
pub fn inside<A: AsRef<OsStr>>(
    root: &Path,
    program: &str,
    args: impl IntoIterator<Item = A>,
) -> Command {
    const SCRIPT: &str =
        r#"mount --rbind /dev "$1/dev"; mount -t proc proc "$1/proc"; exec chroot "$@""#;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-euc", SCRIPT, "inside"])
        .arg(root)
        .arg(program)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    command
}

/// The last `count` lines of `text`.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines.get(from..).unwrap_or_default().join("\n")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_with_its_own_words() {
        let error = run("sh", ["-c", "echo no such luck >&2; exit 3"]).unwrap_err();
        assert!(
            error.to_string().contains("exit status: 3\nno such luck"),
            "{error}"
        );
    }

    #[test]
    fn the_last_lines_of_less_are_all() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
