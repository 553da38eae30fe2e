//! Which systemd-boot it is, as far as that changes a choice.
//!
//! Most of what follows came with a new version and was given to older ones in their point releases, so a release is
//! told by both numbers. The numbers are from the source of every release from 252 to 262.1, compared.

use std::fmt;

use crate::conf::LoaderConf;
use crate::lines::Quotes;

/// The oldest systemd-boot that is modelled. Versions up to 250 know no `sort-key`; 251 leaves patterns to the
/// firmware, which may take them for something else.
pub const OLDEST: u32 = 252;

/// A release of systemd-boot, for what it does differently from another. An earlier one is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseRange {
    version: u32,
    point: u32,
}

/// The first releases that do something: of a version that is listed from its point release on, and every version after
/// the last that is listed.
type Since = &'static [(u32, u32)];

const FORGETS_COUNTERS: Since = &[(257, 10), (258, 1), (259, 0)];
const LOWERS_ALL_IDS: Since = &[(259, 0)];
const NAMES_PROFILES_LAST: Since = &[(258, 3), (259, 0)];
const KEEPS_EMPTY_VALUES: Since = &[(258, 0)];
const KNOWS_UKI: Since = &[(258, 0)];
const HIDES_CAPITALS: Since = &[(257, 0)];
const LISTS_PROFILES: Since = &[(257, 0)];
const TAKES_SINGLE_QUOTES: Since = &[(257, 11), (258, 4), (259, 1), (260, 0)];
const ORDERS_PROFILES: Since = &[(258, 8), (259, 6), (260, 2)];
const KNOWS_PROFILE: Since = &[(259, 0)];
const REBOOTS_ON_ERROR: Since = &[(258, 0)];
const PREFERS: Since = &[(260, 0)];

impl ReleaseRange {
    /// 252 to 256, all that Debian 12 has. What is not known to be another is taken for this.
    pub const V252: Self = Self::of(252, 0);
    /// From 257 on an image may hold several profiles. An id still is the whole file name, counter included.
    pub const V257: Self = Self::of(257, 0);
    /// From 257.10 on an id lacks the counter, so that an exact pattern matches a bad entry, too.
    pub const V257_10: Self = Self::of(257, 10);
    /// From 258 on there are `uki` lines, and `efi` entries are not counted. Ids have counters again, in this one
    /// release.
    pub const V258: Self = Self::of(258, 0);
    /// 258.1.
    pub const V258_1: Self = Self::of(258, 1);
    /// From 258.3 on the profile is named after the counter is taken off.
    pub const V258_3: Self = Self::of(258, 3);
    /// From 258.8 on only the first profile is started where nobody asks for another.
    pub const V258_8: Self = Self::of(258, 8);
    /// From 259 on an entry can ask for a profile.
    pub const V259: Self = Self::of(259, 0);
    /// From 260 on `preferred` is looked at first, and passes over bad entries.
    pub const V260: Self = Self::of(260, 0);
    /// The same as 258.8 for 260.
    pub const V260_2: Self = Self::of(260, 2);

    /// One release for each way of choosing.
    pub const ALL: [Self; 10] = [
        Self::V252,
        Self::V257,
        Self::V257_10,
        Self::V258,
        Self::V258_1,
        Self::V258_3,
        Self::V258_8,
        Self::V259,
        Self::V260,
        Self::V260_2,
    ];

    const fn of(version: u32, point: u32) -> Self {
        Self { version, point }
    }

    /// The release of a `LoaderInfo` such as `systemd-boot 252.39-1~deb12u2`. None: not systemd-boot, or one whose
    /// choices are not known ([`OLDEST`]).
    #[must_use]
    pub fn of_loader_info(info: &str) -> Option<Self> {
        let text = info.strip_prefix("systemd-boot ")?;
        let (version, rest) = text.split_at(digits(text));
        let point = rest.strip_prefix('.').unwrap_or_default();
        let (point, _) = point.split_at(digits(point));
        let release = Self::of(version.parse().ok()?, point.parse().unwrap_or(0));
        (release.version >= OLDEST).then_some(release)
    }

