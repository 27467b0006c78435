//! Chips the operator knows: registered by the factory line before a wearable is sold.

use crate::{Change, ChipId, Reason, Refusal, Settings, ShipmentId, UnixMs};

/// A registered chip. Its keys are derived by the vault from its id and key version, and for
/// a chip of a shipment from its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chip {
    /// The id its maker gave it.
    pub id: ChipId,
    /// The version of its SCP03 keys.
    pub key_version: u8,
    /// When it was registered.
    pub registered_ms: UnixMs,
    /// The shipment it came in; nothing for a chip that was registered by itself, for development.
    pub origin: Option<Origin>,
}

/// Where a chip came from, and by what it can prove that it is the one that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The shipment.
    pub shipment: ShipmentId,
    /// [`crate::makers::manifest::key_hash`] of its public device key.
    pub key_hash: [u8; 32],
}

/// Registers a chip by itself: for development, or for a line of the operator's own.
///
/// # Errors
/// [`Reason::ChipUncertified`] of an operator who takes only chips that their makers have shipped;
/// [`Reason::ChipExists`] when the id was registered before: its keys are handed out once.
pub fn register(chip: Chip, before: Option<&Chip>, settings: &Settings) -> Result<(Chip, Vec<Change>), Refusal> {
    if !settings.uncertified_chips {
        return Err(Refusal::at(Reason::ChipUncertified, "chip_id"));
    }
    if before.is_some() {
        return Err(Refusal::at(Reason::ChipExists, "chip_id"));
    }
    Ok((chip.clone(), vec![Change::PutChip(chip)]))
}
