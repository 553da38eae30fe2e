//! What an entry points at (kernel, initrd, devicetree), named by content.
//!
//! A name that holds the hash of the bytes can be shared between generations, is never overwritten by another
//! generation's file, and says by itself whether the bytes under it are still the right ones.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Our directory on `$BOOT`.
pub const DIRECTORY: &str = "EFI/lastgood";

/// How much of a file is in memory at a time.
pub(crate) const CHUNK: usize = 128 * 1024;

/// SHA-256 of a file's bytes. Written in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(bytes);
        hash.into()
    }
}

impl Digest {
    /// Adds the first `count` of the digits to `text`. Every file has some in its name: byte by byte, without the
    /// machinery of `{:02x}`.
    pub(crate) fn write(&self, count: usize, text: &mut String) {
        let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
        let mut digits = [0; 64];
        let (pairs, _) = digits.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.0).take(count.div_ceil(2)) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        let digits = digits.get(..count).unwrap_or(&digits);
        text.push_str(std::str::from_utf8(digits).unwrap_or_default());
    }

    /// The one that these hexadecimal digits are. None: they are no SHA-256.
    #[must_use]
    pub fn of_digits(text: &str) -> Option<Self> {
        // What is no digit is more than a byte's half can be.
        let digit = |byte: u8| match byte.wrapping_sub(b'0') {
            number @ 0..10 => number,
            _ => byte.wrapping_sub(b'a').min(16) + 10,
        };
        let mut most = 0;
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (digit(*high), digit(*low));
            most = most.max(high).max(low);
            *byte = high << 4 | low & 15;
        }
        (most < 16).then_some(Self(bytes))
    }
}

impl From<Sha256> for Digest {
    fn from(hash: Sha256) -> Self {
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(2 * self.0.len());
        self.write(2 * self.0.len(), &mut text);
        f.write_str(&text)
    }
}

/// A file's content, known by size and digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// In bytes.
    pub size: u64,
    /// Of all of them.
    pub digest: Digest,
}

impl Content {
    /// Reads the file at `path`, a piece at a time.
    ///
    /// # Errors
    /// When it cannot be opened or read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Self::of(&mut File::open(path)?)
    }

    /// Of a text.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self {
            size: text.len() as u64,
            digest: Digest::of(text.as_bytes()),
        }
    }

    /// Reads `reader` to its end, a piece at a time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(reader: &mut impl Read) -> io::Result<Self> {
        Self::with(reader, |_| {})
    }

    /// The same; `seen` sees each piece.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn with(reader: &mut impl Read, mut seen: impl FnMut(&[u8])) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let size = pieces(reader, |piece| {
            hash.update(piece);
            seen(piece);
        })?;
        Ok(Self {
            size,
            digest: hash.into(),
        })
    }
}

/// Reads `reader` to its end, in pieces of [`CHUNK`] bytes, the last of which may be shorter. `seen` sees each. How much
/// there is, in bytes.
pub(crate) fn pieces(reader: &mut impl Read, mut seen: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut memory = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let count = fill(reader, &mut memory)?;
        match memory.get(..count) {
            Some(piece) if count > 0 => seen(piece),
            _ => return Ok(size),
        }
        size += count as u64;
    }
}

/// Reads until `memory` is full or nothing comes. How much there is, in bytes.
fn fill(reader: &mut impl Read, memory: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(free @ [_, ..]) = memory.get_mut(filled..) {
        match reader.read(free) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What a payload file is for; the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A kernel image.
    Kernel,
    /// An initrd.
    Initrd,
    /// A flattened devicetree.
    Devicetree,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Kernel, Self::Initrd, Self::Devicetree];

    fn ending(self) -> &'static str {
        match self {
            Self::Kernel => "-kernel.efi",
            Self::Initrd => "-initrd",
            Self::Devicetree => "-devicetree.dtb",
        }
    }
}

/// How many hexadecimal digits of the digest are in a name: 128 bits.
const NAME_DIGITS: usize = 32;
/// No name is longer, in bytes.
pub(crate) const LONGEST_NAME: usize = NAME_DIGITS + 16;

/// The file name of `content`, within [`DIRECTORY`].
#[must_use]
pub fn file_name(content: &Content, kind: Kind) -> String {
    let mut name = String::with_capacity(LONGEST_NAME);
    write_name(content, kind, &mut name);
    name
}

/// Adds [`file_name`] to `text`.
pub(crate) fn write_name(content: &Content, kind: Kind, text: &mut String) {
    content.digest.write(NAME_DIGITS, text);
    text.push_str(kind.ending());
}

/// Whether a file of this name in [`DIRECTORY`] is ours to remove, and what for it was.
#[must_use]
pub fn kind_of(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| {
        name.strip_suffix(kind.ending()).is_some_and(|hash| {
            hash.len() == NAME_DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit())
        })
    })
}

/// The name, within [`DIRECTORY`], of the payload of ours that has this path on `$BOOT`. None: it is not ours.
#[must_use]
pub fn name_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix(DIRECTORY)?.strip_prefix('/')?;
    kind_of(name).is_some().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha256_and_names_are_recognised() {
        let content = Content::of(&mut &b"abc"[..]).unwrap();
        // FIPS 180-2, appendix B.1
        assert!(
            content
                .digest
                .to_string()
                .starts_with("ba7816bf8f01cfea414140de5dae2223")
        );
        assert_eq!(content.size, 3);
        for kind in Kind::ALL {
            assert_eq!(kind_of(&file_name(&content, kind)), Some(kind));
        }
        let digits = content.digest.to_string();
        assert_eq!(Digest::of_digits(&digits), Some(content.digest));
        for (at, _) in digits.char_indices() {
            for odd in ["", "g", "A", "/", ":", "`", "\0", "\u{ff}", "00"] {
                let mut odd_one = digits.clone();
                odd_one.replace_range(at..=at, odd);
                assert_eq!(Digest::of_digits(&odd_one), None, "{odd_one}");
            }
        }
        assert_eq!(Digest([0x9a; 32]).to_string(), "9a".repeat(32));
        assert_eq!(
            Digest::of_digits(&"f0".repeat(32)),
            Some(Digest([0xf0; 32]))
        );
        assert_eq!(kind_of("bzImage.efi"), None);
    }
}
