//! Security domains: who a key set, and a channel opened with it, speaks for.
//!
//! The root domain is the chip's owner. Each slot may have a key set of its own, and then is a domain of its own:
//! its channel reaches that slot and nothing else, and the root reaches the slot no more, but to delete it wholly. A
//! slot without own keys belongs to the root.

use crate::hal::Flash;
use crate::records::{self, CHANNEL_SEQUENCE, CLOUD_KEYS};
use crate::store::{Key, Store};
use protocol::apdu::StatusWord;
use protocol::applet::{Order, Slot};

/// The first version number of a slot's key sets; below are the root's.
const FIRST_SLOT_VERSION: u8 = 0x60;
/// How many version numbers each slot has.
const VERSIONS_OF_A_SLOT: u8 = 8;
/// How many domains there are.
pub(crate) const DOMAINS: usize = 1 + protocol::applet::SLOTS as usize;

/// One security domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    /// The chip's owner.
    Root,
    /// A slot that has, or may get, its own keys.
    Slot(Slot),
}

impl Domain {
    /// The domain new keys of this version belong to: `01` to `5F` the root's, then eight for each slot. Nothing
    /// for a version no key set may have.
    pub(crate) const fn of_version(version: u8) -> Option<Self> {
        match version {
            0x01..FIRST_SLOT_VERSION => Some(Self::Root),
            FIRST_SLOT_VERSION..=0x7F => match Slot::new(1 + (version - FIRST_SLOT_VERSION) / VERSIONS_OF_A_SLOT) {
                Some(slot) => Some(Self::Slot(slot)),
                None => None,
            },
            _ => None,
        }
    }

    /// Where its key set is kept.
    pub(crate) const fn key_set(self) -> Key {
        match self {
            Self::Root => CLOUD_KEYS,
            Self::Slot(slot) => records::slot_keys(slot),
        }
    }

    /// Where the state of its channel is kept.
    pub(crate) const fn channel_state(self) -> Key {
        match self {
            Self::Root => CHANNEL_SEQUENCE,
            Self::Slot(slot) => records::slot_channel(slot),
        }
    }

    /// Its place in an array.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Root => 0,
            Self::Slot(slot) => slot.number() as usize,
        }
    }

    /// Whether what is in `slot` is this domain's to read and to change.
    pub(crate) fn owns<F: Flash>(self, store: &mut Store<F>, slot: Slot) -> Result<bool, StatusWord> {
        Ok(self == owner_of(store, slot)?)
    }

    /// Whether this domain may give `order`; 6982 where not.
    pub(crate) fn expect_may<F: Flash>(self, store: &mut Store<F>, order: &Order<'_>) -> Result<(), StatusWord> {
        let may = match order {
            Order::InstallToken(order) => self.owns(store, order.slot)?,
            Order::Sync(order) => self.owns(store, order.slot)?,
            Order::SetRules(order) => self.owns(store, order.slot)?,
            // The root deletes what it can't read: a lost domain does not take its slot with it.
            Order::RemoveToken(order) => self == Self::Root || self.owns(store, order.slot)?,
            Order::FactoryData(_) | Order::SetState(_) | Order::StoreCertificate(_) | Order::Passcode(_) => {
                self == Self::Root
            }
        };
        if may { Ok(()) } else { Err(StatusWord::SECURITY_STATUS) }
    }
}

/// The domain a slot belongs to.
pub(crate) fn owner_of<F: Flash>(store: &mut Store<F>, slot: Slot) -> Result<Domain, StatusWord> {
    let own_keys = store.contains(records::slot_keys(slot))?;
    Ok(if own_keys { Domain::Slot(slot) } else { Domain::Root })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_number_has_one_domain() {
        assert_eq!(Domain::of_version(0), None);
        for version in 0x01..=0x5F {
            assert_eq!(Domain::of_version(version), Some(Domain::Root));
        }
        for (version, slot) in [(0x60, 1), (0x67, 1), (0x68, 2), (0x6F, 2), (0x70, 3), (0x77, 3), (0x78, 4), (0x7F, 4)]
        {
            assert_eq!(Domain::of_version(version), Slot::new(slot).map(Domain::Slot), "{version:02X}");
        }
        for version in 0x80..=0xFF {
            assert_eq!(Domain::of_version(version), None);
        }
    }
}
