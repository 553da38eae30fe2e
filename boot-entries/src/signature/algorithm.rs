//! The sums and signatures that are computed here: SHA-2, and RSA with the padding of PKCS#1 v1.5. Of every other
//! algorithm nothing is known, and the answer is None.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode as _, Sequence};
use rsa::BoxedUint;
use sha2::{Digest, Sha256, Sha384, Sha512};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// `AlgorithmIdentifier`.
#[derive(Debug, Clone, Copy, Sequence)]
pub(super) struct Algorithm<'a> {
    id: ObjectIdentifier,
    parameters: Option<AnyRef<'a>>,
}

/// `SubjectPublicKeyInfo`.
#[derive(Debug, Clone, Copy, Sequence)]
pub(super) struct PublicKey<'a> {
    algorithm: Algorithm<'a>,
    key: BitStringRef<'a>,
}

/// `RSAPublicKey`.
#[derive(Sequence)]
struct Numbers<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The hash that `algorithm` is, or with which it is one of RSA's signatures.
    pub(super) fn of(algorithm: &Algorithm) -> Option<Self> {
        match algorithm.id.to_string().as_str() {
            "2.16.840.1.101.3.4.2.1" | "1.2.840.113549.1.1.11" => Some(Self::Sha256),
            "2.16.840.1.101.3.4.2.2" | "1.2.840.113549.1.1.12" => Some(Self::Sha384),
            "2.16.840.1.101.3.4.2.3" | "1.2.840.113549.1.1.13" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The hash whose sums have `length` bytes.
    pub(super) fn of_length(length: usize) -> Option<Self> {
        match length {
            32 => Some(Self::Sha256),
            48 => Some(Self::Sha384),
            64 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The sum of `parts`, one after the other.
    pub(super) fn sum(self, parts: &[&[u8]]) -> Vec<u8> {
        fn sum<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut hash = D::new();
            for part in parts {
                hash.update(part);
            }
            hash.finalize().to_vec()
        }
        match self {
            Self::Sha256 => sum::<Sha256>(parts),
            Self::Sha384 => sum::<Sha384>(parts),
            Self::Sha512 => sum::<Sha512>(parts),
        }
    }
}

impl PublicKey<'_> {
    /// Whether `signature` is one of `message` by this key, the message hashed as `by` says. None: nobody here can tell.
    pub(super) fn has_signed(
        &self,
        message: &[u8],
        by: &Algorithm,
        signature: &[u8],
    ) -> Option<bool> {
        let hash = Hash::of(by).filter(|_| self.algorithm.id == RSA)?;
        let numbers = Numbers::from_der(self.key.as_bytes()?).ok()?;
        let [modulus, exponent] = [numbers.modulus, numbers.exponent]
            .map(|number| BoxedUint::from_be_slice_vartime(number.as_bytes()));
        let key = rsa::PublicKey::new(modulus, exponent).ok()?;
        let verified = match hash {
            Hash::Sha256 => key.pkcs1v15_verify::<Sha256>(message, signature),
            Hash::Sha384 => key.pkcs1v15_verify::<Sha384>(message, signature),
            Hash::Sha512 => key.pkcs1v15_verify::<Sha512>(message, signature),
        };
        Some(verified.is_ok())
    }
}
