//! The change itself, from the first question to the last record. The order is what makes it all or nothing:
//!
//! ```text
//! asked ─ looked ─ planned ─▶ remembered, kept from the collector, armed, on record
//!    │ refused: nothing is changed        │
//!    ▼                                    ▼
//!  exit 1 or 100             stop ─ put in place ─ reload ─ reload, restart, start ─ judge
//!                                         │ not well                           │ well
//!                                         ▼                                    ▼
//!                                   back::go_back                  waits for `confirm`, or keep::keep
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use boot_entries::Root;
use jiff::Timestamp;

use super::asked::{self, Asked};
use super::back::{self, Failure};
use super::judge::{self, Standard};
use super::listeners::Expected;
use super::live::{self, Way};
use super::remembered::{Remembered, Was};
use super::request::{Action, Request};
use super::said::Speaker;
use super::walk::Walk;
use super::{dead_man, keep, later, nixos, place, reexecution, room, users, words};
use crate::error::Error;
use crate::operation::select;
use crate::session::Session;
use crate::state::Event;
use crate::state::switching::{Intent, Phase, Undone, Unfinished};
use crate::store::gc_roots;
use crate::switch::plan::Plan;
use crate::switch::situation::{Requests, Situation};
use crate::system::boot_id::boot_id;
use crate::system::listening::{self, Listening};
use crate::system::manager::{self, Manager, Wanted};
use crate::view::View;

/// How long the jobs of one phase may take. Units have their own, shorter limits; those that have none go on by
/// themselves.
const PHASE: Duration = Duration::from_mins(5);

/// Does what is asked for, in the process that outlives the session. `said` is where it says how far it is.
///
/// # Errors
/// How it ended, if not well.
pub(super) fn change(root: &Root, said: &Path, request: &Request) -> Result<(), Error> {
    let mut speaker = Speaker::at(said);
    let ended = try_to(root, said, request, &mut speaker);
    match &ended {
        Ok(()) => speaker.ended(crate::exit::Exit::Done, None),
        Err(error) => speaker.ended(error.exit(), Some(crate::report::line::one_line(error))),
    }
    ended
}

fn try_to(root: &Root, said: &Path, request: &Request, speaker: &mut Speaker) -> Result<(), Error> {
    let mut session = Session::open(root)?;
    let _theirs = nixos::lock(root)?;
    let boot = boot_id(root)?;
    match session.state().unfinished(&boot, super::is_late(root)) {
        Unfinished::None => {}
        Unfinished::Wait => return Err(super::waits(&session)),
        open => {
            super::finish(&mut session, open, speaker)?;
            // The profile may have been moved.
            session.view = View::read(root)?;
        }
    }
    let mut manager = Manager::system(manager::PATIENCE)?;
    // Whatever has become of what it had begun: it is never begun a second time. The timer may have undone it already,
    // and left nothing that tells.
    if was_started_again(&mut manager)? {
        return Err(Error::Refused(
            "the switch was cut off in the middle; `lastgood status` shows what is active, `lastgood log` what happened".to_owned(),
        ));
    }
    let asked = Asked::of(&mut session, request)?;
    asked::is_judged(&mut manager)?;
    if request.action == Action::Switch {
        select::could_select(&mut session, &selection(&asked, request))?;
    }
    let carriers: BTreeSet<String> = request.session.iter().cloned().collect();
    let (mut situation, listening) = look(root, &mut manager, (&asked, request), &carriers)?;
    let planned = live::planned(root, &mut manager, &mut situation, &Requests::default())?;
    if planned.reexecute.is_some() {
        reexecution::check_mounts(root)?;
    }
    words::notes(&situation, speaker);
    if asked.needs_reboot.is_needed() {
        speaker.line(format!(
            "a reboot is needed for the rest: {}",
            asked.needs_reboot.words()
        ));
    }
    room::check()?;
    begin(
        &mut session,
        &mut manager,
        &asked,
        request,
        said,
        (&situation, &planned),
    )?;
    let deadline = request.confirm_within.map(|within| Instant::now() + within);
    let done = forward(
        root,
        &mut manager,
        &asked,
        request,
        speaker,
        (&mut situation, planned, &listening),
        deadline,
    );
    match done {
        Ok(waiting) => {
            // What is not on record does not stay.
            if let Err(error) = session.record(&Event::SwitchedTo) {
                let failure = back::Failure::Error(error);
                return Err(back::go_back(&mut session, &mut manager, speaker, failure).error);
            }
            words::waiting(&waiting, speaker);
            if !waiting.is_empty()
                && let Err(error) = later::start(&mut manager, &waiting)
            {
                speaker.warn(crate::report::line::one_line(&error));
            }
            if let Some(by) = session
                .state()
                .switching
                .as_ref()
                .and_then(|one| one.intent.confirm_by)
            {
                speaker.line(format!(
                    "active: {}; type `lastgood confirm` before {}, or it is undone",
                    super::name_of(&asked.after, asked.subject.as_ref()),
                    crate::report::print::local(by)
                ));
                return Ok(());
            }
            let kept = keep::keep(&mut session, speaker);
            match kept {
                // Not on record as kept.
                Err(error)
                    if session
                        .state()
                        .switching
                        .as_ref()
                        .is_some_and(|one| one.phase == Phase::Waiting) =>
                {
                    let failure = back::Failure::Error(error);
                    Err(back::go_back(&mut session, &mut manager, speaker, failure).error)
                }
                ended => ended,
            }
        }
        Err(failure) => Err(back::go_back(&mut session, &mut manager, speaker, failure).error),
    }
}

