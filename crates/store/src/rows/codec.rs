//! Rows as bytes: fields one after the other, integers big-endian or, in some rows, short, texts with their length; then a seal.
//!
//! The seal is the first eight bytes of SHA-256 over the row's place and its fields. It finds a byte that a disk or a
//! hand has changed, and a row moved to another place. It holds no secret: who may write the database can make a new
//! one; what money has moved is protected by the chained journal.

use ledger::{Amount, Currency};
use platform::payments::MerchantNumber;
use sha2::{Digest, Sha256};

use crate::StoreError;
use crate::key::Key;

/// Bytes of a row's seal.
pub(crate) const SEAL_BYTES: usize = 8;

/// Adds the seal to a row's fields.
pub(crate) fn seal(key: &Key, mut fields: Vec<u8>) -> Vec<u8> {
    let seal = seal_of(key, &fields);
    fields.extend(seal);
    fields
}

/// Takes the seal off, where it is right.
pub(crate) fn unseal<'r>(key: &Key, row: &'r [u8]) -> Result<&'r [u8], StoreError> {
    let corrupt = StoreError::Corrupt(key.place().0);
    let (fields, seal) = row.split_last_chunk::<SEAL_BYTES>().ok_or(corrupt.clone())?;
    if *seal == seal_of(key, fields) { Ok(fields) } else { Err(corrupt) }
}

/// Takes off the seal of a row that is known to have the right one.
pub(crate) fn without_seal(row: &[u8]) -> &[u8] {
    row.split_last_chunk::<SEAL_BYTES>().map_or(row, |(fields, _)| fields)
}

fn seal_of(key: &Key, fields: &[u8]) -> [u8; SEAL_BYTES] {
    let (table, number, name) = key.place();
    let mut hash = Sha256::new();
    for part in [table.as_bytes(), &number.to_be_bytes(), name] {
        // The length keeps the parts apart.
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    hash.update(fields);
    let mut seal = [0; SEAL_BYTES];
    seal.copy_from_slice(&hash.finalize()[..SEAL_BYTES]);
    seal
}

/// Bits of a number in each byte of a short one; the bit above them says that another byte follows (LEB128).
const SHORT_BITS: u32 = 7;
const MORE: u8 = 1 << SHORT_BITS;

/// Writes a row's fields.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    is_short: bool,
}

impl Encoder {
    /// A row of this form, to which a later program adds fields under another number.
    pub(crate) fn new(form: u8) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.push(form);
        Self { bytes, is_short: false }
    }

    /// The same, with numbers of as many bytes as they need, lowest first; of those with a sign the sign is the lowest bit. Most
    /// numbers of a row that is written again and again are small.
    pub(crate) fn short(form: u8) -> Self {
        Self { is_short: true, ..Self::new(form) }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    /// A number in the row's way: as it is, or short.
    fn number(mut self, value: u64, whole: &[u8]) -> Self {
        if !self.is_short {
            return self.raw(whole);
        }
        let mut rest = value;
        while rest >= u64::from(MORE) {
            // The lowest bits alone.
            self.bytes.push(rest as u8 | MORE);
            rest >>= SHORT_BITS;
        }
        self.bytes.push(rest as u8);
        self
    }

    pub(crate) fn flag(self, value: bool) -> Self {
        self.u8(u8::from(value))
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.number(value.into(), &value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.number(value.into(), &value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.number(value, &value.to_be_bytes())
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.number(signed(value), &value.to_be_bytes())
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.number(signed(value.into()), &value.to_be_bytes())
    }

    /// Bytes whose number the reader knows.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Bytes with their number in front, at most 65,535.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        // Every text and list of the platform is bounded far below this.
        self.u16(bytes.len() as u16).raw(bytes)
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn currency(self, currency: Currency) -> Self {
        self.raw(&currency.to_bytes())
    }

    pub(crate) fn amount(self, amount: Amount) -> Self {
        self.u64(amount.minor()).currency(amount.currency())
    }

    /// A value that may be absent.
    pub(crate) fn maybe<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            None => self.u8(0),
            Some(value) => write(self.u8(1), value),
        }
    }
}

