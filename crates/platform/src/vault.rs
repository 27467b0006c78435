//! Where keys come from. Per-chip and per-token keys are derived from master keys that never leave the vault,
//! and are not stored anywhere.

use paycode::{CodeFormat, MaskKey, Suite, TokenIndex};
use protocol::scp03::KeySet;
use zeroize::Zeroizing;

use crate::makers::BatchId;
use crate::{ChipId, Reason, Refusal};

/// The vault could not answer. It says no more, so that nothing of the keys can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VaultError;

impl From<VaultError> for Refusal {
    fn from(_: VaultError) -> Self {
        Reason::KeysUnavailable.into()
    }
}

impl core::fmt::Display for VaultError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(Reason::KeysUnavailable.message())
    }
}

impl std::error::Error for VaultError {}

/// Derives the keys of chips and tokens. Answers are the same for the same arguments for ever.
pub trait KeyVault: Send + Sync {
    /// The SCP03 keys of a chip, under a key version from 1 to 127.
    ///
    /// # Errors
    /// [`VaultError`] when the vault does not answer.
    fn chip_keys(&self, chip: ChipId, version: u8) -> Result<KeySet, VaultError>;

    /// The 32-byte key of a batch, from which its chips' keys are derived
    /// ([`crate::makers::chip_keys_of_batch`]).
    ///
    /// # Errors
    /// [`VaultError`] when the vault does not answer.
    fn batch_key(&self, batch: BatchId, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError>;

    /// The 32-byte key behind the one-time passwords of a token.
    ///
    /// # Errors
    /// [`VaultError`] when the vault does not answer.
    fn pay_key(&self, format: &CodeFormat, index: TokenIndex, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError>;

    /// The 16-byte mask key shared by all tokens under a format.
    ///
    /// # Errors
    /// [`VaultError`] when the vault does not answer.
    fn mask_key(&self, format: &CodeFormat, version: u8) -> Result<Zeroizing<[u8; 16]>, VaultError>;

    /// The versions new tokens and chips get.
    fn versions(&self) -> KeyVersions;

    /// The versions of the mask key a code may be under, the current one first; few, for each is tried. A token's pay
    /// key has the version of the mask key it was made with, unless its row says otherwise.
    fn masks_in_force(&self) -> Vec<u8> {
        let current = self.versions().mask;
        [Some(current), current.checked_sub(1).filter(|before| *before > 0)].into_iter().flatten().collect()
    }

    /// Whether it answers at all now.
    fn is_ready(&self) -> bool {
        true
    }

    /// Whether an answer may take long, because another machine or module gives it: whoever must not hold up others asks
    /// where waiting is allowed.
    fn waits(&self) -> bool {
        false
    }

    /// A number that changes whenever the versions do.
    fn generation(&self) -> u64 {
        0
    }
}

/// The key versions in use for new chips and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyVersions {
    /// Of chip keys.
    pub chip: u8,
    /// Of pay keys.
    pub pay: u8,
    /// Of the mask key.
    pub mask: u8,
}

/// The mask keys a code may be under, the current one first.
///
/// # Errors
/// [`VaultError`] when the vault does not answer.
pub fn mask_keys(vault: &dyn KeyVault, format: &CodeFormat, suite: Suite) -> Result<Vec<(u8, MaskKey)>, VaultError> {
    let versions = vault.masks_in_force();
    versions.into_iter().map(|version| Ok((version, MaskKey::new(suite, &*vault.mask_key(format, version)?)))).collect()
}
