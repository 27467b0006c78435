//! Batches: the keys that a factory gives its chips. Each batch has a key of its own, derived by the vault, and each chip's
//! SCP03 keys are derived from that with the chip's id. So a factory that is robbed loses its batches, and no other chip.

use protocol::kdf;
use protocol::scp03::KeySet;
use zeroize::Zeroizing;

use super::{Maker, MakerCode, MakerKind, event};
use crate::{Change, ChipId, Reason, Refusal, UnixMs, VaultError};

/// Labels of the derivation (spec/manifest.md §4). They never change: every chip's keys depend on them.
const LABELS: [&[u8]; 3] = [b"paychip batch enc", b"paychip batch mac", b"paychip batch dek"];
/// Bytes of each of a chip's three AES keys.
const CHIP_KEY_BYTES: usize = 16;

/// What a batch's key is sealed for (see [`pki::seal`]).
pub fn seal_context(batch: BatchId, key_version: u8) -> Vec<u8> {
    [b"paychip batch key", &batch.0[..], &[key_version]].concat()
}

/// A batch, by 16 random bytes. As text: 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub [u8; 16]);

impl core::fmt::Display for BatchId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&ChipId(self.0), f)
    }
}

impl core::fmt::Debug for BatchId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// A batch whose key a maker has been given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// Whose.
    pub maker: MakerCode,
    /// The version of its key, which is also that of its chips' keys.
    pub key_version: u8,
    /// When it was opened.
    pub created_ms: UnixMs,
}

/// Opens a batch for a maker of chips.
///
/// # Errors
/// [`Reason::MakerNotFound`], [`Reason::MakerWithdrawn`], [`Reason::MakerKindForbids`].
pub fn open_batch(batch: Batch, maker: Option<&Maker>) -> Result<(Batch, Vec<Change>), Refusal> {
    let maker = maker.ok_or(Refusal::at(Reason::MakerNotFound, "maker"))?;
    maker.must_make(MakerKind::Chips)?;
    maker.must_be_active()?;
    let event = event(maker.subject(), batch.created_ms, "batch_key_handed_out");
    Ok((batch.clone(), vec![Change::PutBatch(batch), Change::AddEvent(event)]))
}

/// The SCP03 keys of a chip of a batch, from the batch's key.
///
/// # Errors
/// [`VaultError`] for a version that is none.
pub fn chip_keys_of_batch(batch_key: &[u8; 32], chip: ChipId, version: u8) -> Result<KeySet, VaultError> {
    let context = [&[version], &chip.0[..]].concat();
    let key = |label| {
        let mut key = Zeroizing::new([0; CHIP_KEY_BYTES]);
        kdf::derive(batch_key, label, &context, &mut *key).map(|()| key).map_err(|_| VaultError)
    };
    let [enc, mac, dek] = LABELS.map(key);
    KeySet::from_bytes(version, &*enc?, &*mac?, &*dek?).map_err(|_| VaultError)
}
