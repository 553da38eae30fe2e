//! What runs? What was intended? The attempt goes on record, and what the boot before left undone is set right.

use std::path::PathBuf;
use std::time::Duration;

use boot_entries::Root;

use super::fall_back;
use super::new_userspace;
use super::on_record::{OnRecord, keep_roots};
use crate::error::Error;
use crate::report::line::one_line;
use crate::session::Session;
use crate::state::cause::Cause;
use crate::state::reset::Evidence;
use crate::state::started_by::StartedBy;
use crate::state::{Event, State, Subject};
use crate::system::boot_id::boot_id;
use crate::system::{command_line, last_boot};

/// The right to change things, with this boot on record. Every step of a boot opens with it, and begins the boot if
/// that has not been done: a step must never take what the ledger knows of an earlier boot for this one.
///
/// # Errors
/// When the machine cannot be read, or the record cannot be written.
pub fn session(root: &Root) -> Result<Session, Error> {
    new_userspace::take_notice(root);
    begun(Session::open_at_boot(root)?)
}

/// The same as this boot comes to its end, when another run may keep the lock for `patience` only.
///
/// # Errors
/// As [`session`].
pub(super) fn session_at_the_end(root: &Root, patience: Duration) -> Result<Session, Error> {
    begun(Session::open_at_boot_within(root, patience)?)
}

/// With this boot on record.
fn begun(mut session: Session) -> Result<Session, Error> {
    let root = session.view.root.clone();
    let root = &root;
    if session.view.this_boot().is_some() {
        return Ok(session);
    }
    let closure = command_line::closure(root)?;
    let subject = closure
        .as_deref()
        .and_then(|closure| session.view.subject_of_closure(closure));
    let boot = boot_id(root)?;
    let evidence = Evidence {
        same_kernel: kernel_of(&boot) == kernel_of(session.state().boot_id()),
        panic: last_boot::panic(root),
        watchdog: last_boot::watchdog(root),
        not_by_the_loader: closure.as_deref().is_some_and(|closure| {
            matches!(
                session.view.started_by(closure),
                StartedBy::NotTheLoader { .. }
            )
        }),
    };
    session.record(&Event::Began {
        boot,
        running: subject.clone(),
        reset: Some(evidence.tells(session.state().boot.as_ref())),
    })?;
    if subject.is_none() {
        let what = closure.map_or_else(
            || "this boot (no init=TOPLEVEL/init)".to_owned(),
            |closure| closure.display().to_string(),
        );
        tracing::warn!(
            "{what} is no generation of any profile, so that no verdict comes of this boot; `lastgood status` says what boots \
             next"
        );
    }
    Ok(session)
}

/// What of a boot's id is the kernel's. After it user space is counted.
fn kernel_of(boot: &str) -> &str {
    boot.split('+').next().unwrap_or_default()
}

/// Begins this boot.
///
/// # Errors
/// When it cannot be recorded.
pub fn begin(root: &Root) -> Result<(), Error> {
    let mut session = session(root)?;
    if let Err(error) = super::switch::at_boot(&mut session) {
        tracing::error!("{}", one_line(&error));
    }
    let Some(subject) = session.view.running().cloned() else {
        return Ok(());
    };
    // What a crash left undone between a record and what it announced. Nothing of it is worth failing a boot for.
    let given_up = given_up(&mut session, &subject).unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        None
    });
    let could_start = could_start(&session, &subject);
    if session.state().bound_by.is_some() {
        // What is on record and not understood may want another order of the entries.
        if let Err(error) = keep_roots(&session) {
            tracing::error!("{}", one_line(&error));
        }
    } else {
        let on_record = given_up.unwrap_or_else(OnRecord::already);
        on_record.carry_through(&session).tell();
    }
    for one in systemd_boot_model::overrides(&session.view.variables) {
        tracing::warn!("{one}");
    }
    if session.state().is_to_be_left_at_once(could_start) {
        tracing::warn!(
            "the verdict on generation {} is on record, and the entries did not say so yet",
            subject.generation
        );
        return fall_back::go_back(session, Some(OnRecord::already()));
    }
    let Some(cause) = session.state().is_not_counted() else {
        return Ok(());
    };
    let rejected = judge(&mut session, &subject, &cause)?;
    fall_back::go_back(session, Some(rejected))
}

/// Whether the loader could have started `subject` by itself, by what its entries say. Nobody knows: no.
fn could_start(session: &Session, subject: &Subject) -> bool {
    let stem = boot_entries::name::stem_of(subject);
    session.view.boot().is_ok_and(|boot| {
        let mut tries = boot.files_of(&stem).map(|(_, file)| file.name.tries);
        tries.any(|tries| tries.is_none_or(|tries| tries.left > 0))
    })
}

/// Puts a verdict on record that no assessment has come to.
fn judge(session: &mut Session, subject: &Subject, cause: &Cause) -> Result<OnRecord, Error> {
    let mut on_record = OnRecord::already();
    for event in State::given_up(subject, cause) {
        match event {
            Event::Rejected { subject, cause } => {
                on_record = OnRecord::rejected(session, subject, cause)?;
            }
            event => session.record(&event)?,
        }
    }
    Ok(on_record)
}

/// If the loader has passed over the selected generation because its tries are used up, that is a verdict.
fn given_up(session: &mut Session, running: &Subject) -> Result<Option<OnRecord>, Error> {
    let selected = session.state().selected.as_ref();
    let Some(selected) = selected.filter(|selected| *selected != running).cloned() else {
        return Ok(None);
    };
    let exhausted = exhausted(session, &selected)?;
    let Some((rejected, cause)) = session.state().passed_over(exhausted.as_deref()) else {
        return Ok(None);
    };
    let on_record = judge(session, &rejected, &cause)?;
    Ok(Some(on_record.going_back(&rejected, running)))
}

/// The place that the loader reads, if the entry of `subject` is there and has no tries left.
fn exhausted(session: &Session, subject: &Subject) -> Result<Option<PathBuf>, Error> {
    let boot = session.view.boot()?;
    let stem = boot_entries::name::stem_of(subject);
    let mut tries = boot.files_of(&stem).map(|(_, file)| file.name.tries);
    let is_exhausted = tries.any(|tries| tries.is_some_and(|tries| tries.left == 0));
    Ok(is_exhausted.then(|| boot.place.name.clone()))
}
