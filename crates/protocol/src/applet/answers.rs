//! What the chip answers: the select answer, the public data objects and the payment code. GET DATA answers
//! the whole object, tag and length included. Objects a reader does not know are skipped.

use super::fields::{Fields, digits, ensure, is_digits, label, unix_seconds};
use super::values::{CodeStamp, Lifecycle, PasscodeState, Slot};
use super::{AID, CHIP_ID_BYTES, CODE_DIGITS, Error, MAX_EMV_BYTES, tag};
use core::fmt;
use tlv::Writer;

/// The answer to SELECT: `6F{84 AID, A5{9F65 …}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectAnswer {
    /// The longest command data field the chip takes, in bytes.
    pub max_command_data_bytes: u16,
}

impl SelectAnswer {
    /// Reads the answer of a chip to the selection of this applet.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::BadValue`] names `84` when another applet answered.
    pub fn decode(data: &[u8]) -> Result<Self, Error> {
        let fci = tlv::find(data, tag::FCI)?.ok_or(Error::Missing(tag::FCI))?;
        let fields = Fields::of_answer(fci)?;
        ensure(tag::AID, fields.required(tag::AID)? == AID)?;
        let proprietary = Fields::of_answer(fields.required(tag::FCI_PROPRIETARY)?)?;
        Ok(Self { max_command_data_bytes: proprietary.u16(tag::MAX_COMMAND_DATA)? })
    }

    /// Writes the answer.
    ///
    /// # Errors
    /// [`Error::Tlv`] when `out` is too small; 20 bytes are enough.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let mut writer = Writer::new(out);
        writer.nest(tag::FCI, |fci| {
            fci.put(tag::AID, &AID)?;
            fci.nest(tag::FCI_PROPRIETARY, |proprietary| {
                proprietary.put(tag::MAX_COMMAND_DATA, &self.max_command_data_bytes.to_be_bytes())
            })
        })?;
        Ok(writer.finish())
    }
}

/// Reads `9F70 01 xx`.
///
/// # Errors
/// [`Error::Missing`], [`Error::BadValue`], [`Error::Tlv`].
pub fn decode_lifecycle(data: &[u8]) -> Result<Lifecycle, Error> {
    Fields::of_answer(data)?.one_of(tag::LIFECYCLE, Lifecycle::from_byte)
}

/// Writes `9F70 01 xx`.
///
/// # Errors
/// [`Error::Tlv`] when `out` is too small.
pub fn encode_lifecycle(lifecycle: Lifecycle, out: &mut [u8]) -> Result<&[u8], Error> {
    let mut writer = Writer::new(out);
    writer.put(tag::LIFECYCLE, &[lifecycle.to_byte()])?;
    Ok(writer.finish())
}

/// Reads `DF20 10 …`.
///
/// # Errors
/// [`Error::Missing`], [`Error::BadValue`], [`Error::Tlv`].
pub fn decode_chip_id(data: &[u8]) -> Result<&[u8; CHIP_ID_BYTES], Error> {
    Fields::of_answer(data)?.array(tag::CHIP_ID)
}

/// Writes `DF20 10 …`.
///
/// # Errors
/// [`Error::Tlv`] when `out` is too small.
pub fn encode_chip_id<'b>(chip_id: &[u8; CHIP_ID_BYTES], out: &'b mut [u8]) -> Result<&'b [u8], Error> {
    let mut writer = Writer::new(out);
    writer.put(tag::CHIP_ID, chip_id)?;
    Ok(writer.finish())
}

/// `DF21`: the version of the applet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Versions {
    /// Changes when old hosts no longer understand the applet.
    pub major: u8,
    /// Changes when the applet can do more.
    pub minor: u8,
    /// Changes when the applet does the same better.
    pub patch: u8,
}

