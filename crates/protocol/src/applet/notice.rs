//! `EC`: what became of a payment, for the wearable's screen. The cloud sends it with VOUCH: the chip does not look at it,
//! and says with its answer that the cloud wrote it.

use super::fields::{Fields, ensure, unix_seconds};
use super::values::{CodeStamp, Slot};
use super::{Error, ins, tag};
use crate::apdu::Command;
use tlv::Writer;

/// The longest name of a merchant in a notice, bytes of UTF-8.
pub const MAX_MERCHANT_BYTES: usize = 40;
/// The longest notice, bytes.
pub const MAX_NOTICE_BYTES: usize = 112;
/// The most digits behind the point of a currency (ISO 4217 has four at most).
const MAX_DECIMALS: u8 = 4;

/// What became of a payment. The number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PaymentOutcome {
    /// The money has moved; part or all of it may have been given back since.
    Paid = 0x01,
    /// It was declined: no money has moved, and none will.
    Declined = 0x02,
    /// The money is set aside until the wearer confirms on the phone.
    Waits = 0x03,
    /// The merchant has cancelled it: no money has moved, or all of it was given back.
    Cancelled = 0x04,
}

impl PaymentOutcome {
    /// The outcome with this number.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Paid,
            0x02 => Self::Declined,
            0x03 => Self::Waits,
            0x04 => Self::Cancelled,
            _ => return None,
        })
    }

    /// Its name in an API and in what a program prints for scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Declined => "declined",
            Self::Waits => "waits",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One payment, as it stood when the cloud wrote this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentNotice<'a> {
    /// What became of it.
    pub outcome: PaymentOutcome,
    /// How much, in minor units.
    pub amount_minor: u64,
    /// How much of it has been given back, in minor units: at most the amount.
    pub refunded_minor: u64,
    /// ISO 4217 code, such as `CNY`.
    pub currency: &'a str,
    /// Digits behind the point of that currency, 0 to 4.
    pub decimals: u8,
    /// Who was paid: 1 to 40 bytes of UTF-8 without control characters.
    pub merchant: &'a str,
    /// When, Unix seconds.
    pub unix_seconds: u64,
    /// The code it was paid with: step and sequence, as the chip gave them with the code.
    pub stamp: CodeStamp,
}

impl<'a> PaymentNotice<'a> {
    /// Reads a notice; an object that is not known is skipped, for a later cloud may say more.
    ///
    /// # Errors
    /// Any of [`Error`] but [`Error::BadCommand`].
    pub fn decode(data: &'a [u8]) -> Result<Self, Error> {
        if data.len() > MAX_NOTICE_BYTES {
            return Err(Error::BadValue(tag::NOTICE));
        }
        let objects = tlv::find(data, tag::NOTICE)?.ok_or(Error::Missing(tag::NOTICE))?;
        let fields = Fields::of_answer(objects)?;
        let notice = Self {
            outcome: fields.one_of(tag::NOTICE_OUTCOME, PaymentOutcome::from_byte)?,
            amount_minor: fields.u64(tag::NOTICE_AMOUNT)?,
            refunded_minor: fields.u64(tag::NOTICE_REFUNDED)?,
            currency: text(tag::NOTICE_CURRENCY, fields.array::<3>(tag::NOTICE_CURRENCY)?)?,
            decimals: fields.byte(tag::NOTICE_DECIMALS)?,
            merchant: text(tag::NOTICE_MERCHANT, fields.required(tag::NOTICE_MERCHANT)?)?,
            unix_seconds: fields.unix_seconds(tag::NOTICE_TIME)?,
            stamp: CodeStamp::from_bytes(*fields.array(tag::STAMP)?).ok_or(Error::BadValue(tag::STAMP))?,
        };
        notice.check().map(|()| notice)
    }

    /// Writes a notice; gives its length.
    ///
    /// # Errors
    /// [`Error::BadValue`] with the tag of a field out of its range, [`Error::Tlv`] where `out` is too small.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        self.check()?;
        let mut writer = Writer::new(out);
        writer.nest(tag::NOTICE, |w| {
            w.put(tag::NOTICE_OUTCOME, &[self.outcome as u8])?;
            w.put(tag::NOTICE_AMOUNT, &self.amount_minor.to_be_bytes())?;
            w.put(tag::NOTICE_REFUNDED, &self.refunded_minor.to_be_bytes())?;
            w.put(tag::NOTICE_CURRENCY, self.currency.as_bytes())?;
            w.put(tag::NOTICE_DECIMALS, &[self.decimals])?;
            w.put(tag::NOTICE_MERCHANT, self.merchant.as_bytes())?;
            w.put(tag::NOTICE_TIME, &self.unix_seconds.to_be_bytes())?;
            w.put(tag::STAMP, &self.stamp.to_bytes())
        })?;
        Ok(writer.finish())
    }

    fn check(&self) -> Result<(), Error> {
        let is_code = self.currency.len() == 3 && self.currency.bytes().all(|byte| byte.is_ascii_uppercase());
        ensure(tag::NOTICE_CURRENCY, is_code)?;
        ensure(tag::NOTICE_DECIMALS, self.decimals <= MAX_DECIMALS)?;
        ensure(tag::NOTICE_REFUNDED, self.refunded_minor <= self.amount_minor)?;
        let fits = (1..=MAX_MERCHANT_BYTES).contains(&self.merchant.len());
        ensure(tag::NOTICE_MERCHANT, fits && !self.merchant.chars().any(char::is_control))?;
        unix_seconds(tag::NOTICE_TIME, self.unix_seconds).map(drop)
    }
}

fn text(tag: tlv::Tag, value: &[u8]) -> Result<&str, Error> {
    core::str::from_utf8(value).map_err(|_| Error::BadValue(tag))
}

/// VOUCH, still to be wrapped by a secure channel that leaves it readable: the chip's success says that the cloud wrote `data`
/// for whoever is bound in this slot.
#[must_use]
pub const fn vouch(slot: Slot, data: &[u8]) -> Command<'_> {
    Command::new(0x80, ins::VOUCH, 0x00, slot.number()).with_data(data)
}
