//! The machine in numbers, as Prometheus reads them: the text of a file for `node_exporter`'s textfile collector. Pure.
//!
//! The names are stable. `docs/monitoring.md` has a row for each, and a test holds the two together.

use std::fmt::Display;

use jiff::Timestamp;

use super::label::StateLabel;
use super::tally::{Counts, Tally};
use crate::state::cause::Stage;
use crate::state::switching::Phase;
use crate::state::{REBOOTS_IN_A_ROW, Standing, State, Subject};

/// What the file is called in the directory that `node_exporter` reads.
pub const FILE: &str = "lastgood.prom";

/// What the numbers are made of.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Of the lastgood that writes the file.
    pub version: &'a str,
    /// When it is written.
    pub now: Timestamp,
    /// What the ledger adds up to.
    pub state: &'a State,
    /// Whether the latest boot on record is the one that is under way.
    pub is_this_boot: bool,
    /// What is on record, counted.
    pub tally: &'a Tally,
    /// How often what happened, as far as anybody knows. A ledger is shortened now and then, and a counter must not fall.
    pub counts: Counts,
    /// So many lines of the ledger cannot be read.
    pub damaged: usize,
    /// So many were written by a newer agent.
    pub unknown: usize,
}

/// What a stage's number is counted in: all there are, in the order of a boot.
const STAGES: [Stage; 10] = [
    Stage::Loader,
    Stage::Kernel,
    Stage::Initrd,
    Stage::Begun,
    Stage::Activated,
    Stage::Firewalled,
    Stage::Network,
    Stage::Services,
    Stage::Probation,
    Stage::Proven,
];
const STATES: [Standing; 5] = [
    Standing::Proven,
    Standing::Trial,
    Standing::Untested,
    Standing::Suspect,
    Standing::Rejected,
];

/// The whole text.
#[must_use]
pub fn text(facts: &Facts<'_>) -> String {
    let mut text = Text::default();
    let Facts { state, tally, .. } = facts;
    let boot = state.boot.as_ref().filter(|_| facts.is_this_boot);
    let running = boot.and_then(|boot| boot.running.as_ref());
    text.gauge("info", "The lastgood that wrote this file.")
        .labelled(&[("version", facts.version)], 1);
    let parts = [
        ("running", running),
        ("selected", state.selected.as_ref()),
        ("last-good", state.last_good()),
    ];
    let mut about = text.gauge("generation_info", "Which generation plays which part.");
    for (part, subject) in parts {
        if let Some(subject) = subject {
            about.labelled(&of(part, subject), 1);
        }
    }
    let standing = running.map(|running| state.standing(running));
    let mut about = text.gauge(
        "running_state",
        "How the generation that runs stands: 1 for one of them, or for none where what runs is no generation.",
    );
    for one in STATES {
        let label = StateLabel::of(one, true).text();
        about.labelled(&[("state", label)], u8::from(standing == Some(one)));
    }
    let mut about = text.gauge("boot_stage", "How far this boot got: 1 for one of them.");
    for stage in STAGES {
        let is_it = boot.is_some_and(|boot| boot.stage == stage);
        about.labelled(&[("stage", stage.name())], u8::from(is_it));
    }
    let faults = boot.and(state.degraded.as_ref()).map_or(0, |cause| {
        // One that names none is none the less one.
        cause.faults.len().max(1)
    });
    text.gauge(
        "degraded_faults",
        "What is wrong with the generation that runs and stays up: how many faults.",
    )
    .value(faults);
    text.gauge(
        "fallback_unanswered",
        "1: a generation was rejected without the operator, and nobody has selected another one since.",
    )
    .value(u8::from(tally.unanswered.is_some()));
    text.gauge(
        "rejection_excused",
        "1: that rejection is lifted, because it may not have been the fault of that generation.",
    )
    .value(u8::from(
        tally.unanswered.as_ref().is_some_and(|one| one.is_excused),
    ));
    text.gauge(
        "in_probation",
        "1: what runs is proven, and is watched for a while.",
    )
    .value(u8::from(boot.is_some() && state.watched().is_some()));
    text.gauge(
        "held",
        "1: the ledger has a record of a newer lastgood that forbids to decide anything.",
    )
    .value(u8::from(state.bound_by.is_some()));
    let on_trial = state
        .selected
        .as_ref()
        .filter(|selected| state.standing(selected) == Standing::Trial);
    if on_trial.is_some() {
        let tries = boot_entries::name::TRIES;
        text.gauge(
            "trial_boots_left",
            "How many further boots the selected trial may have that come to no verdict.",
        )
        .value(tries.saturating_sub(state.attempts));
    }
    text.gauge(
        "automatic_reboots_in_a_row",
        "Automatic reboots since the last good verdict.",
    )
    .value(state.reboots);
    text.gauge(
        "automatic_reboots_in_a_row_limit",
        "After so many the machine stays up as it is.",
    )
    .value(REBOOTS_IN_A_ROW);
    counters(&mut text, facts.counts);
    times(&mut text, facts);
    text.gauge(
        "ledger_damaged_lines",
        "Lines of the ledger that cannot be read, and are passed over.",
    )
    .value(facts.damaged);
    text.gauge(
        "ledger_unknown_lines",
        "Lines of the ledger that a newer lastgood wrote, and this one does not know.",
    )
    .value(facts.unknown);
    text.0
}