/// A number with its sign in the lowest bit, so that small ones have few bits either way.
const fn signed(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Reads a row's fields; whatever does not fit is [`StoreError::Corrupt`] of this table.
pub(crate) struct Decoder<'r> {
    rest: &'r [u8],
    table: &'static str,
    is_short: bool,
}

impl<'r> Decoder<'r> {
    /// A row that must be of this form.
    pub(crate) fn new(table: &'static str, form: u8, fields: &'r [u8]) -> Result<Self, StoreError> {
        let mut decoder = Self { rest: fields, table, is_short: false };
        if decoder.u8()? == form { Ok(decoder) } else { Err(decoder.corrupt()) }
    }

    /// A row of any form from the first to `newest`, and which: a later form adds fields, and a row is written anew only
    /// when it changes.
    pub(crate) fn up_to(table: &'static str, newest: u8, fields: &'r [u8]) -> Result<(Self, u8), StoreError> {
        let mut decoder = Self { rest: fields, table, is_short: false };
        let form = decoder.u8()?;
        if (1..=newest).contains(&form) { Ok((decoder, form)) } else { Err(decoder.corrupt()) }
    }

    /// The same row, its numbers short from here on.
    pub(crate) fn short(self) -> Self {
        Self { is_short: true, ..self }
    }

    pub(crate) fn corrupt(&self) -> StoreError {
        StoreError::Corrupt(self.table)
    }

