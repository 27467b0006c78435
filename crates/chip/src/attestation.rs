//! The device key: made in the chip, used for one kind of statement only, and never told.
//!
//! It is made in the factory, together with the certificate chain the maker issues for it, and stays the same until
//! the chip is terminated. An image without any signature scheme ([`signature::ANY`]) never has one: every command here
//! answers as on a chip whose factory made none, and the code for more is left out.

use crate::answers::{VERSIONS, written};
use crate::hal::{Flash, Rng};
use crate::keys;
use crate::records::{self, DEVICE_KEY, certificate};
use crate::signature::{self, SECRET_BYTES};
use crate::store::{Store, Update};
use crate::token::TokenRecord;
use protocol::apdu::StatusWord;
use protocol::applet::{
    Attestation, AttestedState, CERTIFICATE_PARTS, CertificatePart, DeviceKey, MAX_CERTIFICATE_PART_BYTES,
    MAX_STATE_BYTES, MAX_STATEMENT_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SLOTS, STATE_HASH_BYTES, Scheme, Slot,
    StoreCertificate, TOKEN_ID_BYTES, encode_certificate_part,
};
use zeroize::Zeroizing;

/// The record: scheme, secret key, public key.
const RECORD_BYTES: usize = 1 + SECRET_BYTES + PUBLIC_KEY_BYTES;

/// GENERATE KEY: a new device key; a certificate chain of the one before is gone. Writes the public half to `out`.
///
/// # Errors
/// 6A86 where the scheme is not compiled in, 6F00.
#[inline(never)]
pub(crate) fn generate<F: Flash, R: Rng>(
    store: &mut Store<F>,
    rng: &mut R,
    scheme: Scheme,
    out: &mut [u8],
) -> Result<usize, StatusWord> {
    let (secret, public) = signature::make_key(scheme, rng)?;
    let mut record = Zeroizing::new([scheme.to_byte(); RECORD_BYTES]);
    let (_, keys) = record.split_at_mut(1);
    let (to_secret, to_public) = keys.split_at_mut(SECRET_BYTES);
    to_secret.copy_from_slice(secret.as_slice());
    to_public.copy_from_slice(&public);
    let mut updates = [Update::Put(DEVICE_KEY, record.as_slice()); 1 + CERTIFICATE_PARTS as usize];
    for (update, part) in updates.iter_mut().skip(1).zip(CertificatePart::all()) {
        *update = Update::Remove(certificate(part));
    }
    store.transact(&updates)?;
    written(DeviceKey { scheme, public: &public }.encode(out))
}

/// `E7`: one part of the chain. Part 0 begins a new one.
///
/// # Errors
/// 6985 without a device key, or without the part before; 6A84 where it does not fit the flash; 6F00.
#[inline(never)]
pub(crate) fn store_certificate<F: Flash>(
    store: &mut Store<F>,
    order: &StoreCertificate<'_>,
) -> Result<(), StatusWord> {
    if !signature::ANY {
        return Err(StatusWord::CONDITIONS_OF_USE);
    }
    let follows = match order.part.before() {
        None => DEVICE_KEY,
        Some(before) => certificate(before),
    };
    if !store.contains(follows)? {
        return Err(StatusWord::CONDITIONS_OF_USE);
    }
    // What stood behind this part belonged to another chain.
    let mut updates = [Update::Put(certificate(order.part), order.bytes); CERTIFICATE_PARTS as usize];
    let later = CertificatePart::all().filter(|part| *part > order.part);
    let mut count = 1;
    for (update, part) in updates.iter_mut().skip(1).zip(later) {
        *update = Update::Remove(certificate(part));
        count += 1;
    }
    store.transact(updates.get(..count).unwrap_or(&[]))?;
    Ok(())
}

/// `DF24`: the public half of the device key.
///
/// # Errors
/// 6A88 where there is none, 6F00.
pub(crate) fn device_key<F: Flash>(store: &mut Store<F>, out: &mut [u8]) -> Result<usize, StatusWord> {
    let (scheme, _, public) = read(store)?.ok_or(StatusWord::REFERENCE_NOT_FOUND)?;
    written(DeviceKey { scheme, public: &public }.encode(out))
}

