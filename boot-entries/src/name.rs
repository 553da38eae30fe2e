//! What our entries are called, and what their names say.

use sha2::{Digest as _, Sha256};

use crate::generation::Subject;
use crate::payload::Digest;
use systemd_boot_model::{EntryName, Tries};

/// How often a trial may be started before the loader passes it over.
pub const TRIES: u32 = 3;

/// Ours start so: `$BOOT` is shared.
const PREFIX: &str = "lastgood-";
/// What the stem of a stand-in begins with. No generation's does: a number follows there.
const BEFORE: &str = "lastgood-before-";

/// A new trial: `+3-0`. One digit each: the loader's rename then never needs a longer name on FAT, and it is the only
/// form that keeps its length under every version of systemd-boot.
pub const ARMED: Tries = Tries {
    left: TRIES,
    done: Some(0),
};

/// A counter that says "bad" and still tells how many boots were granted (one digit, see [`ARMED`]).
#[must_use]
pub fn used_up(tries: Tries) -> Tries {
    Tries {
        left: 0,
        done: Some(tries.done.unwrap_or(0).clamp(1, 9)),
    }
}

/// A counter of which one boot does not count.
#[must_use]
pub fn one_more(tries: Tries) -> Tries {
    let left = tries.left.saturating_add(1).min(TRIES);
    Tries {
        left,
        done: Some(TRIES - left),
    }
}

/// What lastgood sees in the name of an entry file.
pub trait OurName {
    /// Whether the file is ours to change: `lastgood-NUMBER-HASH`, with or without a counter.
    fn is_ours(&self) -> bool;

    /// Whether the file is a stand-in of ours: an entry that starts what a predecessor's started, until a generation is
    /// proven.
    fn is_stand_in(&self) -> bool;

    /// The generation number in a name of ours.
    fn generation_number(&self) -> Option<u64>;
}

impl OurName for EntryName {
    fn is_ours(&self) -> bool {
        self.generation_number().is_some()
    }

    fn is_stand_in(&self) -> bool {
        self.tries.is_none() && self.stem.strip_prefix(BEFORE).is_some_and(is_hash)
    }

    fn generation_number(&self) -> Option<u64> {
        let (number, hash) = self.stem.strip_prefix(PREFIX)?.split_once('-')?;
        // `007` and `+7` are not how we write a number.
        let parsed = number.parse::<u64>().ok();
        parsed.filter(|n| is_hash(hash) && n.to_string() == number)
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
    let mut stem = [PREFIX, &id.number().to_string(), "-"].concat();
    Digest::from(hash).write(HASH_DIGITS, &mut stem);
    stem
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    }
}
