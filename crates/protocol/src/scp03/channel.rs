//! The arithmetic both ends share: what a MAC covers, which IV a command or answer has, and padding
//! (Amendment D §6.2.4 to §6.2.7). It knows no order of steps; `card` and `host` do.

use super::keys::SessionKeys;
use super::{Error, Mode};
use crate::aes_key::AesKey;
use crate::apdu::{Class, MAX_EXTENDED_DATA_BYTES, MAX_SHORT_DATA_BYTES, StatusWord};
use blockcipher::BLOCK_BYTES;
use subtle::ConstantTimeEq;

/// A full CMAC; the next MAC covers it, which chains the commands of a session.
pub(super) type Chaining = [u8; BLOCK_BYTES];

/// The C-MAC of a command: over the chaining value, the header as secured on channel 0, Lc as if the MAC were
/// already there, and the data as sent.
pub(super) fn command_mac(
    keys: &SessionKeys,
    chaining: &Chaining,
    header: [u8; 4],
    length_field: &LengthField,
    data: &[u8],
) -> Chaining {
    let [class, instruction, p1, p2] = header;
    let header = [Class(class).for_mac(), instruction, p1, p2];
    keys.mac.cmac(&[chaining, &header, length_field.as_slice(), data])
}

/// The R-MAC of an answer: over the chaining value of its command, the data as sent and the status word.
pub(super) fn answer_mac(keys: &SessionKeys, chaining: &Chaining, data: &[u8], status: StatusWord) -> Chaining {
    keys.rmac.cmac(&[chaining, data, &status.to_bytes()])
}

/// Whether `received` is the beginning of `computed` that goes over the wire, in constant time.
pub(super) fn mac_matches(mode: Mode, computed: &Chaining, received: &[u8]) -> bool {
    computed.get(..mode.mac_bytes()).is_some_and(|computed| computed.ct_eq(received).into())
}

/// The IV for a command's data: its number, encrypted.
pub(super) fn command_iv(enc: &AesKey, counter: u32) -> [u8; BLOCK_BYTES] {
    iv(enc, 0x00, counter)
}

/// The IV for an answer's data: the number of its command with the top bit set, encrypted.
pub(super) fn answer_iv(enc: &AesKey, counter: u32) -> [u8; BLOCK_BYTES] {
    iv(enc, 0x80, counter)
}

fn iv(enc: &AesKey, first: u8, counter: u32) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let [a, b, c, d] = counter.to_be_bytes();
    block[0] = first;
    block[12..].copy_from_slice(&[a, b, c, d]);
    enc.encrypt_block(&mut block);
    block
}

/// How long `data_bytes` become once padded: never the same, always whole blocks.
pub(super) const fn padded_bytes(data_bytes: usize) -> usize {
    (data_bytes / BLOCK_BYTES + 1) * BLOCK_BYTES
}

/// Pads by method 2 (`80`, then zeros) and encrypts the first `data_bytes` of `buffer` in place; gives the new
/// length.
pub(super) fn encrypt(
    enc: &AesKey,
    iv: &[u8; BLOCK_BYTES],
    buffer: &mut [u8],
    data_bytes: usize,
) -> Result<usize, Error> {
    let padded = padded_bytes(data_bytes);
    let area = buffer.get_mut(..padded).ok_or(Error::NoRoom)?;
    let padding = area.get_mut(data_bytes..).ok_or(Error::NoRoom)?;
    padding.fill(0);
    if let Some(first) = padding.first_mut() {
        *first = 0x80;
    }
    let (blocks, _) = area.as_chunks_mut::<BLOCK_BYTES>();
    enc.cbc_encrypt(iv, blocks);
    Ok(padded)
}

/// Decrypts `data` in place and gives the length without padding. Only called once the MAC was found right, so
/// that the padding tells nobody anything.
pub(super) fn decrypt(enc: &AesKey, iv: &[u8; BLOCK_BYTES], data: &mut [u8]) -> Result<usize, Error> {
    let (blocks, rest) = data.as_chunks_mut::<BLOCK_BYTES>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(Error::Padding);
    }
    enc.cbc_decrypt(iv, blocks);
    let last = blocks.last().ok_or(Error::Padding)?;
    let marker = last.iter().rposition(|byte| *byte != 0).ok_or(Error::Padding)?;
    match last.get(marker) {
        Some(0x80) => Ok(data.len() - BLOCK_BYTES + marker),
        _ => Err(Error::Padding),
    }
}

/// An Lc field: one byte, or three in the extended form.
pub(super) struct LengthField {
    bytes: [u8; 3],
    extended: bool,
}

impl LengthField {
    /// The field for this many bytes of data. `extended` keeps a field in that form that would fit the short.
    pub(super) fn new(data_bytes: usize, extended: bool) -> Result<Self, Error> {
        if data_bytes > MAX_EXTENDED_DATA_BYTES {
            return Err(Error::NoRoom);
        }
        let [.., high, low] = data_bytes.to_be_bytes();
        let extended = extended || data_bytes > MAX_SHORT_DATA_BYTES;
        Ok(Self { bytes: [0, high, low], extended })
    }

    pub(super) const fn is_extended(&self) -> bool {
        self.extended
    }

    pub(super) const fn as_slice(&self) -> &[u8] {
        let [_, _, low] = &self.bytes;
        if self.extended { &self.bytes } else { core::slice::from_ref(low) }
    }
}
