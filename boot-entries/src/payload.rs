//! What an entry points at (kernel, initrd, devicetree), named by content.
//!
//! A name that holds the hash of the bytes can be shared between generations, is never overwritten by another
//! generation's file, and says by itself whether the bytes under it are still the right ones.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Our directory on `$BOOT`.
pub const DIRECTORY: &str = "EFI/lastgood";

/// How much of a file is in memory at a time.
pub(crate) const CHUNK: usize = 128 * 1024;

/// SHA-256 of a file's bytes. Written in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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
    /// In hexadecimal digits. Every file has one in its name: digit by digit, without the machinery of `{:02x}`.
    pub(crate) fn digits(&self) -> impl Iterator<Item = char> {
        let halves = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        halves.map(|half| char::from_digit(half.into(), 16).unwrap_or_default())
    }
}

impl From<Sha256> for Digest {
    fn from(hash: Sha256) -> Self {
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.digits().collect();
        f.write_str(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A text that is no SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not 64 hexadecimal digits")]
pub struct NoDigest;

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        let digit = |byte: &u8| {
            char::from(*byte)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return Err(NoDigest);
        }
        let (pairs, _) = text.as_bytes().as_chunks::<2>();
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(high).ok_or(NoDigest)? << 4 | digit(low).ok_or(NoDigest)?;
        }
        Ok(Self(bytes))
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

/// The file name of `content`, within [`DIRECTORY`].
#[must_use]
pub fn file_name(content: &Content, kind: Kind) -> String {
    let mut name = String::with_capacity(NAME_DIGITS + kind.ending().len());
    name.extend(content.digest.digits().take(NAME_DIGITS));
    name.push_str(kind.ending());
    name
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
        assert_eq!(kind_of("bzImage.efi"), None);
    }
}
