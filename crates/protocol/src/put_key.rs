//! PUT KEY (GlobalPlatform Card Specification v2.3 §11.8, Amendment D §7.2) for a set of three AES keys: the
//! host builds the data field with each key encrypted under the card's DEK, the card reads it and proves with
//! check values that it got the keys right.
//!
//! Data field: `KVN`, then for ENC, MAC and DEK each
//! `88 ‖ n+1 ‖ key bytes ‖ key encrypted (n bytes) ‖ 03 ‖ check value (3)`, where `n` is the key's length
//! filled up to whole blocks. Answer: `KVN` and the three check values.

use crate::aes_key::{AesKey, MAX_KEY_BYTES, is_key_length};
use crate::apdu::Command;
use crate::applet::ins;
use crate::scp03::{self, KeySet};
use blockcipher::BLOCK_BYTES;
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a key check value.
pub const CHECK_VALUE_BYTES: usize = 3;
/// Bytes of the answer: KVN and three check values.
pub const ANSWER_BYTES: usize = 1 + 3 * CHECK_VALUE_BYTES;
/// The longest data field, in bytes: three keys of 192 or 256 bits.
pub const MAX_DATA_BYTES: usize = 1 + 3 * (3 + MAX_KEY_BYTES + 1 + CHECK_VALUE_BYTES);

/// Key type "AES" (GlobalPlatform Card Specification v2.3, Table 11-16).
const KEY_TYPE_AES: u8 = 0x88;
/// P2: several keys (b8), the first has identifier 01.
const SEVERAL_FROM_FIRST: u8 = 0x81;

/// Why a PUT KEY was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The data field or answer is malformed.
    Malformed,
    /// A key is of a type or length not supported, or the keys differ in length.
    BadKey,
    /// A check value is not that of the key: it was encrypted under another DEK, or damaged.
    CheckValue,
    /// The buffer to write to is too small.
    NoRoom,
}

impl Error {
    /// A stable, machine-readable name of this error.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "put_key_malformed",
            Self::BadKey => "put_key_bad_key",
            Self::CheckValue => "put_key_check_value",
            Self::NoRoom => "put_key_no_room",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the key data are malformed",
            Self::BadKey => "the keys are not three AES keys of one length",
            Self::CheckValue => "a key check value does not match its key",
            Self::NoRoom => "the buffer for the key data is too small",
        })
    }
}

impl core::error::Error for Error {}

impl From<scp03::Error> for Error {
    fn from(_: scp03::Error) -> Self {
        Self::BadKey
    }
}

/// PUT KEY with a data field made by [`build`], still to be wrapped. `replaces` is the version to be replaced,
/// 00 for a new one.
#[must_use]
pub const fn command(replaces: u8, data: &[u8]) -> Command<'_> {
    Command::new(0x80, ins::PUT_KEY, replaces, SEVERAL_FROM_FIRST).with_data(data).with_le(256)
}

/// The first 3 bytes of sixteen bytes `01` encrypted with the key (GlobalPlatform Card Specification v2.3 §B.6).
#[must_use]
pub fn check_value(key: &AesKey) -> [u8; CHECK_VALUE_BYTES] {
    let mut block = [1; BLOCK_BYTES];
    key.encrypt_block(&mut block);
    let [a, b, c, ..] = block;
    [a, b, c]
}

/// Host: writes the data field that carries `new` to a card whose DEK is `dek`.
///
/// # Errors
/// [`Error::NoRoom`].
pub fn build<'b>(dek: &AesKey, new: &KeySet, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
    let mut used = 0;
    let mut append = |bytes: &[u8]| -> Result<(), Error> {
        out.get_mut(used..used + bytes.len()).ok_or(Error::NoRoom)?.copy_from_slice(bytes);
        used += bytes.len();
        Ok(())
    };
    append(&[new.version()])?;
    for key in [new.enc(), new.mac(), new.dek()] {
        let mut blocks = Zeroizing::new([[0; BLOCK_BYTES]; MAX_KEY_BYTES / BLOCK_BYTES]);
        for (to, from) in blocks.as_flattened_mut().iter_mut().zip(key.as_bytes()) {
            *to = *from;
        }
        let encrypted_blocks = key.len_bytes().div_ceil(BLOCK_BYTES);
        let encrypted = blocks.get_mut(..encrypted_blocks).ok_or(Error::BadKey)?;
        dek.cbc_encrypt(&[0; BLOCK_BYTES], encrypted);
        let [.., key_bytes] = key.len_bytes().to_be_bytes();
        let [.., field_bytes] = (encrypted_blocks * BLOCK_BYTES + 1).to_be_bytes();
        append(&[KEY_TYPE_AES, field_bytes, key_bytes])?;
        append(encrypted.as_flattened())?;
        append(&[3])?;
        append(&check_value(key))?;
    }
    out.get(..used).ok_or(Error::NoRoom)
}

