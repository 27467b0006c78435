//! The static keys of the secure channel: how they lie in flash, and PUT KEY.
//!
//! A chip holds key set FF, known to everybody, from birth to the end of the factory; the root's; and one for each
//! slot that is a domain of its own. Reading gives a set that is wiped when dropped.

use crate::domain::Domain;
use crate::hal::Flash;
use crate::records::{self, CLOUD_KEYS, TRANSPORT_KEYS};
use crate::store::{Key, Store, Update};
use protocol::apdu::StatusWord;
use protocol::applet::{Lifecycle, Slot, tag};
use protocol::put_key;
use protocol::scp03::{AesKey, KeySet};
use tlv::{Tag, Writer};
use zeroize::Zeroizing;

/// Version number of the key set a chip is born with.
const TRANSPORT_VERSION: u8 = 0xFF;
/// P1 of PUT KEY: a key set in addition.
const IN_ADDITION: u8 = 0x00;
/// P1 of INITIALIZE UPDATE: the chip's own choice.
const ANY_VERSION: u8 = 0x00;

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

/// The key set of this version and its domain; 00 for the root's, or FF where there is none. 6A88 where it is not
/// there.
pub(crate) fn find<F: Flash>(store: &mut Store<F>, version: u8) -> Result<(Domain, KeySet), StatusWord> {
    for (key, domain) in places([CLOUD_KEYS, TRANSPORT_KEYS]) {
        let is_root = domain == Domain::Root;
        if let Some(header) = header(store, key)?
            && (version == header.version || version == ANY_VERSION && is_root)
        {
            return Ok((domain, read(store, key)?));
        }
    }
    Err(StatusWord::REFERENCE_NOT_FOUND)
}

/// Where key sets may be, and whose they are: those of the root as given, then the slots'.
fn places(root: [Key; 2]) -> impl Iterator<Item = (Key, Domain)> {
    let slots = Slot::all().map(|slot| (records::slot_keys(slot), Domain::Slot(slot)));
    root.into_iter().map(|key| (key, Domain::Root)).chain(slots)
}

/// The version of the root's key set, or FF where only the transport keys are there.
pub(crate) fn root_version<F: Flash>(store: &mut Store<F>) -> Result<u8, StatusWord> {
    let header = match header(store, CLOUD_KEYS)? {
        Some(header) => Some(header),
        None => header(store, TRANSPORT_KEYS)?,
    };
    header.map(|header| header.version).ok_or(StatusWord::REFERENCE_NOT_FOUND)
}

/// The version of a slot's own key set; nothing where it belongs to the root.
pub(crate) fn slot_version<F: Flash>(store: &mut Store<F>, slot: Slot) -> Result<Option<u8>, StatusWord> {
    Ok(header(store, records::slot_keys(slot))?.map(|header| header.version))
}

/// The key information template of GlobalPlatform: for each key its number, version, type and length.
#[inline(never)]
pub(crate) fn information<F: Flash>(store: &mut Store<F>, out: &mut [u8]) -> Result<usize, StatusWord> {
    const KEY: Tag = Tag::new(0xC0);
    const AES: u8 = 0x88;
    let mut writer = Writer::new(out);
    let written = writer.nest(tag::KEY_INFORMATION, |w| {
        for (place, _) in places([TRANSPORT_KEYS, CLOUD_KEYS]) {
            // A set that can't be read is left out; `find` says 6F00 when somebody wants to use it.
            if let Ok(Some(header)) = header(store, place) {
                for number in 1..=3 {
                    w.put(KEY, &[number, header.version, AES, header.key_bytes])?;
                }
            }
        }
        Ok(())
    });
    written.map_err(|_| StatusWord::INTERNAL)?;
    Ok(writer.len())
}

