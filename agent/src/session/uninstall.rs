//! The way to a `$BOOT` without anything of ours.

use std::cell::OnceCell;
use std::iter;

use boot_entries::boot_partition::Place;
use boot_entries::digests::Digests;
use boot_entries::nixpkgs;
use boot_entries::observe::{self, Found, Observation};
use boot_entries::plan::{self, Intent};

use super::complaints::Complaints;
use super::entries::{Aim, Planned, Prepared};
use super::{Session, loader};
use crate::error::Error;
use crate::{digests_file, progress, secrets};

impl Session {
    /// Plans to give everything back, and changes nothing. The loader itself stays as it is.
    ///
    /// # Errors
    /// When the first place cannot be read, or its plan is refused.
    pub fn prepare_uninstall(&self) -> Result<Prepared, Error> {
        let mut places = self.places(&self.state)?;
        if !places.has_next && !places.unusable.is_empty() {
            return Err(places.unusable.remove(0).into());
        }
        let generations = self.generations();
        let initrds = secrets::finished(&self.root, &generations, &self.documents);
        let mut digests = digests_file::load(&self.root, self.listed.len());
        let _shown = progress::Shown;
        // Nobody reads it after us.
        digests.forget_boot();
        let found = observe::generations(
            &self.root,
            &generations,
            &initrds,
            &self.documents,
            &mut digests,
        );
        let intent = self.intent(&self.state, false);
        for doubt in &places.doubts {
            tracing::warn!("{doubt}");
        }
        let mut complaints = Complaints::new(places.unusable);
        let mut planned = Vec::new();
        let count = places.usable.len();
        let each = places.usable.into_iter().zip(iter::repeat_n(found, count));
        for (number, (place, found)) in each.enumerate() {
            match planned_in(&place, found, &intent, &mut digests) {
                Ok(one) => planned.push(Planned {
                    is_first: number == 0,
                    ..one
                }),
                Err(error) if number == 0 => return Err(error),
                Err(error) => complaints.in_place(false, &place, error),
            }
        }
        for note in planned.iter().flat_map(|planned| &planned.plan.notes) {
            tracing::warn!("{note}");
        }
        Ok(Prepared {
            planned,
            aim: Aim::WayOut,
            has_next: true,
            unsigned: Vec::new(),
            intent,
            needed: Vec::new(),
            digests,
            complaints,
        })
    }
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
        outlooks: OnceCell::new(),
    })
}