/// What is seen while the closure is checked is good for so long. A check may take minutes.
const FRESH: Duration = Duration::from_secs(1);

/// Looks at the closure, at the machine, and at who listens: all at once, because each takes a while.
fn look(
    root: &Root,
    manager: &mut Manager,
    (asked, request): (&Asked, &Request),
    carriers: &BTreeSet<String>,
) -> Result<(Situation, Listening), Error> {
    let way = Way {
        from: &asked.before,
        to: &asked.after,
    };
    // Whether it could be selected was asked before, and that is the same check.
    let is_checked = request.action == Action::Switch;
    let (seen, at) = std::thread::scope(|scope| {
        let checked = (!is_checked).then(|| scope.spawn(|| asked.check_closure(root)));
        let listening = scope.spawn(listening::owned);
        let situation = live::look(root, manager, way, carriers, None);
        let seen = Instant::now();
        if let Some(checked) = checked {
            joined(checked)??;
        }
        Ok::<_, Error>(((situation?, joined(listening)?), seen))
    })?;
    if at.elapsed() < FRESH {
        return Ok(seen);
    }
    let situation = live::look(root, manager, way, carriers, None)?;
    Ok((situation, listening::owned()))
}

/// What a thread came to.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> Result<T, Error> {
    thread.join().map_err(|_panic| {
        Error::Refused("a look at this machine broke off: this is a fault of lastgood's".to_owned())
    })
}

/// Whether systemd has started this worker again because it died.
fn was_started_again(manager: &mut Manager) -> Result<bool, Error> {
    let answers = manager.properties(&[super::WORKER], &[Wanted::kind("NRestarts")])?;
    let mut restarts = answers
        .iter()
        .flatten()
        .filter_map(|unit| unit.number("NRestarts"));
    Ok(restarts.any(|restarts| restarts > 0))
}

/// What is asked of the selection that follows.
pub(super) fn selection<'a>(asked: &'a Asked, request: &Request) -> select::Request<'a> {
    select::Request {
        toplevel: Some(&asked.after),
        again: request.again,
        new_hostname: request.new_hostname,
    }
}

/// Everything that must be there before the first change.
fn begin(
    session: &mut Session,
    manager: &mut Manager,
    asked: &Asked,
    request: &Request,
    said: &Path,
    (situation, planned): (&Situation, &Plan),
) -> Result<(), Error> {
    let root = session.view.root.clone();
    let units = live::remember(manager, situation, planned)?;
    let remembered = Remembered {
        closure: asked.before.clone(),
        units: units
            .into_iter()
            .map(|(name, before)| (name, Was::from(before)))
            .collect(),
        failed: live::failed(situation),
        session: request.session.iter().cloned().collect(),
        said: said.to_owned(),
        until: request
            .confirm_within
            .map(|within| dead_man::manager_now().saturating_add(dead_man::micros(within))),
        needs_reboot: asked
            .needs_reboot
            .is_needed()
            .then(|| asked.needs_reboot.words()),
    };
    remembered.keep(&root)?;
    gc_roots::hold(&root, &asked.before, &asked.after)?;
    back::forget_that_one_went_back(&root)?;
    let within = request.confirm_within.unwrap_or(dead_man::LONGEST);
    dead_man::arm(manager, within)?;
    let confirm_by = request
        .confirm_within
        .and_then(|within| Timestamp::now().checked_add(within).ok());
    let intent = Intent {
        boot: boot_id(&root)?,
        before: asked.before.clone(),
        after: asked.after.clone(),
        subject: asked.subject.clone(),
        selects: request.action == Action::Switch,
        confirm_by,
        profile: keep::profile_before(&session.view, asked),
    };
    session.record(&Event::Switching(intent))
}

