//! What the applet keeps in the store, and under which key. Reading a record gives the whole value in its
//! right length or an error: a record that should be there and is not is damage, never a default.

use crate::hal::Flash;
use crate::hardened::{spread, unspread};
use crate::log::CHUNKS;
use crate::store::{Key, Store, StoreError, Update};
use protocol::apdu::StatusWord;
use protocol::applet::{CHIP_ID_BYTES, CertificatePart, Lifecycle, Slot};

/// The chip's lifecycle, spread over four bytes.
pub(crate) const LIFECYCLE: Key = Key::new(1);
/// The chip id, 16 bytes; absent before the factory wrote it.
pub(crate) const CHIP_ID: Key = Key::new(2);
/// Key set FF, the transport keys a chip is born with; absent from the factory on.
pub(crate) const TRANSPORT_KEYS: Key = Key::new(3);
/// The cloud's key set.
pub(crate) const CLOUD_KEYS: Key = Key::new(4);
/// Sequence counter of the secure channel, 4 bytes.
pub(crate) const CHANNEL_SEQUENCE: Key = Key::new(5);
/// Salt and hash of the passcode; absent where none was set.
pub(crate) const PASSCODE: Key = Key::new(6);
/// Passcode tries left, spread over four bytes; there exactly where [`PASSCODE`] is.
pub(crate) const TRIES: Key = Key::new(7);

/// The device key: scheme, secret and public half; absent where the factory made none.
pub(crate) const DEVICE_KEY: Key = Key::new(8);

/// A part of the certificate chain of the device key.
pub(crate) const fn certificate(part: CertificatePart) -> Key {
    Key::new(32 + part.number())
}

/// The slot that was chosen to pay when none is named, spread over four bytes; absent for the first with a token.
const CHOSEN_SLOT: Key = Key::new(29);

/// The own key set of `slot`; absent where the slot belongs to the root.
pub(crate) const fn slot_keys(slot: Slot) -> Key {
    Key::new(12 + slot.number())
}

/// What the channel of `slot` remembers; stays when its keys go.
pub(crate) const fn slot_channel(slot: Slot) -> Key {
    Key::new(20 + slot.number())
}

/// What the token in `slot` asks of the passcode; absent for nothing special.
pub(crate) const fn rules(slot: Slot) -> Key {
    Key::new(64 + slot.number())
}

/// One record of the log of `slot`.
pub(crate) const fn log(slot: Slot, chunk: u8) -> Key {
    Key::new(44 + slot.number() * CHUNKS - CHUNKS + chunk)
}

/// Everything that belongs to the token in `slot`.
pub(crate) fn of_token(slot: Slot) -> impl Iterator<Item = Key> {
    let logs = (0..CHUNKS).map(move |chunk| log(slot, chunk));
    [token(slot), counters(slot), grant(slot), rules(slot)].into_iter().chain(logs)
}

/// The token in `slot`: what does not change with each code.
pub(crate) const fn token(slot: Slot) -> Key {
    Key::new(8 + slot.number())
}

/// The counters of the token in `slot`: rewritten with each code, so kept small.
pub(crate) const fn counters(slot: Slot) -> Key {
    Key::new(16 + slot.number())
}

/// The time anchor and allowance of the token in `slot`: rewritten at each sync.
pub(crate) const fn grant(slot: Slot) -> Key {
    Key::new(24 + slot.number())
}

impl From<StoreError> for StatusWord {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::NO_ROOM,
            _ => Self::INTERNAL,
        }
    }
}

/// Reads a record of exactly `N` bytes, or nothing where the key is absent.
pub(crate) fn read<F: Flash, const N: usize>(store: &mut Store<F>, key: Key) -> Result<Option<[u8; N]>, StatusWord> {
    let mut value = [0; N];
    Ok(read_into(store, key, &mut value)?.then_some(value))
}

/// Fills `value` with a record of just that length; says whether there is one. One copy for all lengths.
#[inline(never)]
fn read_into<F: Flash>(store: &mut Store<F>, key: Key, value: &mut [u8]) -> Result<bool, StatusWord> {
    match store.get(key, value)? {
        None => Ok(false),
        Some(len) if len == value.len() => Ok(true),
        Some(_) => Err(StatusWord::INTERNAL),
    }
}

/// Fills `value` with a record of just that length, which must be there.
#[inline(never)]
fn fill_present<F: Flash>(store: &mut Store<F>, key: Key, value: &mut [u8]) -> Result<(), StatusWord> {
    if read_into(store, key, value)? { Ok(()) } else { Err(StatusWord::INTERNAL) }
}

/// Reads a record of exactly `N` bytes that must be there. In line, or the value would be copied to whom it is for.
#[inline(always)]
pub(crate) fn read_present<F: Flash, const N: usize>(store: &mut Store<F>, key: Key) -> Result<[u8; N], StatusWord> {
    let mut value = [0; N];
    fill_present(store, key, &mut value)?;
    Ok(value)
}

/// The value of [`LIFECYCLE`] for this state.
pub(crate) const fn lifecycle_value(lifecycle: Lifecycle) -> [u8; 4] {
    spread(lifecycle.to_byte())
}

/// Where the chip is in its life, read from flash each time it matters.
pub(crate) fn lifecycle<F: Flash>(store: &mut Store<F>) -> Result<Lifecycle, StatusWord> {
    let byte = unspread(read_present(store, LIFECYCLE)?).ok_or(StatusWord::INTERNAL)?;
    Lifecycle::from_byte(byte).ok_or(StatusWord::INTERNAL)
}

/// The chip id; absent before the factory.
pub(crate) fn chip_id<F: Flash>(store: &mut Store<F>) -> Result<Option<[u8; CHIP_ID_BYTES]>, StatusWord> {
    read(store, CHIP_ID)
}

/// Whether `slot` holds a token.
pub(crate) fn is_occupied<F: Flash>(store: &mut Store<F>, slot: Slot) -> Result<bool, StatusWord> {
    Ok(store.contains(token(slot))?)
}

/// The slot chosen with CHOOSE SLOT, whether it still holds a token or not.
pub(crate) fn chosen_slot<F: Flash>(store: &mut Store<F>) -> Result<Option<Slot>, StatusWord> {
    let Some(bytes) = read(store, CHOSEN_SLOT)? else {
        return Ok(None);
    };
    unspread(bytes).and_then(Slot::new).ok_or(StatusWord::INTERNAL).map(Some)
}

/// CHOOSE SLOT. The slot chosen already is not written again.
pub(crate) fn choose_slot<F: Flash>(store: &mut Store<F>, slot: Option<Slot>) -> Result<(), StatusWord> {
    if let Some(slot) = slot
        && !is_occupied(store, slot)?
    {
        return Err(StatusWord::REFERENCE_NOT_FOUND);
    }
    if chosen_slot(store)? != slot {
        match slot {
            Some(slot) => store.transact(&[Update::Put(CHOSEN_SLOT, &spread(slot.number()))])?,
            None => store.transact(&[NO_SLOT_CHOSEN])?,
        }
    }
    Ok(())
}

/// Takes the choice back.
pub(crate) const NO_SLOT_CHOSEN: Update<'static> = Update::Remove(CHOSEN_SLOT);

/// The slot that pays when none is named: the chosen one, or the first that holds a token.
pub(crate) fn default_slot<F: Flash>(store: &mut Store<F>) -> Result<Option<Slot>, StatusWord> {
    for slot in chosen_slot(store)?.into_iter().chain(Slot::all()) {
        if is_occupied(store, slot)? {
            return Ok(Some(slot));
        }
    }
    Ok(None)
}
