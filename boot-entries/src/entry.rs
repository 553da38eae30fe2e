//! An entry file on a place, anybody's; and where ours stand among each other.

use crate::GenerationId;
use systemd_boot_model::{Entry, EntryName, Partition};

/// What is longer is no entry, in bytes: ours are a page at most.
pub(crate) const LONGEST: u64 = 256 * 1024;

/// An entry file, anybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFile {
    /// Where it is. The loader reads both partitions.
    pub on: Partition,
    /// Its name, taken apart.
    pub name: EntryName,
    /// Its content as the loader understands it.
    pub entry: Entry,
    /// Its content to the letter.
    pub text: String,
    /// Whether what it starts is there: by its last `linux` or `efi` line, or where it has none, by its last `uki`
    /// line. (No loader takes a `uki` line beside one of the others.) An entry without is not listed.
    pub has_program: bool,
}

/// Where an entry stands among ours, encoded in its sort key.
///
/// systemd-boot has no portable way to say "boot this one unless it is bad" (`default` pins bad entries from
/// 257.10 and 258.1 on, `preferred` exists from 260 on), but every version sorts the same way and starts the first good
/// entry. So selection *is* order: each selection takes the next rank, and a higher rank sorts earlier. Below the
/// selected entry lies the last good one, which was selected before it, and needs no rewriting for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u32);

impl Rank {
    /// A specialisation that was never selected: it is there to be asked for, and no automatism's choice while there is
    /// any other.
    pub const SPECIALISATION: Self = Self(0);
    /// Never selected: after everything that was.
    pub const UNRANKED: Self = Self(1);
    /// Proven once and passed by since: above [`Self::UNRANKED`], below every selection.
    pub const PROVEN: Self = Self(2);
    /// The highest: six digits.
    pub const MAX: Self = Self(999_999);

    /// That of a generation that was never selected.
    #[must_use]
    pub fn unselected(id: &GenerationId) -> Self {
        match id.specialisation() {
            Some(_) => Self::SPECIALISATION,
            None => Self::UNRANKED,
        }
    }

    /// The next higher one; None at [`Self::MAX`].
    #[must_use]
    pub fn above(self) -> Option<Self> {
        (self < Self::MAX).then_some(Self(self.0 + 1))
    }

    /// The sort key: descending, fixed width, because the loader compares it as text and starts with the smallest.
    #[must_use]
    pub fn sort_key(self) -> String {
        format!("lastgood-{:06}", Self::MAX.0 - self.0)
    }

    /// The rank in a sort key of ours.
    #[must_use]
    pub fn of_sort_key(key: &str) -> Option<Self> {
        let digits = key.strip_prefix("lastgood-")?;
        // `+1` and `01` are not how we write a number.
        let is_ours = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let value: u32 = digits.parse().ok().filter(|_| is_ours)?;
        Self::MAX.0.checked_sub(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_rank_sorts_earlier() {
        let ranks = [
            Rank::SPECIALISATION,
            Rank::UNRANKED,
            Rank::PROVEN,
            Rank(3),
            Rank(9),
            Rank(10),
            Rank(99_999),
            Rank(100_000),
            Rank::MAX,
        ];
        for pair in ranks.windows(2) {
            assert!(pair[0].sort_key() > pair[1].sort_key(), "{pair:?}");
        }
        for rank in ranks {
            assert_eq!(Rank::of_sort_key(&rank.sort_key()), Some(rank));
        }
        for foreign in ["nixos", "lastgood-1", "lastgood-+00001", "lastgood-9999999"] {
            assert_eq!(Rank::of_sort_key(foreign), None, "{foreign}");
        }
        assert_eq!(Rank::MAX.above(), None);
    }
}
