//! Checksums of a file's pieces, taken while its digest is taken. With them a copy of it is compared with what was read
//! in a small part of the time that a second digest would take.
//!
//! A CRC-32 notices every burst of up to 32 wrong bits in its piece, and of other damage all but one case in four
//! thousand million. That is enough for the mistakes of a disk since the file was read. A name, and all that lasts
//! longer than a run, is a [`Digest`].

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::payload::{Content, Digest, pieces};

/// The checksum of each piece of a file, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sums(Vec<u32>);

impl Sums {
    fn add(&mut self, piece: &[u8]) {
        self.0.push(crc32fast::hash(piece));
    }

    /// What `reader` gives, and the sums of it, from one reading.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn and_content(reader: &mut impl Read) -> io::Result<(Self, Content)> {
        let mut sums = Self::default();
        let content = Content::with(reader, |piece| sums.add(piece))?;
        Ok((sums, content))
    }

    /// Of all that `reader` gives.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of(reader: &mut impl Read) -> io::Result<Self> {
        let mut sums = Self::default();
        pieces(reader, |piece| sums.add(piece))?;
        Ok(sums)
    }
}

/// The sums of the files whose digests this run has taken.
#[derive(Debug, Clone, Default)]
pub struct Known(BTreeMap<Digest, Sums>);

impl Known {
    /// Of a file with this digest.
    pub(crate) fn of(&self, digest: &Digest) -> Option<&Sums> {
        self.0.get(digest)
    }

    pub(crate) fn learn(&mut self, digest: Digest, sums: Sums) {
        self.0.insert(digest, sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::CHUNK;

    /// Gives one byte at a time, as any reader may.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into.get_mut(..1).unwrap_or_default())
        }
    }

    #[test]
    fn each_piece_has_one_however_it_is_read() {
        for (length, count) in [(0, 0), (1, 1), (CHUNK, 1), (CHUNK + 1, 2), (3 * CHUNK, 3)] {
            let bytes: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[1]).collect();
            let (sums, content) = Sums::and_content(&mut &bytes[..]).unwrap();
            assert_eq!(content, Content::of(&mut Slow(&bytes)).unwrap());
            assert_eq!(sums, Sums::of(&mut Slow(&bytes)).unwrap());
            assert_eq!(sums.0.len(), count);
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_in_every_piece() {
        let bytes = vec![0x5a; 2 * CHUNK + 7];
        let right = Sums::of(&mut &bytes[..]).unwrap();
        for at in [0, CHUNK - 1, CHUNK, 2 * CHUNK, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_ne!(Sums::of(&mut &damaged[..]).unwrap(), right, "{at}");
        }
    }
}
