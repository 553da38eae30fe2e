//! What an EFI program is: a systemd-boot and which one, somebody else's, or damaged.
//!
//! systemd-boot marks itself in a section of its own, `.sdmagic`: `#### LoaderInfo: systemd-boot 252.39-1~deb12u2
//! ####`. systemd's stub does so too, under its own name.

use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::path::Path;

use goblin::pe::header::{COFF_MACHINE_X86_64, Header, PE_MAGIC};
use nix::errno::Errno;

use crate::bounded;
use crate::kernel;
use crate::payload::Content;
use systemd_boot_model::compare_versions;

/// systemd-boot has 140 kB, with everything that is ever linked into such a program a few MB.
const LIMIT: u64 = 16 * 1024 * 1024;
/// No EFI program is smaller, in bytes: the headers alone take that much.
const SMALLEST: usize = 1024;
/// More than any version has, in bytes.
const LONGEST_VERSION: usize = 128;
/// How it calls itself.
const PRODUCT: &str = "systemd-boot ";

/// A version of systemd-boot, such as `252.39-1~deb12u2`: whatever a distribution makes of it, in the order of the UAPI
/// version format.
#[derive(Debug, Clone)]
pub struct Version(String);

impl Version {
    /// A version is a line of printable text. None: `text` is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_printable = |b: u8| b == b' ' || b.is_ascii_graphic();
        let is_one = (1..=LONGEST_VERSION).contains(&text.len()) && text.bytes().all(is_printable);
        is_one.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_versions(&self.0, &other.0)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// What the order takes for equal is equal, to the letter or not.
impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// A whole systemd-boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Which.
    pub version: Version,
    /// Whether it carries a signature for Secure Boot, anybody's.
    pub is_signed: bool,
    /// Its bytes.
    pub content: Content,
}

impl Image {
    /// What it will say in `LoaderInfo`.
    #[must_use]
    pub fn info(&self) -> String {
        format!("{PRODUCT}{}", self.version)
    }
}

/// What lies under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole systemd-boot.
    Whole(Marked),
    /// Somebody else's. In one line, what.
    Foreign(String),
    /// Nothing that any firmware could start. In one line, why.
    Damaged(String),
}

/// What a whole systemd-boot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    version: Version,
    is_signed: bool,
}

impl Marked {
    /// The same of a file that is known to have this `content`.
    pub(super) fn with(self, content: Content) -> Image {
        let Self { version, is_signed } = self;
        Image {
            version,
            is_signed,
            content,
        }
    }

    /// What it will say in `LoaderInfo`.
    pub(super) fn info(&self) -> String {
        format!("{PRODUCT}{}", self.version)
    }
}

