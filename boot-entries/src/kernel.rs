//! Is this file a kernel that the firmware can start? (An `x86_64` EFI image, whole.)

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use goblin::pe::data_directories::DataDirectory;
use goblin::pe::header::{COFF_MACHINE_X86_64, Header};
use goblin::pe::optional_header::{MAGIC_64, OptionalHeader};
use goblin::pe::section_table::SectionTable;
use goblin::pe::subsystem::IMAGE_SUBSYSTEM_EFI_APPLICATION;

/// More than any PE header with its section table needs; the kernel itself is not read.
const HEAD: u64 = 64 * 1024;

/// How the formats begin that kernels are compressed in. Only the boot loaders of other processors unpack them.
const COMPRESSED: [(&[u8], &str); 7] = [
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"BZh", "bzip2"),
    (b"\x5d\0\0", "lzma"),
];

/// Sections that only systemd's stub reads: an image that has one of them starts the kernel in its `.linux`, and
/// nothing else (`bootctl kernel-identify` calls it an addon without that). systemd-boot itself has an `.osrel`.
const OF_STUB: [&[u8; 8]; 4] = [b".cmdline", b".initrd\0", b".ucode\0\0", b".dtb\0\0\0\0"];

/// A file that the firmware would refuse, or that starts no kernel.
#[derive(Debug, thiserror::Error)]
pub enum NotBootable {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It has no PE header: not built with `CONFIG_EFI_STUB`, or damaged.
    #[error("is no EFI image: {0}")]
    NoImage(String),
    /// It is compressed as a whole, by this program.
    #[error(
        "is compressed ({0}), and the firmware starts only what is not: take the bzImage, or unpack it"
    )]
    Compressed(&'static str),
    /// For another processor, by its COFF machine number.
    #[error("is an EFI image for machine {0:#06x}, not x86_64")]
    Machine(u16),
    /// For this processor, with the headers of a program of 32 bits.
    #[error("is an EFI image for x86_64 with a 32-bit header (magic {0:#05x})")]
    Magic(u16),
    /// A PE file for something other than EFI.
    #[error("is a PE file for subsystem {0}, not an EFI application")]
    Subsystem(u16),
    /// The headers, the section table or the signature speak of more bytes than there are.
    #[error("is cut short: its {what} end at byte {end}, the file at {size}")]
    Short {
        /// What ends there.
        what: &'static str,
        /// Where the last of them ends.
        end: u64,
        /// The size of the file.
        size: u64,
    },
    /// The firmware would have to load it beyond the memory that the image asks for.
    #[error(
        "is damaged: its {what} {at:#x} is outside the image, which is {size:#x} bytes long in memory"
    )]
    Outside {
        /// What is outside.
        what: &'static str,
        /// Where it is, or ends.
        at: u64,
        /// `SizeOfImage`.
        size: u64,
    },
    /// There is nothing to start.
    #[error("is damaged: it has no entry point")]
    NoEntryPoint,
    /// An addon, or an image whose kernel was left out.
    #[error("is an image of systemd's stub without a kernel in it (it has {0} and no .linux)")]
    NoKernel(String),
}

/// Looks at the head of the file at `path` (a path of this process).
///
/// # Errors
/// Why the firmware would not start it.
pub fn check(path: &Path) -> Result<(), NotBootable> {
    let (head, size) = head_of(path)?;
    check_head(&head, size)
}

/// Whether the file at `path` (a path of this process) carries a signature for Secure Boot, anybody's. What is no image
/// carries none.
///
/// # Errors
/// When it cannot be read.
pub fn is_signed(path: &Path) -> io::Result<bool> {
    let (head, _) = head_of(path)?;
    let header = Header::parse(&head).ok();
    let optional = header.and_then(|header| header.optional_header);
    Ok(optional.is_some_and(|optional| certificates(&optional).is_some()))
}

fn head_of(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    Ok((head, size))
}

/// [`check`] on bytes: `head` is the start of a file of `size` bytes. What is looked at is what EDK2 looks at before it
/// loads an image (`PeCoffLoaderGetPeHeader` and `PeCoffLoaderLoadImage`), and then what systemd's stub needs.
fn check_head(head: &[u8], size: u64) -> Result<(), NotBootable> {
    let no_image = |error: goblin::error::Error| NotBootable::NoImage(error.to_string());
    let compressed = COMPRESSED.iter().find(|(magic, _)| head.starts_with(magic));
    if let Some((_, by)) = compressed {
        return Err(NotBootable::Compressed(by));
    }
    let header = Header::parse(head).map_err(no_image)?;
    if header.coff_header.machine != COFF_MACHINE_X86_64 {
        return Err(NotBootable::Machine(header.coff_header.machine));
    }
    let Some(optional) = header.optional_header else {
        return Err(NotBootable::NoImage("no optional header".to_owned()));
    };
    if optional.standard_fields.magic != MAGIC_64 {
        return Err(NotBootable::Magic(optional.standard_fields.magic));
    }
    if optional.windows_fields.subsystem != IMAGE_SUBSYSTEM_EFI_APPLICATION {
        return Err(NotBootable::Subsystem(optional.windows_fields.subsystem));
    }
    let sections = sections(head, &header).map_err(no_image)?;
    is_whole(&optional, &sections, size)?;
    fits_memory(&optional, &sections)?;
    has_kernel(&sections)
}

