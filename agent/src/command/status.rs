//! `lastgood status`: what runs, what is selected, what is proven, what is wrong now and what to do about it.
//!
//! [`matters`] says what is wrong, [`screen`] puts it all on one screen. Both are pure.

mod fallback;
mod loader;
mod matters;
mod screen;

use std::io::Write;
use std::path::{Path, PathBuf};

use boot_entries::entry::EntryFile;
use boot_entries::generation::Generation;
use boot_entries::name::stem_of;
use boot_entries::observe::BootFiles;
use boot_entries::{GenerationId, Root, closure};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use systemd_boot_model::{EndlessMenu, FailedStart, Override};

use crate::cli::Output;
use crate::config;
use crate::entries::prediction::{self, Prediction};
use crate::error::Error;
use crate::host::CURRENT_SYSTEM;
use crate::operation::{last_resort, watch};
use crate::report::label::StateLabel;
use crate::report::line::{one_line, plain};
use crate::report::print::{print, print_json};
use crate::report::remedy;
use crate::report::style::Style;
use crate::state::cause::{Cause, Stage};
use crate::state::fault::Fault;
use crate::state::incident::Hook;
use crate::state::reset::Reset;
use crate::state::switching::{Phase, Switching};
use crate::state::{Event, Subject};
use crate::store::handover::{Emergency, Units};
use crate::store::ledger::Unknown;
use crate::view::{View, unstartable};
use fallback::Fallback;

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    version: u32,
    running: Option<&'a Subject>,
    /// The closure that is active, where a live switch has put another one in the place of what was booted.
    active: Option<Active>,
    /// A live switch that has not come to its end.
    live_switch: Option<LiveSwitch<'a>>,
    state: Option<StateLabel>,
    stage: Option<Stage>,
    selected: Option<&'a Subject>,
    last_good: Option<&'a Subject>,
    next_boot: Option<GenerationId>,
    automatic_reboots: u32,
    degraded: Option<&'a Cause>,
    rejected: Vec<&'a Subject>,
    /// What was rejected for what may not have been its fault.
    suspects: Vec<&'a Subject>,
    /// How the boot before this one ended.
    reset: Option<&'a Reset>,
    /// The outcome of a selection, or of trouble, is not known yet.
    incident: bool,
    /// The hook that closes it, and was not run yet.
    hook_due: Option<Hook>,
    /// What runs was proven, and is watched for so many seconds more.
    watched_for: Option<u64>,
    overrides: Vec<Override>,
    damaged_ledger_lines: &'a [usize],
    /// What was not well when what runs was proven.
    #[serde(skip)]
    unwell: Vec<&'a Fault>,
    /// What a newer agent wrote.
    unknown_ledger_lines: Vec<usize>,
    /// Those of them that may forbid what this one would do.
    binding_unknown_lines: Vec<usize>,
    bound_by: Option<&'a str>,
    /// What is degraded wrote something that this user may not read.
    log_withheld: bool,
    lost_record: Option<String>,
    volatile_state: Option<String>,
    /// None: nobody knows it, or how it chooses.
    loader: Option<loader::Loader>,
    #[serde(serialize_with = "as_line")]
    waits_at_menu: Option<EndlessMenu>,
    /// What the profile points at, newer than what is selected, and not selected.
    profile_ahead: Option<Subject>,
    /// What was found healthy in a boot that the loader did not make.
    healthy_trial: Option<&'a Subject>,
    lost_stand_in: Option<String>,
    /// So many entries are another system's.
    #[serde(rename = "anothersEntries")]
    other_systems_entries: usize,
    /// What keeps the selected or the last good generation from starting, or from coming back, a line each.
    warnings: Vec<String>,
    /// Why the loader chooses what boots next.
    next_boot_because: Option<String>,
    /// Why what the profile points at cannot be booted.
    #[serde(skip)]
    ahead_unbootable: Option<String>,
    /// What boots after so many failed boots.
    after_failures: Vec<After>,
    last_fallback: Option<Fallback<'a>>,
    /// What is wrong now, the most important first.
    wrong: Vec<Matter>,
    /// What is to be known, and is not wrong.
    notes: Vec<Matter>,
}

