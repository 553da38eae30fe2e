//! A live switch stays: the record, the profile, the selection for the next boot.

use boot_entries::GenerationId;

use super::asked::Asked;
use super::remembered::Remembered;
use super::said::Speaker;
use super::{back, dead_man};
use crate::error::Error;
use crate::operation::select;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::Event;
use crate::state::switching::Intent;
use crate::store::{gc_roots, profile};
use crate::system::manager::{self, Manager};
use crate::view::View;

/// Keeps the switch that is open.
///
/// # Errors
/// When it cannot be recorded: then it is undone when its time is up. When the selection cannot be moved: then it is
/// active, and the next run tries again.
pub(super) fn keep(session: &mut Session, speaker: &mut Speaker) -> Result<(), Error> {
    let Some(intent) = session.state().open_switch().cloned() else {
        return Ok(());
    };
    session.record(&Event::Switched)?;
    let root = session.view.root.clone();
    // From here on nobody goes back: a timer that is left finds nothing to do.
    Manager::system(manager::PATIENCE)
        .map_err(Error::from)
        .and_then(|mut manager| dead_man::disarm(&mut manager))
        .unwrap_or_else(|error| speaker.warn(one_line(&error)));
    Remembered::forget(&root);
    if let Err(error) = back::forget_that_one_went_back(&root) {
        speaker.warn(one_line(&error));
    }
    let selected = select_it(session, &intent, speaker);
    if let Err(error) = gc_roots::let_go(&root) {
        speaker.warn(one_line(&error));
    }
    selected
}

/// Moves profile and selection to what is kept.
///
/// # Errors
/// When that cannot be done. It is on record, and the next run does it.
pub(super) fn select_it(
    session: &mut Session,
    intent: &Intent,
    speaker: &mut Speaker,
) -> Result<(), Error> {
    let what = super::name_of(&intent.after, intent.subject.as_ref());
    let Some(subject) = intent.subject.as_ref().filter(|_| intent.selects) else {
        speaker.line(format!(
            "active: {what}; the next boot is what it was to be"
        ));
        return Ok(());
    };
    if !session.view.is_current(subject) && session.view.lists(subject) {
        profile::point_at(&session.view.root, &subject.generation)?;
    }
    let request = select::Request {
        toplevel: Some(&intent.after),
        again: true,
        new_hostname: true,
    };
    let selected = select::select_in(session, &request).map_err(|error| {
        Error::Refused(format!(
            "{what} is active, but it is not what boots next: {}; `lastgood boot {}` tries that again",
            one_line(&error),
            subject.generation
        ))
    })?;
    let standing = match selected.standing {
        crate::state::Standing::Proven => "proven",
        _ => "a trial, until a boot has proven it",
    };
    speaker.line(format!("active: {what}; it boots next ({standing})"));
    selected.done.complaints.into_result()
}

/// What the profile points at without this switch: whoever asked for it may have moved the link before.
pub(super) fn profile_before(view: &View, asked: &Asked) -> Option<GenerationId> {
    let of_interest = asked
        .subject
        .as_ref()
        .map(|subject| subject.generation.profile());
    let is_of_profile =
        |id: &&GenerationId| of_interest.is_none_or(|profile| id.profile() == profile);
    let current = view.profiles.current.iter().find(is_of_profile)?;
    let moved = asked
        .subject
        .as_ref()
        .is_some_and(|subject| subject.generation.base() == *current);
    if !moved {
        return Some(current.clone());
    }
    let all = view.generations();
    let before = all
        .iter()
        .filter(|one| one.toplevel == asked.before && one.id.profile() == current.profile());
    // The link points at a generation, also while one of its specialisations is active.
    before.map(|one| one.id.base()).max()
}

/// Lets the profile point at what it pointed at before the switch.
///
/// # Errors
/// When the link cannot be replaced.
pub(super) fn point_back(session: &Session, intent: &Intent) -> Result<(), Error> {
    let Some(before) = &intent.profile else {
        return Ok(());
    };
    let view = &session.view;
    let is_there = view
        .profiles
        .generations
        .iter()
        .any(|one| one.id == *before);
    let points_there = view.profiles.current.contains(before);
    // What was read when the session began may have been changed meanwhile.
    let now = boot_entries::generation::Profiles::read(&view.root)
        .is_ok_and(|profiles| profiles.current.contains(before));
    if is_there && !(points_there && now) {
        profile::point_at(&view.root, before)?;
    }
    Ok(())
}
