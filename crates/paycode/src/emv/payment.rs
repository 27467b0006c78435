//! A payment as an EMV QR code: made in the chip, parsed and verified in the cloud.
//!
//! `85 "CPV01" · 61 { 4F AID, 50 "PAYCHIP", 63 { 9F10 issuer data, 9F26 cryptogram, 9F36 counter } }`. A
//! payment has one form: a text that parses is byte for byte what [`Payment::encode`] writes. The
//! cryptogram has 64 bits and covers the full counter, which shows a cloned chip.

use base64ct::{Base64, Encoding};
use subtle::ConstantTimeEq;
use tlv::Writer;
use zeroize::Zeroize;

use super::{Error, IssuerData, MAX_ISSUER_DATA_BYTES, Payload, tag};
use crate::{Code, Hit, PayKey, Stamp, TokenIndex};

/// The application label of every payment (tag 50).
pub const LABEL: &str = "PAYCHIP";
/// The cryptogram, in bytes (tag 9F26).
pub const CRYPTOGRAM_BYTES: usize = 8;
/// The longest text of a payment, in characters: the largest payload in base64.
pub const MAX_PAYMENT_TEXT: usize = MAX_PAYMENT_BYTES.div_ceil(3) * 4;

const MIN_AID_BYTES: usize = 5;
const MAX_AID_BYTES: usize = 16;
/// 9F10, 9F26 and 9F36, each with two bytes of tag and one of length.
const MAX_TRANSPARENT_BYTES: usize = 3 + MAX_ISSUER_DATA_BYTES + 3 + CRYPTOGRAM_BYTES + 3 + 2;
const MAX_TEMPLATE_BYTES: usize = 2 + MAX_AID_BYTES + 2 + LABEL.len() + 2 + MAX_TRANSPARENT_BYTES;
const MAX_PAYMENT_BYTES: usize = 2 + 5 + 2 + MAX_TEMPLATE_BYTES;

/// First byte of a cryptogram's message, in version 1 of the specification.
const CRYPTOGRAM_MESSAGE: u8 = 2;
/// A cryptogram's message, in bytes: short enough that the inner hash is one compression.
const CRYPTOGRAM_MESSAGE_BYTES: usize = 19;

/// One payment's EMV QR code.
#[derive(Clone)]
pub struct Payment<'a> {
    aid: &'a [u8],
    issuer_data: IssuerData,
    cryptogram: [u8; CRYPTOGRAM_BYTES],
}

impl<'a> Payment<'a> {
    /// The payment of this code, made at the same stamp with the same `verified`. `aid` is the operator's
    /// application identifier, `transaction_counter` the token's, one more than at its last payment.
    ///
    /// # Errors
    /// [`Error::Aid`].
    pub fn new(
        aid: &'a [u8],
        pay_key: &PayKey,
        index: TokenIndex,
        code: Code,
        stamp: Stamp,
        verified: bool,
        transaction_counter: u32,
    ) -> Result<Self, Error> {
        if !(MIN_AID_BYTES..=MAX_AID_BYTES).contains(&aid.len()) {
            return Err(Error::Aid);
        }
        Ok(Self {
            aid,
            cryptogram: cryptogram(pay_key, index, stamp, verified, transaction_counter),
            issuer_data: IssuerData { suite: pay_key.suite(), verified, transaction_counter, stamp, code },
        })
    }

