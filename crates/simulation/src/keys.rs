//! Keys that depend on what they are for, and on nothing secret.

use paycode::{CodeFormat, TokenIndex};
use platform::makers::BatchId;
use platform::{ChipId, KeyVault, KeyVersions, VaultError};
use protocol::scp03::KeySet;
use zeroize::Zeroizing;

/// The vault of the simulation.
pub(crate) struct OpenVault;

impl KeyVault for OpenVault {
    fn chip_keys(&self, chip: ChipId, version: u8) -> Result<KeySet, VaultError> {
        let other = |number: u8| chip.0.map(|byte| byte ^ number ^ version.rotate_left(4));
        KeySet::from_bytes(version, &chip.0, &other(1), &other(2)).map_err(|_| VaultError)
    }

    fn pay_key(&self, _: &CodeFormat, index: TokenIndex, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut key = Zeroizing::new([version; 32]);
        key[..8].copy_from_slice(&index.get().to_be_bytes());
        Ok(key)
    }

    fn batch_key(&self, batch: BatchId, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut key = Zeroizing::new([version; 32]);
        key[..16].copy_from_slice(&batch.0);
        Ok(key)
    }

    fn mask_key(&self, _: &CodeFormat, version: u8) -> Result<Zeroizing<[u8; 16]>, VaultError> {
        Ok(Zeroizing::new([version; 16]))
    }

    fn versions(&self) -> KeyVersions {
        KeyVersions { chip: 1, pay: 1, mask: 1 }
    }
}