/// What boots after so many failed boots.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct After {
    failures: usize,
    generation: Option<GenerationId>,
    state: Option<StateLabel>,
    #[serde(skip)]
    what: String,
}

/// Something to be known.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Matter {
    text: String,
    /// What to do, most often what to type.
    todo: Option<String>,
}

impl Matter {
    /// A line that ends with what to do, after its last semicolon.
    fn of(line: &str) -> Self {
        match line.rsplit_once("; ") {
            Some((text, todo)) => Self::new(text, todo),
            None => Self {
                text: line.to_owned(),
                todo: None,
            },
        }
    }

    fn new(text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            todo: Some(todo.into()),
        }
    }
}

/// How many failed boots are looked ahead: as many as a trial has, and one that the last good generation would have.
const AHEAD: usize = 4;

pub(super) fn run(
    root: &Root,
    output: Output,
    style: Style,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut view = View::read(root)?;
    view.add_logs();
    let boot = view.boot();
    let next = boot.as_ref().map_err(one_line_of).and_then(|boot| {
        let release = view
            .release(&boot.place)
            .map_err(|error| one_line(&error))?;
        Ok(prediction::predict_of(&view, boot, release, AHEAD))
    });
    let status = status(&view, boot.as_ref().ok(), next);
    if output.json {
        return Ok(print_json(out, &status)?);
    }
    Ok(print(out, &screen::told(&status, style))?)
}

fn one_line_of(error: &Error) -> String {
    one_line(error)
}

/// What is active beside what was booted.
#[derive(Debug, Serialize)]
struct Active {
    toplevel: PathBuf,
    /// None: no profile names it.
    generation: Option<GenerationId>,
}

/// A live switch that has not come to its end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LiveSwitch<'a> {
    toplevel: &'a Path,
    generation: Option<&'a GenerationId>,
    /// It ended well, and waits to be confirmed.
    waits: bool,
    confirm_by: Option<Timestamp>,
}

impl<'a> LiveSwitch<'a> {
    fn of(switching: &'a Switching) -> Self {
        let intent = &switching.intent;
        Self {
            toplevel: &intent.after,
            generation: intent.subject.as_ref().map(|subject| &subject.generation),
            waits: switching.phase == Phase::Waiting,
            confirm_by: intent.confirm_by,
        }
    }
}

/// What was not well when the running generation was proven in this boot.
fn unwell(view: &View) -> Vec<&Fault> {
    let state = &view.state;
    let is_proven = view
        .this_boot()
        .is_some_and(|boot| boot.stage == Stage::Proven);
    let baseline = state
        .baseline()
        .filter(|_| is_proven && state.last_good() == view.running());
    baseline
        .into_iter()
        .flat_map(|baseline| &baseline.failing)
        .collect()
}

fn active(view: &View) -> Option<Active> {
    let running = view.running()?;
    let link = view.root.join(CURRENT_SYSTEM);
    link.symlink_metadata().ok()?;
    let toplevel = view.root.canonical(CURRENT_SYSTEM).ok()?;
    (toplevel != running.toplevel).then(|| Active {
        generation: view
            .subject_of_closure(&toplevel)
            .map(|subject| subject.generation),
        toplevel,
    })
}

