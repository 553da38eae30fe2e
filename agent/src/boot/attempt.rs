//! What every step opens with: the session, and this boot on record in it.

use boot_entries::Root;

use crate::error::Error;
use crate::session::Session;
use crate::state::Event;
use crate::system::command_line;
use crate::view::boot_id;

/// The right to change things, with this boot on record. Every step begins the boot if that has not been done: a step
/// must never take what the ledger knows of an earlier boot for this one.
pub(super) fn session(root: &Root) -> Result<Session, Error> {
    let mut session = Session::open_at_boot(root)?;
    if session.this_boot().is_some() {
        return Ok(session);
    }
    let closure = command_line::closure(root)?;
    let subject = closure
        .as_deref()
        .and_then(|closure| session.subject_of_closure(closure));
    session.record(&Event::Began {
        boot: boot_id(root)?,
        running: subject.clone(),
    })?;
    if subject.is_none() {
        let what = closure.map_or_else(
            || "this boot (no init=TOPLEVEL/init)".to_owned(),
            |closure| closure.display().to_string(),
        );
        tracing::warn!("{what} is no generation of any profile");
    }
    Ok(session)
}
