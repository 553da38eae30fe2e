//! `lastgood check`: what the declared checks say now, a line for each.

use std::io::Write;
use std::path::Path;

use boot_entries::Root;
use serde::Serialize;

use crate::cli::Check;
use crate::error::Error;
use crate::operation::check::by_hand::{AllTried, Tried, by_hand};
use crate::report::print::{print, print_json};
use crate::report::style::{Cell, Line, Style, Tone};
use crate::system::check::Ended;

/// The answer.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    version: u32,
    toplevel: &'a Path,
    /// All that are required do.
    holds: bool,
    checks: Vec<One<'a>>,
}

#[derive(Debug, Serialize)]
struct One<'a> {
    name: &'a str,
    wanted: bool,
    passed: bool,
    milliseconds: u128,
    /// Why it did not pass.
    why: Option<String>,
    /// What it wrote, if it did not.
    log: &'a [String],
}

pub(super) fn run(
    root: &Root,
    arguments: &Check,
    style: Style,
    out: &mut impl Write,
) -> Result<(), Error> {
    let tried = by_hand(root, &arguments.names)?;
    if arguments.output.json {
        print_json(out, &answer(&tried))?;
    } else if tried.checks.is_empty() {
        let closure = tried.closure.display();
        print(out, &format!("{closure} declares no checks\n"))?;
    } else {
        print(out, &style.table(&lines(&tried.checks), &[]))?;
    }
    let failed: Vec<&str> = tried.failed().map(|one| one.name.as_str()).collect();
    match failed[..] {
        [] => Ok(()),
        [one] => Err(Error::Refused(format!(
            "check {one} does not hold; {}",
            journal(one)
        ))),
        [one, ..] => Err(Error::Refused(format!(
            "checks {} do not hold; {}",
            failed.join(", "),
            journal(one)
        ))),
    }
}

fn journal(name: &str) -> String {
    format!(
        "`lastgood check {name}` tries it again, and `journalctl -u 'lastgood-check-*'` has what checks wrote"
    )
}

fn answer(tried: &AllTried) -> Answer<'_> {
    Answer {
        version: 1,
        toplevel: &tried.closure,
        holds: tried.failed().next().is_none(),
        checks: tried
            .checks
            .iter()
            .map(|check| One {
                name: &check.name,
                wanted: check.wanted,
                passed: check.ended == Ended::Passed,
                milliseconds: check.took.as_millis(),
                why: why(&check.ended),
                log: check.detail.as_ref().map_or(&[], |detail| &detail.log),
            })
            .collect(),
    }
}

fn why(ended: &Ended) -> Option<String> {
    match ended {
        Ended::Passed => None,
        Ended::Failed(failure) => Some(failure.to_string()),
        Ended::Lost(why) => Some(why.clone()),
    }
}

fn lines(checks: &[Tried]) -> Vec<Line> {
    let mut lines = Vec::new();
    for check in checks {
        let (tone, how) = match (&check.ended, check.wanted) {
            (Ended::Passed, _) => (Tone::Good, "passed"),
            (Ended::Failed(_), true) => (Tone::Limit, "failed (wanted)"),
            (Ended::Failed(_), false) => (Tone::Bad, "failed"),
            (Ended::Lost(_), _) => (Tone::Limit, "not known"),
        };
        let took = format!("{:.2} s", check.took.as_secs_f64());
        let why = why(&check.ended).unwrap_or_default();
        lines.push(Line::Row(vec![
            check.name.as_str().into(),
            Cell::new(tone, how),
            took.into(),
            why.into(),
        ]));
        for line in check.detail.iter().flat_map(|detail| &detail.log) {
            let text = format!("| {line}").into();
            lines.push(Line::Row(vec![
                Cell::default(),
                Cell::default(),
                Cell::default(),
                text,
            ]));
        }
    }
    lines
}
