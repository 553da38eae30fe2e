//! As much of DER as tells certificates apart: in a PKCS#7 `SignedData`, and in X.509.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
/// Constructed, context-specific, number 0.
const CONTEXT_0: u8 = 0xa0;

/// One value: its tag, its content, and all of it.
#[derive(Debug, Clone, Copy)]
struct Value<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// Takes the first value from `bytes`.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<Value<'a>> {
    let all = *bytes;
    let (tag, first) = (*all.first()?, *all.get(1)?);
    // A length below 128 is one byte; else that byte says how many follow.
    let (length, start) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let digits = all.get(2..2 + count)?;
            let length = digits
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, 2 + count)
        }
        _ => return None,
    };
    let end = start.checked_add(length)?;
    let value = Value {
        tag,
        content: all.get(start..end)?,
        whole: all.get(..end)?,
    };
    *bytes = all.get(end..)?;
    Some(value)
}

/// Takes the first value, if it has this tag.
fn take<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<Value<'a>> {
    next(bytes).filter(|value| value.tag == tag)
}

/// The parts of a `SignedData` that tell who signed.
#[derive(Debug, Default)]
struct SignedData<'a> {
    /// The certificates that it brings, one after the other.
    certificates: &'a [u8],
    /// Of each signer's certificate, who issued it and its serial number.
    signers: Vec<(&'a [u8], &'a [u8])>,
}

fn signed_data(signature: &[u8]) -> Option<SignedData<'_>> {
    let mut rest = signature;
    let mut info = take(&mut rest, SEQUENCE)?.content;
    take(&mut info, OBJECT_ID)?;
    let mut explicit = take(&mut info, CONTEXT_0)?.content;
    let mut data = take(&mut explicit, SEQUENCE)?.content;
    take(&mut data, INTEGER)?;
    take(&mut data, SET)?;
    take(&mut data, SEQUENCE)?;
    let mut value = next(&mut data)?;
    let certificates = if value.tag == CONTEXT_0 {
        let certificates = value.content;
        value = next(&mut data)?;
        certificates
    } else {
        &[]
    };
    // Revocation lists may come before the signers.
    while value.tag != SET {
        value = next(&mut data)?;
    }
    let mut signers = Vec::new();
    let mut left = value.content;
    while let Some(signer) = take(&mut left, SEQUENCE) {
        let mut signer = signer.content;
        take(&mut signer, INTEGER)?;
        let mut by = take(&mut signer, SEQUENCE)?.content;
        let issuer = take(&mut by, SEQUENCE)?.whole;
        signers.push((issuer, take(&mut by, INTEGER)?.content));
    }
    Some(SignedData {
        certificates,
        signers,
    })
}

/// The certificates in a signature.
pub(super) fn certificates(signature: &[u8]) -> Vec<&[u8]> {
    let mut left = signed_data(signature).unwrap_or_default().certificates;
    std::iter::from_fn(|| Some(take(&mut left, SEQUENCE)?.whole)).collect()
}

/// Of a certificate: its serial number, who issued it, and whose it is.
fn names(certificate: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut rest = certificate;
    let mut whole = take(&mut rest, SEQUENCE)?.content;
    let mut body = take(&mut whole, SEQUENCE)?.content;
    let mut value = next(&mut body)?;
    if value.tag == CONTEXT_0 {
        value = next(&mut body)?;
    }
    let serial = Some(value).filter(|value| value.tag == INTEGER)?.content;
    take(&mut body, SEQUENCE)?;
    let issuer = take(&mut body, SEQUENCE)?.whole;
    take(&mut body, SEQUENCE)?;
    let subject = take(&mut body, SEQUENCE)?.whole;
    Some((serial, issuer, subject))
}

/// Whether `certificate` is by its names that of a signer of `signature`, or one that issued a certificate in it.
pub(super) fn is_signed_by(signature: &[u8], certificate: &[u8]) -> bool {
    let Some(SignedData { signers, .. }) = signed_data(signature) else {
        return false;
    };
    let Some((serial, issuer, subject)) = names(certificate) else {
        return false;
    };
    let is_signers = signers.contains(&(issuer, serial));
    let has_issued = |one: &[u8]| names(one).is_some_and(|(_, issuer, _)| issuer == subject);
    let issued_signers = signers.iter().any(|(issuer, _)| *issuer == subject);
    is_signers || issued_signers || certificates(signature).into_iter().any(has_issued)
}