/// Looks at the file at `path` (a path of this process).
///
/// # Errors
/// When it is not there.
pub(super) fn look(path: &Path) -> io::Result<Found> {
    match bounded::read_bytes(path, LIMIT) {
        Ok(bytes) => Ok(recognise(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        // The medium has lost it. Everything else that is no readable file is nothing that an installer put there.
        Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => {
            Ok(Found::Damaged(format!("cannot be read: {error}")))
        }
        Err(error) => Ok(Found::Foreign(format!("cannot be looked at: {error}"))),
    }
}

/// [`look`] on bytes. In doubt it is somebody else's: only what no firmware can start is called damaged.
fn recognise(bytes: &[u8]) -> Found {
    let foreign = |what: &str| Found::Foreign(what.to_owned());
    let damaged = |why: &str| Found::Damaged(why.to_owned());
    if bytes.len() < SMALLEST {
        return damaged("is cut short");
    }
    if !has_magic(bytes) {
        return damaged("is no EFI program");
    }
    let parsed = Header::parse(bytes).and_then(|header| {
        let sections = kernel::sections(bytes, &header)?;
        Ok((header, sections))
    });
    let Ok((header, sections)) = parsed else {
        return foreign("is no EFI program that is understood here");
    };
    if header.coff_header.machine != COFF_MACHINE_X86_64 {
        return foreign("is a program for another processor");
    }
    let mark = sections
        .iter()
        .find(|s| s.name().is_ok_and(|name| name == ".sdmagic"));
    let Some(mark) = mark else {
        return foreign("is another program than systemd-boot");
    };
    let said = part(bytes, mark.pointer_to_raw_data, mark.virtual_size).and_then(loader_info);
    if said.is_some_and(|said| !said.starts_with(PRODUCT)) {
        return foreign("is another program than systemd-boot");
    }
    let optional = header.optional_header.as_ref();
    let signature = optional.and_then(kernel::certificates);
    // Unlike every other table's, the address of this one is a position in the file.
    let is_cut =
        signature.is_some_and(|table| part(bytes, table.virtual_address, table.size).is_none());
    if is_cut || kernel::end_of(&sections) > bytes.len() as u64 {
        return damaged("is cut short");
    }
    let version = said.and_then(|said| Version::parse(said.strip_prefix(PRODUCT)?));
    let Some(version) = version else {
        return damaged("does not say which systemd-boot it is");
    };
    Found::Whole(Marked {
        version,
        is_signed: signature.is_some(),
    })
}

/// Whether firmware would take it for a program at all.
fn has_magic(bytes: &[u8]) -> bool {
    let pointer = bytes.get(0x3c..0x40).and_then(|word| word.try_into().ok());
    let pe = pointer
        .map(u32::from_le_bytes)
        .and_then(|at| part(bytes, at, 4));
    bytes.starts_with(b"MZ") && pe == Some(&PE_MAGIC.to_le_bytes())
}

fn part(bytes: &[u8], start: u32, length: u32) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// The product and its version.
fn loader_info(mark: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(mark).ok()?.trim_end_matches('\0');
    text.strip_prefix("#### LoaderInfo: ")?
        .strip_suffix(" ####")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd_boot::tests::{LOADER, STUB, patched};

    fn told(bytes: &[u8]) -> String {
        match recognise(bytes) {
            Found::Whole(image) => format!("{} {}", image.info(), image.is_signed),
            Found::Foreign(what) => format!("foreign: {what}"),
            Found::Damaged(why) => format!("damaged: {why}"),
        }
    }

    /// Debian's versions are no numbers, and one that is a prefix of another or begins with a smaller digit is not
    /// older.
    #[test]
    fn versions_are_in_the_order_of_their_makers() {
        let order = [
            "9",
            "10",
            "252.39-1~deb12u2",
            "252.39-1~deb12u3",
            "252.39-1",
            "253~rc1",
            "253",
            "253.1",
            "257.6",
        ];
        let versions = order.map(|text| Version::parse(text).unwrap());
        for (at, older) in versions.iter().enumerate() {
            for newer in &versions[at + 1..] {
                assert!(older < newer, "{older} {newer}");
            }
        }
        for odd in ["", "1\n2", "\u{e9}", &"1".repeat(200)] {
            assert_eq!(Version::parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn a_real_loader_says_its_version_and_a_patched_one_the_patched_version() {
        let real = std::fs::read(LOADER).unwrap();
        assert!(told(&real).starts_with("systemd-boot 2"), "{}", told(&real));
        assert_eq!(
            told(&patched("252.39-1~deb12u3")),
            "systemd-boot 252.39-1~deb12u3 false"
        );
    }

    #[test]
    fn somebody_elses_program_is_never_called_damaged() {
        let stub = std::fs::read(STUB).unwrap();
        assert_eq!(told(&stub), "foreign: is another program than systemd-boot");
        let mut other = patched("257.6");
        let mark = other.windows(8).position(|w| w == b".sdmagic").unwrap();
        other[mark] = b'x';
        assert_eq!(
            told(&other),
            "foreign: is another program than systemd-boot"
        );
        let mut arm = patched("257.6");
        let pe = other.windows(4).position(|w| w == b"PE\0\0").unwrap();
        arm[pe + 4..pe + 6].copy_from_slice(&0xaa64_u16.to_le_bytes());
        assert_eq!(told(&arm), "foreign: is a program for another processor");
        let mut odd = patched("257.6");
        // More sections than there can be.
        odd[pe + 6..pe + 8].copy_from_slice(&u16::MAX.to_le_bytes());
        assert!(told(&odd).starts_with("foreign"), "{}", told(&odd));
    }

    /// Whatever a power cut or a bad disk leaves of a loader, it is not taken for a whole one.
    #[test]
    fn what_is_left_of_a_loader_is_damaged() {
        let whole = patched("257.6");
        let sections = 0x1e600;
        for length in (0..sections).step_by(509) {
            let left = told(&whole[..length]);
            assert!(left.starts_with("damaged"), "{length}: {left}");
        }
        assert_eq!(told(&vec![0; 140_000]), "damaged: is no EFI program");
        let mut blank = whole.clone();
        let mark = blank
            .windows(16)
            .position(|w| w == b"#### LoaderInfo:")
            .unwrap();
        blank[mark..mark + 0x34].fill(0);
        assert_eq!(
            told(&blank),
            "damaged: does not say which systemd-boot it is"
        );
    }

    #[test]
    fn a_signature_is_seen_and_so_is_half_of_one() {
        let mut signed = crate::systemd_boot::tests::signed("257.6");
        assert_eq!(told(&signed), "systemd-boot 257.6 true");
        signed.truncate(signed.len() - 1);
        assert_eq!(told(&signed), "damaged: is cut short");
    }

    #[test]
    fn only_regular_files_of_bearable_size_are_looked_into() {
        let tree = tempfile::tempdir().unwrap();
        let look = |name: &str| look(&tree.path().join(name));
        let huge = std::fs::File::create(tree.path().join("huge")).unwrap();
        huge.set_len(LIMIT + 1).unwrap();
        std::fs::create_dir(tree.path().join("directory")).unwrap();
        nix::unistd::mkfifo(&tree.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        for name in ["huge", "directory", "fifo"] {
            assert!(matches!(look(name), Ok(Found::Foreign(_))), "{name}");
        }
        assert!(look("gone").is_err());
    }
}
