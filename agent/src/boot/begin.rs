//! What runs? What was intended? The attempt goes on record.

use boot_entries::{Root, efi};

use super::fall_back;
use crate::error::Error;
use crate::machine::{Event, Subject};
use crate::running;
use crate::session::Session;
use crate::told::one_line;
use crate::view::boot_id;

pub(super) fn run(root: &Root) -> Result<(), Error> {
    let mut session = session(root)?;
    let Some(subject) = session.running().cloned() else {
        return Ok(());
    };
    // What a crash left undone between a record and what it announced. Nothing of it is worth failing a boot for.
    let rest = [
        given_up(&mut session, &subject),
        session.restate(),
        session.keep_roots(),
    ];
    for error in rest.into_iter().filter_map(Result::err) {
        tracing::error!("{}", one_line(&error));
    }
    for one in efi::overrides(&session.variables) {
        tracing::warn!("{one}");
    }
    let Some(cause) = session.state.is_not_counted() else {
        return Ok(());
    };
    tracing::error!(
        "rejected: generation {}: {}",
        subject.generation,
        cause.summary
    );
    session.record(&Event::Rejected { subject, cause })?;
    drop(session);
    fall_back::run(root)
}

/// The right to change things, with this boot on record. Every step begins the boot if that has not been done: a step
/// must never take what the ledger knows of an earlier boot for this one.
pub(super) fn session(root: &Root) -> Result<Session, Error> {
    let mut session = Session::open_at_boot(root)?;
    if session.this_boot().is_some() {
        return Ok(session);
    }
    let closure = running::closure(root)?;
    let subject = closure
        .as_deref()
        .and_then(|closure| session.subject_of_closure(closure));
    session.record(&Event::Began {
        boot: boot_id(root)?,
        running: subject.clone(),
    })?;
    let Some(subject) = subject else {
        let what = closure.map_or_else(
            || "this boot (no init=TOPLEVEL/init)".to_owned(),
            |closure| closure.display().to_string(),
        );
        tracing::warn!("begun: {what} is no generation of any profile");
        return Ok(session);
    };
    let id = &subject.generation;
    let closure = subject.toplevel.display();
    match session
        .state
        .selected
        .as_ref()
        .filter(|selected| **selected != subject)
    {
        None => tracing::info!("begun: generation {id} ({closure})"),
        Some(selected) => tracing::warn!(
            "begun: generation {id} ({closure}), although generation {} was selected",
            selected.generation
        ),
    }
    Ok(session)
}

/// If the loader has passed over the selected generation because its tries are used up, that is a verdict.
fn given_up(session: &mut Session, running: &Subject) -> Result<(), Error> {
    let Some(selected) = session
        .state
        .selected
        .clone()
        .filter(|selected| selected != running)
    else {
        return Ok(());
    };
    let exhausted = exhausted(session, &selected)?;
    let Some((rejected, cause)) = session.state.loader_gave_up(running, exhausted) else {
        return Ok(());
    };
    tracing::error!(
        "rejected: generation {}: {}",
        rejected.generation,
        cause.summary
    );
    session.record(&Event::Rejected {
        subject: rejected.clone(),
        cause,
    })?;
    session.repoint_profile(&rejected, running)
}

/// Whether the entry of `subject` is there and has no tries left.
fn exhausted(session: &Session, subject: &Subject) -> Result<bool, Error> {
    let boot = session.boot()?;
    let stem = boot_entries::name::stem_of(subject);
    let mut tries = boot.files_of(&stem).map(|(_, file)| file.name.tries);
    Ok(tries.any(|tries| tries.is_some_and(|tries| tries.left == 0)))
}
