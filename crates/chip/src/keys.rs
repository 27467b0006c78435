//! The static keys of the secure channel: how they lie in flash, and PUT KEY.
//!
//! A chip holds at most two key sets: FF, known to everybody, from birth to the end of the factory; and the
//! cloud's. Reading gives a set that is wiped when dropped.

use crate::hal::Flash;
use crate::records::{self, CLOUD_KEYS, TRANSPORT_KEYS};
use crate::store::{Key, Store, Update};
use protocol::apdu::StatusWord;
use protocol::applet::Lifecycle;
use protocol::put_key;
use protocol::scp03::{AesKey, KeySet};
use zeroize::Zeroizing;

/// Version number of the key set a chip is born with.
const TRANSPORT_VERSION: u8 = 0xFF;
/// P1 of PUT KEY: a key set in addition.
const IN_ADDITION: u8 = 0x00;
/// P1 of INITIALIZE UPDATE: the chip's own choice.
const ANY_VERSION: u8 = 0x00;
/// Version numbers a key set may have (GlobalPlatform Card Specification 11.8.2.3).
const VERSIONS: core::ops::RangeInclusive<u8> = 0x01..=0x7F;

/// The record of a key set: version, length of a key, three keys.
const MAX_RECORD_BYTES: usize = 2 + 3 * 32;

/// The record of key set FF: three times the GlobalPlatform test key.
pub(crate) const TRANSPORT_KEY_SET: [u8; 2 + 3 * 16] = {
    let mut record = [0; 2 + 3 * 16];
    record[0] = TRANSPORT_VERSION;
    record[1] = 16;
    let mut i = 0;
    while i < 3 * 16 {
        record[2 + i] = 0x40 + (i % 16) as u8;
        i += 1;
    }
    record
};

/// The key set of this version; 00 for the cloud's, or FF where there is none. 6A88 where it is not there.
pub(crate) fn find<F: Flash>(store: &mut Store<F>, version: u8) -> Result<KeySet, StatusWord> {
    for key in [CLOUD_KEYS, TRANSPORT_KEYS] {
        if let Some(keys) = read(store, key)?
            && (version == ANY_VERSION || version == keys.version())
        {
            return Ok(keys);
        }
    }
    Err(StatusWord::REFERENCE_NOT_FOUND)
}

/// The version of the cloud's key set, or FF where only the transport keys are there.
pub(crate) fn root_version<F: Flash>(store: &mut Store<F>) -> Result<u8, StatusWord> {
    Ok(find(store, ANY_VERSION)?.version())
}

/// PUT KEY: the cloud's key set takes the place of what `replaced_version` names. `dek` is the one of the key
/// set the channel was opened with. Writes the answer to `out`.
///
/// # Errors
/// 6A88 where `replaced_version` is not the key set to replace, 6A80 where the keys are malformed or a check
/// value is wrong, 6F00.
pub(crate) fn put<F: Flash>(
    store: &mut Store<F>,
    dek: &AesKey,
    replaced_version: u8,
    data: &[u8],
    out: &mut [u8],
) -> Result<usize, StatusWord> {
    let keys = put_key::parse(dek, data).map_err(|_| StatusWord::WRONG_DATA)?;
    if !VERSIONS.contains(&keys.version()) {
        return Err(StatusWord::WRONG_DATA);
    }
    let mut bytes = Zeroizing::new([0; MAX_RECORD_BYTES]);
    let put = Update::Put(CLOUD_KEYS, to_bytes(&keys, &mut bytes));
    let transport_goes = replaced_version == TRANSPORT_VERSION && store.contains(TRANSPORT_KEYS)?;
    if transport_goes {
        store.transact(&[put, Update::Remove(TRANSPORT_KEYS)])?;
    } else if may_take_the_place_of(store, replaced_version)? {
        store.transact(&[put])?;
    } else {
        return Err(StatusWord::REFERENCE_NOT_FOUND);
    }
    let answer = put_key::answer(&keys);
    out.get_mut(..answer.len()).ok_or(StatusWord::INTERNAL)?.copy_from_slice(&answer);
    Ok(answer.len())
}

/// In the factory the cloud's key set comes in addition to FF; later it replaces the one before.
fn may_take_the_place_of<F: Flash>(store: &mut Store<F>, replaced_version: u8) -> Result<bool, StatusWord> {
    if records::lifecycle(store)? == Lifecycle::Blank {
        return Ok(replaced_version == IN_ADDITION);
    }
    Ok(read(store, CLOUD_KEYS)?.is_some_and(|keys| keys.version() == replaced_version))
}

fn read<F: Flash>(store: &mut Store<F>, key: Key) -> Result<Option<KeySet>, StatusWord> {
    let mut bytes = Zeroizing::new([0; MAX_RECORD_BYTES]);
    match store.get(key, bytes.as_mut_slice())? {
        None => Ok(None),
        Some(len) => bytes.get(..len).and_then(from_bytes).ok_or(StatusWord::INTERNAL).map(Some),
    }
}

fn from_bytes(bytes: &[u8]) -> Option<KeySet> {
    let (&[version, key_bytes], keys) = bytes.split_first_chunk()?;
    let key_bytes = usize::from(key_bytes);
    let (enc, keys) = keys.split_at_checked(key_bytes)?;
    let (mac, dek) = keys.split_at_checked(key_bytes)?;
    KeySet::from_bytes(version, enc, mac, dek).ok()
}

/// The record; `into` is the caller's to wipe. The keys are of one length, at most 32 bytes.
fn to_bytes<'b>(keys: &KeySet, into: &'b mut [u8; MAX_RECORD_BYTES]) -> &'b [u8] {
    let key_bytes = keys.dek().len_bytes();
    into[0] = keys.version();
    into[1] = key_bytes as u8;
    let places = into[2..].chunks_mut(key_bytes);
    for (place, key) in places.zip([keys.enc(), keys.mac(), keys.dek()]) {
        for (to, from) in place.iter_mut().zip(key.as_bytes()) {
            *to = *from;
        }
    }
    into.get(..2 + 3 * key_bytes).unwrap_or(&[])
}