fn counters(text: &mut Text, counts: Counts) {
    for (name, what, count) in [
        (
            FALLBACKS,
            "How often the machine went back to the last good generation by itself.",
            counts.fallbacks,
        ),
        (
            REJECTIONS,
            "How often a generation was rejected, by whomever.",
            counts.rejections,
        ),
        (
            REBOOTS,
            "How often lastgood rebooted the machine.",
            counts.reboots,
        ),
    ] {
        text.of("counter", name, what).value(count);
    }
}

fn times(text: &mut Text, facts: &Facts<'_>) {
    let tally = facts.tally;
    if !tally.verdicts.is_empty() {
        let what = "When each kind of verdict came last.";
        let mut about = text.gauge("last_verdict_timestamp_seconds", what);
        for (verdict, time) in &tally.verdicts {
            about.labelled(&[("verdict", verdict)], time.as_second());
        }
    }
    if let Some(time) = tally.fallback {
        let what = "When the machine last went back by itself.";
        text.gauge("last_fallback_timestamp_seconds", what)
            .value(time.as_second());
    }
    let waiting = facts.state.switching.as_ref();
    let waiting = waiting.filter(|one| one.phase == Phase::Waiting);
    if let Some(by) = waiting.and_then(|one| one.intent.confirm_by) {
        let what = "When the live switch that waits to be confirmed is undone.";
        text.gauge("live_switch_confirm_by_timestamp_seconds", what)
            .value(by.as_second());
    }
    let what = "When this file was written. It is, after each event: a boot without one has an older file.";
    text.gauge("written_timestamp_seconds", what)
        .value(facts.now.as_second());
}

fn of<'a>(part: &'a str, subject: &'a Subject) -> [(&'static str, String); 3] {
    [
        ("part", part.to_owned()),
        ("generation", subject.generation.to_string()),
        ("closure", subject.toplevel.display().to_string()),
    ]
}

const FALLBACKS: &str = "fallbacks_total";
const REJECTIONS: &str = "rejections_total";
const REBOOTS: &str = "automatic_reboots_total";

/// What a file that was written before says of what only ever grows. What it does not say is nothing.
#[must_use]
pub fn counts_in(text: &str) -> Counts {
    let of = |name: &str| {
        let value = text.lines().find_map(|line| {
            let rest = line.strip_prefix(PREFIX)?.strip_prefix(name)?;
            rest.strip_prefix(' ')?.parse().ok()
        });
        value.unwrap_or_default()
    };
    Counts {
        fallbacks: of(FALLBACKS),
        rejections: of(REJECTIONS),
        reboots: of(REBOOTS),
    }
}

/// What all names begin with.
const PREFIX: &str = "lastgood_";

#[derive(Default)]
struct Text(String);

/// The samples of one name.
struct Samples<'a> {
    text: &'a mut String,
    name: String,
}

impl Text {
    fn of(&mut self, kind: &str, name: &str, what: &str) -> Samples<'_> {
        let name = format!("{PREFIX}{name}");
        for piece in [
            "# HELP ",
            &name,
            " ",
            what,
            "\n# TYPE ",
            &name,
            " ",
            kind,
            "\n",
        ] {
            self.0.push_str(piece);
        }
        Samples {
            text: &mut self.0,
            name,
        }
    }

    fn gauge(&mut self, name: &str, what: &str) -> Samples<'_> {
        self.of("gauge", name, what)
    }
}

impl Samples<'_> {
    fn value(&mut self, value: impl Display) {
        self.labelled::<&str>(&[], value);
    }

    fn labelled<T: AsRef<str>>(&mut self, labels: &[(&str, T)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escaped(value.as_ref())))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let value = value.to_string();
        for piece in [&self.name, &labels, " ", &value, "\n"] {
            self.text.push_str(piece);
        }
    }
}

/// As the format has it: a path may hold anything.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