impl Versions {
    /// Reads `DF21 03 …`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::BadValue`], [`Error::Tlv`].
    pub fn decode(data: &[u8]) -> Result<Self, Error> {
        let [major, minor, patch] = *Fields::of_answer(data)?.array(tag::VERSIONS)?;
        Ok(Self { major, minor, patch })
    }

    /// Writes `DF21 03 …`.
    ///
    /// # Errors
    /// [`Error::Tlv`] when `out` is too small.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let mut writer = Writer::new(out);
        writer.put(tag::VERSIONS, &[self.major, self.minor, self.patch])?;
        Ok(writer.finish())
    }
}

/// `DF22`: what anyone may know of the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChipStatus<'a> {
    /// Where the chip is in its life.
    pub lifecycle: Lifecycle,
    /// How the passcode stands.
    pub passcode: PasscodeState,
    /// Passcode tries left.
    pub tries_left: u8,
    /// The slot that pays when none is named; `None` without a token.
    pub default_slot: Option<Slot>,
    /// The masked account name of that slot, 1 to 48 bytes.
    pub account_label: Option<&'a str>,
    /// Codes left in that slot's budget.
    pub codes_left: Option<u16>,
}

impl<'a> ChipStatus<'a> {
    /// Reads the object.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub fn decode(data: &'a [u8]) -> Result<Self, Error> {
        let objects = tlv::find(data, tag::STATUS)?.ok_or(Error::Missing(tag::STATUS))?;
        let fields = Fields::of_answer(objects)?;
        let slot = fields.optional_array::<1>(tag::SLOT)?;
        Ok(Self {
            lifecycle: fields.one_of(tag::STATUS_LIFECYCLE, Lifecycle::from_byte)?,
            passcode: fields.one_of(tag::PASSCODE_STATE, PasscodeState::from_byte)?,
            tries_left: fields.byte(tag::TRIES_LEFT)?,
            default_slot: slot.map(|[number]| Slot::new(*number).ok_or(Error::BadValue(tag::SLOT))).transpose()?,
            account_label: fields.optional(tag::LABEL)?.map(|value| label(tag::LABEL, value)).transpose()?,
            codes_left: fields.optional_array(tag::CODES_LEFT)?.map(|bytes| u16::from_be_bytes(*bytes)),
        })
    }

    /// Writes the object.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a label that would not be read back, [`Error::Tlv`] when `out` is too small;
    /// 80 bytes are enough.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        if let Some(text) = self.account_label {
            label(tag::LABEL, text.as_bytes())?;
        }
        let mut writer = Writer::new(out);
        writer.nest(tag::STATUS, |w| {
            w.put(tag::STATUS_LIFECYCLE, &[self.lifecycle.to_byte()])?;
            w.put(tag::PASSCODE_STATE, &[self.passcode.to_byte()])?;
            w.put(tag::TRIES_LEFT, &[self.tries_left])?;
            if let Some(slot) = self.default_slot {
                w.put(tag::SLOT, &[slot.number()])?;
            }
            if let Some(text) = self.account_label {
                w.put(tag::LABEL, text.as_bytes())?;
            }
            if let Some(codes) = self.codes_left {
                w.put(tag::CODES_LEFT, &codes.to_be_bytes())?;
            }
            Ok(())
        })?;
        Ok(writer.finish())
    }
}

/// `E6`: a code to show, in the forms asked for. At least one form is there; both are one spend.
///
/// `Debug` leaves the code out: it is money for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PaymentCode<'a> {
    /// 18 to 24 decimal digits, for a bar code or a QR code.
    pub digits: Option<&'a str>,
    /// Base64 text for an EMV QR code, 1 to 200 characters.
    pub emv: Option<&'a str>,
    /// Which code this is.
    pub stamp: CodeStamp,
    /// Codes left in the budget after this one.
    pub codes_left: u16,
    /// Whether the passcode session was open.
    pub verified: bool,
    /// The Unix second from which the code is dead.
    pub valid_until_unix_seconds: u64,
}

