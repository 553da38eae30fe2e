//! What an entry's file is called: an id, and the loader's counter.
//!
//! Boot Loader Specification (UAPI.1), "Boot counting": `NAME[+LEFT[-DONE]].conf`.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::generation::Subject;
use crate::payload::Digest;

/// How often a trial may be started before the loader passes it over.
pub const TRIES: u32 = 3;

/// Entry files end so, and no temporary file of ours does.
const SUFFIX: &str = ".conf";
/// Unified kernel images end so, and carry counters like entry files.
const IMAGE_SUFFIX: &str = ".efi";
/// Ours start so: `$BOOT` is shared.
const PREFIX: &str = "lastgood-";
/// What the stem of a stand-in begins with. No generation's does: a number follows there.
const BEFORE: &str = "lastgood-before-";

/// The counter in an entry's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Boots the loader will still grant. 0: the entry is bad, and sorts last.
    pub left: u32,
    /// Boots it has granted so far. None: not written, which means none.
    pub done: Option<u32>,
}

impl Tries {
    /// A new trial: `+3-0`. One digit each: the loader's rename then never needs a longer name on FAT, and it is
    /// the only form that keeps its length under every version of systemd-boot.
    pub const ARMED: Self = Self {
        left: TRIES,
        done: Some(0),
    };

    /// The counter as the loader leaves it when it starts the entry.
    #[must_use]
    pub fn after_a_boot(self) -> Self {
        Self {
            left: self.left.saturating_sub(1),
            done: Some(self.done.unwrap_or(0).saturating_add(1)),
        }
    }

    /// A counter that says "bad" and still tells how many boots were granted (one digit, see [`Self::ARMED`]).
    #[must_use]
    pub fn used_up(self) -> Self {
        Self {
            left: 0,
            done: Some(self.done.unwrap_or(0).clamp(1, 9)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (left, done) = match text.split_once('-') {
            Some((left, done)) => (left, Some(digits(done)?)),
            None => (text, None),
        };
        Some(Self {
            left: digits(left)?,
            done,
        })
    }
}

/// Decimal digits and nothing else: `str::parse` alone would take a sign. The loader takes what is more than its `int` can
/// hold for no counter at all.
fn digits(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
        .filter(|number| *number <= i32::MAX.unsigned_abs())
}

/// An entry's file name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName {
    /// The name without counter and `.conf`.
    pub stem: String,
    /// The counter; None for an entry that is not counted: proven, or not ours.
    pub tries: Option<Tries>,
}

impl EntryName {
    /// Reads a file name the way systemd-boot does. None: the loader does not look at such a file. (Of what begins with
    /// `AUTO-` some look at all but `auto-`.)
    #[must_use]
    pub fn parse(file: &str) -> Option<Self> {
        Self::before(SUFFIX, file)
    }

    /// The same for the name of a unified kernel image.
    #[must_use]
    pub fn of_image(file: &str) -> Option<Self> {
        Self::before(IMAGE_SUFFIX, file)
    }

    fn before(ending: &str, file: &str) -> Option<Self> {
        let at = file.len().checked_sub(ending.len())?;
        let (whole, suffix) = (file.get(..at)?, file.get(at..)?);
        if !suffix.eq_ignore_ascii_case(ending)
            || file.starts_with('.')
            || file.starts_with("auto-")
        {
            return None;
        }
        // Only what follows the last `+` can be a counter; anything else is part of the name.
        let counted = whole
            .rsplit_once('+')
            .and_then(|(stem, text)| Some((stem, Tries::parse(text)?)));
        let (stem, tries) = match counted {
            Some((stem, tries)) => (stem, Some(tries)),
            None => (whole, None),
        };
        Some(Self {
            stem: stem.to_owned(),
            tries,
        })
    }

    /// What the file of an image of this name is called.
    #[must_use]
    pub fn image_file(&self) -> String {
        format!("{}{IMAGE_SUFFIX}", self.without_suffix())
    }

    fn without_suffix(&self) -> String {
        match self.tries {
            Some(Tries { left, done: None }) => format!("{}+{left}", self.stem),
            Some(Tries {
                left,
                done: Some(done),
            }) => format!("{}+{left}-{done}", self.stem),
            None => self.stem.clone(),
        }
    }

    /// Whether the file is ours to change: `lastgood-NUMBER-HASH`, with or without a counter.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.generation_number().is_some()
    }

    /// Whether the file is a stand-in of ours: an entry that starts what a predecessor's started, until a generation is
    /// proven.
    #[must_use]
    pub fn is_stand_in(&self) -> bool {
        self.tries.is_none() && self.stem.strip_prefix(BEFORE).is_some_and(is_hash)
    }

    /// The generation number in a name of ours.
    #[must_use]
    pub fn generation_number(&self) -> Option<u64> {
        let (number, hash) = self.stem.strip_prefix(PREFIX)?.split_once('-')?;
        // `007` and `+7` are not how we write a number.
        let parsed = number.parse::<u64>().ok();
        parsed.filter(|n| is_hash(hash) && n.to_string() == number)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SUFFIX}", self.without_suffix())
    }
}

const HASH_DIGITS: usize = 8;

fn is_hash(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == HASH_DIGITS && text.bytes().all(hex)
}