/// All there is to say, with what boots next, or why that is not known.
fn status<'a>(
    view: &'a View,
    boot: Option<&BootFiles>,
    next: Result<Vec<Prediction>, String>,
) -> Status<'a> {
    let state = &view.state;
    let waits_at_menu = boot.and_then(|boot| {
        systemd_boot_model::endless_menu(boot.loader_conf.as_deref(), &view.variables)
    });
    let files = boot
        .into_iter()
        .flat_map(BootFiles::all)
        .map(|(_, file)| file);
    let is_other_systems = view.other_systems();
    let degraded = view.this_boot().and(state.degraded.as_ref());
    let mut records = view.ledger.records.iter().rev();
    let latest = records.find(|record| matches!(record.event, Event::Degraded { .. }));
    let lost = boot.and_then(|boot| view.lost_stand_in(boot, boot));
    let running = view.running();
    let ahead = view.ahead();
    let (next, unknown_next) = match next {
        Ok(next) => (next, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    // Where something is selected, the loader is to start something. Whoever may not read $BOOT cannot tell.
    let starts_nothing =
        (boot.is_some() && next.is_empty() && state.selected.is_some()).then(|| {
            let why = unknown_next.clone();
            why.unwrap_or_else(|| prediction::NOTHING.to_owned())
        });
    let mut boots = next.into_iter();
    let first = boots.next();
    let mut status = Status {
        version: 1,
        running,
        active: active(view),
        live_switch: state.switching.as_ref().map(LiveSwitch::of),
        state: running.map(|subject| StateLabel::of(state.standing(subject), true)),
        stage: view.this_boot().map(|boot| boot.stage),
        selected: state.selected.as_ref(),
        last_good: state.last_good(),
        next_boot: first.as_ref().and_then(|boot| boot.id.clone()),
        automatic_reboots: state.reboots,
        degraded,
        rejected: state
            .rejected
            .values()
            .map(|rejection| &rejection.subject)
            .collect(),
        suspects: state
            .suspects
            .values()
            .map(|rejection| &rejection.subject)
            .collect(),
        reset: view.this_boot().and_then(|boot| boot.reset.as_ref()),
        incident: state.incident.is_some(),
        hook_due: state.due.filter(|hook| asks_for(view, *hook)),
        watched_for: watch::left(view).map(|left| left.as_secs()),
        overrides: systemd_boot_model::overrides(&view.variables),
        damaged_ledger_lines: &view.ledger.damaged,
        unwell: unwell(view),
        unknown_ledger_lines: unknown(view, |_| true),
        binding_unknown_lines: unknown(view, |unknown| unknown.binding),
        bound_by: state.bound_by.as_deref(),
        loader: boot.and_then(|boot| loader::of(view, boot)),
        log_withheld: degraded.is_some() && latest.is_some_and(|record| record.log_withheld),
        lost_record: view.lost_record().map(|lost| lost.to_string()),
        volatile_state: view.volatile_state().map(|volatile| volatile.to_string()),
        waits_at_menu,
        ahead_unbootable: ahead.as_ref().and_then(|ahead| {
            let generation = Generation {
                id: ahead.generation.clone(),
                toplevel: ahead.toplevel.clone(),
            };
            let examined = view.examine(&generation, None);
            examined.err().map(|why| plain(&why))
        }),
        profile_ahead: ahead,
        healthy_trial: state.healthy.as_ref().map(|healthy| &healthy.subject),
        lost_stand_in: lost.map(|lost| lost.to_string()),
        other_systems_entries: files.filter(|file| is_other_systems(file)).count(),
        warnings: boot
            .into_iter()
            .flat_map(|boot| warnings(view, boot))
            .chain(mirrors(view))
            .chain(of_this_boot(view))
            .collect(),
        next_boot_because: first.as_ref().map(|boot| boot.why.clone()),
        after_failures: first.into_iter().chain(boots).map(After::of).collect(),
        last_fallback: fallback::last(&view.ledger.records),
        wrong: Vec::new(),
        notes: Vec::new(),
    };
    status.wrong = matters::wrong(&status, starts_nothing.as_deref());
    let unknown_next = unknown_next.filter(|_| starts_nothing.is_none());
    status.notes = matters::notes(&status, unknown_next.as_deref());
    let masked = masked(view);
    // They were among these before there were notes.
    let texts = masked.iter().map(|one| one.text.clone());
    status.warnings.splice(0..0, texts);
    status.notes.extend(masked);
    status
}

/// Whether what runs names a program for it.
fn asks_for(view: &View, hook: Hook) -> bool {
    let config = view
        .running()
        .map(|running| config::read(&view.root, &running.toplevel));
    config.is_some_and(|read| read.is_ok_and(|config| config.hooks.program(hook).is_some()))
}

impl After {
    fn of(boot: Prediction) -> Self {
        Self {
            failures: boot.failures,
            what: boot.what(),
            generation: boot.id,
            state: boot.state,
        }
    }
}

/// The numbers of the ledger's lines that are not known and are of this kind.
fn unknown(view: &View, is_meant: fn(&Unknown) -> bool) -> Vec<usize> {
    let unknown = view.ledger.unknown.iter();
    let meant = unknown.filter(|unknown| is_meant(unknown));
    meant.map(|unknown| unknown.line).collect()
}

/// What the running closure has and does not run, because the operator said so once.
fn masked(view: &View) -> Vec<Matter> {
    let units = Units::read(&view.root).unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        None
    });
    let left_out = units.into_iter().flat_map(|units| units.left_out);
    let masked = left_out.filter_map(|one| Some((one.unit, one.masked_by?)));
    masked
        .map(|(unit, by)| matters::masked(&unit, &by))
        .collect()
}

