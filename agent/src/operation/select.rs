//! `lastgood install`: entries for all generations, one of them selected for the next boot.
//!
//! ```text
//! Asked ──▶ Ready ──▶ Recorded ──▶ Written ──▶ Kept ──▶ armed: Selected
//! is it     plans,    the store    the         roots,   the ledger knows
//! allowed?  proven    is flushed,  entries     secrets  where the entries
//!                     the ledger                        say so
//!                     says it
//! ```
//!
//! Each is made of the one before it, so that nobody can leave one out. A crash anywhere leaves a machine that comes
//! back, and the next run finishes the work.

mod asked;
mod closure;
mod dry_run;
mod readiness;
mod written;

use boot_entries::Root;
use boot_entries::systemd_boot::Policy;
use systemd_boot_model::Override;

use crate::entries::{Ready, initrds, overrides, prepare};
use crate::error::Error;
use crate::session::Session;

use asked::Asked;
pub use asked::Request;
pub(super) use asked::find;
pub use closure::check as check_closure;
pub use dry_run::{WouldSelect, would_select};
use written::Recorded;
pub use written::Selected;

/// Selects a generation.
///
/// # Errors
/// When it is refused: then nothing has changed. When something fails half-way: then running it again finishes the
/// work, and what was proven boots meanwhile.
pub fn select(root: &Root, request: &Request<'_>) -> Result<Selected, Error> {
    let mut session = Session::open(root)?;
    super::switch::refuse_while_one_is_open(&session)?;
    select_in(&mut session, request)
}

/// The same for whoever has the right to change things already.
///
/// # Errors
/// As [`select`].
pub(super) fn select_in(session: &mut Session, request: &Request<'_>) -> Result<Selected, Error> {
    let asked = Asked::of(session, request)?;
    let ready = make_ready(session, &asked)?;
    let recorded = Recorded::of(session, asked, ready)?;
    let written = recorded.write(session)?;
    let kept = written.keep(session)?;
    kept.arm(session)
}

/// Whether that would be granted, now: everything up to the record is done, and nothing is changed.
///
/// # Errors
/// As [`select`].
pub(super) fn could_select(session: &mut Session, request: &Request<'_>) -> Result<(), Error> {
    let asked = Asked::of(session, request)?;
    make_ready(session, &asked).map(drop)
}

/// Plans what is asked for, and proves that the machine comes back with it. Runs the closures' programs that finish
/// initrds, and changes nothing else.
fn make_ready(session: &mut Session, asked: &Asked) -> Result<(Ready, Vec<Override>), Error> {
    let unfinished = initrds::finish(&session.view, &asked.subject)?;
    plan(session, asked, &unfinished)
}

/// [`make_ready`] without running any program.
fn plan(
    session: &mut Session,
    asked: &Asked,
    unfinished: &initrds::Unfinished,
) -> Result<(Ready, Vec<Override>), Error> {
    let overrides = overrides::leave_out(&mut session.view, &asked.state)?;
    let view = &session.view;
    let prepared = prepare(view, &asked.state, Policy::Update, unfinished)?;
    prepared.starts_under_secure_boot(view, &asked.subject)?;
    let ready = prepared.prove(view, &asked.subject)?;
    Ok((ready, overrides))
}
