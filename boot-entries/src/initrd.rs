//! Is this file an initrd that Linux can unpack, and is all of it there?
//!
//! An initrd is one archive or several in a row, compressed or not, with zeroes between them (the kernel's
//! `buffer-format.rst`). What is in a compressed archive is not looked at. Where a format says how long its pieces are, they are
//! followed to the last one: cpio, zstd, and lz4. Of the others only the beginning is looked at, and whatever is unknown passes: it
//! may be the image of a file system, as for Linux's old kind of initrd.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What an initrd is not, by its first bytes or those at a place of their own.
const WRONG: [(u64, &[u8], &str); 9] = [
    (0, b"MZ", "an EFI image, as a kernel is"),
    (0, b"\x7fELF", "a program (ELF)"),
    (
        0,
        b"\x04\x22\x4d\x18",
        "compressed by lz4 in its frame format, and Linux unpacks only the legacy one (`lz4 -l`)",
    ),
    (
        0,
        b"070707",
        "a cpio archive of the old format, and Linux unpacks only the new one (`cpio -H newc`)",
    ),
    (
        0,
        b"\xc7\x71",
        "a cpio archive of the old format, and Linux unpacks only the new one (`cpio -H newc`)",
    ),
    (
        0,
        b"LZIP",
        "compressed by lzip, which Linux does not unpack",
    ),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
];

/// A file that Linux cannot unpack.
#[derive(Debug, thiserror::Error)]
pub enum NotUnpacked {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is something else.
    #[error("is no initrd: it is {0}")]
    Wrong(&'static str),
    /// Nothing was ever written to it.
    #[error("is no initrd: all of it is zeroes")]
    Zeroes,
    /// An archive in it speaks of more bytes than there are.
    #[error(
        "is cut short: its {format} archive goes on at byte {end}, and the file ends at {size}"
    )]
    Short {
        /// The format.
        format: &'static str,
        /// Where the piece ends that is not all there.
        end: u64,
        /// The size of the file.
        size: u64,
    },
    /// An archive in it makes no sense.
    #[error("is damaged: its {format} archive makes no sense at byte {at}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// Where.
        at: u64,
    },
}

/// Looks at the beginning of the file at `path` (a path of this process).
///
/// # Errors
/// Why Linux could not unpack it.
pub fn check_head(path: &Path) -> Result<(), NotUnpacked> {
    Archive::open(path)?.is_right()
}

/// Goes through the file at `path` (a path of this process), as far as its formats allow.
///
/// # Errors
/// Why Linux could not unpack it.
pub fn check(path: &Path) -> Result<(), NotUnpacked> {
    let archive = Archive::open(path)?;
    archive.is_right()?;
    let mut at = archive.content(0)?;
    if at == archive.size {
        return Err(NotUnpacked::Zeroes);
    }
    while at < archive.size {
        let Some(end) = archive.one(at)? else {
            return Ok(());
        };
        at = archive.content(end)?;
    }
    Ok(())
}

struct Archive {
    file: File,
    size: u64,
}

/// A header of a member: digits in hexadecimal, eight for each number.
const CPIO_HEAD: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";
/// More than a block of lz4's legacy format takes: Linux refuses those.
const LZ4_MOST: u64 = 8 * 1024 * 1024 + 8 * 1024 * 1024 / 255 + 16;

