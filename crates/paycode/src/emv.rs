//! The EMV QR code, consumer-presented: the same code with a counter and a cryptogram, for tills that read it.
//!
//! [`Payload`] reads any payload of the EMVCo QR Code Specification for Payment Systems,
//! Consumer-Presented Mode; [`Payment`] is ours, made in the chip and verified in the cloud. Both
//! pictures of one stamp are one spend: the digits inside are the digits beside it. Text from outside is
//! bounded before it is decoded and refused at the first fault.
//!
//! ```
//! use paycode::{emv::{self, Payment}, *};
//!
//! let mask_key = MaskKey::new(Suite::International, &[0x11; 16]);
//! let pay_key = PayKey::new(Suite::International, &[0x22; 32]);
//! let index = TokenIndex::new(42)?;
//! let stamp = Stamp::new(TimeStep(60_000_000), Sequence::FIRST);
//! let code = make(&CodeFormat::DEFAULT, &mask_key, &pay_key, index, stamp, true)?;
//!
//! // The chip:
//! let aid = [0xF0, 0x50, 0x41, 0x59, 0x43, 0x48, 0x49, 0x50, 0x01];
//! let mut text = [0; emv::MAX_PAYMENT_TEXT];
//! let shown = Payment::new(&aid, &pay_key, index, code, stamp, true, 7)?.encode(&mut text)?;
//!
//! // The cloud:
//! let mut buffer = [0; emv::MAX_PAYLOAD_BYTES];
//! let payment = Payment::parse(shown, &mut buffer)?;
//! let unmasked = unmask(&CodeFormat::DEFAULT, &mask_key, payment.code())?;
//! let hit = check(&pay_key, &unmasked, stamp.step, None)?;
//! payment.verify(&pay_key, unmasked.index, &hit)?;
//! assert_eq!(payment.transaction_counter(), 7); // must be above the last one seen
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod issuer_data;
mod payload;
mod payment;

pub use issuer_data::{IssuerData, MAX_ISSUER_DATA_BYTES};
pub use payload::{MAX_PAYLOAD_BYTES, MAX_PAYLOAD_TEXT, Objects, Payload, is_payload};
pub use payment::{CRYPTOGRAM_BYTES, LABEL, MAX_PAYMENT_TEXT, Payment};

use crate::error::error_enum;

/// Tags of the data objects in an EMV QR code (EMV Book 3 annex A, EMVCo QRCPS-CPM section 4).
pub mod tag {
    use tlv::Tag;

    /// Payload format indicator, `CPV01`. The first object of every payload.
    pub const PAYLOAD_FORMAT_INDICATOR: Tag = Tag::new(0x85);
    /// Application template.
    pub const APPLICATION_TEMPLATE: Tag = Tag::new(0x61);
    /// Common data template: objects that hold for every application.
    pub const COMMON_DATA_TEMPLATE: Tag = Tag::new(0x62);
    /// Application specific transparent template, within an application template.
    pub const APPLICATION_TRANSPARENT_TEMPLATE: Tag = Tag::new(0x63);
    /// Common data transparent template, within the common data template.
    pub const COMMON_TRANSPARENT_TEMPLATE: Tag = Tag::new(0x64);
    /// Application identifier (ADF name), 5 to 16 bytes.
    pub const AID: Tag = Tag::new(0x4F);
    /// Application label.
    pub const APPLICATION_LABEL: Tag = Tag::new(0x50);
    /// Track 2 equivalent data.
    pub const TRACK_2: Tag = Tag::new(0x57);
    /// Primary account number, BCD.
    pub const PAN: Tag = Tag::new(0x5A);
    /// Cardholder name.
    pub const CARDHOLDER_NAME: Tag = Tag::new(0x5F20);
    /// Language preference, one to four ISO 639-1 codes.
    pub const LANGUAGE_PREFERENCE: Tag = Tag::new(0x5F2D);
    /// Issuer application data.
    pub const ISSUER_DATA: Tag = Tag::new(0x9F10);
    /// Application cryptogram, 8 bytes.
    pub const CRYPTOGRAM: Tag = Tag::new(0x9F26);
    /// Application transaction counter, 2 bytes.
    pub const TRANSACTION_COUNTER: Tag = Tag::new(0x9F36);
    /// Unpredictable number.
    pub const UNPREDICTABLE_NUMBER: Tag = Tag::new(0x9F37);
}

error_enum! {
    /// Why an EMV QR code was refused or could not be made.
    Error {
        /// The text is longer than [`MAX_PAYLOAD_TEXT`].
        TooLong = "emv_too_long", "the EMV QR text is too long";
        /// The text is not padded base64 (RFC 4648 section 4) in its one canonical form.
        Base64 = "emv_base64", "the EMV QR text is not base64";
        /// The bytes are not whole BER-TLV objects.
        Tlv = "emv_tlv", "the EMV QR data are not well-formed TLV";
        /// The first object is not `85 05 "CPV01"`, or there is a second one.
        FormatIndicator = "emv_format_indicator", "the EMV QR data do not begin with CPV01";
        /// There is no application template, or more than one common data template.
        Templates = "emv_templates", "the EMV QR data have no application or several common parts";
        /// The issuer data are of another version, another length, or hold a value outside its range.
        IssuerData = "emv_issuer_data", "the issuer data of the EMV QR code are malformed";
        /// A conforming payload, but not in the exact form of a payment of this specification.
        Foreign = "emv_foreign", "the EMV QR code is not one of this specification";
        /// The application identifier is not 5 to 16 bytes.
        Aid = "emv_aid", "an application identifier has 5 to 16 bytes";
        /// The caller's buffer is too small.
        Room = "emv_room", "the buffer is too small for the EMV QR code";
        /// Suite, stamp or `verified` differ from what the digits proved.
        Mismatch = "emv_mismatch", "the EMV QR code contradicts its own digits";
        /// The cryptogram is wrong.
        Cryptogram = "emv_cryptogram", "the cryptogram of the EMV QR code is wrong";
    }
}
