//! The sealed file: master keys under XChaCha20-Poly1305, the key of which comes from a passphrase by Argon2id.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PAYCHIPV` |
//! | 2 | format, 1 |
//! | 12 | Argon2id: memory in KiB, passes, lanes |
//! | 16 | salt |
//! | 16 | check value of the sealing key |
//! | 24 | nonce |
//! | 4 | bytes that follow, without the check sum |
//! | n | sealed, with its tag of 16 bytes; everything before it is authenticated with it |
//! | 32 | SHA-256 of everything before it |
//!
//! Numbers are big-endian. Sealed are, a key: version, state, origin (a byte each), time (8), key (32). The check sum tells
//! damage from a wrong passphrase before anybody waits for Argon2; it protects against nobody.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::VaultFault;
use super::ring::{KEY_BYTES, KeyRing, MasterKey, MasterKeyState, Material};

const MAGIC: &[u8; 8] = b"PAYCHIPV";
const FORMAT: u16 = 1;
const SALT_BYTES: usize = 16;
const CHECK_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const SUM_BYTES: usize = 32;
const HEADER_BYTES: usize = 8 + 2 + 12 + SALT_BYTES + CHECK_BYTES + NONCE_BYTES + 4;
const ENTRY_BYTES: usize = 3 + 8 + KEY_BYTES;
/// The largest file that is read: 127 keys fit.
pub(crate) const MAX_FILE_BYTES: usize = HEADER_BYTES + 127 * ENTRY_BYTES + TAG_BYTES + SUM_BYTES;

/// What a file may ask of Argon2id, so that an altered one can't make a server use up its memory or its day.
const MEMORY_KIB: core::ops::RangeInclusive<u32> = 8 * 1024..=1024 * 1024;
const PASSES: core::ops::RangeInclusive<u32> = 1..=16;
const LANES: core::ops::RangeInclusive<u32> = 1..=4;

/// Argon2id's cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// RFC 9106, section 4, second choice: 64 MiB, three passes, four lanes.
    pub(crate) const NEW: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    fn is_bounded(&self) -> bool {
        MEMORY_KIB.contains(&self.memory_kib) && PASSES.contains(&self.passes) && LANES.contains(&self.lanes)
    }
}

/// What the passphrase becomes: the sealing key, and the value it is known by.
struct SealingKey {
    key: Zeroizing<[u8; 32]>,
    check: [u8; CHECK_BYTES],
}

fn sealing_key(passphrase: &[u8], salt: &[u8], cost: Cost) -> Result<SealingKey, VaultFault> {
    let mut out = Zeroizing::new([0; 32 + CHECK_BYTES]);
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(out.len()));
    let params = params.map_err(|_| VaultFault::Altered)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut *out)
        .map_err(|_| VaultFault::Derivation)?;
    let mut sealing = SealingKey { key: Zeroizing::new([0; 32]), check: [0; CHECK_BYTES] };
    sealing.key.copy_from_slice(&out[..32]);
    sealing.check.copy_from_slice(&out[32..]);
    Ok(sealing)
}

/// Fresh random bytes for one sealing.
pub(crate) struct Fresh {
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) nonce: [u8; NONCE_BYTES],
}

impl Fresh {
    pub(crate) fn new() -> Result<Self, VaultFault> {
        let mut fresh = Self { salt: [0; SALT_BYTES], nonce: [0; NONCE_BYTES] };
        getrandom::fill(&mut fresh.salt).map_err(|_| VaultFault::Entropy)?;
        getrandom::fill(&mut fresh.nonce).map_err(|_| VaultFault::Entropy)?;
        Ok(fresh)
    }
}

