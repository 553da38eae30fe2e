//! Is this file a kernel that the firmware can start? (An `x86_64` EFI image, whole.)

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use goblin::pe::header::{COFF_MACHINE_X86_64, Header};
use goblin::pe::section_table::SectionTable;
use goblin::pe::subsystem::IMAGE_SUBSYSTEM_EFI_APPLICATION;

/// More than any PE header with its section table needs; the kernel itself is not read.
const HEAD: u64 = 64 * 1024;

/// A file that the firmware would refuse.
#[derive(Debug, thiserror::Error)]
pub enum NotBootable {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It has no PE header: not built with `CONFIG_EFI_STUB`, or damaged.
    #[error("is no EFI image: {0}")]
    NoImage(String),
    /// For another processor, by its COFF machine number.
    #[error("is an EFI image for machine {0:#06x}, not x86_64")]
    Machine(u16),
    /// A PE file for something other than EFI.
    #[error("is a PE file for subsystem {0}, not an EFI application")]
    Subsystem(u16),
    /// The section table speaks of more bytes than there are.
    #[error("is cut short: its sections end at byte {end}, the file at {size}")]
    Short {
        /// Where the last section ends.
        end: u64,
        /// The size of the file.
        size: u64,
    },
}

/// Looks at the head of the file at `path` (a path of this process).
///
/// # Errors
/// Why the firmware would not start it.
pub fn check(path: &Path) -> Result<(), NotBootable> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    check_head(&head, size)
}

/// [`check`] on bytes: `head` is the start of a file of `size` bytes.
fn check_head(head: &[u8], size: u64) -> Result<(), NotBootable> {
    let no_image = |error: goblin::error::Error| NotBootable::NoImage(error.to_string());
    let header = Header::parse(head).map_err(no_image)?;
    if header.coff_header.machine != COFF_MACHINE_X86_64 {
        return Err(NotBootable::Machine(header.coff_header.machine));
    }
    let Some(optional) = header.optional_header else {
        return Err(NotBootable::NoImage("no optional header".to_owned()));
    };
    if optional.windows_fields.subsystem != IMAGE_SUBSYSTEM_EFI_APPLICATION {
        return Err(NotBootable::Subsystem(optional.windows_fields.subsystem));
    }
    let end = end_of(&sections(head, &header).map_err(no_image)?);
    if end > size {
        return Err(NotBootable::Short { end, size });
    }
    Ok(())
}

/// The section table of the image that starts with `head`.
///
/// # Errors
/// When it is not all there.
pub(crate) fn sections(
    head: &[u8],
    header: &Header<'_>,
) -> goblin::error::Result<Vec<SectionTable>> {
    let mut table = usize::try_from(header.dos_header.pe_pointer)
        .unwrap_or(usize::MAX)
        .saturating_add(goblin::pe::header::SIZEOF_PE_MAGIC)
        .saturating_add(goblin::pe::header::SIZEOF_COFF_HEADER)
        .saturating_add(usize::from(header.coff_header.size_of_optional_header));
    header.coff_header.sections(head, &mut table)
}

/// Where the last of `sections` ends in the file.
pub(crate) fn end_of(sections: &[SectionTable]) -> u64 {
    let end = |s: &SectionTable| u64::from(s.pointer_to_raw_data) + u64::from(s.size_of_raw_data);
    sections.iter().map(end).max().unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest thing with the headers of an EFI application: one section of `raw` bytes.
    pub(crate) fn image(machine: u16, subsystem: u16, raw: u32) -> Vec<u8> {
        let mut bytes = vec![0; 0x200];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"MZ");
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0");
        put(0x44, &machine.to_le_bytes());
        put(0x46, &1_u16.to_le_bytes());
        put(0x54, &240_u16.to_le_bytes());
        put(0x58, &0x20b_u16.to_le_bytes());
        put(0x58 + 68, &subsystem.to_le_bytes());
        put(0x58 + 108, &16_u32.to_le_bytes());
        let section = 0x58 + 240;
        put(section, b".text\0\0\0");
        put(section + 16, &raw.to_le_bytes());
        put(section + 20, &0x200_u32.to_le_bytes());
        bytes.extend(vec![0x90; raw as usize]);
        bytes
    }

    fn told(bytes: &[u8]) -> String {
        let size = bytes.len() as u64;
        check_head(bytes, size).map_or_else(|no| no.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn an_x86_64_efi_application_is_fine() {
        assert_eq!(told(&image(0x8664, 10, 64)), "fine");
    }

    #[test]
    fn everything_else_is_told_apart() {
        assert!(told(b"").contains("no EFI image"));
        assert!(
            told(b"\x7fELF................................................................")
                .contains("no EFI image")
        );
        assert!(told(&image(0xaa64, 10, 64)).contains("0xaa64"));
        assert!(told(&image(0x8664, 3, 64)).contains("subsystem 3"));
        let whole = image(0x8664, 10, 64);
        assert!(told(&whole[..whole.len() - 1]).contains("cut short"));
    }

    #[test]
    fn no_prefix_panics() {
        let whole = image(0x8664, 10, 64);
        for length in 0..whole.len() {
            let prefix = whole.get(..length).unwrap();
            assert!(check_head(prefix, length as u64).is_err(), "{length}");
        }
    }
}
