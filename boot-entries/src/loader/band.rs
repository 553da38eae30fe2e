//! Which systemd-boot it is, as far as that changes a choice.

use std::path::Path;

use crate::systemd_boot::{Image, Installed};

/// The oldest systemd-boot that does what all of this relies on. Versions up to 250 know no `sort-key`, which is what
/// selects; 251 leaves patterns to the firmware, which may take them for something else.
pub const OLDEST: u32 = 252;

/// Versions of systemd-boot that choose alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Band {
    /// From 252 to 257, and 258 before its first point release: an id contains the counter.
    To257,
    /// From 258.1 to 259: an id is without the counter. (258 forgets to lower the case of an id it takes a counter
    /// from; no name of ours has a capital, so this is not modelled.)
    To259,
    /// From 260: `preferred` is looked at first, and passes over bad entries.
    From260,
}

impl Band {
    /// The band of a `LoaderInfo` such as `systemd-boot 252.39-1~deb12u2`. None: not systemd-boot, or one whose choices are
    /// not known ([`OLDEST`]).
    #[must_use]
    pub fn of_loader_info(info: &str) -> Option<Self> {
        let version = info.strip_prefix("systemd-boot ")?;
        let (major, rest) = version.split_at(digits(version));
        let point = rest.strip_prefix('.').is_some_and(|p| digits(p) > 0);
        Some(match major.parse::<u32>().ok()? {
            ..OLDEST => return None,
            OLDEST..=257 => Self::To257,
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

/// That what calls itself `info` is a systemd-boot whose choices are not known, in one line. None: it is another one.
#[must_use]
pub fn too_old(info: &str) -> Option<String> {
    let version = info.strip_prefix("systemd-boot ")?;
    let (major, _) = version.split_at(digits(version));
    let is_too_old = major.parse::<u32>().is_ok_and(|major| major < OLDEST);
    is_too_old.then(|| {
        format!(
            "systemd-boot {version} is too old for anybody to say what it starts: {OLDEST} or later is needed; give the \
             generation, or this machine, a newer systemd and run `lastgood install`"
        )
    })
}

/// The version of the systemd-boot that lies on the ESP at `directory` (a path of this process), as `LoaderInfo` will
/// give it. None: there is none that is whole.
#[must_use]
pub fn installed(directory: &Path) -> Option<String> {
    let installed = Installed::read(directory).ok()?;
    installed.image().map(Image::info)
}
