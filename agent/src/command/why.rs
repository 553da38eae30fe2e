//! `lastgood why`: the story of a verdict: what was tried, how far it got, what failed, what the machine did then, and
//! what to do next.

mod story;

use std::collections::BTreeSet;
use std::io::Write;

use boot_entries::{GenerationId, Root};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Output;
use crate::error::Error;
use crate::report::label::{HEALTHY_TRIAL, StateLabel};
use crate::report::print::{lasting, local, print, print_json};
use crate::report::remedy;
use crate::report::style::{Cell, Style, Tone};
use crate::state::cause::{Cause, UnitFailure};
use crate::state::fault::Fault;
use crate::state::{Event, Subject};
use crate::store::ledger::Record;
use crate::view::View;
use story::Story;

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
    #[serde(flatten)]
    story: Story<'a>,
}

pub(super) fn run(
    root: &Root,
    id: Option<&GenerationId>,
    output: Output,
    style: Style,
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
    let lines = told(&why, view.running());
    let text: String = lines.iter().map(|line| line.shown(style)).collect();
    Ok(print(out, &text)?)
}

/// The latest verdict on `id`; without one, the latest that was not good, or else the latest at all.
fn latest<'a>(view: &'a View, id: Option<&GenerationId>) -> Option<Why<'a>> {
    let records = &view.ledger.records;
    let verdict = |(at, record): (usize, &'a Record)| {
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
            story: Story::of(records, at, subject),
        })
    };
    let mut verdicts = records.iter().enumerate().rev().filter_map(verdict);
    if let Some(id) = id {
        return verdicts.find(|why| why.subject.generation == *id);
    }
    let mut all: Vec<Why<'_>> = verdicts.collect();
    let at = all.iter().position(|why| why.cause.is_some()).unwrap_or(0);
    (at < all.len()).then(|| all.swap_remove(at))
}

/// A line of the story: a word that says what it is about, and the rest.
struct Line {
    /// What comes before the text, blanks included.
    before: String,
    text: Cell,
}

impl Line {
    fn new(about: &str, text: impl Into<Cell>) -> Self {
        Self {
            before: format!("  {about:<8} "),
            text: text.into(),
        }
    }

    fn title(tone: Tone, text: String) -> Self {
        Self {
            before: String::new(),
            text: Cell::new(tone, text),
        }
    }

    fn shown(&self, style: Style) -> String {
        style.paragraph(&self.before, &self.text)
    }
}

fn told(why: &Why<'_>, running: Option<&Subject>) -> Vec<Line> {
    let id = &why.subject.generation;
    let when = local(why.time);
    let closure = why.subject.toplevel.display().to_string();
    let Some(cause) = why.cause else {
        let title = if why.healthy_trial {
            format!("generation {id} was {HEALTHY_TRIAL}, at {when}")
        } else {
            format!("generation {id} is {} since {when}", why.state.text())
        };
        let mut lines = vec![
            Line::title(why.state.tone(), title),
            Line::new("closure", closure),
        ];
        lines.extend(tried(why));
        return lines;
    };
    let verb = match why.state {
        StateLabel::Rejected => "was rejected",
        StateLabel::Suspect => {
            "is suspect, because it was rejected for what may not have been its fault,"
        }
        StateLabel::Proven => "is proven, and was not well",
        _ => "was not well",
    };
    let title = format!("generation {id} {verb} at {when}: {}", cause.summary);
    let mut lines = vec![Line::title(Tone::Bad, title), Line::new("closure", closure)];
    lines.extend(tried(why));
    lines.push(Line::new("stage", cause.stage.name()));
    let mut told = BTreeSet::new();
    for fault in &cause.faults {
        let detail = cause.detail_of(fault);
        lines.extend(fault_lines(fault, detail));
        // The operator's own decision wants no advice.
        let advice = (*fault != Fault::Operator).then(|| remedy::fault::what_to_do(fault, detail));
        let advice = advice.filter(|advice| told.insert(advice.clone()));
        lines.extend(advice.map(|advice| Line::new("mend", advice)));
    }
    if why.log_withheld {
        lines.push(Line::new("log", WITHHELD));
    }
    if let Some(then) = why.story.then(why.state) {
        lines.push(Line::new("then", then));
    }
    match running {
        Some(running) if running == why.subject => lines.push(Line::new("now", "it runs")),
        Some(running) => {
            let id = &running.generation;
            lines.push(Line::new("now", format!("generation {id} runs")));
        }
        None => {}
    }
    lines.extend(next(why, cause, running).map(|next| Line::new("next", next)));
    lines
}

/// How it came to be tried.
fn tried(why: &Why<'_>) -> Option<Line> {
    let story = &why.story;
    let selected = story
        .selected_at
        .map(|time| format!("selected at {}", local(time)));
    let boots = match story.boots {
        0 => None,
        1 => Some("booted once".to_owned()),
        2 => Some("booted twice".to_owned()),
        count => Some(format!("booted {count} times")),
    };
    let began = story.began.map(|began| {
        let after = lasting(began, why.time);
        let after = after.map_or_else(String::new, |after| format!(", {after} before the verdict"));
        format!("began at {}{after}", local(began))
    });
    let all: Vec<String> = [selected, boots, began].into_iter().flatten().collect();
    (!all.is_empty()).then(|| Line::new("tried", all.join("; ")))
}

/// What to do next.
fn next(why: &Why<'_>, cause: &Cause, running: Option<&Subject>) -> Option<String> {
    let id = &why.subject.generation;
    let unit = cause.faults.iter().find_map(Fault::unit);
    match why.state {
        StateLabel::Rejected => {
            let to = why.story.back_to.filter(|to| *to != why.subject);
            let diff = to.map_or_else(String::new, |to| {
                format!(
                    "`lastgood diff {} {id}` shows what is new in it; ",
                    to.generation
                )
            });
            Some(format!(
                "{diff}mend it, build it again, and `lastgood install` tries that; `lastgood install --again {id}` tries this \
                 one once more as it is"
            ))
        }
        StateLabel::Suspect => Some(format!(
            "mend what is outside of it; it is tried again by itself once the last good one is well, and by `lastgood install {id}` at \
             once"
        )),
        _ if running == Some(why.subject) => Some(match unit {
            Some(unit) => format!(
                "`systemctl status {unit}` shows how it is now; `lastgood install NUMBER` selects another generation"
            ),
            None => "`lastgood status` shows how it is now".to_owned(),
        }),
        _ => None,
    }
}

/// A fault in plain words, with what is known about its unit. Its key is what the journal can be searched for.
fn fault_lines(fault: &Fault, detail: Option<&UnitFailure>) -> Vec<Line> {
    let mut lines = match fault {
        Fault::Unit(_) => Vec::new(),
        _ => vec![Line::new("fault", format!("{fault} ({})", fault.key()))],
    };
    match (fault.unit(), detail) {
        (_, Some(unit)) => {
            lines.push(Line::new("unit", format!("{}: {}", unit.unit, ended(unit))));
            lines.extend(unit.log.iter().map(|line| Line {
                before: "    | ".to_owned(),
                text: line.as_str().into(),
            }));
        }
        (Some(name), None) => lines.push(Line::new("unit", name)),
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
