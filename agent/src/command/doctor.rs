//! `lastgood doctor`: one line for each thing that matters, and what to type where something is to be done.

use std::io::Write;

use boot_entries::Root;
use serde::Serialize;

use crate::cli::Output;
use crate::error::Error;
use crate::operation::doctor::doctor;
use crate::operation::doctor::findings::{Finding, Standing};
use crate::report::print::{print, print_json};
use crate::report::style::{Cell, Line, Style, Tone};

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    version: u32,
    /// Nothing is to be done.
    ready: bool,
    findings: Vec<Finding>,
}

pub(super) fn run(
    root: &Root,
    output: Output,
    style: Style,
    out: &mut impl Write,
) -> Result<(), Error> {
    let findings = doctor(root)?;
    let open = findings
        .iter()
        .filter(|one| one.standing == Standing::ToDo)
        .count();
    let answer = Answer {
        version: 1,
        ready: open == 0,
        findings,
    };
    if output.json {
        print_json(out, &answer)?;
    } else {
        print(out, &style.table(&lines(&answer.findings), &[]))?;
    }
    match open {
        0 => Ok(()),
        1 => Err(Error::Refused(
            "this host is not ready: one thing is to be done; type what its line says, and run this again".to_owned(),
        )),
        open => Err(Error::Refused(format!(
            "this host is not ready: {open} things are to be done; type what their lines say, and run this again"
        ))),
    }
}

fn lines(findings: &[Finding]) -> Vec<Line> {
    let mut lines = Vec::new();
    for finding in findings {
        let (tone, how) = match finding.standing {
            Standing::Good => (Tone::Good, "good"),
            Standing::Limit => (Tone::Limit, "limit"),
            Standing::ToDo => (Tone::Bad, "to do"),
        };
        let text = finding.text.clone().into();
        let row = vec![finding.about.into(), Cell::new(tone, how), text];
        lines.push(Line::Row(row));
        if let Some(todo) = &finding.todo {
            let todo = format!("-> {todo}").into();
            lines.push(Line::Row(vec![Cell::default(), Cell::default(), todo]));
        }
    }
    lines
}
