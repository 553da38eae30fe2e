//! Whether the firmware would start an image that Secure Boot asks a signature of.
//!
//! UEFI specification, "Secure Boot and Driver Signing": an image is started if one of its signatures verifies, and a
//! chain leads from its signer to a certificate in `db`, or if the image's hash is in `db`; and if `dbx` refuses neither.
//! shim accepts what is in its own list as well. What is computed here is what EDK2 computes (`DxeImageVerificationLib`):
//! the image's hash, and RSA with SHA-2 over what is signed and over each certificate of the chain. Of what is signed in
//! another way (ECDSA, SHA-1) the names are compared, and nothing else is held against it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use authenticode::Signature;
use certificate::{Certificate, first};
use image::Image;

mod algorithm;
mod authenticode;
mod certificate;
mod image;

/// `EFI_CERT_X509_GUID`, as it lies in memory.
const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// `EFI_CERT_SHA256_GUID`.
const SHA256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];
/// `EFI_CERT_X509_SHA256_GUID`, and those of SHA-384 and SHA-512: what lists the sums of certificates.
const X509_SUMS: [([u8; 16], usize); 3] = [
    (
        [
            0x92, 0xa4, 0xd2, 0x3b, 0xc0, 0x96, 0x79, 0x40, 0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1,
            0x03, 0xed,
        ],
        32,
    ),
    (
        [
            0x6e, 0x87, 0x76, 0x70, 0xc2, 0x80, 0xe6, 0x4e, 0xaa, 0xd2, 0x28, 0xb3, 0x49, 0xa6,
            0x86, 0x5b,
        ],
        48,
    ),
    (
        [
            0x63, 0xbf, 0x6d, 0x44, 0x02, 0x25, 0xda, 0x4c, 0xbc, 0xfa, 0x24, 0x65, 0xd2, 0xb0,
            0xfe, 0x9d,
        ],
        64,
    ),
];
/// Whose a signature is, before each.
const OWNER: usize = 16;
/// A type, and three sizes.
const LIST_HEADER: usize = 16 + 3 * 4;
/// An image that is larger is not read.
const LARGEST: u64 = 512 * 1024 * 1024;

/// What a list of the firmware's holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Certificates, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// SHA-256 sums of images, as Authenticode takes them.
    pub images: Vec<[u8; 32]>,
    /// Sums of certificates, as far as those are signed: whatever such a signer signed is refused.
    pub sums: Vec<Vec<u8>>,
    /// There is something else in it, which is not looked at: it may accept whatever is signed.
    pub has_more: bool,
}

impl Signatures {
    /// These and `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.certificates.extend(others.certificates);
        self.images.extend(others.images);
        self.sums.extend(others.sums);
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
                    _ => {
                        all.sums.extend(revoked(kind, signature));
                        all.has_more = true;
                    }
                }
            }
            data = data.get(size..)?;
        }
        Some(all)
    }

    fn read(&self) -> Vec<Certificate<'_>> {
        let certificates = self.certificates.iter();
        // There may be something after it.
        certificates
            .filter_map(|bytes| Certificate::read(first(bytes)?))
            .collect()
    }
}

/// The sum of a certificate that is revoked from the beginning of time. Of one that is revoked since nobody here can say
/// what was signed before.
fn revoked(kind: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let (_, length) = X509_SUMS.iter().find(|(guid, _)| guid == kind)?;
    let (sum, time) = signature.split_at_checked(*length)?;
    let is_always = time.iter().all(|byte| *byte == 0);
    is_always.then(|| sum.to_owned())
}

/// What decides, where Secure Boot is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// What is accepted: `db`, and what shim accepts beyond that. None: it cannot be read, and nobody knows.
    pub accepted: Option<Signatures>,
    /// What is refused all the same: `dbx`, and shim's own.
    pub refused: Signatures,
}

/// Whether the firmware would start an image. Of several signatures the first verdict in this order is the image's: one
/// that is accepted is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing is known against it.
    Accepted,
    /// It, or a certificate of its signature, is on the list of what is refused.
    Revoked,
    /// A certificate that is called like its signer's, or like one that issued that, is accepted, with another key.
    Namesake,
    /// What it carries is no signature of it: it was changed since, or the signature is another image's, or damaged.
    Invalid,
    /// Its signer's certificate is not accepted, nor any that issued it.
    Stranger,
    /// It carries no signature, and its hash is not accepted.
    Unsigned,
}

/// Judges the image at `path` (a path of this process).
///
/// # Errors
/// When it cannot be read.
pub fn judge(path: &Path, keys: &Keys) -> io::Result<Verdict> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(verdict_on(&bytes, keys))
}

fn verdict_on(bytes: &[u8], keys: &Keys) -> Verdict {
    Image::parse(bytes).map_or(Verdict::Unsigned, |image| of(&image, keys))
}

fn of(image: &Image, keys: &Keys) -> Verdict {
    let signatures = image.signatures.iter();
    let signatures: Vec<_> = signatures
        .map(|bytes| Signature::parse(bytes, image))
        .collect();
    let (refused, sums) = (keys.refused.read(), &keys.refused.sums);
    let is_refused = |it: &Signature| it.has_signer_of(sums) || it.is_certainly_by(&refused);
    if has(&keys.refused, image) || signatures.iter().flatten().any(is_refused) {
        return Verdict::Revoked;
    }
    match &keys.accepted {
        // Nobody knows what is accepted, and so neither of what.
        None if image.is_signed => Verdict::Accepted,
        Some(accepted) if accepted.has_more && !signatures.is_empty() => Verdict::Accepted,
        Some(accepted) if has(accepted, image) => Verdict::Accepted,
        Some(accepted) => {
            let all = accepted.read();
            if all.len() < accepted.certificates.len() && !signatures.is_empty() {
                // Of one that cannot be read here nobody knows what it accepts.
                return Verdict::Accepted;
            }
            let (dead, alive): (Vec<_>, _) = all.into_iter().partition(|it| it.is_among(sums));
            let verdicts = signatures.iter().map(|signature| match signature {
                Some(signature) => verdict_of(signature, &alive, &dead),
                None => Verdict::Invalid,
            });
            verdicts.min().unwrap_or(Verdict::Unsigned)
        }
        None => Verdict::Unsigned,
    }
}

fn has(list: &Signatures, image: &Image) -> bool {
    list.images.iter().any(|sum| image.hash == sum)
}

/// What one signature says: some of the accepted certificates are revoked by their sums, the `dead`.
fn verdict_of(signature: &Signature, alive: &[Certificate], dead: &[Certificate]) -> Verdict {
    match signature.verdict(alive) {
        Verdict::Accepted => Verdict::Accepted,
        _ if signature.verdict(dead) == Verdict::Accepted => Verdict::Revoked,
        other => other,
    }
}

#[cfg(test)]
mod tests;