    /// Writes the text of the QR code, at most [`MAX_PAYMENT_TEXT`] characters.
    ///
    /// # Errors
    /// [`Error::Room`] where `text` is too short.
    pub fn encode<'b>(&self, text: &'b mut [u8]) -> Result<&'b str, Error> {
        let mut buffer = [0; MAX_PAYMENT_BYTES];
        let encoded = self.write(&mut buffer).and_then(|bytes| Base64::encode(bytes, text).map_err(|_| Error::Room));
        buffer.zeroize();
        encoded
    }

    /// Reads the text of a QR code that must be a payment of this specification. `buffer` as for
    /// [`Payload::parse`].
    ///
    /// # Errors
    /// Those of [`Payload::parse`] and [`Payment::from_payload`].
    pub fn parse(text: &str, buffer: &'a mut [u8]) -> Result<Self, Error> {
        Self::from_payload(&Payload::parse(text, buffer)?)
    }

    /// The payment this payload is.
    ///
    /// # Errors
    /// [`Error::IssuerData`], or [`Error::Foreign`] where any byte is not as [`Payment::encode`] writes it.
    pub fn from_payload(payload: &Payload<'a>) -> Result<Self, Error> {
        let application = payload.applications().next().ok_or(Error::Foreign)?;
        let transparent = application.transparent().ok_or(Error::Foreign)?;
        let aid = application.get(tag::AID).ok_or(Error::Foreign)?;
        let issuer_data = transparent.get(tag::ISSUER_DATA).ok_or(Error::Foreign)?;
        let cryptogram = transparent.get(tag::CRYPTOGRAM).ok_or(Error::Foreign)?;
        let payment = Self {
            aid,
            issuer_data: IssuerData::parse(issuer_data)?,
            cryptogram: cryptogram.try_into().map_err(|_| Error::Foreign)?,
        };
        // One comparison instead of a rule for each object: order, label, counter, extra objects.
        let mut buffer = [0; MAX_PAYMENT_BYTES];
        let same = payment.write(&mut buffer).is_ok_and(|bytes| bytes == payload.as_bytes());
        buffer.zeroize();
        if same && (MIN_AID_BYTES..=MAX_AID_BYTES).contains(&aid.len()) { Ok(payment) } else { Err(Error::Foreign) }
    }

    /// Whether counter and cryptogram are this token's, after [`check`](crate::check()) has found `hit` in
    /// the digits. The caller then compares [`Payment::transaction_counter`] with the last one seen: a
    /// counter that does not rise is a cloned chip's.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where suite, stamp or `verified` are not the key's and the hit's;
    /// [`Error::Cryptogram`] where the cryptogram is wrong, compared in constant time.
    pub fn verify(&self, pay_key: &PayKey, index: TokenIndex, hit: &Hit) -> Result<(), Error> {
        let claimed = Hit { stamp: self.issuer_data.stamp, verified: self.issuer_data.verified };
        if self.issuer_data.suite != pay_key.suite() || claimed != *hit {
            return Err(Error::Mismatch);
        }
        let right = cryptogram(pay_key, index, hit.stamp, hit.verified, self.issuer_data.transaction_counter);
        if right.ct_eq(&self.cryptogram).into() { Ok(()) } else { Err(Error::Cryptogram) }
    }

    /// The operator's application identifier, 5 to 16 bytes.
    #[must_use]
    pub const fn aid(&self) -> &'a [u8] {
        self.aid
    }

    /// The code in digits, to be routed, unmasked and checked first.
    #[must_use]
    pub const fn code(&self) -> &Code {
        &self.issuer_data.code
    }

    /// The token's transaction counter, in full.
    #[must_use]
    pub const fn transaction_counter(&self) -> u32 {
        self.issuer_data.transaction_counter
    }

    /// The cryptogram (tag 9F26).
    #[must_use]
    pub const fn cryptogram(&self) -> &[u8; CRYPTOGRAM_BYTES] {
        &self.cryptogram
    }

    /// The issuer data (tag 9F10).
    #[must_use]
    pub const fn issuer_data(&self) -> &IssuerData {
        &self.issuer_data
    }

    fn write<'b>(&self, buffer: &'b mut [u8; MAX_PAYMENT_BYTES]) -> Result<&'b [u8], Error> {
        let mut issuer_buffer = [0; MAX_ISSUER_DATA_BYTES];
        let issuer_data = self.issuer_data.encode(&mut issuer_buffer);
        let [.., high, low] = self.issuer_data.transaction_counter.to_be_bytes();

        let mut writer = Writer::new(buffer);
        let written = writer.put(tag::PAYLOAD_FORMAT_INDICATOR, b"CPV01").and_then(|()| {
            writer.nest(tag::APPLICATION_TEMPLATE, |application| {
                application.put(tag::AID, self.aid)?;
                application.put(tag::APPLICATION_LABEL, LABEL.as_bytes())?;
                application.nest(tag::APPLICATION_TRANSPARENT_TEMPLATE, |transparent| {
                    transparent.put(tag::ISSUER_DATA, issuer_data)?;
                    transparent.put(tag::CRYPTOGRAM, &self.cryptogram)?;
                    transparent.put(tag::TRANSACTION_COUNTER, &[high, low])
                })
            })
        });
        issuer_buffer.zeroize();
        // An identifier longer than any is what alone does not fit.
        written.map_err(|_| Error::Aid)?;
        Ok(writer.finish())
    }
}

impl core::fmt::Debug for Payment<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Payment").field("issuer_data", &self.issuer_data).finish_non_exhaustive()
    }
}

/// The first eight bytes of MAC(pay key, 02 ‖ index 8 ‖ step 4 ‖ sequence 1 ‖ verified 1 ‖ counter 4).
fn cryptogram(
    pay_key: &PayKey,
    index: TokenIndex,
    stamp: Stamp,
    verified: bool,
    transaction_counter: u32,
) -> [u8; CRYPTOGRAM_BYTES] {
    let mut message = [0; CRYPTOGRAM_MESSAGE_BYTES];
    message[0] = CRYPTOGRAM_MESSAGE;
    message[1..9].copy_from_slice(&index.get().to_be_bytes());
    message[9..14].copy_from_slice(&stamp.to_bytes());
    message[14] = u8::from(verified);
    message[15..].copy_from_slice(&transaction_counter.to_be_bytes());
    pay_key.mac(&message)
}
