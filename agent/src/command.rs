//! The operator's commands. Each reads, decides, and writes its answer to `out`.

mod generations;
mod install;
mod judge;
mod next_boot;
mod status;
mod uninstall;
mod verify;
mod why;

use std::io::Write;
use std::time::SystemTime;

use boot_entries::boot_partition::Place;
use boot_entries::step::Step;
use boot_entries::{GenerationId, Root};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::boot;
use crate::cli::Command;
use crate::entries::Prepared;
use crate::error::Error;
use crate::report::speech;
use crate::state::Standing;

/// Does what was asked for.
///
/// # Errors
/// Why it was not done.
pub fn run(root: &Root, command: Command, out: &mut impl Write) -> Result<(), Error> {
    match command {
        Command::Install(install) => install::run(root, &install, out),
        Command::ListGenerations(output) => generations::run(root, output, out),
        Command::Status(output) => status::run(root, output, out),
        Command::Why { generation, output } => why::run(root, generation.as_ref(), output, out),
        Command::NextBoot { failures, output } => {
            next_boot::run(root, usize::from(failures), output, out)
        }
        Command::Verify(verify) => verify::run(root, &verify, out),
        Command::Good { generation } => judge::good(root, generation.as_ref(), out),
        Command::Bad { generation } => judge::bad(root, generation.as_ref(), out),
        Command::Uninstall { dry_run } => uninstall::run(root, dry_run, out),
        Command::Boot(step) => boot::run(root, step),
    }
}

/// Starts saying things as the command line wants it.
pub fn start_journal(verbose: bool, quiet: bool) {
    speech::start(match (verbose, quiet) {
        (true, _) => speech::Verbosity::Verbose,
        (_, true) => speech::Verbosity::Quiet,
        _ => speech::Verbosity::Normal,
    });
}

/// How a generation stands, as the contract names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum StateLabel {
    Proven,
    Trial,
    Untested,
    Rejected,
    Unbootable,
}

impl StateLabel {
    fn of(standing: Standing, bootable: bool) -> Self {
        match standing {
            _ if !bootable => Self::Unbootable,
            Standing::Untested => Self::Untested,
            Standing::Trial => Self::Trial,
            Standing::Proven => Self::Proven,
            Standing::Rejected => Self::Rejected,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Trial => "trial",
            Self::Untested => "untested",
            Self::Rejected => "rejected",
            Self::Unbootable => "unbootable",
        }
    }
}

/// A plain number for the system profile, as nixos-rebuild has it; `profile:number` for another.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Number {
    System(u64),
    Other(GenerationId),
}

impl Number {
    fn of(id: &GenerationId) -> Self {
        if *id == GenerationId::system(id.number()) {
            Self::System(id.number())
        } else {
            Self::Other(id.clone())
        }
    }
}

fn print(out: &mut impl Write, text: &str) -> Result<(), Error> {
    out.write_all(text.as_bytes()).map_err(Error::Output)
}

/// The steps, a line each.
fn lines(prepared: &Prepared) -> Vec<String> {
    let line = |(place, step): (Option<&Place>, &Step)| match place {
        Some(place) => format!("{step} in {}", place.name.display()),
        None => step.to_string(),
    };
    prepared.steps().map(line).collect()
}

/// Prints what is not done.
fn print_would(out: &mut impl Write, lines: &[String]) -> Result<(), Error> {
    for line in lines {
        print(out, &format!("would {line}\n"))?;
    }
    Ok(())
}

fn print_json(out: &mut impl Write, value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(out, &text)
}

/// Local time, as nixos-rebuild writes it.
fn local(time: Timestamp) -> String {
    let zoned = time.to_zoned(TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn local_of(time: Option<SystemTime>) -> String {
    let time = time.and_then(|time| Timestamp::try_from(time).ok());
    time.map_or_else(|| "Unknown".to_owned(), local)
}

/// Lines of columns, each as wide as its widest cell.
fn table(rows: &[Vec<String>]) -> String {
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
