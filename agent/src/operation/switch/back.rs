//! Back to what the machine was before a live switch, in order, as far as it can be; and on record why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use boot_entries::durable::unflushed;
use boot_entries::{Root, durable};

use super::judge::{self, Judged, Standard};
use super::listeners::Expected;
use super::live::{self, Way};
use super::remembered::Remembered;
use super::said::Speaker;
use super::walk::Walk;
use super::{dead_man, keep, place, users, words};
use crate::error::Error;
use crate::exit::Exit;
use crate::host::SWITCH_GOES_BACK;
use crate::operation::on_record::OnRecord;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::Event;
use crate::state::cause::{Cause, Stage, UnitFailure};
use crate::state::fault::Fault;
use crate::state::switching::{Back, Intent, Undone};
use crate::store::gc_roots;
use crate::switch::plan::{Plan, Reasons};
use crate::switch::situation::{Requests, Situation};
use crate::system::manager::{Error as NotAnswered, Manager, RELOAD};
use crate::system::systemd::Systemd;

/// How long the jobs of one phase may take on the way back.
const PHASE: Duration = Duration::from_mins(3);
/// What is known of so many units is told.
const EXPLAINED: usize = 5;

/// Why a switch does not go on.
#[derive(Debug)]
pub(super) enum Failure {
    /// PID 1 does not answer, or something cannot be read.
    Error(Error),
    /// The closure could not be put in place: a line each.
    Place(Vec<String>),
    /// Something is not as it was intended.
    Unwell(Judged),
    /// Time is up, or it was cut off.
    Late(Undone),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Failure {
    fn undone(&self) -> Undone {
        match self {
            Self::Late(undone) => *undone,
            _ => Undone::Failed,
        }
    }

    /// What is at fault, with what is known about it. None: nobody says that the closure is.
    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Error(error) => Some(Cause::new(Stage::Begun, one_line(error), Fault::NoAnswer)),
            Self::Place(lines) => Some(Cause::new(
                Stage::Begun,
                lines.join("; "),
                Fault::Activation,
            )),
            Self::Late(_) => None,
            Self::Unwell(judged) => Some(unwell(judged)),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Unwell(_) => Exit::UnitsFailed,
            _ => Exit::Failed,
        }
    }
}

fn unwell(judged: &Judged) -> Cause {
    let mut summaries = Vec::new();
    let mut faults = Vec::new();
    for (unit, why) in &judged.failed {
        summaries.push(format!("{unit}: {why}"));
        faults.push(Fault::of_unit(unit));
    }
    for (address, unit) in &judged.silent {
        // It is undone for that, and nobody is rejected for it: who knows why.
        summaries.push(format!(
            "nobody listens on {address} any more, as {unit} did"
        ));
    }
    let mut systemd = Systemd::watching(&[], None);
    let units: Vec<UnitFailure> = judged
        .failed
        .keys()
        .take(EXPLAINED)
        .map(|unit| systemd.failure(unit))
        .collect();
    Cause {
        stage: Stage::Services,
        summary: summaries.join("; "),
        units,
        faults,
    }
}

/// How a switch ended that went back.
#[derive(Debug)]
pub(super) struct WentBack {
    /// In one line.
    pub(super) error: Error,
    /// False: systemd does not answer, and it is to be tried again.
    pub(super) is_back: bool,
}

/// Goes back, and says how the switch ended. Nothing stops it: what cannot be put back is named.
pub(super) fn go_back(
    session: &mut Session,
    manager: &mut Manager,
    speaker: &mut Speaker,
    failure: Failure,
) -> WentBack {
    let Some(intent) = session.state().open_switch().cloned() else {
        let error = match failure {
            Failure::Error(error) => error,
            _ => Error::Refused("there is no live switch to undo".to_owned()),
        };
        let is_back = true;
        return WentBack { error, is_back };
    };
    say_so(&session.view.root);
    // Its log, before it is started again.
    let cause = failure.cause();
    let what = super::name_of(&intent.after, intent.subject.as_ref());
    let why = cause.as_ref().map_or_else(
        || failure.undone().to_string(),
        |cause| cause.summary.clone(),
    );
    speaker.warn(format!("{what} does not stay, going back: {why}"));
    for unit in cause.iter().flat_map(|cause| &cause.units) {
        for line in &unit.log {
            speaker.line(format!("  {}: {line}", unit.unit));
        }
    }
    let root = session.view.root.clone();
    let remembered = Remembered::read(&root);
    let needs_reboot = remembered
        .as_ref()
        .and_then(|before| before.needs_reboot.clone());
    let (
        Left {
            lines: left,
            shared,
        },
        is_back,
    ) = undo(session, manager, speaker, &intent, remembered.as_ref());
    if !is_back {
        // It stays on record, with all that an undo needs, and the timer stays armed: whoever comes next goes back.
        let error = Error::Ended {
            exit: Exit::Failed,
            text: format!(
                "{what} does not stay ({why}), and is not undone yet: {}; the timer or the next `lastgood switch` goes on \
                 with that; see whether `systemctl status` answers",
                left.join("; ")
            ),
        };
        return WentBack { error, is_back };
    }
    let is_shared = cause
        .as_ref()
        .is_some_and(|cause| cause.faults.iter().all(|fault| shared.contains(fault)));
    let is_recorded = record(
        session,
        &intent,
        failure.undone(),
        cause,
        &left,
        // What goes wrong with the closure from before as well is not this one's fault (invariant A4).
        needs_reboot.is_none() && !is_shared,
    );
    if is_recorded {
        finish(session, manager, speaker, &intent);
    }
    let mut text = format!("{what} was undone: {why}");
    if let Some(needs_reboot) = &needs_reboot {
        text = format!(
            "{text}; {needs_reboot}, so it may work after a reboot: `lastgood boot` selects it for that"
        );
    }
    if left.is_empty() {
        text.push_str("; the machine is as it was before");
    } else {
        text = format!("{text}; not put back: {}", left.join("; "));
    }
    if let Some(subject) = &intent.subject
        && session.state().rejected.contains_key(&subject.toplevel)
    {
        text = format!("{text}; `lastgood why {}` tells more", subject.generation);
    }
    let exit = match (&failure, needs_reboot) {
        (Failure::Unwell(_) | Failure::Place(_), Some(_)) => Exit::RebootNeeded,
        _ => failure.exit(),
    };
    let error = Error::Ended { exit, text };
    WentBack { error, is_back }
}

