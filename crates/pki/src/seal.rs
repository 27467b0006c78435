//! A secret for one recipient: ECIES on P-256 (SEC 1 version 2 §5.1) with the X9.63 key derivation on SHA-256, XOR, and
//! HMAC-SHA-256 over all of what was encrypted. So keys reach a factory without standing anywhere in the clear.

use hmac::{Hmac, KeyInit, Mac};
use p256::elliptic_curve::point::AffineCoordinates;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Fault, POINT_BYTES, PublicKey, SECRET_BYTES, Scheme, SecretKey};

/// Bytes of a sealed secret: the sender's point, the secret, the tag.
pub const SEALED_BYTES: usize = POINT_BYTES + SECRET_BYTES + TAG_BYTES;
const TAG_BYTES: usize = 32;

/// Seals a secret of 32 bytes to a key on P-256. `fresh` is random and used once; `context` says what the secret is for, and
/// opens nothing else.
///
/// # Errors
/// [`Fault::UnknownScheme`] for a key on another curve; [`Fault::Malformed`] where `fresh` is out of range: draw again.
pub fn seal(
    to: &PublicKey,
    fresh: &[u8; SECRET_BYTES],
    context: &[u8],
    secret: &[u8; SECRET_BYTES],
) -> Result<[u8; SEALED_BYTES], Fault> {
    let own = SecretKey::new(Scheme::P256, fresh)?;
    let shared = shared(&own, to)?;
    let hidden = masked(&shared, own.public().point(), context, secret);
    let tag = tag(&shared, own.public().point(), context, &hidden)?.finalize().into_bytes();
    let mut sealed = [0; SEALED_BYTES];
    let parts = own.public().point().iter().chain(hidden.iter()).chain(&tag);
    sealed.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    Ok(sealed)
}

/// Opens a sealed secret.
///
/// # Errors
/// [`Fault::Malformed`] where it is none; [`Fault::Forged`] where it was altered, or sealed to another key or for something
/// else.
pub fn open(own: &SecretKey, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<[u8; SECRET_BYTES]>, Fault> {
    let sealed: &[u8; SEALED_BYTES] = sealed.try_into().map_err(|_| Fault::Malformed)?;
    let (point, rest) = sealed.split_at(POINT_BYTES);
    let (hidden, sent_tag) = rest.split_at(SECRET_BYTES);
    let from = PublicKey::new(Scheme::P256, point)?;
    let hidden: [u8; SECRET_BYTES] = hidden.try_into().map_err(|_| Fault::Malformed)?;
    let shared = shared(own, &from)?;
    // In constant time.
    tag(&shared, from.point(), context, &hidden)?.verify_slice(sent_tag).map_err(|_| Fault::Forged)?;
    Ok(Zeroizing::new(masked(&shared, from.point(), context, &hidden)))
}

type Shared = Zeroizing<[u8; 32]>;

/// The x coordinate that both ends come to.
fn shared(own: &SecretKey, other: &PublicKey) -> Result<Shared, Fault> {
    if own.public().scheme() != Scheme::P256 || other.scheme() != Scheme::P256 {
        return Err(Fault::UnknownScheme);
    }
    let own = p256::SecretKey::from_slice(own.secret()).map_err(|_| Fault::Malformed)?;
    let other = p256::PublicKey::from_sec1_bytes(other.point()).map_err(|_| Fault::Malformed)?;
    let point = (other.to_projective() * *own.to_nonzero_scalar()).to_affine();
    Ok(Zeroizing::new(point.x().into()))
}

/// One block of the X9.63 key derivation.
fn derived(shared: &Shared, number: u32, point: &[u8; POINT_BYTES], context: &[u8]) -> Zeroizing<[u8; 32]> {
    let hash = Sha256::new().chain_update(shared.as_slice()).chain_update(number.to_be_bytes());
    Zeroizing::new(hash.chain_update(point).chain_update(context).finalize().into())
}

fn masked(
    shared: &Shared,
    point: &[u8; POINT_BYTES],
    context: &[u8],
    bytes: &[u8; SECRET_BYTES],
) -> [u8; SECRET_BYTES] {
    let mask = derived(shared, 1, point, context);
    let mut masked = *bytes;
    masked.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
    masked
}

fn tag(
    shared: &Shared,
    point: &[u8; POINT_BYTES],
    context: &[u8],
    hidden: &[u8; SECRET_BYTES],
) -> Result<Hmac<Sha256>, Fault> {
    let key = derived(shared, 2, point, context);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).map_err(|_| Fault::Malformed)?;
    mac.update(hidden);
    mac.update(context);
    Ok(mac)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn a_secret_opens_with_the_right_key_for_the_right_purpose_and_unaltered_only() {
        let key = |seed| SecretKey::new(Scheme::P256, &[seed; 32]).unwrap();
        let (factory, other) = (key(1), key(2));
        let sealed = seal(factory.public(), &[3; 32], b"batch 1", &[0x5A; 32]).unwrap();
        assert_eq!(*open(&factory, b"batch 1", &sealed).unwrap(), [0x5A; 32]);
        assert!(!sealed.windows(8).any(|part| part == [0x5A; 8]));
        assert_eq!(open(&other, b"batch 1", &sealed).unwrap_err(), Fault::Forged);
        assert_eq!(open(&factory, b"batch 2", &sealed).unwrap_err(), Fault::Forged);
        for at in 0..SEALED_BYTES {
            let mut altered = sealed;
            altered[at] ^= 1;
            assert!(open(&factory, b"batch 1", &altered).is_err(), "{at}");
        }
        assert_eq!(open(&factory, b"batch 1", &sealed[1..]).unwrap_err(), Fault::Malformed);
        let sm2 = SecretKey::new(Scheme::Sm2, &[1; 32]).unwrap();
        assert_eq!(seal(sm2.public(), &[3; 32], b"", &[0; 32]).unwrap_err(), Fault::UnknownScheme);
    }
}