    /// The whole row has been read.
    pub(crate) fn end(self) -> Result<(), StoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.corrupt()) }
    }

    pub(crate) fn raw<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (value, rest) = self.rest.split_first_chunk::<N>().ok_or(StoreError::Corrupt(self.table))?;
        self.rest = rest;
        Ok(*value)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, StoreError> {
        self.raw::<1>().map(|[byte]| byte)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, StoreError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt()),
        }
    }

    /// A short number. One that is longer than it need be was not written by this program.
    fn short_number(&mut self) -> Result<u64, StoreError> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.u8()?;
            let bits = u64::from(byte & !MORE);
            let shifted = bits << shift;
            if shifted >> shift != bits || (byte == 0 && shift > 0) {
                return Err(self.corrupt());
            }
            value |= shifted;
            if byte & MORE == 0 {
                return Ok(value);
            }
            shift += SHORT_BITS;
            if shift >= u64::BITS {
                return Err(self.corrupt());
            }
        }
    }

    /// A number of at most N bytes in the row's way.
    fn number<const N: usize, T: TryFrom<u64>>(&mut self, whole: fn([u8; N]) -> T) -> Result<T, StoreError> {
        if !self.is_short {
            return self.raw().map(whole);
        }
        let value = self.short_number()?;
        T::try_from(value).map_err(|_| self.corrupt())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, StoreError> {
        self.number(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, StoreError> {
        self.number(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, StoreError> {
        self.number(u64::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, StoreError> {
        if !self.is_short {
            return self.raw().map(i32::from_be_bytes);
        }
        let value = self.i64()?;
        i32::try_from(value).map_err(|_| self.corrupt())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, StoreError> {
        if !self.is_short {
            return self.raw().map(i64::from_be_bytes);
        }
        let value = self.short_number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'r [u8], StoreError> {
        let length = usize::from(self.u16()?);
        let (value, rest) = self.rest.split_at_checked(length).ok_or(StoreError::Corrupt(self.table))?;
        self.rest = rest;
        Ok(value)
    }

    pub(crate) fn text(&mut self) -> Result<&'r str, StoreError> {
        core::str::from_utf8(self.bytes()?).map_err(|_| StoreError::Corrupt(self.table))
    }

    pub(crate) fn currency(&mut self) -> Result<Currency, StoreError> {
        let letters: [u8; 3] = self.raw()?;
        let text = core::str::from_utf8(&letters).map_err(|_| self.corrupt())?;
        Currency::parse(text).map_err(|_| self.corrupt())
    }

    pub(crate) fn amount(&mut self) -> Result<Amount, StoreError> {
        let minor = self.u64()?;
        Amount::new(minor, self.currency()?).map_err(|_| self.corrupt())
    }

    pub(crate) fn merchant_number(&mut self) -> Result<MerchantNumber, StoreError> {
        MerchantNumber::from_stored(self.text()?.to_owned()).ok_or(self.corrupt())
    }

    /// A count of at most this many things, in one byte.
    pub(crate) fn at_most(&mut self, most: usize) -> Result<usize, StoreError> {
        let count = usize::from(self.u8()?);
        if count <= most { Ok(count) } else { Err(self.corrupt()) }
    }

    /// What a stored number or pair of numbers stands for.
    pub(crate) fn known<T>(&self, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or(self.corrupt())
    }

    pub(crate) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::key::Numbered;

    #[test]
    fn a_changed_byte_or_another_place_breaks_the_seal() {
        let key = Key::Number(Numbered::Purses, 7);
        let row = seal(&key, b"fields".to_vec());
        assert_eq!(unseal(&key, &row), Ok(&b"fields"[..]));
        for at in 0..row.len() {
            let mut altered = row.clone();
            altered[at] ^= 1;
            assert!(unseal(&key, &altered).is_err(), "{at}");
        }
        assert!(unseal(&Key::Number(Numbered::Purses, 8), &row).is_err());
        assert!(unseal(&Key::Number(Numbered::Accounts, 7), &row).is_err());
        assert!(unseal(&key, b"short").is_err());
    }

    #[test]
    fn short_numbers_come_back_in_as_few_bytes_as_they_need() {
        let unsigned = [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX];
        for value in unsigned {
            let fields = Encoder::short(1).u64(value).finish();
            let mut row = Decoder::new("purses", 1, &fields).unwrap().short();
            assert_eq!((row.u64(), row.end()), (Ok(value), Ok(())));
            let bits = u64::BITS - value.leading_zeros();
            assert_eq!(fields.len(), 1 + bits.div_ceil(SHORT_BITS).max(1) as usize, "{value}");
        }
        for value in [0, 1, -1, 63, -64, 64, -65, i64::MAX, i64::MIN] {
            let fields = Encoder::short(1).i64(value).finish();
            assert_eq!(Decoder::new("purses", 1, &fields).unwrap().short().i64(), Ok(value));
            assert_eq!(fields.len() == 2, (-64..64).contains(&value), "{value}");
        }
        let fields = Encoder::short(1).u16(u16::MAX).u32(u32::MAX).i32(i32::MIN).i32(i32::MAX).text("tea").finish();
        let mut row = Decoder::new("purses", 1, &fields).unwrap().short();
        assert_eq!((row.u16(), row.u32()), (Ok(u16::MAX), Ok(u32::MAX)));
        assert_eq!((row.i32(), row.i32(), row.text()), (Ok(i32::MIN), Ok(i32::MAX), Ok("tea")));
    }

    #[test]
    fn a_short_number_that_is_too_large_or_too_long_is_none() {
        let read = |bytes: &[u8]| Decoder::new("purses", 1, &[&[1], bytes].concat()).map(Decoder::short)?.u64();
        assert_eq!(read(&[0x80, 1]), Ok(128));
        assert_eq!(read(&[&[0xFF; 9][..], &[1]].concat()), Ok(u64::MAX));
        for bad in [&[][..], &[0x80], &[0x80, 0], &[0xFF; 9], &[0xFF; 10], &[0xFF; 11]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(read(&[&[0xFF; 9][..], &[2]].concat()).is_err());
        let fields = Encoder::short(1).u64(u64::from(u32::MAX) + 1).finish();
        let row = || Decoder::new("purses", 1, &fields).unwrap().short();
        assert!(row().u32().is_err() && row().u16().is_err() && row().i32().is_err());
    }

    #[test]
    fn what_is_no_row_is_told_and_never_panics() {
        let fields = Encoder::new(1).u32(7).text("tea").maybe(Some(5_u64), Encoder::u64).finish();
        let read = |fields: &[u8]| -> Result<(u32, String, Option<u64>), StoreError> {
            let mut decoder = Decoder::new("purses", 1, fields)?;
            let row = (decoder.u32()?, decoder.text()?.to_owned(), decoder.maybe(Decoder::u64)?);
            decoder.end().map(|()| row)
        };
        assert_eq!(read(&fields), Ok((7, "tea".to_owned(), Some(5))));
        for cut in 0..fields.len() {
            assert!(read(&fields[..cut]).is_err(), "{cut}");
        }
        assert!(read(&[&fields[..], &[0]].concat()).is_err());
        assert!(read(&[2]).is_err());
    }
}