/// Lets the timer know that the change is being undone already: it ends nobody for that. Without a word it does.
fn say_so(root: &Root) {
    let written = root
        .place(SWITCH_GOES_BACK)
        .map_err(|error| error.to_string())
        .and_then(|place| durable::put_text("", &place).map_err(|error| one_line(&error)));
    if let Err(error) = written {
        tracing::warn!("{SWITCH_GOES_BACK}: {error}");
    }
}

/// Whether somebody has begun to undo a change, and has not ended it.
pub(super) fn goes_back(root: &Root) -> bool {
    root.join(SWITCH_GOES_BACK).symlink_metadata().is_ok()
}

/// Forgets it: the next change is given no more time for it.
///
/// # Errors
/// When the mark cannot be removed.
pub(super) fn forget_that_one_went_back(root: &Root) -> Result<(), Error> {
    Ok(unflushed::remove(&root.join(SWITCH_GOES_BACK))?)
}

/// What could not be put back.
#[derive(Debug)]
struct Left {
    /// A line each.
    lines: Vec<String>,
    /// What is wrong with the closure from before as well.
    shared: Vec<Fault>,
}

/// Puts back what can be. Gives what could not, a line each, and whether systemd had its say: if not, units are down
/// that ran, and it is to be tried again.
fn undo(
    session: &Session,
    manager: &mut Manager,
    speaker: &mut Speaker,
    intent: &Intent,
    remembered: Option<&Remembered>,
) -> (Left, bool) {
    // It may have broken. A generator that hangs in somebody's reload keeps systemd from answering for 90 s.
    if let Err(error) = manager.recover(Instant::now() + RELOAD) {
        // Files at least: what is started later is what it was before.
        let root = &session.view.root;
        let put = place::put(root, &intent.before, &BTreeMap::new(), speaker);
        let mut lines = put.err().unwrap_or_default();
        lines.push(one_line(&error));
        let shared = Vec::new();
        return (Left { lines, shared }, false);
    }
    match units_back(session, manager, speaker, intent, remembered) {
        Ok(left) => (left, true),
        Err(error) => {
            let left = Left {
                lines: vec![one_line(&error)],
                shared: Vec::new(),
            };
            (left, false)
        }
    }
}