/// The name of the stand-in whose text has the SHA-256 `hash`, in hexadecimal digits: another text is another file.
pub(crate) fn stand_in_of(hash: &str) -> EntryName {
    let hash = hash.get(..HASH_DIGITS).unwrap_or_default();
    EntryName {
        stem: format!("{BEFORE}{hash}"),
        tries: None,
    }
}

/// The stem of a generation's entry: its number for people, and a hash over profile, number, closure and
/// specialisation, because a number can come back with another closure, and two profiles have the same numbers. A
/// specialisation's name is nowhere but in the hash: it may be of any length and hold anything, a counter too.
///
/// Nothing that changes without the generation changing is in it: no date, no machine id, no verdict.
#[must_use]
pub fn stem_of(subject: &Subject) -> String {
    let id = &subject.generation;
    let mut hash = Sha256::new();
    hash.update(id.link_name());
    hash.update([0]);
    hash.update(subject.toplevel.as_os_str().as_encoded_bytes());
    if let Some(name) = id.specialisation() {
        hash.update([0]);
        hash.update(name);
    }
    let mut stem = format!("{PREFIX}{}-", id.number());
    stem.extend(Digest::from(hash).digits().take(HASH_DIGITS));
    stem
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counters_are_trailing_and_decimal() {
        let tries = |file: &str| EntryName::parse(file).map(|name| (name.stem, name.tries));
        let some = |stem: &str, left, done| Some((stem.to_owned(), Some(Tries { left, done })));
        assert_eq!(tries("a+3-0.conf"), some("a", 3, Some(0)));
        assert_eq!(tries("a+3.conf"), some("a", 3, None));
        assert_eq!(tries("a+b+0-12.CONF"), some("a+b", 0, Some(12)));
        assert_eq!(tries("a+2147483647.conf"), some("a", 2_147_483_647, None));
        for plain in [
            "a",
            "a+",
            "a+x",
            "a+3-",
            "a+-3",
            "a+3-1-",
            "a+3 ",
            "+",
            "a+2147483648",
            "a+3-2147483648",
        ] {
            assert_eq!(
                tries(&format!("{plain}.conf")),
                Some((plain.to_owned(), None))
            );
        }
        for unseen in ["a.conf.part", ".a.conf", "auto-x.conf", "conf", ""] {
            assert_eq!(tries(unseen), None, "{unseen}");
        }
    }

    #[test]
    fn ours_and_not_ours() {
        let ours = |file: &str| EntryName::parse(file).is_some_and(|name| name.is_ours());
        assert!(ours("lastgood-3-0123abcd+3-0.conf"));
        assert!(ours("lastgood-3-0123abcd.conf"));
        assert!(ours("lastgood-5000000000-0123abcd.conf"));
        for foreign in [
            "lastgood-3.conf",
            "lastgood-3-0123ABCD.conf",
            "nixos-3-0123abcd.conf",
            "lastgood-x-0123abcd.conf",
            "lastgood-007-0123abcd.conf",
            "lastgood-+3-0123abcd.conf",
        ] {
            assert!(!ours(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_trial_counts_down_without_growing() {
        let mut name = EntryName {
            stem: "a".to_owned(),
            tries: Some(Tries::ARMED),
        };
        let mut seen = vec![name.to_string()];
        for _ in 0..3 {
            name.tries = name.tries.map(Tries::after_a_boot);
            seen.push(name.to_string());
        }
        assert_eq!(
            seen,
            ["a+3-0.conf", "a+2-1.conf", "a+1-2.conf", "a+0-3.conf"]
        );
    }

    fn subject(id: &str, toplevel: &str) -> Subject {
        Subject {
            generation: id.parse().unwrap(),
            toplevel: toplevel.into(),
        }
    }

    #[test]
    fn every_subject_has_a_name_of_its_own() {
        let stems: Vec<String> = [
            ("3", "/nix/store/a"),
            ("3", "/nix/store/b"),
            ("web:3", "/nix/store/a"),
            ("3/x", "/nix/store/a"),
            ("3/y", "/nix/store/a"),
            ("3/x", "/nix/store/b"),
        ]
        .map(|(id, toplevel)| stem_of(&subject(id, toplevel)))
        .to_vec();
        for (at, stem) in stems.iter().enumerate() {
            assert!(!stems[..at].contains(stem), "{at}: {stems:?}");
        }
        // What entries written by earlier versions are called.
        assert_eq!(stems[0], "lastgood-3-1e4380b3");
    }

    proptest! {
        #[test]
        fn any_specialisation_has_a_short_plain_name(name in "\\PC{1,300}") {
            let stem = stem_of(&subject(&format!("3/{name}"), "/nix/store/a"));
            let file = format!("{stem}+3-0.conf");
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-+.".contains(&b);
            prop_assert!(file.len() < 64 && file.bytes().all(plain), "{}", file);
            let parsed = EntryName::parse(&file).unwrap();
            prop_assert!(parsed.is_ours() && parsed.stem == stem);
        }

        #[test]
        fn printing_what_was_parsed_gives_the_file_name(file in "[a-z0-9+-]{0,6}(\\+[0-9]{0,3}(-[0-9]{0,3})?)?\\.conf") {
            if let Some(name) = EntryName::parse(&file) {
                // Leading zeros are the one thing that is not kept; the loader does not keep them either.
                if !file.contains("+0") && !file.contains("-0") {
                    prop_assert_eq!(name.to_string(), file);
                }
            }
        }
    }
}