/// Whether all that the headers speak of is in a file of `size` bytes.
fn is_whole(
    optional: &OptionalHeader,
    sections: &[SectionTable],
    size: u64,
) -> Result<(), NotBootable> {
    let signature = certificates(optional).map_or(0, |table| {
        // Unlike every other table's, the address of this one is a position in the file.
        u64::from(table.virtual_address) + u64::from(table.size)
    });
    let ends = [
        ("headers", optional.windows_fields.size_of_headers.into()),
        ("sections", end_of(sections)),
        ("signatures", signature),
    ];
    match ends.into_iter().find(|(_, end)| *end > size) {
        Some((what, end)) => Err(NotBootable::Short { what, end, size }),
        None => Ok(()),
    }
}

/// Whether all that is loaded, and what is started of it, lies in the memory that the image asks for.
fn fits_memory(optional: &OptionalHeader, sections: &[SectionTable]) -> Result<(), NotBootable> {
    let size = u64::from(optional.windows_fields.size_of_image);
    let end = |section: &SectionTable| {
        let start = u64::from(section.virtual_address);
        let is_loaded = section.virtual_size > 0 || section.size_of_raw_data > 0;
        // Where it is empty in memory, its first byte has to be there all the same.
        is_loaded.then(|| start + u64::from(section.virtual_size.max(1)))
    };
    let end = sections.iter().filter_map(end).max().unwrap_or(0);
    let entry = u64::from(optional.standard_fields.address_of_entry_point);
    let outside = |what, at| NotBootable::Outside { what, at, size };
    match () {
        () if end > size => Err(outside("last section's end", end)),
        () if entry == 0 => Err(NotBootable::NoEntryPoint),
        () if entry >= size => Err(outside("entry point", entry)),
        () => Ok(()),
    }
}

/// Whether there is a kernel to be started: the image is one, or has one in it.
fn has_kernel(sections: &[SectionTable]) -> Result<(), NotBootable> {
    let has = |name: &[u8; 8]| sections.iter().any(|section| section.name == *name);
    if has(LINUX) {
        return Ok(());
    }
    match OF_STUB.into_iter().find(|name| has(name)) {
        Some(name) => {
            let name = String::from_utf8_lossy(name);
            Err(NotBootable::NoKernel(
                name.trim_end_matches('\0').to_owned(),
            ))
        }
        None => Ok(()),
    }
}

/// Where systemd's stub has the kernel.
pub(crate) const LINUX: &[u8; 8] = b".linux\0\0";

