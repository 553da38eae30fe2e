//! What runs? What was intended? The attempt goes on record.

use std::path::PathBuf;

use boot_entries::{Root, loader};

use super::{attempt, fall_back};
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::{Event, Subject};

pub(super) fn run(root: &Root) -> Result<(), Error> {
    let mut session = attempt::session(root)?;
    let Some(subject) = session.running().cloned() else {
        return Ok(());
    };
    // What a crash left undone between a record and what it announced. Nothing of it is worth failing a boot for.
    let rest = [
        given_up(&mut session, &subject),
        // What is on record and not understood may want another order of the entries.
        match session.state.bound_by {
            Some(_) => Ok(()),
            None => session.restate(),
        },
        session.keep_roots(),
    ];
    for error in rest.into_iter().filter_map(Result::err) {
        tracing::error!("{}", one_line(&error));
    }
    for one in loader::overrides(&session.variables) {
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
    let verdict = session.state.loader_gave_up(running, exhausted.as_deref());
    let Some((rejected, cause)) = verdict else {
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

/// The place that the loader reads, if the entry of `subject` is there and has no tries left.
fn exhausted(session: &Session, subject: &Subject) -> Result<Option<PathBuf>, Error> {
    let boot = session.boot()?;
    let stem = boot_entries::name::stem_of(subject);
    let mut tries = boot.files_of(&stem).map(|(_, file)| file.name.tries);
    let is_exhausted = tries.any(|tries| tries.is_some_and(|tries| tries.left == 0));
    Ok(is_exhausted.then(|| boot.place.name.clone()))
}
