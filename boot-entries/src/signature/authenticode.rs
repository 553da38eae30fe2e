//! One signature of an image: PKCS#7 as Authenticode uses it, judged as EDK2 does it.
//!
//! `AuthenticodeVerify` compares the image's sum and then has OpenSSL do the rest (`PKCS7_verify`): each signer's
//! certificate is in the signature itself; each one's key has signed; from each a chain leads to the certificate that is
//! asked for, which need be no root (`X509_V_FLAG_PARTIAL_CHAIN`). When a certificate is valid is not looked at
//! (`X509_V_FLAG_NO_CHECK_TIME`), nor what it is for (`X509_PURPOSE_ANY`).

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Encode as _, Sequence, Tag, Tagged as _};

use super::Verdict;
use super::algorithm::{Algorithm, Hash};
use super::certificate::{Certificate, first, values};
use super::image::Image;

/// `SPC_INDIRECT_DATA_OBJID`.
const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
/// More certificates or signers than any signature needs. What is beyond that is not looked at, nor held against it.
const MOST: usize = 16;

#[derive(Sequence)]
struct ContentInfo<'a> {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: AnyRef<'a>,
}

#[derive(Sequence)]
struct SignedData<'a> {
    version: AnyRef<'a>,
    algorithms: AnyRef<'a>,
    content: ContentInfo<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<Vec<AnyRef<'a>>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    revocations: Option<Vec<AnyRef<'a>>>,
    signers: AnyRef<'a>,
}

/// `SpcIndirectDataContent`.
#[derive(Sequence)]
struct IndirectData<'a> {
    data: AnyRef<'a>,
    image: DigestInfo<'a>,
}

#[derive(Sequence)]
struct DigestInfo<'a> {
    algorithm: Algorithm<'a>,
    sum: &'a OctetStringRef,
}

#[derive(Sequence)]
struct Signer<'a> {
    version: AnyRef<'a>,
    certificate: IssuerAndSerial<'a>,
    digest: Algorithm<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    signed: Option<Vec<AnyRef<'a>>>,
    algorithm: Algorithm<'a>,
    signature: &'a OctetStringRef,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    unsigned: Option<Vec<AnyRef<'a>>>,
}

#[derive(Sequence)]
struct IssuerAndSerial<'a> {
    issuer: AnyRef<'a>,
    serial: AnyRef<'a>,
}

#[derive(Sequence)]
struct Attribute<'a> {
    id: ObjectIdentifier,
    values: AnyRef<'a>,
}

impl Signer<'_> {
    /// Whether the key of `certificate` has signed `content`. None: nobody here can tell.
    fn has_signed(&self, content: &[u8], certificate: &Certificate) -> Option<bool> {
        let key = certificate.key();
        let signature = self.signature.as_bytes();
        let Some(attributes) = &self.signed else {
            return key.has_signed(content, &self.digest, signature);
        };
        let sum = attributes.iter().find_map(|attribute| {
            let attribute: Attribute = attribute.decode_as().ok()?;
            let is_it = attribute.id == MESSAGE_DIGEST;
            is_it.then(|| first::<&OctetStringRef>(attribute.values.value()))
        });
        let Some(sum) = sum.flatten() else {
            return Some(false);
        };
        if Hash::of(&self.digest)?.sum(&[content]) != sum.as_bytes() {
            return Some(false);
        }
        // They are signed as a set of their own, in the order that they have here.
        let mut all = Vec::new();
        for attribute in attributes {
            all.extend(attribute.to_der().ok()?);
        }
        let set = AnyRef::new(Tag::Set, &all).and_then(|set| set.to_der());
        key.has_signed(&set.ok()?, &self.digest, signature)
    }
}

/// How sure a chain has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    /// The names fit.
    Named,
    /// And nothing is known against the signatures.
    Likely,
    /// And the signatures are known to be good.
    Certain,
}

impl Links {
    fn hold(self, one: &Certificate, issuer: &Certificate) -> bool {
        one.names(issuer)
            && match self {
                Self::Named => true,
                Self::Likely => one.is_signed_by(issuer) != Some(false),
                Self::Certain => one.is_signed_by(issuer) == Some(true),
            }
    }
}

