//! `lastgood status`: what runs, what is selected, what is proven.

use std::io::Write;

use boot_entries::loader::{self, Override};
use boot_entries::observe::Boot;
use boot_entries::{GenerationId, Root};
use serde::Serialize;

use crate::cli::Output;
use crate::entries::prediction;
use crate::error::Error;
use crate::report::label::{HEALTHY_TRIAL, StateLabel, not_selected};
use crate::report::line::one_line;
use crate::report::print::{print, print_json, table};
use crate::state::Subject;
use crate::state::cause::{Cause, Stage};
use crate::view::View;

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    version: u32,
    running: Option<&'a Subject>,
    state: Option<StateLabel>,
    stage: Option<Stage>,
    selected: Option<&'a Subject>,
    last_good: Option<&'a Subject>,
    next_boot: Option<GenerationId>,
    automatic_reboots: u32,
    degraded: Option<&'a Cause>,
    rejected: Vec<&'a Subject>,
    overrides: Vec<Override>,
    damaged_ledger_lines: &'a [usize],
    lost_record: Option<String>,
    waits_at_menu: Option<String>,
    /// What the profile points at, newer than what is selected, and not selected.
    profile_ahead: Option<&'a Subject>,
    /// What was found healthy in a boot that the loader did not make.
    healthy_trial: Option<&'a Subject>,
    lost_stand_in: Option<String>,
    /// So many entries are another system's.
    anothers_entries: usize,
}

pub(super) fn run(root: &Root, output: Output, out: &mut impl Write) -> Result<(), Error> {
    let view = View::read(root)?;
    let state = &view.state;
    let boot = view.boot().inspect_err(|error| {
        tracing::warn!("what boots next cannot be told: {}", one_line(error));
    });
    let boot = boot.ok();
    let waits_at_menu = boot
        .as_ref()
        .and_then(|boot| loader::endless_menu(boot.loader_conf.as_deref(), &view.variables));
    let next = boot.as_ref().and_then(|boot| {
        let band = view.band(&boot.place).inspect_err(|error| {
            tracing::warn!("what boots next cannot be told: {}", one_line(error));
        });
        Some(prediction::predict_of(&view, boot, band.ok()?, 0))
    });
    let next = next.unwrap_or_default();
    let ahead = view.ahead();
    let lost = boot
        .as_ref()
        .and_then(|boot| view.lost_stand_in(boot, boot));
    let files = boot.iter().flat_map(Boot::all).map(|(_, file)| file);
    let running = view.running();
    let status = Status {
        version: 1,
        running,
        state: running.map(|subject| StateLabel::of(state.standing(subject), true)),
        stage: view.this_boot().map(|boot| boot.stage),
        selected: state.selected.as_ref(),
        last_good: state.last_good(),
        next_boot: next.into_iter().next().and_then(|boot| boot.id),
        automatic_reboots: state.reboots,
        degraded: view.this_boot().and(state.degraded.as_ref()),
        rejected: state
            .rejected
            .values()
            .map(|rejection| &rejection.subject)
            .collect(),
        overrides: loader::overrides(&view.variables),
        damaged_ledger_lines: &view.ledger.damaged,
        lost_record: view.lost_record().map(|lost| lost.to_string()),
        waits_at_menu,
        profile_ahead: ahead.as_ref(),
        healthy_trial: state.healthy.as_ref().map(|healthy| &healthy.subject),
        lost_stand_in: lost.map(|lost| lost.to_string()),
        anothers_entries: files.filter(|file| view.is_anothers(file)).count(),
    };
    if output.json {
        return Ok(print_json(out, &status)?);
    }
    Ok(print(out, &table(&lines(&status)))?)
}

fn lines(status: &Status<'_>) -> Vec<Vec<String>> {
    let subject = |subject: Option<&Subject>| {
        subject.map_or_else(
            || "none".to_owned(),
            |s| format!("generation {} ({})", s.generation, s.toplevel.display()),
        )
    };
    let mut lines = vec![
        ("running", subject(status.running)),
        (
            "state",
            status.state.map_or("unknown", StateLabel::text).to_owned(),
        ),
        ("selected", subject(status.selected)),
        ("last good", subject(status.last_good)),
        (
            "boots next",
            status
                .next_boot
                .as_ref()
                .map_or_else(|| "unknown".to_owned(), |id| format!("generation {id}")),
        ),
    ];
    if let Some(cause) = status.degraded {
        lines.push(("not well", cause.summary.clone()));
    }
    if let Some(ahead) = status.profile_ahead {
        lines.push(("profile", not_selected(ahead)));
    }
    if let Some(trial) = status.healthy_trial {
        let id = &trial.generation;
        let line = format!("generation {id} was {HEALTHY_TRIAL}");
        lines.push(("healthy", line));
    }
    if let Some(lost) = &status.lost_stand_in {
        lines.push(("no way back", lost.clone()));
    }
    for rejected in &status.rejected {
        lines.push(("rejected", subject(Some(rejected))));
    }
    for one in &status.overrides {
        lines.push(("overridden by", one.to_string()));
    }
    // What a variable does is among the overrides.
    let line = |one: &Override| Some(one.to_string()) == status.waits_at_menu;
    if let Some(waits) = &status.waits_at_menu
        && !status.overrides.iter().any(line)
    {
        lines.push(("waits", waits.clone()));
    }
    if let Some(lost) = &status.lost_record {
        lines.push(("record lost", lost.clone()));
    }
    if status.anothers_entries > 0 {
        lines.push((
            "others",
            format!(
                "{} entries of another system's lastgood are on $BOOT, or of ours before its record was lost: they stay",
                status.anothers_entries
            ),
        ));
    }
    if status.automatic_reboots > 0 {
        lines.push((
            "reboots",
            format!("{} automatic in a row", status.automatic_reboots),
        ));
    }
    lines
        .into_iter()
        .map(|(key, value)| vec![key.to_owned(), value])
        .collect()
}
