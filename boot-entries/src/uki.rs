//! Reads what a unified kernel image says about itself.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use systemd_boot_model::{HEAD, Uki};

/// Reads the file at `path` (a path of this process). Whatever is no image is one that says nothing.
///
/// # Errors
/// When the file cannot be read, or is none.
pub fn read(path: &Path) -> io::Result<Uki> {
    // Without O_NONBLOCK, opening a FIFO waits for a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let mut head = Vec::new();
    (&file).take(HEAD).read_to_end(&mut head)?;
    Uki::read(&head, |start, length| {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        match file.read_exact_at(&mut bytes, u64::from(start)) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use goblin::pe::header::COFF_MACHINE_X86_64;

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
    fn a_file_says_what_its_bytes_say() {
        let whole = image(&[(".osrel", "ID=a\n"), (".profile", "ID=p\n")]);
        for length in (0..=whole.len()).step_by(7) {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            io::Write::write_all(&mut file, &whole[..length]).unwrap();
            let read = read(file.path()).unwrap();
            assert_eq!(read, Uki::of_bytes(&whole[..length]), "{length}");
        }
    }

    #[test]
    fn only_files_are_read() {
        let tree = tempfile::tempdir().unwrap();
        let fifo = tree.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(read(&fifo).is_err());
        assert!(read(tree.path()).is_err());
    }
}
