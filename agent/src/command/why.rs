//! `lastgood why`: the cause that a verdict left behind.

use std::io::Write;

use boot_entries::{GenerationId, Root};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Output;
use crate::error::Error;
use crate::report::label::{HEALTHY_TRIAL, StateLabel};
use crate::report::print::{local, print, print_json};
use crate::state::cause::{Cause, UnitFailure};
use crate::state::fault::Fault;
use crate::state::{Event, Subject};
use crate::view::View;

/// Who may read what the units wrote.
const WITHHELD: &str =
    "what the units wrote is for root and members of the groups adm and systemd-journal";

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Why<'a> {
    version: u32,
    #[serde(flatten)]
    subject: &'a Subject,
    state: StateLabel,
    time: Timestamp,
    cause: Option<&'a Cause>,
    /// The units wrote something that this user may not read.
    log_withheld: bool,
    /// It was found healthy in a boot that the loader did not make.
    healthy_trial: bool,
}

pub(super) fn run(
    root: &Root,
    id: Option<&GenerationId>,
    output: Output,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut view = View::read(root)?;
    view.add_logs();
    let Some(why) = latest(&view, id) else {
        let who = id.map_or_else(
            || "no generation has".to_owned(),
            |id| format!("generation {id} has not"),
        );
        let why = match view.lost_record() {
            Some(lost) => lost.to_string(),
            None => format!(
                "{who} been judged on this machine yet; a boot of it brings a verdict, or `lastgood good` and `bad` do"
            ),
        };
        return Err(Error::Refused(why));
    };
    if output.json {
        return Ok(print_json(out, &why)?);
    }
    Ok(print(out, &told(&why))?)
}

/// The latest verdict on `id`; without one, the latest that was not good, or else the latest at all.
fn latest<'a>(view: &'a View, id: Option<&GenerationId>) -> Option<Why<'a>> {
    let verdict = |record: &'a crate::store::ledger::Record| {
        let (subject, cause) = match &record.event {
            Event::Proven { subject, .. } | Event::Healthy { subject, .. } => (subject, None),
            Event::Rejected { subject, cause } | Event::Degraded { subject, cause } => {
                (subject, Some(cause))
            }
            _ => return None,
        };
        Some(Why {
            version: 1,
            subject,
            state: StateLabel::of(view.state.standing(subject), true),
            time: record.time,
            cause,
            log_withheld: record.log_withheld,
            healthy_trial: matches!(record.event, Event::Healthy { .. }),
        })
    };
    let mut verdicts = view.ledger.records.iter().rev().filter_map(verdict);
    if let Some(id) = id {
        return verdicts.find(|why| why.subject.generation == *id);
    }
    let mut all: Vec<Why<'_>> = verdicts.collect();
    let at = all.iter().position(|why| why.cause.is_some()).unwrap_or(0);
    (at < all.len()).then(|| all.swap_remove(at))
}

fn told(why: &Why<'_>) -> String {
    let id = &why.subject.generation;
    let when = local(why.time);
    let closure = why.subject.toplevel.display();
    let Some(cause) = why.cause else {
        if why.healthy_trial {
            return format!(
                "generation {id} was {HEALTHY_TRIAL}, at {when}\n  closure  {closure}\n"
            );
        }
        let state = why.state.text();
        return format!("generation {id} is {state} since {when}\n  closure  {closure}\n");
    };
    let verb = match why.state {
        StateLabel::Rejected => "was rejected",
        StateLabel::Proven => "is proven, and was not well",
        _ => "was not well",
    };
    let mut lines = vec![
        format!("generation {id} {verb} at {when}: {}", cause.summary),
        format!("  closure  {closure}"),
        format!("  stage    {}", cause.stage.name()),
    ];
    for fault in &cause.faults {
        lines.extend(fault_lines(fault, cause.detail_of(fault)));
    }
    if why.log_withheld {
        lines.push(format!("  log      {WITHHELD}"));
    }
    lines.join("\n") + "\n"
}

/// A fault in plain words, with what is known about its unit. Its key is what the journal can be searched for.
fn fault_lines(fault: &Fault, detail: Option<&UnitFailure>) -> Vec<String> {
    let mut lines = match fault {
        Fault::Unit(_) => Vec::new(),
        _ => vec![format!("  fault    {fault} ({})", fault.key())],
    };
    match (fault.unit(), detail) {
        (_, Some(unit)) => {
            lines.push(format!("  unit     {}: {}", unit.unit, ended(unit)));
            lines.extend(unit.log.iter().map(|line| format!("    | {line}")));
        }
        (Some(name), None) => lines.push(format!("  unit     {name}")),
        (None, None) => {}
    }
    lines
}

fn ended(unit: &UnitFailure) -> String {
    match (unit.exit_status, unit.result.as_str()) {
        (Some(number), "signal" | "core-dump") => format!("{}, signal {number}", unit.result),
        (Some(status), result) => format!("{result}, exit status {status}"),
        (None, result) => result.to_owned(),
    }
}