/// The change. Gives the units that are still on their way.
fn forward(
    root: &Root,
    manager: &mut Manager,
    asked: &Asked,
    request: &Request,
    speaker: &mut Speaker,
    (situation, mut planned, listening): (&mut Situation, Plan, &Listening),
    deadline: Option<Instant>,
) -> Result<BTreeSet<String>, Failure> {
    let before = expected_before(manager, listening)?;
    words::plan(&planned, speaker);
    let mut walk = Walk::new(manager, speaker, until(deadline));
    walk.hold_back(&planned.hold_back)?;
    walk.stop(&planned)?;
    in_time(deadline)?;
    place::put(root, &asked.after, &request.environment, walk.speaker).map_err(Failure::Place)?;
    let requests = super::requests::take(root);
    if requests != Requests::default() {
        let asked_for = live::planned(root, walk.manager, situation, &requests)?;
        words::more(&planned, &asked_for, walk.speaker);
        planned = asked_for;
        Remembered::touch(root, &planned)?;
    }
    in_time(deadline)?;
    walk.reload(&planned)?;
    in_time(deadline)?;
    let mut standard = Standard::of(root, &asked.after);
    // What had failed before, and is not touched, is not this switch's fault.
    standard
        .required
        .retain(|unit| !planned.failing_before.contains_key(unit));
    let patience = Instant::now() + standard.patience;
    walk.until = deadline.map_or(patience, |deadline| deadline.min(patience));
    walk.up(&planned)?;
    place::firewall_of_unit(root, &asked.after).map_err(|why| Failure::Place(vec![why]))?;
    walk.restart_late(&planned)?;
    let troubles = std::mem::take(&mut walk.troubles);
    let of_users = Instant::now() + users::PATIENCE_OF_ALL;
    let of_users = deadline.map_or(of_users, |deadline| deadline.min(of_users));
    users::switch(root, &asked.before, &asked.after, walk.speaker, of_users);
    standard.checks.end_by(deadline);
    if !standard.checks.is_empty()
        && let Ok(view) = View::read(root)
        && let Some(baseline) = view.state.baseline()
    {
        standard.checks.excuse(&baseline.failing);
    }
    let patience = Instant::now() + standard.patience;
    let changed: BTreeSet<String> = planned.intended.keys().cloned().collect();
    let expected = before.without(&changed);
    let judged = judge::watch(
        root,
        (manager, speaker),
        (&planned.intended, &troubles),
        (&standard, &expected),
        deadline.map_or(patience, |deadline| deadline.min(patience)),
    )?;
    for unit in &judged.impossible {
        speaker.warn(format!(
            "{unit}: systemd has no such unit on this machine, and a boot passes over it"
        ));
    }
    for (unit, why) in &judged.told {
        speaker.warn(format!(
            "{unit}: {why}; it is wanted only, and held against nobody"
        ));
    }
    in_time(deadline)?;
    for (name, words) in &judged.checks.told {
        speaker.warn(format!(
            "check {name} {words}; it is wanted only, and held against nobody"
        ));
    }
    if judged.is_well() {
        Ok(judged.waiting)
    } else {
        Err(Failure::Unwell(Box::new(judged)))
    }
}

/// Who listens now, and is to go on with it.
fn expected_before(manager: &mut Manager, before: &Listening) -> Result<Expected, Error> {
    let units: BTreeSet<&String> = before.values().flatten().map(|(_, unit)| unit).collect();
    let units: Vec<&String> = units.into_iter().collect();
    let answers = manager.properties(&units, &[Wanted::kind("MainPID")])?;
    let main = units.iter().zip(answers).filter_map(|(unit, answer)| {
        let pid = answer.ok()?.number("MainPID")?;
        Some(((*unit).clone(), pid))
    });
    Ok(Expected::of(before, &main.collect()))
}

/// The instant until which jobs are waited for.
fn until(deadline: Option<Instant>) -> Instant {
    let phase = Instant::now() + PHASE;
    deadline.map_or(phase, |deadline| deadline.min(phase))
}

/// Whoever asked to be locked out for no longer than so long means it.
fn in_time(deadline: Option<Instant>) -> Result<(), Failure> {
    match deadline {
        Some(deadline) if Instant::now() >= deadline => Err(Failure::Late(Undone::Unconfirmed)),
        _ => Ok(()),
    }
}
