//! What runs? What was intended? The attempt goes on record.

use boot_entries::Root;

use crate::error::{Error, one_line};
use crate::machine::{Event, Subject};
use crate::running;
use crate::session::Session;

pub(super) fn run(root: &Root) -> Result<(), Error> {
    let closure = running::closure(root)?;
    let mut session = Session::open(root)?;
    let subject = closure
        .as_deref()
        .and_then(|closure| session.subject_of_closure(closure));
    let boot = boot_id(root)?;
    if session
        .state
        .boot
        .as_ref()
        .is_some_and(|known| known.id == boot)
    {
        tracing::info!("this boot has begun already");
        return Ok(());
    }
    session.record(&Event::Began {
        boot,
        running: subject.clone(),
    })?;
    let Some(subject) = subject else {
        let what = closure.map_or_else(
            || "this boot (no init=TOPLEVEL/init)".to_owned(),
            |closure| closure.display().to_string(),
        );
        tracing::warn!("begun: {what} is no generation of any profile");
        return Ok(());
    };
    let id = &subject.generation;
    let closure = subject.toplevel.display();
    let selected = session
        .state
        .selected
        .clone()
        .filter(|selected| *selected != subject);
    if let Some(selected) = selected {
        let selected = selected.generation;
        tracing::warn!(
            "begun: generation {id} ({closure}), although generation {selected} was selected"
        );
        given_up(&mut session, &subject)?;
    } else {
        tracing::info!("begun: generation {id} ({closure})");
    }
    session.keep_roots()
}

/// If the loader has passed over the selected generation because its tries are used up, that is a verdict.
fn given_up(session: &mut Session, running: &Subject) -> Result<(), Error> {
    let Some(selected) = session.state.selected.clone() else {
        return Ok(());
    };
    let exhausted = exhausted(session, &selected).unwrap_or_else(|error| {
        tracing::warn!(
            "cannot tell whether its tries are used up: {}",
            one_line(&error)
        );
        false
    });
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

/// The kernel's id of this boot.
fn boot_id(root: &Root) -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(root.join(path)).map_err(|source| Error::Read {
        what: path.to_owned(),
        source,
    })?;
    Ok(text.trim().to_owned())
}
