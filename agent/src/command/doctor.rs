//! `lastgood doctor`: one line for each thing that matters, and what to type where something is to be done.

use std::io::Write;

use boot_entries::Root;
use serde::Serialize;

use crate::cli::Output;
use crate::error::Error;
use crate::operation::doctor::doctor;
use crate::operation::doctor::findings::{Finding, Standing};
use crate::report::print::{print, print_json, table};

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    version: u32,
    /// Nothing is to be done.
    ready: bool,
    findings: Vec<Finding>,
}

pub(super) fn run(root: &Root, output: Output, out: &mut impl Write) -> Result<(), Error> {
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
        print(out, &table(&lines(&answer.findings)))?;
    }
    match open {
        0 => Ok(()),
        1 => Err(Error::Refused(
            "this host is not ready: one thing is to be done".to_owned(),
        )),
        open => Err(Error::Refused(format!(
            "this host is not ready: {open} things are to be done"
        ))),
    }
}

fn lines(findings: &[Finding]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for finding in findings {
        let how = match finding.standing {
            Standing::Good => "good",
            Standing::Limit => "limit",
            Standing::ToDo => "to do",
        };
        lines.push(
            [finding.about, how, &finding.text]
                .map(str::to_owned)
                .to_vec(),
        );
        if let Some(todo) = &finding.todo {
            lines.push(["", "", &format!("-> {todo}")].map(str::to_owned).to_vec());
        }
    }
    lines
}
