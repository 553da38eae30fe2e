//! Whose an entry is. Several systems may have lastgood on one `$BOOT`: a rescue system, a second root.
//!
//! Names tell generations apart and not systems, so each system marks what it writes, by a comment: the loader passes
//! it over. What bears another system's mark is foreign.

use std::borrow::Borrow;
use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::entry::EntryFile;
use crate::name::OurName as _;

/// What the line begins with.
const MARK: &str = "# lastgood ";
/// How many systems there may be on one `$BOOT` is no question of these.
const DIGITS: usize = 8;

/// The text that stands for one that cannot be read. It says nothing, and not whose it is.
pub const UNREADABLE: &str = "# unreadable\n";

/// What a system is known by, to others on its `$BOOT` and nowhere else: eight hexadecimal digits that mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Owner(String);

impl Owner {
    /// The owner in the mark of an entry with this text. None: there is no mark.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        // Nearly no entry has another line that begins so.
        text.match_indices('#').find_map(|(at, _)| {
            let (before, rest) = text.split_at_checked(at)?;
            if !(before.is_empty() || before.ends_with('\n')) {
                return None;
            }
            rest.lines().next()?.strip_prefix(MARK)?.parse().ok()
        })
    }

    /// The line that says so.
    #[must_use]
    pub fn mark(&self) -> String {
        [MARK, &self.0, "\n"].concat()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not {DIGITS} hexadecimal digits")]
pub struct NoOwner(String);

impl FromStr for Owner {
    type Err = NoOwner;

    fn from_str(text: &str) -> Result<Self, NoOwner> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == DIGITS && text.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoOwner(text.to_owned()))
        }
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.0
    }
}

impl TryFrom<String> for Owner {
    type Error = NoOwner;

    fn try_from(text: String) -> Result<Self, NoOwner> {
        text.parse()
    }
}

/// What a system knows about its marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// What it marks entries with. None: it has not begun to.
    pub owner: Option<Owner>,
    /// It has written none without. Else one without a mark may be its own, from before there were marks.
    pub marks_all: bool,
}

impl Ownership {
    /// The line to end an entry with.
    #[must_use]
    pub fn mark(&self) -> String {
        self.owner.as_ref().map_or_else(String::new, Owner::mark)
    }

    /// Whether what bears this mark, or none, is this system's.
    #[must_use]
    pub fn has(&self, mark: Option<&Owner>) -> bool {
        match mark {
            Some(_) => mark == self.owner.as_ref(),
            None => !self.marks_all,
        }
    }

    /// Whether an entry that is named as ours are is another system's. `is_ours` says whether a stem is that of one of
    /// this system's generations: their entries are ours whatever they bear, because the record of our mark may be
    /// lost. An entry that names no program was left by a power cut and may be removed.
    pub fn is_other_systems(&self, file: &EntryFile, is_ours: impl FnOnce(&str) -> bool) -> bool {
        let is_named_so = file.name.is_ours() || file.name.is_stand_in();
        let starts_something = file.entry.linux.is_some() || file.entry.efi.is_some();
        let may_start_something = starts_something || file.text == UNREADABLE;
        is_named_so
            && may_start_something
            && !self.has(Owner::of_text(&file.text).as_ref())
            && !is_ours(&file.name.stem)
    }

    /// [`Self::is_other_systems`] for many files. `stems` is called once at most: it is only asked about an entry whose
    /// mark is not ours.
    pub fn other_systems<S: Ord + Borrow<str>>(
        self,
        stems: impl FnOnce() -> BTreeSet<S>,
    ) -> impl Fn(&EntryFile) -> bool {
        let stems = LazyCell::new(stems);
        move |file| self.is_other_systems(file, |stem| stems.contains(stem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use systemd_boot_model::{Entry, EntryName, Partition};

    #[test]
    fn what_is_ours_by_name_is_asked_for_once_and_only_in_doubt() {
        let file = |mark: &str| EntryFile {
            on: Partition::Boot,
            name: EntryName::parse("lastgood-1-0123abcd.conf").unwrap(),
            entry: Entry::parse("linux /l\n"),
            text: format!("linux /l\n{mark}"),
            has_program: true,
        };
        let asked = std::cell::Cell::new(0);
        let ownership = Ownership {
            owner: Some("0123abcd".parse().unwrap()),
            marks_all: true,
        };
        let is_other_systems = ownership.other_systems(|| {
            asked.set(asked.get() + 1);
            BTreeSet::from(["lastgood-2-0123abcd"])
        });
        assert!(!is_other_systems(&file("# lastgood 0123abcd\n")));
        assert_eq!(asked.get(), 0);
        for _ in 0..3 {
            assert!(is_other_systems(&file("# lastgood 89abcdef\n")));
        }
        assert_eq!(asked.get(), 1);
    }
    #[test]
    fn a_mark_is_found_where_it_was_put_and_no_part_of_what_is_started() {
        let owner: Owner = "0123abcd".parse().unwrap();
        let entry =
            Entry::parse("title lastgood 89abcdef\nlinux /l\noptions # lastgood 89abcdef\n");
        let text = format!("{entry}{}", owner.mark());
        assert_eq!(Owner::of_text(&entry.to_string()), None);
        assert_eq!(Owner::of_text(&text), Some(owner));
        assert_eq!(Entry::parse(&text), entry);
        for text in ["# x\n# lastgood 0123abcd\r\n", "a#b\n# lastgood 0123abcd"] {
            assert!(Owner::of_text(text).is_some(), "{text}");
        }
        for text in [
            " # lastgood 0123abcd",
            "\r# lastgood 0123abcd",
            "# lastgood 0123ABCD",
            "# lastgood",
            "# lastgood 0123abcd0",
            "",
        ] {
            assert_eq!(Owner::of_text(text), None, "{text}");
        }
    }
}
