//! The software vault: one master key from a file, every other key derived from it (SP 800-108, AES-256-CMAC).
//!
//! It is the development default and says so at start: whoever reads the file has every key. A hardware security
//! module takes its place behind the same trait.

use paycode::{CodeFormat, TokenIndex};
use platform::{ChipId, KeyVault, KeyVersions, VaultError};
use protocol::kdf;
use protocol::scp03::KeySet;
use zeroize::Zeroizing;

/// What each derived key is for. Labels never change: every issued key depends on them.
const LABEL_CHIP_ENC: &[u8] = b"paychip chip enc";
const LABEL_CHIP_MAC: &[u8] = b"paychip chip mac";
const LABEL_CHIP_DEK: &[u8] = b"paychip chip dek";
const LABEL_PAY: &[u8] = b"paychip pay";
const LABEL_MASK: &[u8] = b"paychip mask";

/// Bytes of each of a chip's three AES keys.
const CHIP_KEY_BYTES: usize = 16;

/// Derives keys from a master key in memory.
pub(crate) struct SoftwareVault {
    master: Zeroizing<[u8; 32]>,
}

impl SoftwareVault {
    pub(crate) fn new(master: Zeroizing<[u8; 32]>) -> Self {
        Self { master }
    }

    fn derive<const N: usize>(&self, label: &[u8], context: &[u8]) -> Result<Zeroizing<[u8; N]>, VaultError> {
        let mut key = Zeroizing::new([0; N]);
        kdf::derive(&*self.master, label, context, &mut *key).map_err(|_| VaultError)?;
        Ok(key)
    }
}

/// The context of a key of a code format: version, digits of the whole code, prefix.
fn format_context(format: &CodeFormat, version: u8) -> Vec<u8> {
    // At most 24 digits.
    let mut context = vec![version, format.total_digits() as u8];
    context.extend_from_slice(format.prefix_str().as_bytes());
    context
}

impl KeyVault for SoftwareVault {
    fn chip_keys(&self, chip: ChipId, version: u8) -> Result<KeySet, VaultError> {
        let mut context = vec![version];
        context.extend_from_slice(&chip.0);
        let key = |label| self.derive::<CHIP_KEY_BYTES>(label, &context);
        let (enc, mac, dek) = (key(LABEL_CHIP_ENC)?, key(LABEL_CHIP_MAC)?, key(LABEL_CHIP_DEK)?);
        KeySet::from_bytes(version, &*enc, &*mac, &*dek).map_err(|_| VaultError)
    }

    fn pay_key(&self, format: &CodeFormat, index: TokenIndex, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut context = format_context(format, version);
        context.extend_from_slice(&index.get().to_be_bytes());
        self.derive(LABEL_PAY, &context)
    }

    fn mask_key(&self, format: &CodeFormat, version: u8) -> Result<Zeroizing<[u8; 16]>, VaultError> {
        self.derive(LABEL_MASK, &format_context(format, version))
    }

    fn versions(&self) -> KeyVersions {
        KeyVersions { chip: 1, pay: 1, mask: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_differs_by_purpose_owner_and_version_and_comes_again() {
        let vault = SoftwareVault::new(Zeroizing::new([7; 32]));
        let format = CodeFormat::DEFAULT;
        let other = CodeFormat::new("72", 20).unwrap();
        let index = |number| TokenIndex::new(number).unwrap();
        let pay = |format: &CodeFormat, number, version| *vault.pay_key(format, index(number), version).unwrap();
        let keys = [pay(&format, 1, 1), pay(&format, 2, 1), pay(&format, 1, 2), pay(&other, 1, 1)];
        for (position, key) in keys.iter().enumerate() {
            assert!(!keys[..position].contains(key));
        }
        assert_eq!(pay(&format, 1, 1), keys[0]);
        let chip = vault.chip_keys(ChipId([1; 16]), 1).unwrap();
        assert_ne!(chip.enc().as_bytes(), chip.mac().as_bytes());
        assert_ne!(chip.enc().as_bytes(), vault.chip_keys(ChipId([2; 16]), 1).unwrap().enc().as_bytes());
        assert_ne!(*vault.mask_key(&format, 1).unwrap(), *vault.mask_key(&format, 2).unwrap());
    }
}