/// `DF30` and on: a part of the certificate chain.
///
/// # Errors
/// 6A88 where there is none, 6F00.
#[inline(never)]
pub(crate) fn certificate_part<F: Flash>(
    store: &mut Store<F>,
    part: CertificatePart,
    out: &mut [u8],
) -> Result<usize, StatusWord> {
    if !signature::ANY {
        return Err(StatusWord::REFERENCE_NOT_FOUND);
    }
    let mut bytes = [0; MAX_CERTIFICATE_PART_BYTES];
    let len = store.get(certificate(part), &mut bytes)?.ok_or(StatusWord::REFERENCE_NOT_FOUND)?;
    written(encode_certificate_part(part, bytes.get(..len).unwrap_or(&[]), out))
}

/// ATTEST: says what the chip is and holds, signed. Writes the answer to `out`.
///
/// # Errors
/// 6985 without a device key, 6F00 where the random source failed or a known answer does not come out.
#[inline(never)]
pub(crate) fn attest<F: Flash, R: Rng>(
    store: &mut Store<F>,
    rng: &mut R,
    challenge: &[u8],
    out: &mut [u8],
) -> Result<usize, StatusWord> {
    let (scheme, secret, _) = read(store)?.ok_or(StatusWord::CONDITIONS_OF_USE)?;
    let chip_id = records::chip_id(store)?.ok_or(StatusWord::CONDITIONS_OF_USE)?;
    let mut added = Zeroizing::new([0; SECRET_BYTES]);
    rng.fill(added.as_mut_slice()).map_err(|_| StatusWord::INTERNAL)?;
    let state_hash = state_hash(store, scheme)?;
    let mut attestation = Attestation {
        scheme,
        chip_id: &chip_id,
        lifecycle: records::lifecycle(store)?,
        versions: VERSIONS,
        state_hash: &state_hash,
        signature: &[0; SIGNATURE_BYTES],
    };
    let mut statement = [0; MAX_STATEMENT_BYTES];
    let statement = attestation.statement(challenge, &mut statement).map_err(|_| StatusWord::WRONG_LENGTH)?;
    let signature = signature::sign(scheme, &secret, statement, Some(&added))?;
    attestation.signature = &signature;
    written(attestation.encode(out))
}

/// How the device key signs; nothing where there is none.
pub(crate) fn scheme<F: Flash>(store: &mut Store<F>) -> Result<Option<Scheme>, StatusWord> {
    Ok(read(store)?.map(|(scheme, ..)| scheme))
}

type Found = (Scheme, Zeroizing<[u8; SECRET_BYTES]>, [u8; PUBLIC_KEY_BYTES]);

fn read<F: Flash>(store: &mut Store<F>) -> Result<Option<Found>, StatusWord> {
    if !signature::ANY {
        return Ok(None);
    }
    let Some(record) = records::read::<F, RECORD_BYTES>(store, DEVICE_KEY)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let (scheme, keys) = record.split_at(1);
    let (secret, public) = keys.split_at(SECRET_BYTES);
    let scheme = scheme.first().copied().and_then(Scheme::from_byte).ok_or(StatusWord::INTERNAL)?;
    let secret = Zeroizing::new(secret.try_into().map_err(|_| StatusWord::INTERNAL)?);
    let public = public.try_into().map_err(|_| StatusWord::INTERNAL)?;
    Ok(Some((scheme, secret, public)))
}

/// The hash of everything that was installed, not of what changes with each code: so the cloud, which knows what
/// it installed, can compute it too.
fn state_hash<F: Flash>(store: &mut Store<F>, scheme: Scheme) -> Result<[u8; STATE_HASH_BYTES], StatusWord> {
    let mut ids = [[0; TOKEN_ID_BYTES]; SLOTS as usize];
    let mut record = TokenRecord::empty();
    let mut state = AttestedState {
        root_key_version: keys::root_version(store)?,
        passcode_set: store.contains(records::PASSCODE)?,
        ..AttestedState::default()
    };
    for (slot, (id, place)) in Slot::all().zip(ids.iter_mut().zip(&mut state.slots)) {
        place.0 = keys::slot_version(store, slot)?.unwrap_or(0);
        if records::is_occupied(store, slot)? {
            record.read(store, slot)?;
            *id = *record.token_id();
            place.1 = Some(id);
        }
    }
    let mut bytes = [0; MAX_STATE_BYTES];
    let used = state.to_bytes(&mut bytes);
    Ok(signature::hash(scheme, bytes.get(..used).unwrap_or(&[])))
}
