//! What an image shows to firmware that asks for signatures.

use goblin::pe::header::Header;

use super::algorithm::Hash;
use crate::kernel;

/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const PKCS: u16 = 2;
/// `WIN_CERT_TYPE_EFI_GUID`: a GUID says what follows it.
const BY_GUID: u16 = 0x0ef1;
/// `EFI_CERT_TYPE_PKCS7_GUID`.
pub(super) const PKCS_GUID: [u8; 16] = [
    0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7,
];
/// As many signatures of one image are read.
const MOST: usize = 8;
/// `WIN_CERTIFICATE`: length, revision, type.
const HEADER: usize = 8;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Image<'a> {
    /// It has a place for signatures, whatever is there.
    pub(super) is_signed: bool,
    /// Each signature, with what it is wrapped in taken off.
    pub(super) signatures: Vec<&'a [u8]>,
    /// What is hashed of it.
    pub(super) parts: Vec<&'a [u8]>,
    /// Its SHA-256.
    pub(super) hash: Vec<u8>,
}

impl<'a> Image<'a> {
    /// None: it is no image.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = Header::parse(bytes).ok()?;
        let optional = header.optional_header?;
        let table = kernel::certificates(&optional);
        let (start, size) = match table {
            Some(table) => (at(table.virtual_address)?, at(table.size)?),
            None => (bytes.len(), 0),
        };
        let mut left = bytes.get(start..start.checked_add(size)?)?;
        let mut signatures = Vec::new();
        while let Some((signature, rest)) = next(left) {
            signatures.extend(signature);
            left = rest;
            if signatures.len() == MOST {
                break;
            }
        }
        let parts = parts(bytes, &header, size)?;
        Some(Self {
            is_signed: table.is_some(),
            signatures,
            hash: Hash::Sha256.sum(&parts),
            parts,
        })
    }

    /// As Authenticode takes it.
    pub(super) fn sum(&self, hash: Hash) -> Vec<u8> {
        match hash {
            Hash::Sha256 => self.hash.clone(),
            other => other.sum(&self.parts),
        }
    }
}

fn at(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

/// The first of the certificates' table, if it is of a kind that the firmware reads, and what follows it.
fn next(table: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let length = at(u32::from_le_bytes(table.get(..4)?.try_into().ok()?))?;
    let kind = u16::from_le_bytes(table.get(6..HEADER)?.try_into().ok()?);
    let body = table.get(HEADER..length)?;
    // Some firmware wants the last one padded as well, and some does not.
    let rest = table.get(length.checked_next_multiple_of(8)?..);
    let rest = rest.unwrap_or_default();
    let signature = match kind {
        PKCS => Some(body),
        BY_GUID => body.strip_prefix(&PKCS_GUID),
        _ => None,
    };
    Some((signature, rest))
}

/// What is hashed of an image that ends with `size` bytes of certificates.
fn parts<'a>(bytes: &'a [u8], header: &Header, size: usize) -> Option<Vec<&'a [u8]>> {
    let optional = header.optional_header?;
    let optional_at = at(header.dos_header.pe_pointer)?.checked_add(24)?;
    let sections = kernel::sections(bytes, header).ok()?;
    let mut places: Vec<(usize, usize)> = Vec::new();
    for section in &sections {
        places.push((
            at(section.pointer_to_raw_data)?,
            at(section.size_of_raw_data)?,
        ));
    }
    places.retain(|(_, size)| *size > 0);
    places.sort_unstable();
    let headers = at(optional.windows_fields.size_of_headers)?;
    // The checksum and the certificates' place are what signing changes; they are left out, and so are these.
    let (checksum, directory) = (
        optional_at.checked_add(64)?,
        optional_at.checked_add(112 + 4 * 8)?,
    );
    let mut parts = vec![
        bytes.get(..checksum)?,
        bytes.get(checksum + 4..directory)?,
        bytes.get(directory + 8..headers)?,
    ];
    let mut all = places.iter().map(|(_, size)| *size);
    // Sections that lie over one another: the firmware does not hash that either.
    let all = all.try_fold(headers, usize::checked_add)?;
    if all.checked_add(size)? > bytes.len() {
        return None;
    }
    let mut hashed = headers;
    for (start, size) in places {
        parts.push(bytes.get(start..start.checked_add(size)?)?);
        hashed = hashed.checked_add(size)?;
    }
    // What follows the sections, up to the certificates.
    let end = bytes.len().checked_sub(size)?;
    parts.push(bytes.get(hashed..end).unwrap_or_default());
    Some(parts)
}
