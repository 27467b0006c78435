//! Static key sets, and what both ends derive from them: session keys, cryptograms, pseudo-random challenges
//! (Amendment D §4.1.5, §6.2).

use super::{Error, MAX_MAC_BYTES, Mode, SEQUENCE_BYTES};
use crate::aes_key::AesKey;
use crate::kdf::derive_gp;
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Derivation constants of Amendment D, Table 4-1.
const CARD_CRYPTOGRAM: u8 = 0x00;
const HOST_CRYPTOGRAM: u8 = 0x01;
const CARD_CHALLENGE: u8 = 0x02;
const S_ENC: u8 = 0x04;
const S_MAC: u8 = 0x06;
const S_RMAC: u8 = 0x07;

/// The three static keys of a channel, of one length, and their version number.
///
/// Wiped when dropped; `Debug` shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySet {
    version: u8,
    enc: AesKey,
    mac: AesKey,
    dek: AesKey,
}

impl KeySet {
    /// A key set from its version number (KVN) and three keys.
    ///
    /// # Errors
    /// [`Error::BadKeyLength`] when the keys differ in length.
    pub fn new(version: u8, enc: AesKey, mac: AesKey, dek: AesKey) -> Result<Self, Error> {
        if enc.len_bytes() != mac.len_bytes() || enc.len_bytes() != dek.len_bytes() {
            return Err(Error::BadKeyLength);
        }
        Ok(Self { version, enc, mac, dek })
    }

    /// The same from bytes.
    ///
    /// # Errors
    /// [`Error::BadKeyLength`] when a key is not 16, 24 or 32 bytes long or they differ in length.
    pub fn from_bytes(version: u8, enc: &[u8], mac: &[u8], dek: &[u8]) -> Result<Self, Error> {
        let key = |bytes| AesKey::new(bytes).ok_or(Error::BadKeyLength);
        Self::new(version, key(enc)?, key(mac)?, key(dek)?)
    }

    /// The key version number.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Key-ENC: session encryption keys and cryptograms come from it.
    #[must_use]
    pub const fn enc(&self) -> &AesKey {
        &self.enc
    }

    /// Key-MAC: session MAC keys come from it.
    #[must_use]
    pub const fn mac(&self) -> &AesKey {
        &self.mac
    }

    /// Key-DEK: encrypts keys on their way in.
    #[must_use]
    pub const fn dek(&self) -> &AesKey {
        &self.dek
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("version", &self.version).field("enc", &self.enc).finish_non_exhaustive()
    }
}

/// The card challenge that follows from the sequence counter (3 bytes, big-endian) and the AID of the
/// application that runs the channel, 8 or 16 bytes as `out` is long (Amendment D §6.2.2.1).
///
/// # Errors
/// [`Error::BadChallenge`] when `out` is neither 8 nor 16 bytes long.
pub fn pseudo_random_challenge(
    enc: &AesKey,
    sequence: [u8; SEQUENCE_BYTES],
    aid: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    Mode::of_challenge(out.len()).ok_or(Error::BadChallenge)?;
    derive_gp(enc, CARD_CHALLENGE, &[&sequence, aid], out);
    Ok(())
}

/// The keys of one session. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct SessionKeys {
    pub(super) enc: AesKey,
    pub(super) mac: AesKey,
    pub(super) rmac: AesKey,
}

impl SessionKeys {
    /// Both challenges together are the context of every derivation.
    pub(super) fn derive(keys: &KeySet, host_challenge: &[u8], card_challenge: &[u8]) -> Self {
        let context = [host_challenge, card_challenge];
        Self {
            enc: session_key(&keys.enc, S_ENC, &context),
            mac: session_key(&keys.mac, S_MAC, &context),
            rmac: session_key(&keys.mac, S_RMAC, &context),
        }
    }

    pub(super) fn card_cryptogram(&self, host_challenge: &[u8], card_challenge: &[u8]) -> [u8; MAX_MAC_BYTES] {
        self.cryptogram(CARD_CRYPTOGRAM, host_challenge, card_challenge)
    }

    pub(super) fn host_cryptogram(&self, host_challenge: &[u8], card_challenge: &[u8]) -> [u8; MAX_MAC_BYTES] {
        self.cryptogram(HOST_CRYPTOGRAM, host_challenge, card_challenge)
    }

    /// As long as the challenges are; the rest is zero.
    fn cryptogram(&self, constant: u8, host_challenge: &[u8], card_challenge: &[u8]) -> [u8; MAX_MAC_BYTES] {
        let mut cryptogram = [0; MAX_MAC_BYTES];
        let used = host_challenge.len().min(MAX_MAC_BYTES);
        let (used, _) = cryptogram.split_at_mut(used);
        derive_gp(&self.mac, constant, &[host_challenge, card_challenge], used);
        cryptogram
    }
}

/// A session key is as long as the static key it comes from.
fn session_key(key: &AesKey, constant: u8, context: &[&[u8]; 2]) -> AesKey {
    let mut session = key.clone();
    derive_gp(key, constant, context, session.bytes_mut());
    session
}