impl<'a> PaymentCode<'a> {
    /// Reads the template.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::Missing`] names `D9` when neither form is there.
    pub fn decode(data: &'a [u8]) -> Result<Self, Error> {
        let objects = tlv::find(data, tag::PAYMENT_CODE)?.ok_or(Error::Missing(tag::PAYMENT_CODE))?;
        let fields = Fields::of_answer(objects)?;
        let code = Self {
            digits: fields.optional(tag::DIGITS)?.map(code_digits).transpose()?,
            emv: fields.optional(tag::EMV)?.map(emv_text).transpose()?,
            stamp: CodeStamp::from_bytes(*fields.array(tag::STAMP)?).ok_or(Error::BadValue(tag::STAMP))?,
            codes_left: fields.u16(tag::CODES_LEFT)?,
            verified: fields.one_of(tag::VERIFIED, |byte| match byte {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            })?,
            valid_until_unix_seconds: fields.unix_seconds(tag::VALID_UNTIL)?,
        };
        if code.digits.is_none() && code.emv.is_none() {
            return Err(Error::Missing(tag::DIGITS));
        }
        Ok(code)
    }

    /// Writes the template; at most [`super::MAX_TEMPLATE_BYTES`].
    ///
    /// # Errors
    /// [`Error::BadValue`], [`Error::Missing`] for a value that would not be read back, [`Error::Tlv`] when
    /// `out` is too small.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        if self.digits.is_none() && self.emv.is_none() {
            return Err(Error::Missing(tag::DIGITS));
        }
        if let Some(text) = self.digits {
            ensure(tag::DIGITS, is_digits(text.as_bytes(), CODE_LENGTHS))?;
        }
        self.emv.map(|text| emv_text(text.as_bytes())).transpose()?;
        unix_seconds(tag::VALID_UNTIL, self.valid_until_unix_seconds)?;
        let mut writer = Writer::new(out);
        writer.nest(tag::PAYMENT_CODE, |w| {
            if let Some(text) = self.digits {
                w.put(tag::DIGITS, text.as_bytes())?;
            }
            if let Some(text) = self.emv {
                w.put(tag::EMV, text.as_bytes())?;
            }
            w.put(tag::STAMP, &self.stamp.to_bytes())?;
            w.put(tag::CODES_LEFT, &self.codes_left.to_be_bytes())?;
            w.put(tag::VERIFIED, &[u8::from(self.verified)])?;
            w.put(tag::VALID_UNTIL, &self.valid_until_unix_seconds.to_be_bytes())
        })?;
        Ok(writer.finish())
    }
}

impl fmt::Debug for PaymentCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentCode")
            .field("stamp", &self.stamp)
            .field("codes_left", &self.codes_left)
            .field("verified", &self.verified)
            .field("valid_until_unix_seconds", &self.valid_until_unix_seconds)
            .finish_non_exhaustive()
    }
}

/// Digits of a code.
const CODE_LENGTHS: core::ops::RangeInclusive<usize> = *CODE_DIGITS.start() as usize..=*CODE_DIGITS.end() as usize;

fn code_digits(value: &[u8]) -> Result<&str, Error> {
    digits(tag::DIGITS, value, CODE_LENGTHS)
}

/// Base64 with padding, of which a code scanner reads every character.
fn emv_text(value: &[u8]) -> Result<&str, Error> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if value.is_empty() || value.len() > MAX_EMV_BYTES || !value.iter().all(is_base64) {
        return Err(Error::BadValue(tag::EMV));
    }
    core::str::from_utf8(value).map_err(|_| Error::BadValue(tag::EMV))
}

/// The ten bytes of the chip id that INITIALIZE UPDATE answers as key diversification data.
#[must_use]
pub fn key_diversification_data(chip_id: &[u8; CHIP_ID_BYTES]) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h, i, j, ..] = *chip_id;
    [a, b, c, d, e, f, g, h, i, j]
}
