//! Signatures of the device key, for the schemes compiled in: how a key is made, and how it signs.
//!
//! A signature's nonce follows from key, message and fresh random bytes (RFC 6979 §3.6): a weak random source
//! can't reveal the key, and a fault injected into one signature can't be compared with a second one over the
//! same bytes. Each scheme is tested against a known answer before its first use after power-up
//! ([`known_answers_come_out`]); at power-up itself that would cost a quarter of a second on a small core.

use crate::hal::Rng;
use protocol::apdu::StatusWord;
use protocol::applet::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES, STATE_HASH_BYTES, Scheme};
use zeroize::Zeroizing;

/// Bytes of a secret key and of the randomness added to a signature.
pub(crate) const SECRET_BYTES: usize = 32;

type Secret = Zeroizing<[u8; SECRET_BYTES]>;

/// Draws of a secret key until one is in range. One draw in 2³² is not, with a sound source.
const MAX_DRAWS: u32 = 8;

/// Whether this image can sign at all.
pub(crate) const ANY: bool = cfg!(any(feature = "p256", feature = "sm2"));

/// Whether this image can sign with `scheme`.
pub(crate) const fn is_supported(scheme: Scheme) -> bool {
    match scheme {
        Scheme::P256 => cfg!(feature = "p256"),
        Scheme::Sm2 => cfg!(feature = "sm2"),
    }
}

/// A new secret key and its public half.
///
/// # Errors
/// 6A86 for a scheme that is not compiled in, 6F00 where the random source failed.
pub(crate) fn make_key<R: Rng>(scheme: Scheme, rng: &mut R) -> Result<(Secret, [u8; PUBLIC_KEY_BYTES]), StatusWord> {
    if !is_supported(scheme) {
        return Err(StatusWord::WRONG_P1_P2);
    }
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    for _ in 0..MAX_DRAWS {
        rng.fill(secret.as_mut_slice()).map_err(|_| StatusWord::INTERNAL)?;
        if let Some(public) = public_of(scheme, &secret) {
            return Ok((secret, public));
        }
    }
    Err(StatusWord::INTERNAL)
}

/// The hash that goes with the scheme.
pub(crate) fn hash(scheme: Scheme, bytes: &[u8]) -> [u8; STATE_HASH_BYTES] {
    match scheme {
        #[cfg(feature = "p256")]
        Scheme::P256 => <sha2::Sha256 as sha2::Digest>::digest(bytes).into(),
        #[cfg(feature = "sm2")]
        Scheme::Sm2 => <sm3::Sm3 as sm3::Digest>::digest(bytes).into(),
        #[cfg(not(all(feature = "p256", feature = "sm2")))]
        _ => {
            let _ = bytes;
            [0; STATE_HASH_BYTES]
        }
    }
}

/// Signs `message`, with `added` randomness in the nonce; without any only to compare with a known answer.
///
/// # Errors
/// 6F00 for a scheme that is not compiled in, or a secret key that is none.
pub(crate) fn sign(
    scheme: Scheme,
    secret: &Secret,
    message: &[u8],
    added: Option<&Secret>,
) -> Result<[u8; SIGNATURE_BYTES], StatusWord> {
    match scheme {
        #[cfg(feature = "p256")]
        Scheme::P256 => p256_ecdsa::sign(secret, message, added).ok_or(StatusWord::INTERNAL),
        #[cfg(feature = "sm2")]
        Scheme::Sm2 => sm2_dsa::sign(secret, message, added).ok_or(StatusWord::INTERNAL),
        #[cfg(not(all(feature = "p256", feature = "sm2")))]
        _ => {
            let _ = (secret, message, added);
            Err(StatusWord::INTERNAL)
        }
    }
}

fn public_of(scheme: Scheme, secret: &Secret) -> Option<[u8; PUBLIC_KEY_BYTES]> {
    match scheme {
        #[cfg(feature = "p256")]
        Scheme::P256 => p256_ecdsa::public_of(secret),
        #[cfg(feature = "sm2")]
        Scheme::Sm2 => sm2_dsa::public_of(secret),
        #[cfg(not(all(feature = "p256", feature = "sm2")))]
        _ => {
            let _ = secret;
            None
        }
    }
}

