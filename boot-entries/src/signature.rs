//! Whether the firmware would accept what an image is signed with, as far as that can be told without its keys' numbers.
//!
//! UEFI specification, "Secure Boot and Driver Signing": an image is started if a certificate in `db` is that of its
//! signer or has issued that, or if the image's hash is in `db`; and if neither is in `dbx`. shim accepts what is in its
//! own list as well. Here the certificates' names and bytes are compared, and hashes. The signature itself is not
//! computed: an image that was changed after it was signed is told by comparing it with the closure.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use goblin::pe::header::Header;
use sha2::{Digest as _, Sha256};

use crate::kernel;

mod der;

/// `EFI_CERT_X509_GUID`, as it lies in memory.
const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// `EFI_CERT_SHA256_GUID`.
const SHA256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];
/// Whose a signature is, before each.
const OWNER: usize = 16;
/// A type, and three sizes.
const LIST_HEADER: usize = 16 + 3 * 4;
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const PKCS: u16 = 2;
/// An image that is larger is not read.
const LARGEST: u64 = 512 * 1024 * 1024;

/// What a list of the firmware's holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Certificates, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// SHA-256 sums of images, as Authenticode takes them.
    pub images: Vec<[u8; 32]>,
    /// There is something else in it, which is not looked at.
    pub has_more: bool,
}

impl Signatures {
    /// These and `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.certificates.extend(others.certificates);
        self.images.extend(others.images);
        self.has_more |= others.has_more;
        self
    }

    /// Reads a variable's data: a row of `EFI_SIGNATURE_LIST`. None: it is none.
    #[must_use]
    pub fn parse(mut data: &[u8]) -> Option<Self> {
        let mut all = Self::default();
        while !data.is_empty() {
            let kind = data.get(..16)?;
            let number = |at: usize| -> Option<usize> {
                let bytes = data.get(at..at + 4)?;
                usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
            };
            let (size, header, each) = (number(16)?, number(20)?, number(24)?);
            let list = data.get(..size)?;
            let signatures = list.get(LIST_HEADER.checked_add(header)?..)?;
            if each <= OWNER || signatures.len() % each != 0 {
                return None;
            }
            for signature in signatures.chunks_exact(each) {
                let signature = signature.get(OWNER..)?;
                match <[u8; 32]>::try_from(signature) {
                    Ok(hash) if kind == SHA256 => all.images.push(hash),
                    _ if kind == X509 => all.certificates.push(signature.to_owned()),
                    _ => all.has_more = true,
                }
            }
            data = data.get(size..)?;
        }
        Some(all)
    }
}

/// What decides, where Secure Boot is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// What is accepted: `db`, and what shim accepts beyond that. None: it cannot be read, and nobody knows.
    pub accepted: Option<Signatures>,
    /// What is refused all the same: `dbx`, and shim's own.
    pub refused: Signatures,
}

/// Whether the firmware would start an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is known against it.
    Accepted,
    /// It carries no signature, and its hash is not accepted.
    Unsigned,
    /// Its signer's certificate is not accepted, nor any that issued it.
    Stranger,
    /// It, or a certificate of its signature, is on the list of what is refused.
    Revoked,
}

/// What an image shows to the firmware.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shown {
    /// It has a place for signatures, whatever is there.
    is_signed: bool,
    /// Each signature, with what it is wrapped in taken off.
    signatures: Vec<Vec<u8>>,
    hash: [u8; 32],
}

/// Judges the image at `path` (a path of this process).
///
/// # Errors
/// When it cannot be read.
pub fn judge(path: &Path, keys: &Keys) -> io::Result<Verdict> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(shown(&bytes).map_or(Verdict::Unsigned, |shown| of(&shown, keys)))
}

fn of(shown: &Shown, keys: &Keys) -> Verdict {
    let certificates: Vec<&[u8]> = shown
        .signatures
        .iter()
        .flat_map(|s| der::certificates(s))
        .collect();
    let refuses =
        |certificate: &&[u8]| keys.refused.certificates.iter().any(|it| it == certificate);
    if keys.refused.images.contains(&shown.hash) || certificates.iter().any(refuses) {
        return Verdict::Revoked;
    }
    let is_accepted = |accepted: &Signatures| {
        let by_hash = accepted.images.contains(&shown.hash);
        let by_certificate = accepted.certificates.iter().any(|it| {
            let signs = |signature: &Vec<u8>| der::is_signed_by(signature, it);
            shown.signatures.iter().any(signs)
        });
        by_hash || by_certificate || (accepted.has_more && !shown.signatures.is_empty())
    };
    match &keys.accepted {
        Some(accepted) if is_accepted(accepted) => Verdict::Accepted,
        // Nobody knows what is accepted, and so neither of what.
        None if shown.is_signed => Verdict::Accepted,
        Some(_) if !shown.signatures.is_empty() => Verdict::Stranger,
        _ => Verdict::Unsigned,
    }
}

/// None: it is no image.
fn shown(bytes: &[u8]) -> Option<Shown> {
    let header = Header::parse(bytes).ok()?;
    let optional = header.optional_header?;
    let table = kernel::certificates(&optional);
    let at = |number: u32| usize::try_from(number).ok();
    let (start, size) = match table {
        Some(table) => (at(table.virtual_address)?, at(table.size)?),
        None => (bytes.len(), 0),
    };
    let mut signatures = Vec::new();
    let mut left = bytes.get(start..start.checked_add(size)?)?;
    while let Some(length) = left.get(..4) {
        let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
        let kind = u16::from_le_bytes(left.get(6..8)?.try_into().ok()?);
        let Some(body) = left.get(8..length) else {
            break;
        };
        if kind == PKCS {
            signatures.push(body.to_owned());
        }
        left = left.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    let optional_at = at(header.dos_header.pe_pointer)?.checked_add(24)?;
    let sections = kernel::sections(bytes, &header).ok()?;
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for section in &sections {
        parts.push((
            at(section.pointer_to_raw_data)?,
            at(section.size_of_raw_data)?,
        ));
    }
    parts.retain(|(_, size)| *size > 0);
    parts.sort_unstable();
    let headers = at(optional.windows_fields.size_of_headers)?;
    // The checksum and the certificates' place are what signing changes; they are left out, and so are these.
    let (checksum, directory) = (
        optional_at.checked_add(64)?,
        optional_at.checked_add(112 + 4 * 8)?,
    );
    let mut hash = Sha256::new();
    hash.update(bytes.get(..checksum)?);
    hash.update(bytes.get(checksum + 4..directory)?);
    hash.update(bytes.get(directory + 8..headers)?);
    let mut hashed = headers;
    for (start, size) in parts {
        hash.update(bytes.get(start..start.checked_add(size)?)?);
        hashed = hashed.checked_add(size)?;
    }
    // What follows the sections, up to the certificates.
    let end = bytes.len().checked_sub(size)?;
    hash.update(bytes.get(hashed..end).unwrap_or_default());
    Some(Shown {
        is_signed: table.is_some(),
        signatures,
        hash: hash.finalize().into(),
    })
}

#[cfg(test)]
mod tests;