/// PUT KEY in the channel of `domain`: a key set takes the place of what `replaced_version` names, or, in the root's
/// channel, makes an empty slot a domain. `dek` is the one of the key set the channel was opened with. Writes the
/// answer to `out`.
///
/// # Errors
/// 6982 for another domain's keys, 6985 for a new domain where the slot is in use or the chip is blank, 6A88 where
/// `replaced_version` is not the key set to replace, 6A80 where the keys are malformed, a check value is wrong or the
/// version is taken; 6F00.
#[inline(never)]
pub(crate) fn put<F: Flash>(
    store: &mut Store<F>,
    domain: Domain,
    dek: &AesKey,
    replaced_version: u8,
    data: &[u8],
    out: &mut [u8],
) -> Result<usize, StatusWord> {
    let keys = put_key::parse(dek, data).map_err(|_| StatusWord::WRONG_DATA)?;
    let target = Domain::of_version(keys.version()).ok_or(StatusWord::WRONG_DATA)?;
    let mut bytes = Zeroizing::new([0; MAX_RECORD_BYTES]);
    let put = Update::Put(target.key_set(), to_bytes(&keys, &mut bytes));
    let blank = records::lifecycle(store)? == Lifecycle::Blank;
    let in_force = header(store, target.key_set())?.map(|header| header.version);
    match (domain, target) {
        (Domain::Root, Domain::Root) if replaced_version == TRANSPORT_VERSION && store.contains(TRANSPORT_KEYS)? => {
            store.transact(&[put, Update::Remove(TRANSPORT_KEYS)])?;
        }
        // In the factory the root's key set comes in addition to FF; later it replaces the one before.
        (Domain::Root, Domain::Root) if blank && replaced_version == IN_ADDITION => store.transact(&[put])?,
        (Domain::Root, Domain::Slot(slot)) => {
            expect_free(store, slot, blank, in_force.is_some())?;
            if replaced_version != IN_ADDITION {
                return Err(StatusWord::REFERENCE_NOT_FOUND);
            }
            if root_version(store)? == keys.version() {
                return Err(StatusWord::WRONG_DATA);
            }
            store.transact(&[put])?;
        }
        _ if domain != target => return Err(StatusWord::SECURITY_STATUS),
        _ if !blank && in_force == Some(replaced_version) => store.transact(&[put])?,
        _ => return Err(StatusWord::REFERENCE_NOT_FOUND),
    }
    let answer = put_key::answer(&keys);
    out.get_mut(..answer.len()).ok_or(StatusWord::INTERNAL)?.copy_from_slice(&answer);
    Ok(answer.len())
}

/// Whether the root may make a domain of this slot: it has no keys and no token, and the chip has left the factory.
fn expect_free<F: Flash>(store: &mut Store<F>, slot: Slot, blank: bool, has_keys: bool) -> Result<(), StatusWord> {
    if has_keys {
        return Err(StatusWord::SECURITY_STATUS);
    }
    if blank || records::is_occupied(store, slot)? {
        return Err(StatusWord::CONDITIONS_OF_USE);
    }
    Ok(())
}

/// What a record says of its keys. It is read whole, for its check, and wiped again at once.
struct Header {
    version: u8,
    key_bytes: u8,
}

#[inline(never)]
fn header<F: Flash>(store: &mut Store<F>, key: Key) -> Result<Option<Header>, StatusWord> {
    let mut bytes = Zeroizing::new([0; MAX_RECORD_BYTES]);
    let found = store.get(key, bytes.as_mut_slice())?;
    Ok(found.map(|_| Header { version: bytes[0], key_bytes: bytes[1] }))
}

/// A key set that is there.
#[inline(never)]
fn read<F: Flash>(store: &mut Store<F>, key: Key) -> Result<KeySet, StatusWord> {
    let mut bytes = Zeroizing::new([0; MAX_RECORD_BYTES]);
    let len = store.get(key, bytes.as_mut_slice())?.unwrap_or(0);
    bytes.get(..len).and_then(from_bytes).ok_or(StatusWord::INTERNAL)
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
