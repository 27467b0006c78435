//! The last codes a token made, newest first: read by whoever issued the token, when a payment is disputed. The
//! object is the transaction counter of the newest code (4 bytes) and five bytes for each code: time step, and
//! sequence with the top bit set where the passcode session was open.

use super::values::{CodeStamp, Slot};
use super::{Error, tag};
use tlv::{Tag, Writer};

/// How many codes a chip remembers at least, and tells at most.
pub const LOGGED_CODES: usize = 32;
/// Bytes of one code in the log.
pub const LOG_ENTRY_BYTES: usize = 5;
const VERIFIED: u8 = 0x80;

/// The tag the log of `slot` is read by: `DF41` to `DF44`.
pub(super) const fn code_log_tag(slot: Slot) -> Tag {
    match Tag::from_u32(tag::CODE_LOG.to_u32() + slot.number() as u32) {
        Ok(tag) => tag,
        Err(_) => tag::CODE_LOG,
    }
}

/// One code that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedCode {
    /// Its stamp.
    pub stamp: CodeStamp,
    /// Whether the passcode session was open.
    pub verified: bool,
}

impl LoggedCode {
    /// Its bytes in the log.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; LOG_ENTRY_BYTES] {
        let [a, b, c, d, sequence] = self.stamp.to_bytes();
        [a, b, c, d, if self.verified { sequence | VERIFIED } else { sequence }]
    }

    /// The code in these bytes, if they are one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; LOG_ENTRY_BYTES]) -> Option<Self> {
        let [a, b, c, d, flags] = bytes;
        match CodeStamp::from_bytes([a, b, c, d, flags & !VERIFIED]) {
            Some(stamp) => Some(Self { stamp, verified: flags & VERIFIED != 0 }),
            None => None,
        }
    }
}

/// The log of one token, as it was read.
#[derive(Clone, Debug)]
pub struct CodeLog<'a> {
    newest: u32,
    entries: &'a [[u8; LOG_ENTRY_BYTES]],
}

impl<'a> CodeLog<'a> {
    /// Reads the object of `slot`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::BadValue`], [`Error::Tlv`].
    pub fn decode(slot: Slot, data: &'a [u8]) -> Result<Self, Error> {
        let tag = code_log_tag(slot);
        let value = tlv::find(data, tag)?.ok_or(Error::Missing(tag))?;
        let (newest, entries) = value.split_first_chunk().ok_or(Error::BadValue(tag))?;
        let newest = u32::from_be_bytes(*newest);
        let (entries, rest) = entries.as_chunks();
        let whole = rest.is_empty() && entries.iter().all(|entry| LoggedCode::from_bytes(*entry).is_some());
        if !whole || entries.len() > LOGGED_CODES || entries.len() > newest as usize {
            return Err(Error::BadValue(tag));
        }
        Ok(Self { newest, entries })
    }

    /// The codes and their transaction counters, newest first.
    pub fn codes(&self) -> impl Iterator<Item = (u32, LoggedCode)> + use<'a> {
        let counters = (1..=self.newest).rev();
        counters.zip(self.entries.iter().filter_map(|entry| LoggedCode::from_bytes(*entry)))
    }
}

/// Writes the object of `slot`: at most 168 bytes.
///
/// # Errors
/// [`Error::Tlv`] when `out` is too small.
pub fn encode_code_log<'b>(
    slot: Slot,
    newest: u32,
    entries: &[[u8; LOG_ENTRY_BYTES]],
    out: &'b mut [u8],
) -> Result<&'b [u8], Error> {
    let mut value = [0; 4 + LOGGED_CODES * LOG_ENTRY_BYTES];
    let bytes = newest.to_be_bytes();
    let mut used = 0;
    for (to, from) in value.iter_mut().zip(bytes.iter().chain(entries.as_flattened())) {
        *to = *from;
        used += 1;
    }
    let mut writer = Writer::new(out);
    writer.put(code_log_tag(slot), value.get(..used).unwrap_or_default())?;
    Ok(writer.finish())
}
