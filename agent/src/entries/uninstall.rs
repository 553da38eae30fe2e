//! An uninstall, planned: a `$BOOT` without anything of ours.

use std::cell::OnceCell;

use boot_entries::boot_partition::Place;
use boot_entries::digests::Digests;
use boot_entries::nixpkgs;
use boot_entries::observe::{Found, Observation};
use boot_entries::plan::{self, Intent};

use super::initrds::Unfinished;
use super::intent;
use super::{Aim, Planned, Prepared, found, in_each, loader};
use crate::error::Error;
use crate::report::progress;
use crate::view::View;

/// Plans to give everything back, and changes nothing. The loader itself stays as it is.
///
/// # Errors
/// When the first place cannot be read, or its plan is refused.
pub fn prepare_uninstall(view: &View) -> Result<Prepared, Error> {
    let mut places = view.places(&view.state)?;
    if !places.has_next && !places.unusable.is_empty() {
        return Err(places.unusable.remove(0).into());
    }
    let _shown = progress::Shown;
    let mut digests = view.digests();
    // Nobody reads it after us.
    digests.forget_boot();
    let found = found(view, &view.state, &Unfinished::default(), &mut digests);
    let intent = intent::of(view, &view.state);
    let (planned, complaints) = in_each(places, found, Aim::Uninstall, |place, found| {
        planned_in(place, found, &intent, &mut digests)
    })?;
    for note in planned.iter().flat_map(|planned| &planned.plan.notes) {
        tracing::warn!("{note}");
    }
    Ok(Prepared {
        planned,
        aim: Aim::Uninstall,
        has_next: true,
        refused: Vec::new(),
        intent,
        needed: Vec::new(),
        digests,
        complaints,
    })
}

fn planned_in(
    place: &Place,
    found: Vec<Found>,
    intent: &Intent,
    digests: &mut Digests,
) -> Result<Planned, Error> {
    let mut observed = Observation::read(place, found, &[], digests)?;
    observed.measure();
    let theirs = nixpkgs::read_payload(place).map_err(|source| Error::Read {
        what: place.boot.join(nixpkgs::DIRECTORY).display().to_string(),
        source,
    })?;
    let plan = plan::uninstall(&observed, intent, &theirs)?;
    Ok(Planned {
        place: place.clone(),
        is_first: false,
        observed,
        plan,
        loader: loader::Planned::default(),
        proofs: OnceCell::new(),
    })
}
