//! The vault: master keys, and every other key derived from them (SP 800-108, AES-256-CMAC).
//!
//! The master keys are in a file that is sealed under a passphrase ([`sealed`]), or in a PKCS#11 token that makes the CMACs
//! itself ([`token`]); what is derived is the same. For development the key lies in a file in the open: then whoever reads
//! it has every key, and the server says so at each start.

mod fault;
mod file;
mod passphrase;
mod ring;
mod sealed;
mod token;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use paycode::{CodeFormat, TokenIndex};
use platform::makers::BatchId;
use platform::{ChipId, KeyVault, KeyVersions, VaultError};
use protocol::kdf;
use protocol::scp03::KeySet;
use zeroize::Zeroizing;

pub use fault::VaultFault;
pub(crate) use file::open_ring;
pub use file::{IMPORTED_FILE, KeysAt, MasterKeyView, SEALED_FILE, StoredVault, TOKEN_FILE};
pub use passphrase::Passphrase;
pub use ring::MasterKeyState;
use ring::Material;
pub(crate) use ring::{KeyRing, MasterKey};
pub use token::{TokenAccess, TokenFault, TokenUri};
pub(crate) use watch::follow;

/// What each derived key is for. Labels never change: every issued key depends on them.
const LABEL_CHIP_ENC: &[u8] = b"paychip chip enc";
const LABEL_CHIP_MAC: &[u8] = b"paychip chip mac";
const LABEL_CHIP_DEK: &[u8] = b"paychip chip dek";
const LABEL_BATCH: &[u8] = b"paychip batch";
const LABEL_PAY: &[u8] = b"paychip pay";
const LABEL_MASK: &[u8] = b"paychip mask";

/// Bytes of each of a chip's three AES keys.
const CHIP_KEY_BYTES: usize = 16;

/// Derives keys from master keys, in memory or in a token. A version of any key is the version of the master key it comes from.
pub(crate) struct MasterVault {
    ring: RwLock<Arc<KeyRing>>,
    generation: AtomicU64,
    /// Other servers use a key that this one lacks: a code under it would look like a guess.
    is_behind: AtomicBool,
}

impl MasterVault {
    pub(crate) fn new(ring: KeyRing) -> Self {
        Self { ring: RwLock::new(Arc::new(ring)), generation: AtomicU64::new(0), is_behind: AtomicBool::new(false) }
    }

    /// The master keys as they are now.
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with another ring. Whoever checks that it holds every key of this one is the caller.
    pub(crate) fn replace(&self, ring: KeyRing) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Derives nothing while the server lacks a key that others use.
    pub(crate) fn set_behind(&self, is_behind: bool) -> bool {
        self.is_behind.swap(is_behind, Ordering::AcqRel)
    }

    fn derive<const N: usize>(
        &self,
        version: u8,
        label: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<[u8; N]>, VaultError> {
        if !self.is_ready() {
            return Err(VaultError);
        }
        let ring = self.ring();
        let master = ring.get(version).ok_or(VaultError)?;
        let mut key = Zeroizing::new([0; N]);
        match &master.key {
            Material::Held(master) => {
                kdf::derive(&**master, label, context, &mut *key).map_err(|_| VaultError)?;
            }
            Material::InToken(master) => {
                let cmac = |message: &[&[u8]; 5]| match master.cmac(message) {
                    Ok(block) => Ok(*block),
                    Err(fault) => {
                        tracing::warn!(version, code = fault.code(), %fault, "a key could not be derived");
                        Err(Underivable)
                    }
                };
                kdf::derive_with(cmac, label, context, &mut *key).map_err(|Underivable| VaultError)?;
            }
        }
        Ok(key)
    }
}

/// The token did not answer; why is in the log.
struct Underivable;

impl From<kdf::Error> for Underivable {
    fn from(_: kdf::Error) -> Self {
        Self
    }
}

/// The context of a key of a code format: version, digits of the whole code, prefix.
fn format_context(format: &CodeFormat, version: u8) -> Vec<u8> {
    // At most 24 digits.
    let mut context = vec![version, format.total_digits() as u8];
    context.extend_from_slice(format.prefix_str().as_bytes());
    context
}

impl KeyVault for MasterVault {
    fn chip_keys(&self, chip: ChipId, version: u8) -> Result<KeySet, VaultError> {
        let mut context = vec![version];
        context.extend_from_slice(&chip.0);
        let key = |label| self.derive::<CHIP_KEY_BYTES>(version, label, &context);
        let (enc, mac, dek) = (key(LABEL_CHIP_ENC)?, key(LABEL_CHIP_MAC)?, key(LABEL_CHIP_DEK)?);
        KeySet::from_bytes(version, &*enc, &*mac, &*dek).map_err(|_| VaultError)
    }

