//! The order of the menu.

use std::cell::OnceCell;
use std::cmp::Ordering;

use crate::listed::Listed;
use crate::release::ReleaseRange;
use crate::version;

/// Places of `entries` (which are in the directory's order) in the order of the menu.
///
/// Where no two entries are alike there is one order, and any way leads to it.
pub(crate) fn menu(entries: &[Listed], release: ReleaseRange) -> Vec<usize> {
    let items: Vec<Item<'_>> = entries
        .iter()
        .map(|listed| Item::new(listed, release))
        .collect();
    let menu = insert(&items, |menu, new| {
        menu.partition_point(|old| old.item.compare(new).is_le())
    });
    let is_before = |a: &Placed<'_>, b: &Placed<'_>| a.item.compare_names(b.item).is_lt();
    let menu = if menu.is_sorted_by(is_before) {
        menu
    } else {
        insert(&items, |menu, new| as_the_loader(menu, new))
    };
    menu.into_iter().map(|placed| placed.at).collect()
}

/// An entry's place in the directory's order. It is small: half of a menu is moved for each new entry.
#[derive(Clone, Copy)]
struct Placed<'a> {
    at: usize,
    item: &'a Item<'a>,
}

fn insert<'a>(
    items: &'a [Item<'a>],
    place: impl Fn(&[Placed<'a>], &Item<'a>) -> usize,
) -> Vec<Placed<'a>> {
    let mut menu = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        menu.insert(place(&menu, item), Placed { at, item });
    }
    menu
}

/// The loader looks for the place of a new entry from the end. Where its comparison is no order (a counted and an
/// uncounted file of one id, from 258 on), only the same steps give the same result.
fn as_the_loader(menu: &[Placed<'_>], new: &Item<'_>) -> usize {
    let is_before = |old: &Placed<'_>| old.item.compare(new).is_le();
    menu.iter()
        .rposition(is_before)
        .map_or(0, |place| place + 1)
}

/// An entry, and what it is compared by where all else is equal.
pub(crate) struct Item<'a> {
    listed: &'a Listed,
    release: ReleaseRange,
    /// Few are asked for: most entries differ before.
    id: OnceCell<String>,
}

impl<'a> Item<'a> {
    pub(crate) fn new(listed: &'a Listed, release: ReleaseRange) -> Self {
        Self {
            listed,
            release,
            id: OnceCell::new(),
        }
    }

    fn id(&self) -> &str {
        let id = || self.listed.id_without_profile(self.release);
        self.id.get_or_init(id)
    }

    /// Who is listed first.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let (a, b) = (self.listed, other.listed);
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
        self.compare_names(other)
            .then_with(by_profile)
            .then_with(by_tries)
    }

    /// [`Self::compare`] by all that every entry has: an order, in which entries may have the same place.
    fn compare_names(&self, other: &Self) -> Ordering {
        let (a, b) = (self.listed, other.listed);
        let by_key = || match (&a.entry.sort_key, &b.entry.sort_key) {
            (Some(key_a), Some(key_b)) => key_a
                .cmp(key_b)
                .then_with(|| a.entry.machine_id.cmp(&b.entry.machine_id))
                .then_with(|| newest_first(a.entry.version.as_deref(), b.entry.version.as_deref()))
                .then_with(|| {
                    let places = (place(a, self.release), place(b, self.release));
                    places.0.cmp(&places.1)
                }),
            (a, b) => a.is_none().cmp(&b.is_none()),
        };
        a.is_bad()
            .cmp(&b.is_bad())
            .then_with(by_key)
            .then_with(|| newest_first(Some(self.id()), Some(other.id())))
    }
}

/// Where profiles have an order. What stands for "the one that the image itself would take" counts as the first.
fn place(listed: &Listed, release: ReleaseRange) -> u32 {
    match listed.profile {
        u32::MAX => 0,
        profile if release.orders_profiles() => profile,
        _ => 0,
    }
}

fn newest_first(a: Option<&str>, b: Option<&str>) -> Ordering {
    version::compare(b.unwrap_or_default(), a.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::listed;

    /// Every sequence of up to four of entries that are alike in all ways there are.
    #[test]
    fn the_menu_is_as_the_loader_makes_it() {
        let files = [
            ("a.conf", None, ""),
            ("a+1.conf", None, ""),
            ("a+2-1.conf", None, ""),
            ("A+1-1.conf", None, ""),
            ("a+0-1.conf", None, ""),
            ("7.conf", Some("k"), "1"),
            ("007+3.conf", Some("k"), "01"),
            ("07+2.conf", Some("k"), "1"),
            ("b.conf", Some("j"), "2"),
        ];
        let all: Vec<Listed> = files
            .into_iter()
            .map(|(file, key, version)| listed(file, key, version))
            .collect();
        let mut sequences: Vec<Vec<Listed>> = vec![Vec::new()];
        let mut from = 0;
        for _ in 0..4 {
            let until = sequences.len();
            for at in from..until {
                for one in &all {
                    let mut longer = sequences[at].clone();
                    longer.push(one.clone());
                    sequences.push(longer);
                }
            }
            from = until;
        }
        let mut differ = 0;
        for entries in &sequences {
            for release in [ReleaseRange::V252, ReleaseRange::V258_1, ReleaseRange::V260] {
                let items = entries.iter().map(|listed| Item::new(listed, release));
                let items: Vec<Item<'_>> = items.collect();
                let places = |menu: Vec<Placed<'_>>| -> Vec<usize> {
                    menu.into_iter().map(|placed| placed.at).collect()
                };
                let slow = places(insert(&items, as_the_loader));
                assert_eq!(menu(entries, release), slow, "{release:?} {entries:?}");
                let quick = insert(&items, |menu, new| {
                    menu.partition_point(|old| old.item.compare(new).is_le())
                });
                differ += usize::from(places(quick) != slow);
            }
        }
        assert!(
            differ > 0,
            "only where comparing is no order does the way matter"
        );
    }

    /// What [`menu`] relies on. Ordered one by one, all of them must stand in order to each other.
    #[test]
    fn versions_have_an_order() {
        let letters = ["", "a", "b", "0", "1", "~", "-", "^", ".", "_"];
        let mut texts = Vec::new();
        for a in letters {
            for b in letters {
                for c in letters {
                    texts.push(format!("{a}{b}{c}"));
                }
            }
        }
        texts.sort_by(|a, b| version::compare(a, b));
        for (at, old) in texts.iter().enumerate() {
            let rest = texts.iter().skip(at);
            for new in rest {
                assert!(version::compare(old, new).is_le(), "{old:?} {new:?}");
                assert!(version::compare(new, old).is_ge(), "{old:?} {new:?}");
            }
        }
    }
}
