//! What a unified kernel image says about itself, in sections of its own: what it boots (`.osrel`, an os-release(5)),
//! and how (`.profile`, before the sections that are the profile's own).
//!
//! UAPI.5; systemd-boot reads the same (systemd's `src/boot/pe.c`). The kernel in it is not read.

use std::convert::Infallible;

use goblin::pe::header::{COFF_MACHINE_X86_64, Header, SIZEOF_COFF_HEADER, SIZEOF_PE_MAGIC};
use goblin::pe::section_table::SectionTable;
/// Where the section table of an image ends at the latest, in bytes: an image with 256 profiles of six sections each
/// has not more.
pub const HEAD: u64 = 64 * 1024;
/// What is longer is no os-release, in bytes.
const LONGEST: u32 = 64 * 1024;

/// The section with the kernel.
const LINUX: &[u8; 8] = b".linux\0\0";

/// What the loader reads of one image, in the order of its section table. Empty: it lists no such image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uki {
    /// Its sections that say something.
    pub parts: Vec<Part>,
    /// Whether it has a kernel in it (`.linux`). The loader lists it without one, too, and systemd's stub then starts
    /// nothing.
    pub has_kernel: bool,
}

/// A section that the loader reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// `.osrel`.
    OsRelease(String),
    /// `.profile`.
    Profile(String),
}

impl Uki {
    /// The image with these bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let part = |start: u32, length: u32| {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            bytes.get(start..end).map(<[u8]>::to_vec)
        };
        let read = |start, length| Ok::<_, Infallible>(part(start, length));
        Self::read(bytes, read).unwrap_or_default()
    }

    /// The image that begins with `head` ([`HEAD`] bytes, or all there are). `part` gives what the file holds from a
    /// byte on, so many bytes; None: it ends before. What is no image is one that says nothing.
    ///
    /// # Errors
    /// When `part` cannot be read.
    pub fn read<E>(
        head: &[u8],
        part: impl Fn(u32, u32) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let mut parts = Vec::new();
        let mut has_kernel = false;
        for section in sections(head).unwrap_or_default() {
            has_kernel |= section.name == *LINUX;
            let kind = match &section.name {
                b".osrel\0\0" => Part::OsRelease,
                b".profile" => Part::Profile,
                _ => continue,
            };
            let length = section.size_of_raw_data.min(section.virtual_size);
            let bytes = if length > LONGEST {
                None
            } else {
                part(section.pointer_to_raw_data, length)?
            };
            // What cannot be read says nothing, and stands where it stands.
            let bytes = bytes.unwrap_or_default();
            parts.push(kind(String::from_utf8_lossy(&bytes).into_owned()));
        }
        Ok(Self { parts, has_kernel })
    }
}

/// The section table of a program for this processor.
fn sections(head: &[u8]) -> Option<Vec<SectionTable>> {
    let header = Header::parse(head).ok()?;
    let is_ours = header.coff_header.machine == COFF_MACHINE_X86_64;
    let mut table = usize::try_from(header.dos_header.pe_pointer)
        .ok()?
        .saturating_add(SIZEOF_PE_MAGIC)
        .saturating_add(SIZEOF_COFF_HEADER)
        .saturating_add(usize::from(header.coff_header.size_of_optional_header));
    let sections = header.coff_header.sections(head, &mut table).ok()?;
    is_ours.then_some(sections)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An image with these sections.
    pub(crate) fn image(sections: &[(&str, &str)]) -> Vec<u8> {
        const TABLE: usize = 0x58 + 240;
        let mut bytes = vec![0; 0x2000];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"MZ");
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0");
        put(0x44, &COFF_MACHINE_X86_64.to_le_bytes());
        put(0x46, &u16::try_from(sections.len()).unwrap().to_le_bytes());
        put(0x54, &240_u16.to_le_bytes());
        put(0x58, &0x20b_u16.to_le_bytes());
        put(0x58 + 108, &16_u32.to_le_bytes());
        let mut data = 0x1000;
        for (at, (name, text)) in sections.iter().enumerate() {
            let section = TABLE + 40 * at;
            let length = u32::try_from(text.len()).unwrap();
            put(section, name.as_bytes());
            put(section + 8, &length.to_le_bytes());
            put(section + 16, &length.next_multiple_of(512).to_le_bytes());
            put(section + 20, &u32::try_from(data).unwrap().to_le_bytes());
            put(data, text.as_bytes());
            data += text.len().next_multiple_of(512);
        }
        bytes
    }

    #[test]
    fn an_image_says_what_it_boots_and_how() {
        let sections = [
            (".linux", "MZ"),
            (".osrel", "ID=a\n"),
            (".osrelx", "ID=b\n"),
            (".profile", "ID=p\n"),
            (".osrel", ""),
        ];
        let parts = [
            Part::OsRelease("ID=a\n".to_owned()),
            Part::Profile("ID=p\n".to_owned()),
            Part::OsRelease(String::new()),
        ];
        let whole = image(&sections);
        assert_eq!(Uki::of_bytes(&whole).parts, parts);
        assert!(Uki::of_bytes(&whole).has_kernel);
        assert!(!Uki::of_bytes(&image(&sections[1..])).has_kernel);
        let mut arm = whole.clone();
        arm[0x44..0x46].copy_from_slice(&0xaa64_u16.to_le_bytes());
        for nothing in [&b""[..], b"MZ", &arm, &whole[..0x200]] {
            assert_eq!(Uki::of_bytes(nothing), Uki::default());
        }
        let half = Uki::of_bytes(&whole[..0x1000]);
        assert_eq!(half.parts[0], Part::OsRelease(String::new()));
    }

    #[test]
    fn no_prefix_panics() {
        let whole = image(&[(".osrel", "ID=a\n")]);
        for length in (0..whole.len()).step_by(7) {
            assert!(Uki::of_bytes(&whole[..length]).parts.len() <= 1);
        }
    }
}
