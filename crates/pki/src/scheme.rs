//! The two ways to sign, and keys for them. A public key is a point on its curve or is not made at all.

use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Encode, Sequence};
use p256::elliptic_curve::sec1::ToSec1Point;
use sm2::dsa::signature::{Signer as _, Verifier as _};
use zeroize::Zeroizing;

use crate::Fault;

/// Bytes of a public key: an uncompressed point (SEC 1 §2.3.3).
pub const POINT_BYTES: usize = 65;
/// Bytes of a secret key.
pub const SECRET_BYTES: usize = 32;
/// Bytes of a signature: r and s.
pub const SIGNATURE_BYTES: usize = 64;

/// The identifier of a signer that has none (GM/T 0009).
const SM2_IDENTIFIER: &str = "1234567812345678";

const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SM2P256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.301");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const SM2_WITH_SM3: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.501");

/// How something is signed. The number is what is stored, and what a chip calls it (spec/chip-commands.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scheme {
    /// ECDSA on P-256 with SHA-256.
    P256 = 1,
    /// SM2 with SM3, under the identifier `1234567812345678`.
    Sm2 = 2,
}

impl Scheme {
    /// Both.
    pub const ALL: [Self; 2] = [Self::P256, Self::Sm2];

    /// The scheme with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| *scheme as u8 == number)
    }

    /// The name in files and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::Sm2 => "sm2",
        }
    }

    /// The scheme with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    pub(crate) const fn curve(self) -> ObjectIdentifier {
        match self {
            Self::P256 => PRIME256V1,
            Self::Sm2 => SM2P256V1,
        }
    }

    pub(crate) const fn algorithm(self) -> ObjectIdentifier {
        match self {
            Self::P256 => ECDSA_WITH_SHA256,
            Self::Sm2 => SM2_WITH_SM3,
        }
    }
}

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    scheme: Scheme,
    point: [u8; POINT_BYTES],
}

impl PublicKey {
    /// A key from an uncompressed point.
    ///
    /// # Errors
    /// [`Fault::Malformed`] where it is no point of the curve.
    pub fn new(scheme: Scheme, point: &[u8]) -> Result<Self, Fault> {
        let point: [u8; POINT_BYTES] = point.try_into().map_err(|_| Fault::Malformed)?;
        let is_point = match scheme {
            Scheme::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).is_ok(),
            Scheme::Sm2 => sm2::dsa::VerifyingKey::from_sec1_bytes(SM2_IDENTIFIER, &point).is_ok(),
        };
        if is_point { Ok(Self { scheme, point }) } else { Err(Fault::Malformed) }
    }

    /// How it signs.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The uncompressed point.
    pub fn point(&self) -> &[u8; POINT_BYTES] {
        &self.point
    }

    /// Whether this is the key's signature (r ‖ s) over the message.
    pub fn has_signed(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        match self.scheme {
            Scheme::P256 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&self.point);
                let signature = p256::ecdsa::Signature::from_slice(signature);
                key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
            }
            Scheme::Sm2 => {
                let key = sm2::dsa::VerifyingKey::from_sec1_bytes(SM2_IDENTIFIER, &self.point);
                let signature = sm2::dsa::Signature::from_slice(signature);
                key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
            }
        }
    }
}

/// A secret key. It is wiped when dropped, and never printed.
pub struct SecretKey {
    scheme: Scheme,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    public: PublicKey,
}

impl SecretKey {
    /// A key from secret bytes: 32 random ones. One draw in 2³² is out of range; draw again.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for zero, or a number that is not below the order of the curve.
    pub fn new(scheme: Scheme, secret: &[u8; SECRET_BYTES]) -> Result<Self, Fault> {
        let point: Vec<u8> = match scheme {
            Scheme::P256 => {
                let key = p256::ecdsa::SigningKey::from_slice(secret).map_err(|_| Fault::Malformed)?;
                key.verifying_key().to_sec1_point(false).as_bytes().to_vec()
            }
            Scheme::Sm2 => {
                let key = sm2::dsa::SigningKey::from_slice(SM2_IDENTIFIER, secret).map_err(|_| Fault::Malformed)?;
                key.verifying_key().to_sec1_point(false).as_bytes().to_vec()
            }
        };
        Ok(Self { scheme, secret: Zeroizing::new(*secret), public: PublicKey::new(scheme, &point)? })
    }

    /// The secret bytes, for its owner's file.
    pub fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs; the nonce follows from key and message (RFC 6979), so no weak random source can reveal the key.
    ///
    /// # Errors
    /// [`Fault::Malformed`], never in practice: the key was checked when it was made.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], Fault> {
        match self.scheme {
            Scheme::P256 => {
                let key = p256::ecdsa::SigningKey::from_slice(self.secret.as_slice()).map_err(|_| Fault::Malformed)?;
                let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(|_| Fault::Malformed)?;
                Ok(signature.to_bytes().into())
            }
            Scheme::Sm2 => {
                let key = sm2::dsa::SigningKey::from_slice(SM2_IDENTIFIER, self.secret.as_slice());
                let key = key.map_err(|_| Fault::Malformed)?;
                let signature: sm2::dsa::Signature = key.try_sign(message).map_err(|_| Fault::Malformed)?;
                Ok(signature.to_bytes().into())
            }
        }
    }
}

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SecretKey").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// A signature as certificates hold it: the same for both schemes (RFC 3279 §2.2.3, GM/T 0009 §7.3).
#[derive(Sequence)]
struct DerSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

pub(crate) fn signature_from_der(der: &[u8]) -> Result<[u8; SIGNATURE_BYTES], Fault> {
    let read = DerSignature::from_der(der)?;
    let mut signature = [0; SIGNATURE_BYTES];
    let (r, s) = signature.split_at_mut(SIGNATURE_BYTES / 2);
    for (to, number) in [(r, read.r), (s, read.s)] {
        let bytes = number.as_bytes();
        let at = to.len().checked_sub(bytes.len()).ok_or(Fault::Malformed)?;
        to.get_mut(at..).ok_or(Fault::Malformed)?.copy_from_slice(bytes);
    }
    Ok(signature)
}

pub(crate) fn signature_to_der(signature: &[u8; SIGNATURE_BYTES]) -> Result<Vec<u8>, Fault> {
    let (r, s) = signature.split_at(SIGNATURE_BYTES / 2);
    Ok(DerSignature { r: UintRef::new(r)?, s: UintRef::new(s)? }.to_der()?)
}
