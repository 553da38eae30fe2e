//! The order of the menu.

use std::cmp::Ordering;

use super::{Band, Listed, version};

/// Places of `entries` (which are in the directory's order) in the order of the menu.
///
/// Sorted by insertion, as the loader does it: where its comparison is no order (a counted and an uncounted file of one
/// id, from 258 on), only the same steps give the same result.
pub(super) fn menu(entries: &[Listed], band: Band) -> Vec<usize> {
    let mut menu: Vec<(usize, Item<'_>)> = Vec::with_capacity(entries.len());
    for (at, listed) in entries.iter().enumerate() {
        let new = Item::new(listed, band);
        let is_before = |(_, old): &(usize, Item<'_>)| old.compare(&new).is_le();
        let place = menu
            .iter()
            .rposition(is_before)
            .map_or(0, |place| place + 1);
        menu.insert(place, (at, new));
    }
    menu.into_iter().map(|(at, _)| at).collect()
}

/// An entry, and what it is compared by where all else is equal.
pub(super) struct Item<'a> {
    listed: &'a Listed,
    band: Band,
    id: String,
}

impl<'a> Item<'a> {
    pub(super) fn new(listed: &'a Listed, band: Band) -> Self {
        let id = listed.id_without_profile(band);
        Self { listed, band, id }
    }

    /// Who is listed first.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let (a, b) = (self.listed, other.listed);
        let by_key = || match (&a.entry.sort_key, &b.entry.sort_key) {
            (Some(key_a), Some(key_b)) => key_a
                .cmp(key_b)
                .then_with(|| a.entry.machine_id.cmp(&b.entry.machine_id))
                .then_with(|| newest_first(a.entry.version.as_deref(), b.entry.version.as_deref()))
                .then_with(|| {
                    let places = (place(a, self.band), place(b, self.band));
                    places.0.cmp(&places.1)
                }),
            (a, b) => a.is_none().cmp(&b.is_none()),
        };
        // Only where both are further profiles: of the first one nothing is known but its id.
        let by_profile = || match (a.is_further_profile(), b.is_further_profile()) {
            (true, true) => a.profile.cmp(&b.profile),
            _ => Ordering::Equal,
        };
        let by_tries = || match (a.name.tries, b.name.tries) {
            (Some(a), Some(b)) => b
                .left
                .cmp(&a.left)
                .then(a.done.unwrap_or(0).cmp(&b.done.unwrap_or(0))),
            _ => Ordering::Equal,
        };
        a.is_bad()
            .cmp(&b.is_bad())
            .then_with(by_key)
            .then_with(|| newest_first(Some(&self.id), Some(&other.id)))
            .then_with(by_profile)
            .then_with(by_tries)
    }
}

/// Where profiles have an order. What stands for "the one that the image itself would take" counts as the first.
fn place(listed: &Listed, band: Band) -> u32 {
    match listed.profile {
        u32::MAX => 0,
        profile if band.orders_profiles() => profile,
        _ => 0,
    }
}

fn newest_first(a: Option<&str>, b: Option<&str>) -> Ordering {
    version::compare(b.unwrap_or_default(), a.unwrap_or_default())
}
