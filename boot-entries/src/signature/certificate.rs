//! X.509 certificates: whose they are, and which of them has issued which.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode as _, Reader as _, Sequence, SliceReader, Tag, Tagged as _};

use super::algorithm::{Algorithm, Hash, PublicKey};

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
/// `keyCertSign`, in the first byte of `KeyUsage`.
const MAY_SIGN_CERTIFICATES: u8 = 0x80 >> 5;

/// `Certificate`. What is signed of it is kept as it lies there: encoded anew it might be other bytes.
#[derive(Sequence)]
struct Outer<'a> {
    body: AnyRef<'a>,
    algorithm: Algorithm<'a>,
    signature: BitStringRef<'a>,
}

/// `TBSCertificate`.
#[derive(Debug, Clone, Sequence)]
struct Body<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<AnyRef<'a>>,
    serial: AnyRef<'a>,
    algorithm: Algorithm<'a>,
    issuer: AnyRef<'a>,
    validity: AnyRef<'a>,
    subject: AnyRef<'a>,
    key: PublicKey<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    issuer_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    subject_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<AnyRef<'a>>>,
}

/// What an `Extension` is, and its value. Whether it is critical is between them, and is not asked: OpenSSL takes any byte for
/// "true", and `der` takes one.
fn extension<'a>(whole: AnyRef<'a>) -> Option<(ObjectIdentifier, &'a [u8])> {
    let parts = values::<AnyRef>(whole.value());
    let (id, value) = parts.first().zip(parts.last())?;
    let value = value.decode_as::<&'a OctetStringRef>().ok()?;
    Some((id.decode_as().ok()?, value.as_bytes()))
}

#[derive(Sequence)]
struct BasicConstraints {
    may_issue: Option<bool>,
    path_length: Option<u32>,
}

/// One certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate<'a> {
    /// What is signed of it.
    signed: Vec<u8>,
    body: Body<'a>,
    algorithm: Algorithm<'a>,
    signature: BitStringRef<'a>,
}

/// The values that follow one another in `bytes`. What is no value ends them.
pub(super) fn values<'a, T: Decode<'a>>(bytes: &'a [u8]) -> Vec<T> {
    let mut values = Vec::new();
    let Ok(mut reader) = SliceReader::new(bytes) else {
        return values;
    };
    while !reader.is_finished() {
        let Ok(value) = T::decode(&mut reader) else {
            break;
        };
        values.push(value);
    }
    values
}

/// The value that `bytes` begin with. They may go on after it: what is padded is read as well.
pub(super) fn first<'a, T: Decode<'a>>(bytes: &'a [u8]) -> Option<T> {
    T::decode(&mut SliceReader::new(bytes).ok()?).ok()
}

impl<'a> Certificate<'a> {
    /// None: the firmware cannot read it either.
    pub(super) fn read(whole: AnyRef<'a>) -> Option<Self> {
        let outer: Outer = whole.decode_as().ok()?;
        Some(Self {
            signed: outer.body.to_der().ok()?,
            body: outer.body.decode_as().ok()?,
            algorithm: outer.algorithm,
            signature: outer.signature,
        })
    }

    pub(super) fn key(&self) -> &PublicKey<'a> {
        &self.body.key
    }

    /// Whether it is the one that `issuer` gave this serial number.
    pub(super) fn is(&self, issuer: AnyRef, serial: AnyRef) -> bool {
        self.body.serial.value() == serial.value() && is_same(self.body.issuer, issuer)
    }

    /// The sum of what is signed of it.
    pub(super) fn sum(&self, hash: Hash) -> Vec<u8> {
        hash.sum(&[&self.signed])
    }

    /// Whether its sum is one of `sums`.
    pub(super) fn is_among(&self, sums: &[Vec<u8>]) -> bool {
        let is_it = |sum: &Vec<u8>| {
            let hash = Hash::of_length(sum.len());
            hash.is_some_and(|hash| self.sum(hash) == *sum)
        };
        sums.iter().any(is_it)
    }

    /// Whether by its names, and by what it may do, `issuer` could have issued it.
    pub(super) fn names(&self, issuer: &Self) -> bool {
        is_same(self.body.issuer, issuer.body.subject) && issuer.may_issue()
    }

    /// Whether the key of `issuer` has signed it. None: nobody here can tell.
    pub(super) fn is_signed_by(&self, issuer: &Self) -> Option<bool> {
        let signature = self.signature.as_bytes()?;
        let key = issuer.key();
        key.has_signed(&self.signed, &self.algorithm, signature)
    }

    /// As OpenSSL has it (`X509_check_ca`). What is not understood is not held against it.
    fn may_issue(&self) -> bool {
        let extensions = self.body.extensions.iter().flatten();
        let extensions: Vec<_> = extensions.filter_map(|it| extension(*it)).collect();
        let find = |id| {
            let mut all = extensions.iter();
            all.find_map(|(one, value)| (*one == id).then_some(*value))
        };
        let usage = find(KEY_USAGE).and_then(first::<BitStringRef>);
        let signs = usage.is_none_or(|usage| {
            let first = usage.raw_bytes().first();
            first.is_some_and(|bits| bits & MAY_SIGN_CERTIFICATES != 0)
        });
        let constraints = find(BASIC_CONSTRAINTS).map(first::<BasicConstraints>);
        let issues = match constraints {
            Some(Some(constraints)) => constraints.may_issue == Some(true),
            Some(None) => true,
            // Version 1 had no extensions.
            None => usage.is_some() || self.body.version.is_none(),
        };
        signs && issues
    }
}

impl PartialEq for Certificate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.signed == other.signed && self.signature == other.signature
    }
}

/// Whether two names are the same: letters in upper and lower case are, white space of any length is, and so is a text in
/// another encoding.
fn is_same(one: AnyRef, other: AnyRef) -> bool {
    one == other || (parts(one) == parts(other) && !parts(one).is_empty())
}

/// The attributes of a name, each its kind and its text.
fn parts(name: AnyRef) -> Vec<(ObjectIdentifier, String)> {
    #[derive(Sequence)]
    struct Attribute<'a> {
        id: ObjectIdentifier,
        value: AnyRef<'a>,
    }
    let attributes = values::<AnyRef>(name.value()).into_iter();
    let attributes = attributes.flat_map(|one| values::<Attribute>(one.value()));
    let text = |value: AnyRef| {
        let bytes = value.value();
        let text = if value.tag() == Tag::BmpString {
            let pairs = bytes.as_chunks::<2>().0.iter();
            let units: Vec<u16> = pairs.map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16_lossy(&units)
        } else {
            String::from_utf8_lossy(bytes).into_owned()
        };
        let text = text.to_ascii_lowercase();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    attributes.map(|it| (it.id, text(it.value))).collect()
}
