//! The entries as verdicts have it: counters and ranks, and no further.

use boot_entries::apply::no_room;
use boot_entries::boot_partition::Place;
use boot_entries::entry::EntryFile;
use boot_entries::observe::BootFiles;
use boot_entries::progress::Progress;
use boot_entries::step::Step;
use boot_entries::{apply, plan, sums};

use super::ready::may_be_written;
use super::{intent, once};
use crate::error::Error;
use crate::report::line::one_line;
use crate::view::{View, damage_of};

/// Brings the entries to what the ledger says of verdicts, counters and ranks, and no further, with the selected
/// generation's `counter` as said: it reads and writes no
/// payload, so that neither a full disk nor a slow one stands in a verdict's way.
///
/// # Errors
/// When that cannot be done where the loader reads next.
pub fn write_verdict(view: &View, counter: plan::Counter) -> Result<(), Error> {
    let mut places = view.places(&view.state)?;
    let generations = view.generations();
    let intent = plan::Intent {
        counter,
        ..intent::of(view, &view.state)
    };
    let mut outcome = Ok(());
    if !places.has_next && !places.unusable.is_empty() {
        outcome = Err(places.unusable.remove(0).into());
    }
    // A verdict is worth trying everywhere, whatever failed elsewhere.
    for (number, place) in places.usable.iter().enumerate() {
        let written = BootFiles::read(place)
            .map_err(Error::from)
            .and_then(|boot| {
                let mut is_whole = |file: &EntryFile| {
                    let mut digests = view.digests();
                    damage_of(place, file, &mut digests).is_none()
                };
                let steps = plan::verdict(&boot, &generations, &intent, &mut is_whole)?;
                may_be_written(place, &steps)?;
                let told = |progress: Progress<'_>| {
                    if let Progress::Step(step) = progress {
                        tracing::info!("{step}");
                    }
                };
                let made = apply::apply(place, &steps, &sums::Known::default(), told);
                if made.is_err() {
                    demote_all(place, &steps);
                }
                Ok(made?)
            });
        match written {
            Ok(()) => {}
            Err(error) if number == 0 && places.has_next => outcome = Err(error),
            Err(error) => tracing::error!("{}: {}", place.name.display(), one_line(&error)),
        }
    }
    if outcome.is_ok() {
        once::written(view);
    }
    outcome
}

/// What cannot be written for want of room, say, is passed over by its name at least. It is no verdict that was written all
/// the same: the firmware is asked as well, and the next run goes on.
fn demote_all(place: &Place, steps: &[Step]) {
    for demotion in no_room::demotions(steps) {
        match no_room::demote(place, &demotion) {
            Ok(()) => tracing::warn!("renamed {} to {}", demotion.from.join(", "), demotion.to),
            Err(error) => tracing::error!("{}", one_line(&error)),
        }
    }
}