/// The signatures for Secure Boot, if there are any.
pub(crate) fn certificates(optional: &OptionalHeader) -> Option<DataDirectory> {
    let table = *optional.data_directories.get_certificate_table()?;
    (table.size > 0).then_some(table)
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

    /// Where the only section of [`image`] is in its section table.
    const SECTION: usize = 0x58 + 240;
    const ENTRY_POINT: usize = 0x58 + 16;
    const SIZE_OF_IMAGE: usize = 0x58 + 56;
    const CERTIFICATES: usize = 0x58 + 112 + 4 * 8;

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
        put(ENTRY_POINT, &0x1000_u32.to_le_bytes());
        put(SIZE_OF_IMAGE, &(0x1000 + raw.max(1)).to_le_bytes());
        put(0x58 + 60, &0x200_u32.to_le_bytes());
        put(0x58 + 68, &subsystem.to_le_bytes());
        put(0x58 + 108, &16_u32.to_le_bytes());
        put(SECTION, b".text\0\0\0");
        put(SECTION + 8, &raw.to_le_bytes());
        put(SECTION + 12, &0x1000_u32.to_le_bytes());
        put(SECTION + 16, &raw.to_le_bytes());
        put(SECTION + 20, &0x200_u32.to_le_bytes());
        bytes.extend(vec![0x90; raw as usize]);
        bytes
    }

    /// `image` with a signature: not a valid one, which is for the firmware to say.
    pub(crate) fn signed(mut image: Vec<u8>) -> Vec<u8> {
        let end = u32::try_from(image.len()).unwrap();
        put(&mut image, CERTIFICATES, end);
        put(&mut image, CERTIFICATES + 4, 64);
        image.extend([0x42; 64]);
        image
    }

    fn put(image: &mut [u8], at: usize, value: u32) {
        image[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn good() -> Vec<u8> {
        image(0x8664, 10, 64)
    }

    fn told(bytes: &[u8]) -> String {
        let size = bytes.len() as u64;
        check_head(bytes, size).map_or_else(|no| no.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn an_x86_64_efi_application_is_fine() {
        assert_eq!(told(&good()), "fine");
        assert_eq!(told(&signed(good())), "fine");
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
        let whole = good();
        assert!(told(&whole[..whole.len() - 1]).contains("cut short"));
    }

    /// As `make` and distributions leave them; an arm64 machine has its kernel so.
    #[test]
    fn a_compressed_kernel_is_called_one() {
        for (magic, by) in [
            (&b"\x1f\x8b\x08\0"[..], "gzip"),
            (b"\xfd7zXZ\0\0", "xz"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"\x02\x21\x4c\x18\0", "lz4"),
            (b"BZh91AY", "bzip2"),
            (b"\x5d\0\0\x80\0", "lzma"),
        ] {
            let told = told(&[magic, &[0; 512]].concat());
            assert!(told.starts_with(&format!("is compressed ({by})")), "{told}");
        }
    }

    /// What a cut leaves of a signed kernel has all its sections.
    #[test]
    fn a_signed_kernel_without_all_of_its_signature_is_cut_short() {
        let whole = signed(good());
        for left in [whole.len() - 1, whole.len() - 64] {
            let told = told(&whole[..left]);
            assert!(told.starts_with("is cut short: its signatures"), "{told}");
        }
        let mut far = good();
        put(&mut far, CERTIFICATES, u32::MAX);
        put(&mut far, CERTIFICATES + 4, u32::MAX);
        assert!(told(&far).starts_with("is cut short"), "{}", told(&far));
    }

    #[test]
    fn what_the_firmware_would_load_beyond_the_image_is_damaged() {
        for (at, value, says) in [
            (ENTRY_POINT, 0, "no entry point"),
            (ENTRY_POINT, 0x1040, "entry point 0x1040 is outside"),
            (
                SIZE_OF_IMAGE,
                0x103f,
                "last section's end 0x1040 is outside",
            ),
            (SECTION + 8, 65, "last section's end 0x1041 is outside"),
            (SECTION + 12, u32::MAX, "last section's end"),
            (0x58 + 60, 0x1000, "headers end at byte 4096"),
        ] {
            let mut odd = good();
            put(&mut odd, at, value);
            let told = told(&odd);
            assert!(told.contains(says), "{says}: {told}");
        }
        // A section that is nowhere and holds nothing is loaded nowhere.
        let mut empty = image(0x8664, 10, 0);
        put(&mut empty, SECTION + 12, u32::MAX);
        assert_eq!(told(&empty), "fine");
        let mut narrow = good();
        narrow[0x58..0x5a].copy_from_slice(&0x10b_u16.to_le_bytes());
        assert!(told(&narrow).contains("32-bit header"), "{}", told(&narrow));
    }

    #[test]
    fn an_addon_is_no_kernel_and_a_unified_image_is_one() {
        for name in [".cmdline", ".initrd\0", ".ucode\0\0", ".dtb\0\0\0\0"] {
            let mut addon = good();
            addon[SECTION..SECTION + 8].copy_from_slice(name.as_bytes());
            let (told, name) = (told(&addon), name.trim_end_matches('\0'));
            assert!(told.contains(&format!("{name} and no .linux")), "{told}");
            let second = SECTION + 40;
            addon[0x46] = 2;
            addon.copy_within(SECTION..second, second);
            addon[second..second + 8].copy_from_slice(LINUX);
            assert_eq!(super::tests::told(&addon), "fine");
        }
    }

    #[test]
    fn a_signature_is_seen() {
        let tree = tempfile::tempdir().unwrap();
        let is_signed = |bytes: &[u8]| {
            let path = tree.path().join("kernel");
            let mut file = File::create(&path).unwrap();
            io::Write::write_all(&mut file, bytes).unwrap();
            is_signed(&path).unwrap()
        };
        assert!(is_signed(&signed(good())));
        assert!(!is_signed(&good()));
        assert!(!is_signed(b"\x1f\x8b"));
        assert!(super::is_signed(&tree.path().join("gone")).is_err());
    }

    #[test]
    fn no_prefix_panics() {
        let whole = signed(good());
        for length in 0..whole.len() {
            let prefix = whole.get(..length).unwrap();
            assert!(check_head(prefix, length as u64).is_err(), "{length}");
        }
    }
}