    fn pay_key(&self, format: &CodeFormat, index: TokenIndex, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut context = format_context(format, version);
        context.extend_from_slice(&index.get().to_be_bytes());
        self.derive(version, LABEL_PAY, &context)
    }

    fn batch_key(&self, batch: BatchId, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        self.derive(version, LABEL_BATCH, &[&[version], &batch.0[..]].concat())
    }

    fn mask_key(&self, format: &CodeFormat, version: u8) -> Result<Zeroizing<[u8; 16]>, VaultError> {
        self.derive(version, LABEL_MASK, &format_context(format, version))
    }

    fn versions(&self) -> KeyVersions {
        let current = self.ring().current();
        KeyVersions { chip: current, pay: current, mask: current }
    }

    fn masks_in_force(&self) -> Vec<u8> {
        self.ring().in_force()
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn is_ready(&self) -> bool {
        !self.is_behind.load(Ordering::Acquire)
    }

    fn waits(&self) -> bool {
        self.ring().keys().iter().any(|key| matches!(key.key, Material::InToken(_)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::ring::KEY_BYTES;
    use super::*;

    fn key(byte: u8) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new([byte; KEY_BYTES])
    }

    #[test]
    fn every_key_differs_by_purpose_owner_and_version_and_comes_again() {
        let ring = KeyRing::first(key(7), 0, true).prepared(key(8), 0).unwrap();
        let vault = MasterVault::new(ring);
        let format = CodeFormat::DEFAULT;
        let other = CodeFormat::new("72", 20).unwrap();
        let index = |number| TokenIndex::new(number).unwrap();
        let pay = |format: &CodeFormat, number, version| *vault.pay_key(format, index(number), version).unwrap();
        let batch = |byte, version| *vault.batch_key(BatchId([byte; 16]), version).unwrap();
        let pays = [pay(&format, 1, 1), pay(&format, 2, 1), pay(&format, 1, 2), pay(&other, 1, 1)];
        let keys = [&pays[..], &[batch(1, 1), batch(2, 1), batch(1, 2)]].concat();
        for (position, key) in keys.iter().enumerate() {
            assert!(!keys[..position].contains(key));
        }
        assert_eq!(pay(&format, 1, 1), keys[0]);
        let chip = vault.chip_keys(ChipId([1; 16]), 1).unwrap();
        assert_ne!(chip.enc().as_bytes(), chip.mac().as_bytes());
        assert_ne!(chip.enc().as_bytes(), vault.chip_keys(ChipId([2; 16]), 1).unwrap().enc().as_bytes());
        assert_ne!(*vault.mask_key(&format, 1).unwrap(), *vault.mask_key(&format, 2).unwrap());
    }

    #[test]
    fn version_1_is_what_the_vault_of_one_key_derived_and_an_unknown_version_is_no_key() {
        // SP 800-108 in counter mode with AES-256-CMAC under 32 bytes of 7, computed with OpenSSL:
        // openssl kdf -keylen 16 -kdfopt mac:CMAC -kdfopt cipher:AES-256-CBC -kdfopt hexkey:0707… \
        //   -kdfopt salt:"paychip mask" -kdfopt hexinfo:01143731 KBKDF
        let vault = MasterVault::new(KeyRing::first(key(7), 0, true));
        let format = CodeFormat::new("71", 20).unwrap();
        assert_eq!(hex::encode(*vault.mask_key(&format, 1).unwrap()), "a9a1c9d1a1c9e71201b615e695486c1f");
        assert_eq!(vault.mask_key(&format, 2), Err(VaultError));
        assert_eq!(vault.chip_keys(ChipId([1; 16]), 0).err(), Some(VaultError));
    }

    #[test]
    fn a_new_version_shows_and_what_was_made_under_the_one_before_comes_again() {
        let vault = MasterVault::new(KeyRing::first(key(7), 0, true));
        let format = CodeFormat::DEFAULT;
        let before = (vault.mask_key(&format, 1).unwrap(), vault.generation());
        let ring = vault.ring().prepared(key(8), 0).and_then(|ring| ring.activated()).unwrap();
        vault.replace(ring);
        assert_eq!((vault.versions().pay, vault.masks_in_force()), (2, vec![2, 1]));
        assert_ne!(vault.generation(), before.1);
        assert_eq!(vault.mask_key(&format, 1).unwrap(), before.0);
    }
}
