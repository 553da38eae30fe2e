//! Gives `$BOOT` back, with something bootable on it, and then what else is lastgood's.

mod off_boot;

use boot_entries::{Root, durable, payload};
use systemd_boot_model::Partition;

use crate::entries::prediction::{self, Prediction};
use crate::entries::{Complaints, Prepared, Ready, carry_out, prepare_uninstall};
use crate::error::Error;
use crate::session::Session;
use crate::state::Event;
use crate::store::ledger;

pub use off_boot::OffBoot;

/// `$BOOT` is given back.
#[derive(Debug)]
pub struct Uninstalled {
    /// How many changes that took.
    pub changes: usize,
    /// What boots next. None: nothing, or nobody can tell.
    pub next: Option<Prediction>,
    /// The host is a NixOS one, and nothing in its `/etc` was touched.
    pub is_nixos: bool,
    /// Where it could not be done.
    pub complaints: Complaints,
}

/// What an uninstall would do. Changes nothing.
///
/// # Errors
/// When an uninstall would be refused.
pub fn would_uninstall(root: &Root) -> Result<(Ready, OffBoot), Error> {
    make_ready(&Session::look(root)?)
}

/// How many changes an uninstall would make.
///
/// # Errors
/// When an uninstall would be refused, or not everything can be looked at.
pub(super) fn what_is_left(session: &Session) -> Result<usize, Error> {
    let (ready, off_boot) = make_ready(session)?;
    let changes = changes(&ready, &off_boot);
    ready.into_complaints().into_result()?;
    Ok(changes)
}

fn changes(ready: &Ready, off_boot: &OffBoot) -> usize {
    ready.prepared().steps().count() + off_boot.lines().len()
}

fn make_ready(session: &Session) -> Result<(Ready, OffBoot), Error> {
    may_be_given_back(session)?;
    let view = &session.view;
    let ready = prepare_uninstall(view).and_then(Prepared::without_proof)?;
    let off_boot = OffBoot::look(view, ready.prepared().left().as_deref())?;
    Ok((ready, off_boot))
}

/// Gives `$BOOT` back, and the rest when nothing of it is needed to boot. The ledger is kept.
///
/// # Errors
/// When nothing could be left to boot; then nothing has changed. When a step fails in the first place; then running it
/// again goes on from there.
pub fn uninstall(root: &Root) -> Result<Uninstalled, Error> {
    let mut session = Session::open(root)?;
    let (ready, off_boot) = make_ready(&session)?;
    let changes = changes(&ready, &off_boot);
    let state = session.state();
    // On record before the first change: no step of a boot may write again what is about to go.
    if !state.uninstalled && (changes > 0 || state.selected.is_some()) {
        session.record(&Event::Uninstalled)?;
    }
    let places: Vec<_> = ready.prepared().places().cloned().collect();
    let mut done = carry_out(&session.view, ready)?;
    for place in &places {
        for on in [Partition::Esp, Partition::Boot] {
            durable::remove_empty_directory(&place.directory(on).join(payload::DIRECTORY))?;
        }
    }
    let is_nixos = off_boot.is_nixos;
    if let Err(error) = off_boot.carry_out(&session.view) {
        done.complaints.add(error);
    }
    // Which loader it is does not matter here.
    let next = prediction::predict(&session.view, 0).unwrap_or_default();
    Ok(Uninstalled {
        changes,
        next: next.into_iter().next(),
        is_nixos,
        complaints: done.complaints,
    })
}

/// What a newer agent has recorded may forbid it (invariant A13).
fn may_be_given_back(session: &Session) -> Result<(), Error> {
    let Some(what) = &session.state().bound_by else {
        return Ok(());
    };
    Err(Error::Refused(format!(
        "nothing is given back, because a record may forbid it that this lastgood does not know: {}, {what}; {}",
        ledger::PATH,
        ledger::RELEASE
    )))
}