/// What nobody has told the ledger, because it is of this boot alone.
fn of_this_boot(view: &View) -> Vec<String> {
    let came = Emergency::read(&view.root).unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        None
    });
    let emergency = came.map(|_| {
        "the machine is in emergency mode, on the network to be mended (`systemctl --failed` says what failed); \
         `systemctl default` goes on when it is"
            .to_owned()
    });
    let watchdog = last_resort::in_vain(&view.root).map(|device| {
        format!(
            "the hardware watchdog ({}) would not reset the machine if PID 1 died: PID 1 was executed anew since it was \
             armed; a reboot arms it again",
            device.identity
        )
    });
    emergency.into_iter().chain(watchdog).collect()
}

/// The places that nothing can be written to: with the first disk gone nothing current would boot from there.
fn mirrors(view: &View) -> Vec<String> {
    match view.places(&view.state) {
        // That the first place is missing is told of what boots next.
        Ok(places) if places.has_next => places.unusable.iter().map(|why| one_line(why)).collect(),
        _ => Vec::new(),
    }
}

/// What is wrong with the entries that matter most, whatever is in their payload.
fn warnings(view: &View, boot: &BootFiles) -> Vec<String> {
    let mut warnings = Vec::new();
    let keys = view.keys();
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
        if let Some(why) = unstartable(&boot.place, file, keys.as_ref()) {
            let then =
                failed_start(view, boot, file).map_or_else(String::new, |then| format!(": {then}"));
            warnings.push(format!(
                "generation {id} cannot be started, because {why}{then}; `lastgood verify --repair` brings back what its closure has"
            ));
        }
        if closure::stands_still(&file.entry.options) {
            warnings.push(format!(
                "generation {id} has panic=0: a kernel that panics stands still for ever, and nothing falls back"
            ));
        }
    }
    warnings
}

/// What the loader would do with `file` if it could not be started. None: nobody knows the loader.
fn failed_start(view: &View, boot: &BootFiles, file: &EntryFile) -> Option<FailedStart> {
    let release = view.release(&boot.place).ok()?;
    let conf = release.read_conf(boot.loader_conf.as_deref().unwrap_or_default());
    Some(FailedStart::of(release, &conf, file.name.tries))
}

#[allow(
    clippy::ref_option,
    reason = "the signature is that of `serialize_with`"
)]
fn as_line<S: Serializer>(menu: &Option<EndlessMenu>, serializer: S) -> Result<S::Ok, S::Error> {
    let line = menu.as_ref().map(remedy::endless_menu);
    line.serialize(serializer)
}
