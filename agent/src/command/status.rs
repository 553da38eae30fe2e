//! `lastgood status`: what runs, what is selected, what is proven.

use std::io::Write;

use boot_entries::observe::BootFiles;
use boot_entries::{GenerationId, Root};
use serde::{Serialize, Serializer};
use systemd_boot_model::{EndlessMenu, Override};

use crate::cli::Output;
use crate::entries::prediction;
use crate::error::Error;
use crate::report::label::StateLabel;
use crate::report::line::one_line;
use crate::report::print::{print, print_json, table};
use crate::report::remedy;
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
    volatile_state: Option<String>,
    #[serde(serialize_with = "as_line")]
    waits_at_menu: Option<EndlessMenu>,
    /// So many entries are another system's.
    #[serde(rename = "anothersEntries")]
    other_systems_entries: usize,
}

pub(super) fn run(root: &Root, output: Output, out: &mut impl Write) -> Result<(), Error> {
    let view = View::read(root)?;
    let state = &view.state;
    let boot = view.boot().inspect_err(|error| {
        tracing::warn!("what boots next cannot be told: {}", one_line(error));
    });
    let boot = boot.ok();
    let waits_at_menu = boot.as_ref().and_then(|boot| {
        systemd_boot_model::endless_menu(boot.loader_conf.as_deref(), &view.variables)
    });
    let next = boot.as_ref().and_then(|boot| {
        let release = view.release(&boot.place).inspect_err(|error| {
            tracing::warn!("what boots next cannot be told: {}", one_line(error));
        });
        Some(prediction::predict_of(&view, boot, release.ok()?, 0))
    });
    let next = next.unwrap_or_default();
    let files = boot.iter().flat_map(BootFiles::all).map(|(_, file)| file);
    let is_other_systems = view.other_systems();
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
        overrides: systemd_boot_model::overrides(&view.variables),
        damaged_ledger_lines: &view.ledger.damaged,
        lost_record: view.lost_record().map(|lost| lost.to_string()),
        volatile_state: view.volatile_state().map(|volatile| volatile.to_string()),
        waits_at_menu,
        other_systems_entries: files.filter(|file| is_other_systems(file)).count(),
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
    for rejected in &status.rejected {
        lines.push(("rejected", subject(Some(rejected))));
    }
    for one in &status.overrides {
        lines.push(("overridden by", one.to_string()));
    }
    // What a variable does is among the overrides.
    if let Some(menu @ EndlessMenu::Conf(_)) = &status.waits_at_menu {
        lines.push(("waits", remedy::endless_menu(menu)));
    }
    if let Some(lost) = &status.lost_record {
        lines.push(("record lost", lost.clone()));
    }
    if let Some(volatile) = &status.volatile_state {
        lines.push(("forgets", volatile.clone()));
    }
    if status.other_systems_entries > 0 {
        lines.push((
            "others",
            format!(
                "{} entries of another system's lastgood are on $BOOT, or of ours before its record was lost: they stay",
                status.other_systems_entries
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

#[allow(
    clippy::ref_option,
    reason = "the signature is that of `serialize_with`"
)]
fn as_line<S: Serializer>(menu: &Option<EndlessMenu>, serializer: S) -> Result<S::Ok, S::Error> {
    let line = menu.as_ref().map(remedy::endless_menu);
    line.serialize(serializer)
}