/// A signature, read.
pub(super) struct Signature<'a> {
    /// What is signed: all of the content but its tag and length.
    content: &'a [u8],
    /// Nothing is known against its being one of the image that carries it.
    is_of_image: bool,
    certificates: Vec<Certificate<'a>>,
    /// Each with its certificate.
    signers: Vec<(Signer<'a>, Certificate<'a>)>,
}

impl<'a> Signature<'a> {
    /// Reads what `image` carries. None: the firmware cannot read it either.
    pub(super) fn parse(bytes: &'a [u8], image: &Image) -> Option<Self> {
        let outer: ContentInfo = first(bytes)?;
        let data: SignedData = outer.content.decode_as().ok()?;
        let content = data.content.content;
        let is_ours = outer.kind == SIGNED_DATA && data.content.kind == INDIRECT_DATA;
        if !is_ours || content.tag() != Tag::Sequence || data.signers.tag() != Tag::Set {
            return None;
        }
        let said = content.decode_as::<IndirectData>().ok()?.image;
        let hash = Hash::of(&said.algorithm);
        let certificates = data.certificates.unwrap_or_default();
        let certificates: Vec<_> = certificates
            .into_iter()
            .filter_map(Certificate::read)
            .collect();
        let with_certificate = |signer: Signer<'a>| {
            let IssuerAndSerial { issuer, serial } = signer.certificate;
            let its = certificates.iter().find(|it| it.is(issuer, serial))?;
            Some((signer, its.clone()))
        };
        let signers: Option<Vec<_>> = values(data.signers.value())
            .into_iter()
            .take(MOST)
            .map(with_certificate)
            .collect();
        Some(Self {
            content: content.value(),
            is_of_image: hash.is_none_or(|hash| image.sum(hash) == said.sum.as_bytes()),
            signers: signers.filter(|signers| !signers.is_empty())?,
            certificates,
        })
    }

    /// What it is worth where the certificates of `list` are accepted. What costs least is asked first.
    pub(super) fn verdict(&self, list: &[Certificate]) -> Verdict {
        if !self.is_of_image {
            Verdict::Invalid
        } else if !self.leads_to(list, Links::Named) {
            Verdict::Stranger
        } else if !self.is_signed() {
            Verdict::Invalid
        } else if !self.leads_to(list, Links::Likely) {
            Verdict::Namesake
        } else {
            Verdict::Accepted
        }
    }

    /// Whether it is certainly by one of `list`, and nothing is known against its being one of the image.
    pub(super) fn is_certainly_by(&self, list: &[Certificate]) -> bool {
        self.leads_to(list, Links::Named)
            && self.is_of_image
            && self.is_signed()
            && self.leads_to(list, Links::Certain)
    }

    /// Whether the sum of a signer's certificate is one of `sums`.
    pub(super) fn has_signer_of(&self, sums: &[Vec<u8>]) -> bool {
        self.signers.iter().any(|(_, its)| its.is_among(sums))
    }

    /// Whether nothing is known against the signers' signatures.
    fn is_signed(&self) -> bool {
        let has_signed =
            |(signer, its): &(Signer, Certificate)| signer.has_signed(self.content, its);
        self.signers
            .iter()
            .all(|signer| has_signed(signer) != Some(false))
    }

    /// Whether a chain leads from each signer to one of `list`.
    fn leads_to(&self, list: &[Certificate], links: Links) -> bool {
        let mut signers = self.signers.iter();
        signers.all(|(_, its)| self.chain(its, list, links))
    }

    fn chain(&self, signer: &Certificate, list: &[Certificate], links: Links) -> bool {
        if self.certificates.len() > MOST {
            return links != Links::Certain;
        }
        let mut left: Vec<&Certificate> = self.certificates.iter().collect();
        let mut reached = vec![signer];
        while let Some(one) = reached.pop() {
            if list.iter().any(|it| it == one || links.hold(one, it)) {
                return true;
            }
            let (more, others) = left.into_iter().partition(|it| links.hold(one, it));
            left = others;
            reached.extend::<Vec<_>>(more);
        }
        false
    }
}