fn units_back(
    session: &Session,
    manager: &mut Manager,
    speaker: &mut Speaker,
    intent: &Intent,
    remembered: Option<&Remembered>,
) -> Result<Left, Error> {
    let root = &session.view.root;
    let way = Way {
        from: &intent.after,
        to: &intent.before,
    };
    let session_units = remembered.map(|before| before.session.iter().cloned().collect());
    let mut situation = live::look(
        root,
        manager,
        way,
        &session_units.unwrap_or_default(),
        remembered.map(Remembered::before),
    )?;
    let planned = live::planned(root, manager, &mut situation, &Requests::default())?;
    words::plan(&without_news(planned.clone()), speaker);
    let mut walk = Walk::new(manager, speaker, Instant::now() + PHASE);
    walk.stop(&planned)?;
    let put = place::put(root, &intent.before, &BTreeMap::new(), walk.speaker);
    let mut shared: Vec<Fault> = put
        .as_ref()
        .err()
        .map(|_| Fault::Activation)
        .into_iter()
        .collect();
    let mut left = put.err().unwrap_or_default();
    // What its script asks for: secrets, say, that units have read. Nor is the next switch to find it.
    let requests = super::requests::take(root);
    let planned = live::planned(root, walk.manager, &mut situation, &requests)?;
    walk.until = Instant::now() + PHASE;
    // systemd refuses to reload while /run is nearly full. Then it has the definitions that it had, and what was stopped
    // is to come up all the same.
    if let Err(error) = walk.reload(&planned) {
        left.push(one_line(&error));
        walk.manager.recover(Instant::now() + RELOAD)?;
    }
    walk.up(&planned)?;
    walk.restart_late(&planned)?;
    left.extend(place::firewall_of_unit(root, &intent.before).err());
    let troubles = std::mem::take(&mut walk.troubles);
    let of_users = Instant::now() + users::PATIENCE_OF_ALL;
    users::switch(root, &intent.after, &intent.before, walk.speaker, of_users);
    // What is required now is that all is as it was.
    let standard = Standard {
        required: BTreeSet::new(),
        ..Standard::of(root, &intent.before)
    };
    let judged = judge::watch(
        manager,
        speaker,
        (&planned.intended, &troubles),
        (&standard, &Expected::default()),
        Instant::now() + standard.patience,
    )?;
    let lines = judged
        .failed
        .iter()
        .map(|(unit, why)| format!("{unit}: {why}"));
    left.extend(lines);
    shared.extend(judged.failed.keys().map(|unit| Fault::of_unit(unit)));
    if let Some(remembered) = remembered {
        forget_failures(manager, &situation, &planned, (remembered, &judged))?;
    }
    Ok(Left {
        lines: left,
        shared,
    })
}

/// What was failing before was told on the way there, and what has failed since is why it goes back.
fn without_news(planned: Plan) -> Plan {
    Plan {
        shadowed: Reasons::new(),
        failing_before: Reasons::new(),
        ..planned
    }
}

/// What has failed in the switch, and is undone, is not left behind as failed: the machine would be degraded until
/// somebody looked. systemd keeps such a unit although its file is gone.
fn forget_failures(
    manager: &mut Manager,
    situation: &Situation,
    planned: &Plan,
    (before, judged): (&Remembered, &Judged),
) -> Result<(), Error> {
    let is_ours = |name: &String| {
        planned.intended.contains_key(name)
            || situation.old.files.get(name) != situation.new.files.get(name)
            // It ran, so what took it down came after the switch began.
            || (before.units.contains_key(name) && situation.new.files.contains_key(name))
    };
    for unit in manager.units()? {
        // What has failed on the way back is named, and is to be found.
        let is_left = judged.failed.contains_key(&unit.name);
        let has_failed = unit.active == "failed" && !before.failed.contains(&unit.name) && !is_left;
        if has_failed && is_ours(&unit.name) {
            match manager.reset_failed(&unit.name) {
                Ok(()) | Err(NotAnswered::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// The verdict, and that it was undone. That it cannot be recorded changes nothing of what was done; whoever comes next
/// goes back once more then, and needs what is remembered. Gives whether it is on record.
fn record(
    session: &mut Session,
    intent: &Intent,
    undone: Undone,
    cause: Option<Cause>,
    left: &[String],
    may_reject: bool,
) -> bool {
    let rejected = match (&intent.subject, &cause) {
        (Some(subject), Some(cause))
            if undone == Undone::Failed
                && is_the_closure_s(cause)
                && session.state().is_rejected_by_switch(subject, !may_reject) =>
        {
            Some(Event::Rejected {
                subject: subject.clone(),
                cause: cause.clone(),
            })
        }
        _ => None,
    };
    let back = Event::SwitchedBack(Back {
        before: intent.before.clone(),
        after: intent.after.clone(),
        subject: intent.subject.clone(),
        undone,
        cause,
        left: left.to_vec(),
    });
    let events: Vec<&Event> = rejected.iter().chain([&back]).collect();
    let recorded = session.record_all(&events);
    if let Err(error) = &recorded {
        tracing::error!(
            "cannot record that the switch was undone: {}",
            one_line(error)
        );
    }
    // It may have been what boots next. A boot brings the entries to what is on record, too.
    if recorded.is_ok() && rejected.is_some() {
        OnRecord::already().carry_through(session).tell();
    }
    recorded.is_ok()
}

/// That PID 1 does not answer is nobody's verdict.
fn is_the_closure_s(cause: &Cause) -> bool {
    !cause.faults.contains(&Fault::NoAnswer)
}

/// What follows from the record, and can be done again.
pub(super) fn finish(
    session: &mut Session,
    manager: &mut Manager,
    speaker: &mut Speaker,
    intent: &Intent,
) {
    let root = session.view.root.clone();
    let mut tell = |done: Result<(), Error>| {
        if let Err(error) = done {
            speaker.warn(one_line(&error));
        }
    };
    tell(keep::point_back(session, intent));
    tell(dead_man::disarm(manager));
    tell(gc_roots::let_go(&root).map_err(Error::from));
    Remembered::forget(&root);
    tell(forget_that_one_went_back(&root));
}
