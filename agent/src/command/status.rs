//! `lastgood status`: what runs, what is selected, what is proven.

use std::io::Write;

use boot_entries::name::stem_of;
use boot_entries::observe::BootFiles;
use boot_entries::{GenerationId, Root, closure};
use serde::{Serialize, Serializer};
use systemd_boot_model::{EndlessMenu, Override};

use crate::cli::Output;
use crate::entries::prediction;
use crate::error::Error;
use crate::report::label::{HEALTHY_TRIAL, StateLabel, not_selected};
use crate::report::line::one_line;
use crate::report::print::{print, print_json, table};
use crate::report::remedy;
use crate::state::cause::{Cause, Stage};
use crate::state::{Event, Subject};
use crate::store::handover::Units;
use crate::store::ledger::{self, Unknown};
use crate::view::{View, is_unsigned, refused_unsigned};

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
    /// What a newer agent wrote.
    unknown_ledger_lines: Vec<usize>,
    /// Those of them that may forbid what this one would do.
    binding_unknown_lines: Vec<usize>,
    bound_by: Option<&'a str>,
    /// What is degraded wrote something that this user may not read.
    log_withheld: bool,
    lost_record: Option<String>,
    volatile_state: Option<String>,
    #[serde(serialize_with = "as_line")]
    waits_at_menu: Option<EndlessMenu>,
    /// What the profile points at, newer than what is selected, and not selected.
    profile_ahead: Option<&'a Subject>,
    /// What was found healthy in a boot that the loader did not make.
    healthy_trial: Option<&'a Subject>,
    lost_stand_in: Option<String>,
    /// So many entries are another system's.
    #[serde(rename = "anothersEntries")]
    other_systems_entries: usize,
    /// What keeps the selected or the last good generation from starting, or from coming back, a line each.
    warnings: Vec<String>,
}

pub(super) fn run(root: &Root, output: Output, out: &mut impl Write) -> Result<(), Error> {
    let mut view = View::read(root)?;
    view.add_logs();
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
    let degraded = view.this_boot().and(state.degraded.as_ref());
    let mut records = view.ledger.records.iter().rev();
    let latest = records.find(|record| matches!(record.event, Event::Degraded { .. }));
    let ahead = view.ahead();
    let lost = boot
        .as_ref()
        .and_then(|boot| view.lost_stand_in(boot, boot));
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
        degraded,
        rejected: state
            .rejected
            .values()
            .map(|rejection| &rejection.subject)
            .collect(),
        overrides: systemd_boot_model::overrides(&view.variables),
        damaged_ledger_lines: &view.ledger.damaged,
        unknown_ledger_lines: unknown(&view, |_| true),
        binding_unknown_lines: unknown(&view, |unknown| unknown.binding),
        bound_by: state.bound_by.as_deref(),
        log_withheld: degraded.is_some() && latest.is_some_and(|record| record.log_withheld),
        lost_record: view.lost_record().map(|lost| lost.to_string()),
        volatile_state: view.volatile_state().map(|volatile| volatile.to_string()),
        waits_at_menu,
        profile_ahead: ahead.as_ref(),
        healthy_trial: state.healthy.as_ref().map(|healthy| &healthy.subject),
        lost_stand_in: lost.map(|lost| lost.to_string()),
        other_systems_entries: files.filter(|file| is_other_systems(file)).count(),
        warnings: {
            let mut all = masked(&view);
            all.extend(boot.iter().flat_map(|boot| warnings(&view, boot)));
            all
        },
    };
    if output.json {
        return Ok(print_json(out, &status)?);
    }
    Ok(print(out, &table(&lines(&status)))?)
}

/// The numbers of the ledger's lines that are not known and are of this kind.
fn unknown(view: &View, is_meant: fn(&Unknown) -> bool) -> Vec<usize> {
    let unknown = view.ledger.unknown.iter();
    let meant = unknown.filter(|unknown| is_meant(unknown));
    meant.map(|unknown| unknown.line).collect()
}

/// What the running closure has and does not run, because the operator said so once.
fn masked(view: &View) -> Vec<String> {
    let units = Units::read(&view.root).unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        None
    });
    let left_out = units.into_iter().flat_map(|units| units.left_out);
    let masked = left_out.filter_map(|one| Some((one.unit, one.masked_by?)));
    masked
        .map(|(unit, by)| format!("{unit} of the closure is not in effect: it is masked by {by}"))
        .collect()
}

