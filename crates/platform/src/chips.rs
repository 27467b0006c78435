//! Chips the operator knows: registered by the factory line before a wearable is sold.

use crate::{Change, ChipId, Reason, Refusal, UnixMs};

/// A registered chip. Its keys are derived by the vault from its id and key version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chip {
    /// The id its maker gave it.
    pub id: ChipId,
    /// The version of its SCP03 keys.
    pub key_version: u8,
    /// When it was registered.
    pub registered_ms: UnixMs,
}

/// Registers a chip.
///
/// # Errors
/// [`Reason::ChipExists`] when the id was registered before: its keys are handed out once.
pub fn register(chip: Chip, before: Option<&Chip>) -> Result<(Chip, Vec<Change>), Refusal> {
    if before.is_some() {
        return Err(Refusal::at(Reason::ChipExists, "chip_id"));
    }
    Ok((chip.clone(), vec![Change::PutChip(chip)]))
}