    fn has(self, since: Since) -> bool {
        let last = since.last().is_none_or(|last| self.version > last.0);
        let mut listed = since.iter();
        last || listed.any(|(version, point)| self.version == *version && self.point >= *point)
    }

    /// Whether an id is the whole file name, counter included.
    pub(crate) fn keeps_counter_in_id(self) -> bool {
        !self.has(FORGETS_COUNTERS)
    }

    /// Whether the id of an entry file has no capitals even where a counter was taken from it.
    pub(crate) fn lowers_all_ids(self) -> bool {
        self.has(LOWERS_ALL_IDS)
    }

    /// Whether the id of an image gets its profile after the counter was taken from it. Before, it loses it again.
    pub(crate) fn names_profiles_last(self) -> bool {
        self.has(NAMES_PROFILES_LAST)
    }

    /// Whether `uki` and `uki-url` lines mean anything.
    pub(crate) fn knows_uki(self) -> bool {
        self.has(KNOWS_UKI)
    }

    /// Whether `AUTO-x.conf` is passed over as `auto-x.conf` is.
    pub(crate) fn hides_capitals(self) -> bool {
        self.has(HIDES_CAPITALS)
    }

    /// Whether an image is listed once for each of its profiles.
    pub(crate) fn lists_profiles(self) -> bool {
        self.has(LISTS_PROFILES)
    }

    /// Whether profiles have their order among entries of one version, and only the first is started where nobody asks
    /// for another.
    pub(crate) fn orders_profiles(self) -> bool {
        self.has(ORDERS_PROFILES)
    }

    /// Whether `profile` lines mean anything.
    pub(crate) fn knows_profile(self) -> bool {
        self.has(KNOWS_PROFILE)
    }

    /// Whether there is such a thing as `preferred`.
    pub(crate) fn prefers(self) -> bool {
        self.has(PREFERS)
    }

    /// Whether the boots of an `efi` entry are counted: nobody but Linux would ever bless it.
    pub(crate) fn counts_efi(self) -> bool {
        !self.knows_uki()
    }

    /// Whether an entry may have both `linux` and `efi`; the later line holds.
    pub(crate) fn takes_the_later_program(self) -> bool {
        !self.knows_uki()
    }

    /// Whether there is such a thing as `reboot-on-error`. Measured with 257.13 and 262; for what lies between, the
    /// source says it.
    #[must_use]
    pub fn reboots_on_error(self) -> bool {
        self.has(REBOOTS_ON_ERROR)
    }

    /// Whether the machine may stop for good inside the loader when an entry cannot be started, so that not even the
    /// firmware goes on. 257.13 was seen to do both; which it is, nobody may rely on.
    pub(crate) fn may_stop(self) -> bool {
        self.version == 257
    }

    /// Whether a value that is empty is one.
    pub(crate) fn keeps_empty_values(self) -> bool {
        self.has(KEEPS_EMPTY_VALUES)
    }

    /// What may stand around a value.
    pub(crate) fn quotes(self) -> Quotes {
        if self.has(TAKES_SINGLE_QUOTES) {
            Quotes::Both
        } else {
            Quotes::Double
        }
    }

    /// What it takes from a settings file with this text.
    #[must_use]
    pub fn read_conf(self, text: &str) -> LoaderConf {
        LoaderConf::of_lines(self.quotes().lines(text, &[' ', '\t']))
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// A systemd-boot whose choices are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooOld {
    /// Its version, as it calls itself.
    pub version: String,
}

impl fmt::Display for TooOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "systemd-boot {} is too old for anybody to say what it starts: {OLDEST} or later is needed",
            self.version
        )
    }
}

/// Whether the loader that calls itself `info` is too old. None: it is another loader, or one that is known.
#[must_use]
pub fn too_old(info: &str) -> Option<TooOld> {
    let version = info.strip_prefix("systemd-boot ")?;
    let (major, _) = version.split_at(digits(version));
    let is_too_old = major.parse::<u32>().is_ok_and(|major| major < OLDEST);
    is_too_old.then(|| TooOld {
        version: version.to_owned(),
    })
}