/// Whether a scheme that is compiled in gives the answer it must: the public key of a known secret, and a
/// signature without added randomness.
pub(crate) fn known_answers_come_out(scheme: Scheme) -> bool {
    let known: &[u8; SIGNATURE_BYTES] = match scheme {
        Scheme::P256 => &KNOWN_P256,
        Scheme::Sm2 => &KNOWN_SM2,
    };
    let secret = Zeroizing::new(KNOWN_SECRET);
    !is_supported(scheme) || sign(scheme, &secret, b"sample", None).as_ref() == Ok(known)
}

/// The secret key of RFC 6979 A.2.5.
const KNOWN_SECRET: [u8; SECRET_BYTES] = [
    0xC9, 0xAF, 0xA9, 0xD8, 0x45, 0xBA, 0x75, 0x16, 0x6B, 0x5C, 0x21, 0x57, 0x67, 0xB1, 0xD6, 0x93, 0x4E, 0x50, 0xC3,
    0xDB, 0x36, 0xE8, 0x9B, 0x12, 0x7B, 0x8A, 0x62, 0x2B, 0x12, 0x0F, 0x67, 0x21,
];
/// The signature of "sample" there.
const KNOWN_P256: [u8; SIGNATURE_BYTES] = [
    0xEF, 0xD4, 0x8B, 0x2A, 0xAC, 0xB6, 0xA8, 0xFD, 0x11, 0x40, 0xDD, 0x9C, 0xD4, 0x5E, 0x81, 0xD6, 0x9D, 0x2C, 0x87,
    0x7B, 0x56, 0xAA, 0xF9, 0x91, 0xC3, 0x4D, 0x0E, 0xA8, 0x4E, 0xAF, 0x37, 0x16, 0xF7, 0xCB, 0x1C, 0x94, 0x2D, 0x65,
    0x7C, 0x41, 0xD4, 0x36, 0xC7, 0xA1, 0xB6, 0xE2, 0x9F, 0x65, 0xF3, 0xE9, 0x00, 0xDB, 0xB9, 0xAF, 0xF4, 0x06, 0x4D,
    0xC4, 0xAB, 0x2F, 0x84, 0x3A, 0xCD, 0xA8,
];
/// The signature of "sample" with the same secret key; OpenSSL takes it for right.
const KNOWN_SM2: [u8; SIGNATURE_BYTES] = [
    0x96, 0xD2, 0x36, 0x64, 0xDB, 0xF0, 0x28, 0x53, 0x94, 0xB6, 0xB0, 0x5D, 0x86, 0xED, 0x8D, 0x47, 0xCD, 0xFA, 0xFA,
    0x2E, 0xF9, 0x2C, 0x7B, 0x9E, 0x57, 0xBE, 0x8E, 0xFA, 0xDF, 0x7C, 0xF1, 0x5C, 0x78, 0xB6, 0x96, 0xCB, 0x94, 0x40,
    0x67, 0xA2, 0x4D, 0x2D, 0x7A, 0x54, 0xCC, 0x90, 0x9D, 0x66, 0xE0, 0x42, 0x46, 0xF8, 0xCA, 0x3A, 0x8E, 0xDA, 0x8C,
    0xB8, 0xB3, 0x2E, 0x43, 0x34, 0xAB, 0x9C,
];

#[cfg(feature = "p256")]
mod p256_ecdsa {
    use super::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Secret};
    use ecdsa::hazmat::sign_prehashed_rfc6979;
    use p256::elliptic_curve::sec1::ToSec1Point;
    use p256::{NistP256, NonZeroScalar, PublicKey};
    use sha2::{Digest, Sha256};

    fn scalar(secret: &Secret) -> Option<NonZeroScalar> {
        NonZeroScalar::try_from(secret.as_slice()).ok()
    }

    pub(super) fn public_of(secret: &Secret) -> Option<[u8; PUBLIC_KEY_BYTES]> {
        let point = PublicKey::from_secret_scalar(&scalar(secret)?).to_sec1_point(false);
        point.as_bytes().try_into().ok()
    }

    pub(super) fn sign(secret: &Secret, message: &[u8], added: Option<&Secret>) -> Option<[u8; SIGNATURE_BYTES]> {
        let prehash = Sha256::digest(message);
        let secret = scalar(secret)?;
        let added = added.map_or(&[][..], |added| added.as_slice());
        let (signature, _) = sign_prehashed_rfc6979::<NistP256, Sha256>(&secret, &prehash, added);
        Some(signature.to_bytes().into())
    }
}

