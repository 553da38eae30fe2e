//! Is everything that a boot needs where the loader reads it, byte for byte? And if not, made so.

use boot_entries::systemd_boot::Policy;
use systemd_boot_model::Override;

use crate::entries::initrds::Unfinished;
use crate::entries::{
    Complaints, Inspected, Prepared, carry_out, inspect_without_record, prepare, prepare_anew,
};
use crate::error::Error;
use crate::session::Session;
use crate::view::LostRecord;

/// What was found, and made good.
#[derive(Debug)]
pub struct Inspection {
    /// What was found in each place.
    pub places: Vec<Inspected>,
    /// What the firmware would choose over the order of the entries.
    pub overrides: Vec<Override>,
    /// The first of these that does harm with the loader that is there.
    pub harmful: Option<Override>,
    /// Generations that a fallback may need and that cannot be booted, and what the firmware refuses to start for want
    /// of a signature, a line each.
    pub missed: Vec<String>,
    /// Nothing is on record of what should be there, so that only what entries point at was looked at.
    pub lost_record: Option<LostRecord>,
    /// Places that could not be looked at or repaired, and why.
    pub complaints: Complaints,
}

/// Brings what the ledger asks for on `$BOOT`: missing and damaged payload, the loader; and removes what is no longer
/// needed. It comes after verdicts are carried through ([`super::on_record`], which keeps roots too), so that nothing
/// here stands in their way.
///
/// # Errors
/// The first of what cannot be done. All that can be done is.
pub fn repair(session: &Session) -> Result<(), Error> {
    if session.state().uninstalled {
        return Ok(());
    }
    // A boot brings no other loader: whoever selects a closure does.
    let view = &session.view;
    let prepared = prepare(view, &view.state, Policy::Mend, &Unfinished::default());
    let prepared = prepared.inspect(|prepared| {
        for line in prepared.refused() {
            tracing::warn!("{line}");
        }
    });
    carry_out(view, prepared.and_then(Prepared::without_proof)?)?
        .complaints
        .into_result()
}

/// Reads everything that a boot needs, and repairs it if `and_repair`.
///
/// # Errors
/// When there is nothing to look for, or places cannot be told.
pub fn inspect(session: &Session, and_repair: bool) -> Result<Inspection, Error> {
    let view = &session.view;
    let overrides = systemd_boot_model::overrides(&view.variables);
    // Which entries there should be is not known then, so nothing is repaired.
    if let Some(lost) = view.lost_record() {
        let (places, complaints) = inspect_without_record(view)?;
        return Ok(Inspection {
            places,
            overrides,
            harmful: None,
            missed: Vec::new(),
            lost_record: Some(lost),
            complaints,
        });
    }
    was_installed(session)?;
    let mut prepared = prepare_anew(view)?;
    let mut places = prepared.inspected();
    prepared.look_ahead(view);
    let mut missed = prepared.missed();
    missed.extend_from_slice(prepared.refused());
    let complaints = if and_repair && places.iter().any(|place| place.left() > 0) {
        let complaints = carry_out(view, prepared.without_proof()?)?.complaints;
        // What became of it is what a second look says, not what was meant.
        for after in prepare_anew(view)?.inspected() {
            if let Some(place) = places.iter_mut().find(|place| place.name == after.name) {
                place.look_again(after);
            }
        }
        complaints
    } else {
        prepared.complaints
    };
    let first = view.places(&view.state)?.usable.into_iter().next();
    // One that cannot be told is among the complaints.
    let release = first.and_then(|place| view.release(&place).ok());
    let is_harmful = |one: &&Override| release.is_some_and(|release| one.is_harmful(release));
    let harmful = overrides.iter().find(is_harmful).cloned();
    Ok(Inspection {
        places,
        overrides,
        harmful,
        missed,
        lost_record: None,
        complaints,
    })
}

/// Where nothing is ours, nothing is to be repaired: writing it for the first time is what `install` is for.
fn was_installed(session: &Session) -> Result<(), Error> {
    let state = session.state();
    let since = if state.uninstalled {
        " since `lastgood uninstall`"
    } else if state.selected.is_none() && state.proven.is_empty() {
        " yet"
    } else {
        return Ok(());
    };
    Err(Error::Refused(format!(
        "nothing of ours is on $BOOT{since}; `lastgood install` comes first"
    )))
}
