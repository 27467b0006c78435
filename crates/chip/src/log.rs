//! The last codes of each token, for whoever issued it.
//!
//! Five records of eight codes a slot, written in turn: a code rewrites one short record, in the transaction that
//! counts it, and at least the last 33 codes are there at any time. A code's place follows from its transaction
//! counter, so nothing else has to be kept.

use crate::hal::Flash;
use crate::records;
use crate::store::{Key, Store};
use protocol::apdu::StatusWord;
use protocol::applet::{LOG_ENTRY_BYTES, LOGGED_CODES, LoggedCode, Slot, encode_code_log};

/// Codes in one record.
const CODES: u32 = 8;
/// Records a slot has.
pub(crate) const CHUNKS: u8 = 5;
/// The entry of a code that was made before the log was kept. It is no stamp.
const UNKNOWN: [u8; LOG_ENTRY_BYTES] = [0xFF; LOG_ENTRY_BYTES];

/// A record of the log: its entries so far.
pub(crate) struct Chunk {
    entries: [[u8; LOG_ENTRY_BYTES]; CODES as usize],
    used: usize,
}

impl Chunk {
    /// Becomes the record with the code of this transaction counter added, and gives its key.
    #[inline(never)]
    pub(crate) fn add<F: Flash>(
        &mut self,
        store: &mut Store<F>,
        slot: Slot,
        counter: u32,
        code: LoggedCode,
    ) -> Result<Key, StatusWord> {
        let (key, place) = place_of(slot, counter);
        if place > 0 {
            self.fill(store, key)?;
            // A record from another turn, or none: what should stand before is not known.
            if self.used != place {
                *self = Self::EMPTY;
            }
        }
        *self.entries.get_mut(place).ok_or(StatusWord::INTERNAL)? = code.to_bytes();
        self.used = place + 1;
        Ok(key)
    }

    /// Its bytes for the store.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.entries.get(..self.used).unwrap_or(&[]).as_flattened()
    }

    /// No entries.
    pub(crate) const EMPTY: Self = Self { entries: [UNKNOWN; CODES as usize], used: 0 };

    fn read<F: Flash>(store: &mut Store<F>, key: Key) -> Result<Self, StatusWord> {
        let mut chunk = Self::EMPTY;
        chunk.fill(store, key)?;
        Ok(chunk)
    }

    /// Fills an empty one with what is in flash.
    fn fill<F: Flash>(&mut self, store: &mut Store<F>, key: Key) -> Result<(), StatusWord> {
        let len = store.get(key, self.entries.as_flattened_mut())?.unwrap_or(0);
        if !len.is_multiple_of(LOG_ENTRY_BYTES) {
            return Err(StatusWord::INTERNAL);
        }
        self.used = len / LOG_ENTRY_BYTES;
        Ok(())
    }
}

/// The record that holds the code of this transaction counter, which is not 0, and the code's place in it.
fn place_of(slot: Slot, counter: u32) -> (Key, usize) {
    let number = counter.wrapping_sub(1);
    let chunk = (number / CODES % u32::from(CHUNKS)) as u8;
    (records::log(slot, chunk), (number % CODES) as usize)
}

/// Writes the log of a token whose last code had this transaction counter.
///
/// # Errors
/// 6F00.
pub(crate) fn tell<F: Flash>(
    store: &mut Store<F>,
    slot: Slot,
    newest: u32,
    out: &mut [u8],
) -> Result<usize, StatusWord> {
    let mut entries = [UNKNOWN; LOGGED_CODES];
    let mut told = 0;
    let mut held: Option<(Key, Chunk)> = None;
    for (to, counter) in entries.iter_mut().zip((1..=newest).rev()) {
        let (key, place) = place_of(slot, counter);
        let chunk = match held.take() {
            Some((of, chunk)) if of == key => chunk,
            _ => Chunk::read(store, key)?,
        };
        let entry = chunk.entries.get(..chunk.used).and_then(|entries| entries.get(place));
        let Some(entry) = entry.filter(|entry| LoggedCode::from_bytes(**entry).is_some()) else {
            break;
        };
        *to = *entry;
        told += 1;
        held = Some((key, chunk));
    }
    let entries = entries.get(..told).unwrap_or(&[]);
    crate::answers::written(encode_code_log(slot, newest, entries, out))
}
