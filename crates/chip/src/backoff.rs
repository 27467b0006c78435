//! What a domain's channel remembers over a reset: the sequence counter of its challenges, and how many attempts to
//! open it failed in a row.
//!
//! An attempt is counted in flash before it is checked, as a passcode try is, so that pulling the power hides none.
//! After [`FREE_FAILURES`] the chip holds back: [`TOLL`] INITIALIZE UPDATEs are refused before one is let through,
//! whether power was lost in between or not. Nothing is counted any more then, so whoever has no keys can make the
//! chip write sixteen records between two real sessions and no more; and the real cloud always gets in, by asking
//! again. The odds are in `spec/secure-channel.md`.

use crate::domain::{DOMAINS, Domain};
use crate::hal::Flash;
use crate::hardened::{spread, unspread};
use crate::store::{Store, Update};
use protocol::apdu::StatusWord;

/// Failed attempts in a row that are let through at once.
pub(crate) const FREE_FAILURES: u8 = 16;
/// INITIALIZE UPDATEs refused for each one let through after that.
pub(crate) const TOLL: u8 = 32;

const SEQUENCE_BYTES: usize = 4;
const RECORD_BYTES: usize = 8;

/// The record of one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// The next card challenge follows from this counter. It never goes back, not even with new keys.
    pub(crate) sequence: u32,
    /// Failed attempts since the last that succeeded, up to [`FREE_FAILURES`].
    failures: u8,
}

impl Attempts {
    /// The record of a domain; a slot that never had a channel has none.
    pub(crate) fn read<F: Flash>(store: &mut Store<F>, domain: Domain) -> Result<Self, StatusWord> {
        let mut bytes = [0; RECORD_BYTES];
        let read = store.get(domain.channel_state(), &mut bytes)?;
        let (sequence, failures) = bytes.split_at(SEQUENCE_BYTES);
        let sequence = u32::from_be_bytes(sequence.try_into().map_err(|_| StatusWord::INTERNAL)?);
        let failures = match (read, domain) {
            (None, Domain::Slot(_)) => 0,
            // The first layout kept the sequence alone.
            (Some(SEQUENCE_BYTES), Domain::Root) => 0,
            (Some(RECORD_BYTES), _) => failures.try_into().ok().and_then(unspread).ok_or(StatusWord::INTERNAL)?,
            _ => return Err(StatusWord::INTERNAL),
        };
        if failures <= FREE_FAILURES { Ok(Self { sequence, failures }) } else { Err(StatusWord::INTERNAL) }
    }

    /// Counts an attempt, before it is checked. At the limit nothing is written: held back is held back.
    pub(crate) fn count<F: Flash>(self, store: &mut Store<F>, domain: Domain) -> Result<Self, StatusWord> {
        if self.is_held_back() {
            return Ok(self);
        }
        Self { failures: self.failures + 1, ..self }.write(store, domain)
    }

    /// The attempt was right: the sequence moves on, no failures are left.
    pub(crate) fn succeed<F: Flash>(self, store: &mut Store<F>, domain: Domain) -> Result<Self, StatusWord> {
        let sequence = self.sequence.checked_add(1).ok_or(StatusWord::INTERNAL)?;
        Self { sequence, failures: 0 }.write(store, domain)
    }

    fn is_held_back(self) -> bool {
        self.failures >= FREE_FAILURES
    }

    fn write<F: Flash>(self, store: &mut Store<F>, domain: Domain) -> Result<Self, StatusWord> {
        let mut bytes = [0; RECORD_BYTES];
        let (sequence, failures) = bytes.split_at_mut(SEQUENCE_BYTES);
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        failures.copy_from_slice(&spread(self.failures));
        store.transact(&[Update::Put(domain.channel_state(), &bytes)])?;
        if Self::read(store, domain)? == self { Ok(self) } else { Err(StatusWord::INTERNAL) }
    }
}

/// How many INITIALIZE UPDATEs are still to be refused, for each domain that holds back. RAM only: power-up begins
/// with all of them.
pub(crate) struct Tolls([u8; DOMAINS]);

impl Default for Tolls {
    fn default() -> Self {
        Self([TOLL; DOMAINS])
    }
}

impl Tolls {
    /// Lets an INITIALIZE UPDATE through, or refuses it with 9305.
    pub(crate) fn pass(&mut self, domain: Domain, attempts: Attempts) -> Result<(), StatusWord> {
        let Some(left) = self.0.get_mut(domain.index()) else {
            return Err(StatusWord::INTERNAL);
        };
        if !attempts.is_held_back() {
            return Ok(());
        }
        match left.checked_sub(1) {
            Some(fewer) => {
                *left = fewer;
                Err(StatusWord::CHANNEL_HELD_BACK)
            }
            None => {
                *left = TOLL;
                Ok(())
            }
        }
    }
}
