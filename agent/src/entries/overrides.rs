//! Variables of the firmware that would choose over the order of the entries.

use super::loader::of_interest;
use boot_entries::efi;
use systemd_boot_model::{Override, ReleaseRange};

use crate::error::Error;
use crate::report::line::one_line;
use crate::state::State;
use crate::system::bootctl::Bootctl;
use crate::view::View;

/// What the firmware would choose over the order of the entries and `state` allows to be cleared: from here on the run
/// goes on as if it were not there, and [`clear`] is to follow. What may not be cleared is told.
///
/// # Errors
/// When there is no place.
pub fn leave_out(view: &mut View, state: &State) -> Result<Vec<Override>, Error> {
    let mut harmful = systemd_boot_model::overrides(&view.variables);
    if harmful.is_empty() {
        return Ok(harmful);
    }
    let places = view.places(state)?;
    let first = places.usable.first();
    let release = first.map(|place| view.release(place).unwrap_or(ReleaseRange::V252));
    harmful.retain(|one| release.is_some_and(|release| one.is_harmful(release)));
    if !view.root.is_live() || !view.boot_config(state).can_touch_efi_variables {
        for one in harmful {
            tracing::warn!("{one}");
        }
        return Ok(Vec::new());
    }
    for one in &harmful {
        view.variables = view.variables.clone().without(one.variable);
    }
    Ok(harmful)
}

/// Clears these. One that is not cleared is told by whoever looks next.
pub fn clear(view: &mut View, overrides: &[Override], state: &State) {
    let bootctl = Bootctl::find(&view.root, of_interest(state));
    for one in overrides {
        match bootctl.clear(one.variable) {
            Ok(()) => tracing::warn!("cleared: {one}"),
            Err(error) => tracing::error!("{one}: {}", one_line(&error)),
        }
    }
    if !overrides.is_empty() {
        view.variables = efi::read(&view.root);
    }
}