/// Card: reads a data field, decrypts the keys with its DEK and checks each against its check value.
///
/// # Errors
/// [`Error::Malformed`], [`Error::BadKey`], [`Error::CheckValue`].
pub fn parse(dek: &AesKey, data: &[u8]) -> Result<KeySet, Error> {
    let (&version, rest) = data.split_first().ok_or(Error::Malformed)?;
    let (enc, rest) = parse_key(dek, rest)?;
    let (mac, rest) = parse_key(dek, rest)?;
    let (new_dek, rest) = parse_key(dek, rest)?;
    if !rest.is_empty() {
        return Err(Error::Malformed);
    }
    Ok(KeySet::new(version, enc, mac, new_dek)?)
}

/// Card: the answer to a PUT KEY that was obeyed.
#[must_use]
pub fn answer(keys: &KeySet) -> [u8; ANSWER_BYTES] {
    let [a, b, c] = check_value(keys.enc());
    let [d, e, f] = check_value(keys.mac());
    let [g, h, i] = check_value(keys.dek());
    [keys.version(), a, b, c, d, e, f, g, h, i]
}

/// Host: checks that the card's answer is about these keys.
///
/// # Errors
/// [`Error::Malformed`] for a wrong length, [`Error::CheckValue`].
pub fn check_answer(keys: &KeySet, received: &[u8]) -> Result<(), Error> {
    let received: &[u8; ANSWER_BYTES] = received.try_into().map_err(|_| Error::Malformed)?;
    if bool::from(answer(keys).ct_eq(received)) { Ok(()) } else { Err(Error::CheckValue) }
}

/// One key off the front of `data`, and the rest.
fn parse_key<'a>(dek: &AesKey, data: &'a [u8]) -> Result<(AesKey, &'a [u8]), Error> {
    let (&[key_type, field_bytes, key_bytes], rest) = data.split_first_chunk().ok_or(Error::Malformed)?;
    let key_bytes = usize::from(key_bytes);
    if key_type != KEY_TYPE_AES || !is_key_length(key_bytes) {
        return Err(Error::BadKey);
    }
    let encrypted_blocks = key_bytes.div_ceil(BLOCK_BYTES);
    if usize::from(field_bytes) != encrypted_blocks * BLOCK_BYTES + 1 {
        return Err(Error::Malformed);
    }
    let (encrypted, rest) = rest.split_at_checked(encrypted_blocks * BLOCK_BYTES).ok_or(Error::Malformed)?;
    let (&[check_bytes, ref check @ ..], rest) =
        rest.split_first_chunk::<{ 1 + CHECK_VALUE_BYTES }>().ok_or(Error::Malformed)?;
    if check_bytes != 3 {
        return Err(Error::Malformed);
    }
    let mut blocks = Zeroizing::new([[0; BLOCK_BYTES]; MAX_KEY_BYTES / BLOCK_BYTES]);
    for (to, from) in blocks.as_flattened_mut().iter_mut().zip(encrypted) {
        *to = *from;
    }
    dek.cbc_decrypt(&[0; BLOCK_BYTES], blocks.get_mut(..encrypted_blocks).ok_or(Error::Malformed)?);
    // What fills a 192-bit key up to whole blocks means nothing and is dropped.
    let key = blocks.as_flattened().get(..key_bytes).and_then(AesKey::new).ok_or(Error::BadKey)?;
    if bool::from(check_value(&key).ct_eq(check)) { Ok((key, rest)) } else { Err(Error::CheckValue) }
}