impl Archive {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }

    fn is_right(&self) -> Result<(), NotUnpacked> {
        for (at, magic, what) in WRONG {
            if self.begins(at, magic)? {
                return Err(NotUnpacked::Wrong(what));
            }
        }
        Ok(())
    }

    /// `count` bytes at `at`, or as many as there are.
    fn bytes<const N: usize>(&self, at: u64) -> io::Result<([u8; N], usize)> {
        let mut bytes = [0; N];
        let mut had = 0;
        while let Some(rest) = bytes.get_mut(had..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at + had as u64) {
                Ok(0) => break,
                Ok(count) => had += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((bytes, had))
    }

    /// All of them.
    fn exactly<const N: usize>(
        &self,
        at: u64,
        format: &'static str,
    ) -> Result<[u8; N], NotUnpacked> {
        let (bytes, had) = self.bytes::<N>(at)?;
        self.is_there(at + N as u64, format)?;
        if had == N {
            Ok(bytes)
        } else {
            Err(NotUnpacked::Damaged { format, at })
        }
    }

    fn is_there(&self, end: u64, format: &'static str) -> Result<(), NotUnpacked> {
        if end <= self.size {
            return Ok(());
        }
        let size = self.size;
        Err(NotUnpacked::Short { format, end, size })
    }

    fn begins(&self, at: u64, magic: &[u8]) -> io::Result<bool> {
        let (bytes, had) = self.bytes::<16>(at)?;
        Ok(bytes
            .get(..had)
            .is_some_and(|bytes| bytes.starts_with(magic)))
    }

    /// Where from `at` on something else than zeroes is.
    fn content(&self, mut at: u64) -> io::Result<u64> {
        loop {
            let (bytes, had) = self.bytes::<4096>(at)?;
            let bytes = bytes.get(..had).unwrap_or_default();
            match bytes.iter().position(|byte| *byte != 0) {
                Some(place) => return Ok(at + place as u64),
                None if bytes.is_empty() => return Ok(self.size),
                None => at += bytes.len() as u64,
            }
        }
    }

    /// Where the archive ends that begins at `at`. None: its format does not tell.
    fn one(&self, at: u64) -> Result<Option<u64>, NotUnpacked> {
        if self.begins(at, b"070701")? || self.begins(at, b"070702")? {
            self.cpio(at).map(Some)
        } else if self.begins(at, b"\x28\xb5\x2f\xfd")? {
            self.zstd(at).map(Some)
        } else if self.begins(at, b"\x02\x21\x4c\x18")? {
            self.lz4(at)
        } else {
            Ok(None)
        }
    }

    fn cpio(&self, mut at: u64) -> Result<u64, NotUnpacked> {
        const CPIO: &str = "cpio";
        let aligned = |at: u64| at.saturating_add(3) & !3;
        loop {
            let head = self.exactly::<CPIO_HEAD>(at, CPIO)?;
            let damaged = NotUnpacked::Damaged { format: CPIO, at };
            let number = |from: usize| {
                let digits = std::str::from_utf8(head.get(from..from + 8)?).ok()?;
                u64::from_str_radix(digits, 16).ok()
            };
            if !head.starts_with(b"070701") && !head.starts_with(b"070702") {
                return Err(damaged);
            }
            let (Some(size), Some(name)) = (number(54), number(94)) else {
                return Err(damaged);
            };
            let is_last = self.begins(at + CPIO_HEAD as u64, TRAILER)?;
            let named = at + CPIO_HEAD as u64 + name;
            let data = aligned(named);
            self.is_there(named, CPIO)?;
            if is_last {
                return Ok(data.min(self.size));
            }
            self.is_there(data + size, CPIO)?;
            at = aligned(data + size);
            // Linux does not miss the last member.
            if at >= self.size {
                return Ok(self.size);
            }
        }
    }

    /// RFC 8878, section 3.1.1.
    fn zstd(&self, at: u64) -> Result<u64, NotUnpacked> {
        const ZSTD: &str = "zstd";
        let [.., descriptor] = self.exactly::<5>(at, ZSTD)?;
        let is_single = descriptor & 0x20 != 0;
        let window = u64::from(!is_single);
        let dictionary = match descriptor & 3 {
            3 => 4,
            number => u64::from(number),
        };
        let length = match descriptor >> 6 {
            0 => u64::from(is_single),
            more => 1 << more,
        };
        let mut at = at + 5 + window + dictionary + length;
        loop {
            let [low, middle, high] = self.exactly::<3>(at, ZSTD)?;
            let head = u32::from_le_bytes([low, middle, high, 0]);
            let size = match head >> 1 & 3 {
                0 | 2 => u64::from(head >> 3),
                1 => 1,
                _ => return Err(NotUnpacked::Damaged { format: ZSTD, at }),
            };
            at += 3 + size;
            self.is_there(at, ZSTD)?;
            if head & 1 == 1 {
                break;
            }
        }
        let sum = if descriptor & 4 == 0 { 0 } else { 4 };
        self.is_there(at + sum, ZSTD)?;
        Ok(at + sum)
    }

    /// What is no size of a block is something else, and Linux is the one to say whether it goes on there.
    fn lz4(&self, at: u64) -> Result<Option<u64>, NotUnpacked> {
        const LZ4: &str = "lz4";
        const MAGIC: u64 = 0x184c_2102;
        let mut at = at + 4;
        while at < self.size {
            let size = u64::from(u32::from_le_bytes(self.exactly::<4>(at, LZ4)?));
            at += 4;
            match size {
                0 => return Ok(Some(at)),
                MAGIC => {}
                size if size > LZ4_MOST => return Ok(None),
                size => {
                    at += size;
                    self.is_there(at, LZ4)?;
                }
            }
        }
        Ok(Some(at))
    }
}

#[cfg(test)]
mod tests;