/// The file of a ring.
pub(crate) fn seal(ring: &KeyRing, passphrase: &[u8], cost: Cost, fresh: &Fresh) -> Result<Vec<u8>, VaultFault> {
    let sealing = sealing_key(passphrase, &fresh.salt, cost)?;
    let sealed_bytes = ring.keys().len() * ENTRY_BYTES + TAG_BYTES;
    // The plain keys pass through this buffer; it is as large as the file, so that it never moves and leaves a copy.
    let mut file = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + sealed_bytes + SUM_BYTES));
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&FORMAT.to_be_bytes());
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        file.extend_from_slice(&number.to_be_bytes());
    }
    file.extend_from_slice(&fresh.salt);
    file.extend_from_slice(&sealing.check);
    file.extend_from_slice(&fresh.nonce);
    // At most 127 keys.
    file.extend_from_slice(&(sealed_bytes as u32).to_be_bytes());
    for key in ring.keys() {
        file.extend_from_slice(&[key.version, state_byte(key.state), u8::from(key.was_open)]);
        file.extend_from_slice(&key.created_ms.to_be_bytes());
        // A ring to be sealed holds its keys.
        let Material::Held(key) = &key.key else { return Err(VaultFault::KeyInToken) };
        file.extend_from_slice(&**key);
    }
    let (header, plain) = file.split_at_mut(HEADER_BYTES);
    let tag = XChaCha20Poly1305::new((&*sealing.key).into())
        .encrypt_inout_detached(&XNonce::from(fresh.nonce), header, plain.into())
        .map_err(|_| VaultFault::Derivation)?;
    file.extend_from_slice(&tag);
    let sum = Sha256::digest(&*file);
    file.extend_from_slice(&sum);
    Ok(core::mem::take(&mut *file))
}

/// The ring in a file.
///
/// # Errors
/// In this order: [`VaultFault::NotAVault`], [`VaultFault::Newer`], [`VaultFault::Cut`], [`VaultFault::Altered`],
/// [`VaultFault::Passphrase`].
pub(crate) fn open(file: &[u8], passphrase: &[u8]) -> Result<KeyRing, VaultFault> {
    let mut fields = Fields { left: file };
    if fields.left.len() < MAGIC.len() && MAGIC.starts_with(fields.left) {
        return Err(VaultFault::Cut);
    }
    if fields.take::<8>()? != *MAGIC {
        return Err(VaultFault::NotAVault);
    }
    let format = u16::from_be_bytes(fields.take()?);
    if format > FORMAT {
        return Err(VaultFault::Newer(format));
    }
    let (memory_kib, passes, lanes) = (fields.number()?, fields.number()?, fields.number()?);
    let cost = Cost { memory_kib, passes, lanes };
    let (salt, check, nonce) =
        (fields.take::<SALT_BYTES>()?, fields.take::<CHECK_BYTES>()?, fields.take::<NONCE_BYTES>()?);
    let sealed_bytes = fields.number()? as usize;
    if fields.left.len() < sealed_bytes.saturating_add(SUM_BYTES) {
        return Err(VaultFault::Cut);
    }
    let (body, sum) = file.split_at(file.len() - SUM_BYTES);
    let is_whole = fields.left.len() == sealed_bytes + SUM_BYTES && Sha256::digest(body).as_slice() == sum;
    if !is_whole || format != FORMAT || !cost.is_bounded() || sealed_bytes < TAG_BYTES {
        return Err(VaultFault::Altered);
    }
    let sealing = sealing_key(passphrase, &salt, cost)?;
    if !bool::from(sealing.check.ct_eq(&check)) {
        return Err(VaultFault::Passphrase);
    }
    let (sealed, tag) = body[HEADER_BYTES..].split_at(sealed_bytes - TAG_BYTES);
    let tag = Tag::try_from(tag).map_err(|_| VaultFault::Altered)?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    XChaCha20Poly1305::new((&*sealing.key).into())
        .decrypt_inout_detached(&XNonce::from(nonce), &body[..HEADER_BYTES], plain.as_mut_slice().into(), &tag)
        .map_err(|_| VaultFault::Altered)?;
    let entries = plain.chunks(ENTRY_BYTES).map(entry).collect::<Result<Vec<_>, _>>()?;
    KeyRing::of(entries).ok_or(VaultFault::Altered)
}

fn entry(bytes: &[u8]) -> Result<MasterKey, VaultFault> {
    let mut fields = Fields { left: bytes };
    let [version, state, origin] = fields.take()?;
    let created_ms = u64::from_be_bytes(fields.take()?);
    let key = Material::Held(Zeroizing::new(fields.take()?));
    let state = state_of(state).ok_or(VaultFault::Altered)?;
    Ok(MasterKey { version, state, created_ms, was_open: origin != 0, key })
}

fn state_byte(state: MasterKeyState) -> u8 {
    match state {
        MasterKeyState::Next => 0,
        MasterKeyState::Current => 1,
        MasterKeyState::Accepted => 2,
        MasterKeyState::Retired => 3,
    }
}