#[cfg(feature = "sm2")]
mod sm2_dsa {
    use super::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Secret};
    use core::convert::Infallible;
    use sm2::dsa::SigningKey;
    use sm2::dsa::signature::rand_core::{TryCryptoRng, TryRng};
    use sm2::dsa::signature::{RandomizedSigner, Signer};
    use sm2::elliptic_curve::sec1::ToSec1Point;
    use sm2::{NonZeroScalar, PublicKey};

    /// The identifier GM/T 0009 gives to signers that have none.
    const IDENTIFIER: &str = "1234567812345678";

    pub(super) fn public_of(secret: &Secret) -> Option<[u8; PUBLIC_KEY_BYTES]> {
        let scalar = NonZeroScalar::try_from(secret.as_slice()).ok()?;
        PublicKey::from_secret_scalar(&scalar).to_sec1_point(false).as_bytes().try_into().ok()
    }

    pub(super) fn sign(secret: &Secret, message: &[u8], added: Option<&Secret>) -> Option<[u8; SIGNATURE_BYTES]> {
        let key = SigningKey::from_slice(IDENTIFIER, secret.as_slice()).ok()?;
        let signature = match added {
            Some(added) => key.try_sign_with_rng(&mut Drawn(added), message).ok()?,
            None => key.try_sign(message).ok()?,
        };
        Some(signature.to_bytes().into())
    }

    /// Randomness drawn beforehand, so that a source that fails is noticed before anything is signed.
    struct Drawn<'a>(&'a Secret);

    impl TryRng for Drawn<'_> {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            let [a, b, c, d, ..] = **self.0;
            Ok(u32::from_be_bytes([a, b, c, d]))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            let [a, b, c, d, e, f, g, h, ..] = **self.0;
            Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
        }

        fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
            for (to, from) in to.iter_mut().zip(self.0.iter().cycle()) {
                *to = *from;
            }
            Ok(())
        }
    }

    impl TryCryptoRng for Drawn<'_> {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_come_out() {
        for scheme in [Scheme::P256, Scheme::Sm2] {
            assert!(super::known_answers_come_out(scheme));
        }
    }

    /// The text at `name` in the vector, as bytes.
    fn vector(name: &str) -> std::vec::Vec<u8> {
        let text = include_str!("../../../spec/vectors/chip-attestation.json");
        let (_, after) = text.split_once(&std::format!("\"{name}\": \"")).unwrap();
        hex::decode(after.split_once('"').unwrap().0).unwrap()
    }

    #[test]
    #[cfg(feature = "p256")]
    fn a_statement_is_signed_as_the_vector_says() {
        let secret = Zeroizing::new(vector("secret_key").try_into().unwrap());
        assert_eq!(public_of(Scheme::P256, &secret).unwrap()[..], vector("public_key"));
        let statement = vector("statement");
        assert_eq!(sign(Scheme::P256, &secret, &statement, None).unwrap()[..], vector("signature"));
        let added = Zeroizing::new([1; SECRET_BYTES]);
        assert_ne!(sign(Scheme::P256, &secret, &statement, Some(&added)).unwrap()[..], vector("signature"));
    }

    #[test]
    fn zero_and_the_group_order_are_no_keys() {
        let beyond = Zeroizing::new([0xFF; SECRET_BYTES]);
        for scheme in [Scheme::P256, Scheme::Sm2] {
            assert_eq!(public_of(scheme, &Zeroizing::new([0; SECRET_BYTES])), None);
            assert_eq!(public_of(scheme, &beyond), None);
        }
    }
}
