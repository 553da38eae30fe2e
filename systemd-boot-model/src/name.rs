//! What the file of an entry is called: a stem, and the loader's counter.
//!
//! Boot Loader Specification (UAPI.1), "Boot counting": `NAME[+LEFT[-DONE]].conf`.

use std::fmt;

/// Entry files end so.
const SUFFIX: &str = ".conf";
/// Unified kernel images end so, and carry counters like entry files.
const IMAGE_SUFFIX: &str = ".efi";

/// The counter in an entry's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Boots the loader will still grant. 0: the entry is bad, and sorts last.
    pub left: u32,
    /// Boots it has granted so far. None: not written, which means none.
    pub done: Option<u32>,
}

impl Tries {
    /// The counter as the loader leaves it when it starts the entry.
    #[must_use]
    pub fn after_a_boot(self) -> Self {
        Self {
            left: self.left.saturating_sub(1),
            done: Some(self.done.unwrap_or(0).saturating_add(1)),
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

/// Decimal digits and nothing else: `str::parse` alone would take a sign. The loader takes what is more than its `int`
/// can hold for no counter at all.
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
    /// The counter. None: the boots of this entry are not counted.
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
            Some(Tries { left, done: None }) => [&self.stem, "+", &left.to_string()].concat(),
            Some(Tries {
                left,
                done: Some(done),
            }) => [&self.stem, "+", &left.to_string(), "-", &done.to_string()].concat(),
            None => self.stem.clone(),
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_suffix())?;
        f.write_str(SUFFIX)
    }
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
    fn a_trial_counts_down_without_growing() {
        let mut name = EntryName {
            stem: "a".to_owned(),
            tries: Some(Tries {
                left: 3,
                done: Some(0),
            }),
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

    proptest! {
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
