//! Which systemd-boot it is, as far as that changes a choice.

use std::path::Path;

use crate::systemd_boot::{Image, Installed};

/// Versions of systemd-boot that choose alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Band {
    /// Up to 257, and 258 before its first point release: an id contains the counter.
    To257,
    /// From 258.1 to 259: an id is without the counter. (258 forgets to lower the case of an id it takes a counter
    /// from; no name of ours has a capital, so this is not modelled.)
    To259,
    /// From 260: `preferred` is looked at first, and passes over bad entries.
    From260,
}

impl Band {
    /// The band of a `LoaderInfo` such as `systemd-boot 252.39-1~deb12u2`. None: not systemd-boot.
    #[must_use]
    pub fn of_loader_info(info: &str) -> Option<Self> {
        let version = info.strip_prefix("systemd-boot ")?;
        let (major, rest) = version.split_at(digits(version));
        let point = rest.strip_prefix('.').is_some_and(|p| digits(p) > 0);
        Some(match major.parse::<u32>().ok()? {
            ..=257 => Self::To257,
            258 if !point => Self::To257,
            258..=259 => Self::To259,
            260.. => Self::From260,
        })
    }

    /// Whether an id is the whole file name, counter included.
    pub(super) fn keeps_counter_in_id(self) -> bool {
        self == Self::To257
    }

    /// Whether the boots of an `efi` entry are counted: nobody but Linux would ever bless it.
    pub(super) fn counts_efi(self) -> bool {
        self == Self::To257
    }

    /// Whether an entry may have both `linux` and `efi`; the later line holds.
    pub(super) fn takes_the_later_program(self) -> bool {
        self == Self::To257
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The version of the systemd-boot that lies on the ESP at `directory` (a path of this process), as `LoaderInfo` will
/// give it. None: there is none that is whole.
#[must_use]
pub fn installed(directory: &Path) -> Option<String> {
    let installed = Installed::read(directory).ok()?;
    installed.image().map(Image::info)
}