/// What is wrong with the entries that matter most, whatever is in their payload.
fn warnings(view: &View, boot: &BootFiles) -> Vec<String> {
    let mut warnings = Vec::new();
    let checks_signatures = view.checks_signatures();
    let mut subjects: Vec<&Subject> = view.state.selected.iter().collect();
    subjects.extend(
        view.state
            .last_good()
            .filter(|good| !subjects.contains(good)),
    );
    for subject in subjects {
        let id = &subject.generation;
        let Some((_, file)) = boot.files_of(&stem_of(subject)).next() else {
            continue;
        };
        if checks_signatures && is_unsigned(&boot.place, file) {
            warnings.push(refused_unsigned(&format!("the kernel of generation {id}")));
        }
        if closure::stands_still(&file.entry.options) {
            warnings.push(format!(
                "generation {id} has panic=0: a kernel that panics stands still for ever, and nothing falls back"
            ));
        }
    }
    warnings
}

/// A line of the answer: what it is about, and what there is to say.
type Line = (&'static str, String);

fn lines(status: &Status<'_>) -> Vec<Vec<String>> {
    let all = [generations(status), boots(status), records(status)];
    all.into_iter()
        .flatten()
        .map(|(key, value)| vec![key.to_owned(), value])
        .collect()
}

/// How the generations stand.
fn generations(status: &Status<'_>) -> Vec<Line> {
    let next = status.next_boot.as_ref();
    let mut lines = vec![
        ("running", named(status.running)),
        (
            "state",
            status.state.map_or("unknown", StateLabel::text).to_owned(),
        ),
        ("selected", named(status.selected)),
        ("last good", named(status.last_good)),
        (
            "boots next",
            next.map_or_else(|| "unknown".to_owned(), |id| format!("generation {id}")),
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
    let rejected = status.rejected.iter();
    lines.extend(rejected.map(|rejected| ("rejected", named(Some(rejected)))));
    lines
}

fn named(subject: Option<&Subject>) -> String {
    subject.map_or_else(
        || "none".to_owned(),
        |s| format!("generation {} ({})", s.generation, s.toplevel.display()),
    )
}

/// What the next boots are up against.
fn boots(status: &Status<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(lost) = &status.lost_stand_in {
        lines.push(("no way back", lost.clone()));
    }
    let overrides = status.overrides.iter();
    lines.extend(overrides.map(|one| ("overridden by", one.to_string())));
    // What a variable does is among the overrides.
    if let Some(menu @ EndlessMenu::Conf(_)) = &status.waits_at_menu {
        lines.push(("waits", remedy::endless_menu(menu)));
    }
    if status.other_systems_entries > 0 {
        let line = format!(
            "{} entries of another system's lastgood are on $BOOT, or of ours before its record was lost: they stay",
            status.other_systems_entries
        );
        lines.push(("others", line));
    }
    let warnings = status.warnings.iter();
    lines.extend(warnings.map(|warning| ("warning", warning.clone())));
    if status.automatic_reboots > 0 {
        let line = format!("{} automatic in a row", status.automatic_reboots);
        lines.push(("reboots", line));
    }
    lines
}

/// What is wrong with the record of all that.
fn records(status: &Status<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(what) = status.bound_by {
        let path = ledger::PATH;
        let line = format!(
            "{path}, {what}: a newer lastgood wrote it, so that this one removes nothing, judges nothing and reboots for \
             nothing"
        );
        lines.push(("bound by", line));
    }
    if let Some(lost) = &status.lost_record {
        lines.push(("record lost", lost.clone()));
    }
    if let Some(volatile) = &status.volatile_state {
        lines.push(("forgets", volatile.clone()));
    }
    lines
}

#[allow(
    clippy::ref_option,
    reason = "the signature is that of `serialize_with`"
)]
fn as_line<S: Serializer>(menu: &Option<EndlessMenu>, serializer: S) -> Result<S::Ok, S::Error> {
    let line = menu.as_ref().map(remedy::endless_menu);
    line.serialize(serializer)
}