fn state_of(byte: u8) -> Option<MasterKeyState> {
    MasterKeyState::ALL.into_iter().find(|state| state_byte(*state) == byte)
}

/// What is left to read of a file.
struct Fields<'a> {
    left: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], VaultFault> {
        let (field, left) = self.left.split_first_chunk::<N>().ok_or(VaultFault::Cut)?;
        self.left = left;
        Ok(*field)
    }

    fn number(&mut self) -> Result<u32, VaultFault> {
        self.take().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8 * 1024, passes: 1, lanes: 1 };
    const FRESH: Fresh = Fresh { salt: [5; SALT_BYTES], nonce: [6; NONCE_BYTES] };

    fn ring() -> KeyRing {
        let first = KeyRing::first(Zeroizing::new([1; 32]), 7, true);
        first.prepared(Zeroizing::new([2; 32]), 9).unwrap().activated().unwrap()
    }

    /// The check sum of whoever alters a file on purpose.
    fn with_sum(mut file: Vec<u8>) -> Vec<u8> {
        file.truncate(file.len() - SUM_BYTES);
        let sum = Sha256::digest(&file);
        file.extend_from_slice(&sum);
        file
    }

    #[test]
    fn what_was_sealed_opens_with_the_passphrase_and_with_no_other() {
        let file = seal(&ring(), b"correct horse", CHEAP, &FRESH).unwrap();
        let back = open(&file, b"correct horse").unwrap();
        assert!(back.holds_all_of(&ring()) && ring().holds_all_of(&back));
        assert_eq!((back.current(), back.keys()[0].created_ms, back.keys()[0].was_open), (2, 7, true));
        assert_eq!(back.keys()[0].state, MasterKeyState::Accepted);
        assert_eq!(open(&file, b"correct horsf").unwrap_err(), VaultFault::Passphrase);
        assert!(!file.windows(8).any(|bytes| bytes == [1; 8] || bytes == [2; 8]), "a key in the clear");
        assert!(file.len() <= MAX_FILE_BYTES);
    }

    #[test]
    fn a_cut_file_is_told_apart_from_an_altered_one_at_every_byte() {
        let file = seal(&ring(), b"correct horse", CHEAP, &FRESH).unwrap();
        for length in 0..file.len() {
            assert_eq!(open(&file[..length], b"correct horse").unwrap_err(), VaultFault::Cut, "{length} bytes");
        }
        for position in 0..file.len() {
            let mut altered = file.clone();
            altered[position] ^= 1;
            let fault = open(&altered, b"correct horse").unwrap_err();
            let expected = match position {
                0..8 => vec![VaultFault::NotAVault],
                8 => vec![VaultFault::Newer(0x101)],
                // Format 0 never was. A length that is wrong looks like a cut file.
                78..82 => vec![VaultFault::Cut, VaultFault::Altered],
                _ => vec![VaultFault::Altered],
            };
            assert!(expected.contains(&fault), "byte {position}: {fault:?}");
        }
    }

    #[test]
    fn a_file_that_was_altered_with_care_does_not_open() {
        let file = seal(&ring(), b"correct horse", CHEAP, &FRESH).unwrap();
        // The state of the first key, a byte of it, the tag, the nonce.
        for position in [HEADER_BYTES + 1, HEADER_BYTES + 20, file.len() - SUM_BYTES - 1, HEADER_BYTES - 10] {
            let mut altered = file.clone();
            altered[position] ^= 1;
            assert_eq!(open(&with_sum(altered), b"correct horse").unwrap_err(), VaultFault::Altered, "byte {position}");
        }
        let newer = [&file[..8], &2_u16.to_be_bytes(), &file[10..]].concat();
        assert_eq!(open(&newer, b"correct horse").unwrap_err(), VaultFault::Newer(2));
    }

    #[test]
    fn a_file_cannot_ask_for_more_memory_or_time_than_is_allowed() {
        let file = seal(&ring(), b"correct horse", CHEAP, &FRESH).unwrap();
        for (position, number) in [(10, 2_000_000_u32), (10, 8), (14, 17), (14, 0), (18, 5), (18, 0)] {
            let mut asking = file.clone();
            asking[position..position + 4].copy_from_slice(&number.to_be_bytes());
            assert_eq!(open(&with_sum(asking), b"correct horse").unwrap_err(), VaultFault::Altered, "{number}");
        }
        assert!(Cost::NEW.is_bounded());
    }
}
