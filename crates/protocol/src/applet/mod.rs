//! The vocabulary of the payment applet, shared by chip, wearable and cloud: who it is, what it is asked,
//! and every template that goes in or out.
//!
//! All types borrow from the bytes they were read from and are valid once they exist: lengths, ranges and
//! text were checked at `decode`. Orders to the chip are read strictly (an object it does not know is
//! refused, never skipped); answers from it are read leniently (an object from a newer chip is skipped).
//! Numbers are big-endian. Lengths in bytes are given with each field.

mod answers;
mod attestation;
mod carried;
mod commands;
mod fields;
mod log;
mod notice;
mod orders;
mod rules;
mod tokens;
mod values;

pub use answers::{
    ChipStatus, PaymentCode, SelectAnswer, Versions, decode_chip_id, decode_lifecycle, encode_chip_id,
    encode_lifecycle, key_diversification_data,
};
pub use attestation::{
    Attestation, AttestedState, CERTIFICATE_PARTS, CHALLENGE_BYTES, CertificatePart, DeviceKey,
    MAX_CERTIFICATE_PART_BYTES, MAX_STATE_BYTES, MAX_STATEMENT_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES,
    STATE_HASH_BYTES, Scheme, StoreCertificate, decode_certificate_part, encode_certificate_part,
};
pub use carried::may_be_carried;
pub use commands::{
    CodeForm, CodeRequest, DataObject, MAX_COMMAND_BYTES, PASSCODE_BYTES, PASSCODE_REFERENCE, Passcode, PasscodeChange,
    TimedPasscode, attest, choose_slot, generate_key, initialize_update, ins, lock, select, self_test, store_data,
    verify,
};
pub use log::{CodeLog, LOG_ENTRY_BYTES, LOGGED_CODES, LoggedCode, encode_code_log};
pub use notice::{MAX_MERCHANT_BYTES, MAX_NOTICE_BYTES, PaymentNotice, PaymentOutcome, vouch};
pub use orders::{FactoryData, Grant, InstallToken, MaskKeyUpdate, Order, RemoveToken, StateChange, SyncGrant};
pub use rules::{PasscodeOrder, SetRules};
pub use tokens::{TokenStatus, TokenStatusWriter, TokenStatuses, encode_token_statuses};
pub use values::{CodeStamp, Lifecycle, PasscodeState, Slot};

use core::fmt;
use tlv::Tag;

/// The applet's identifier: `F0` (unregistered) and "PAYCHIP", version 01.
pub const AID: [u8; 9] = [0xF0, 0x50, 0x41, 0x59, 0x43, 0x48, 0x49, 0x50, 0x01];
/// How many tokens a chip holds: slots 1 to 4.
pub const SLOTS: u8 = 4;
/// Bytes of a chip id; the first ten are the key diversification data of INITIALIZE UPDATE.
pub const CHIP_ID_BYTES: usize = 16;
/// Bytes of a token id.
pub const TOKEN_ID_BYTES: usize = 16;
/// Bytes of the key a token's codes are made with.
pub const PAY_KEY_BYTES: usize = 32;
/// Bytes of the key that hides a token's index in its codes.
pub const MASK_KEY_BYTES: usize = 16;
/// The longest account label, in bytes of UTF-8.
pub const MAX_LABEL_BYTES: usize = 48;
/// The longest code prefix, in digits.
pub const MAX_PREFIX_DIGITS: usize = 8;
/// The shortest and the longest code, in digits.
pub const CODE_DIGITS: core::ops::RangeInclusive<u8> = 18..=24;
/// The longest EMV payload text, in bytes.
pub const MAX_EMV_BYTES: usize = 200;
/// One above the highest token index: ten digits.
pub const TOKEN_INDEX_END: u64 = 10_000_000_000;
/// Seconds of one time step.
pub const STEP_SECONDS: u64 = 30;
/// The last second a 32-bit time step can name, in Unix time.
pub const MAX_UNIX_SECONDS: u64 = STEP_SECONDS * (u32::MAX as u64) + (STEP_SECONDS - 1);
/// The highest sequence number within a time step.
pub const MAX_SEQUENCE: u8 = 3;
/// The longest template of this module in bytes: the answer to GET PAYMENT CODE in both forms. It fits a
/// short answer, as every order fits a short command inside the secure channel.
pub const MAX_TEMPLATE_BYTES: usize = 256;

/// The tags of all templates and of the objects inside them.
pub mod tag {
    use tlv::Tag;

    /// Select answer (FCI template).
    pub const FCI: Tag = Tag::new(0x6F);
    /// Application identifier, in [`FCI`].
    pub const AID: Tag = Tag::new(0x84);
    /// Proprietary part of the [`FCI`].
    pub const FCI_PROPRIETARY: Tag = Tag::new(0xA5);
    /// Longest command data field, 2 bytes, in [`FCI_PROPRIETARY`].
    pub const MAX_COMMAND_DATA: Tag = Tag::new(0x9F65);

    /// Order: factory data.
    pub const FACTORY_DATA: Tag = Tag::new(0xE0);
    /// Order: install a token.
    pub const INSTALL_TOKEN: Tag = Tag::new(0xE1);
    /// Order: sync.
    pub const SYNC: Tag = Tag::new(0xE2);
    /// Order: remove a token.
    pub const REMOVE_TOKEN: Tag = Tag::new(0xE3);
    /// Order: set the state.
    pub const SET_STATE: Tag = Tag::new(0xE4);
    /// One token, in [`TOKEN_STATUS`].
    pub const TOKEN: Tag = Tag::new(0xE5);
    /// Answer to GET PAYMENT CODE.
    pub const PAYMENT_CODE: Tag = Tag::new(0xE6);
    /// Order: one part of the certificate chain.
    pub const STORE_CERTIFICATE: Tag = Tag::new(0xE7);
    /// Answer to ATTEST.
    pub const ATTESTATION: Tag = Tag::new(0xE8);

    /// Order: help with a forgotten passcode.
    pub const PASSCODE_ORDER: Tag = Tag::new(0xE9);
    /// Order: what a token asks of the passcode.
    pub const SET_RULES: Tag = Tag::new(0xEA);
    /// `EC`, constructed: a notice of a payment.
    pub const NOTICE: Tag = Tag::new(0xEC);
    /// `80` in a notice, 1 byte.
    pub const NOTICE_OUTCOME: Tag = Tag::new(0x80);
    /// `81` in a notice, 8 bytes.
    pub const NOTICE_AMOUNT: Tag = Tag::new(0x81);
    /// `82` in a notice, 8 bytes.
    pub const NOTICE_REFUNDED: Tag = Tag::new(0x82);
    /// `83` in a notice, 3 bytes.
    pub const NOTICE_CURRENCY: Tag = Tag::new(0x83);
    /// `84` in a notice, 1 byte.
    pub const NOTICE_DECIMALS: Tag = Tag::new(0x84);
    /// `85` in a notice, 1 to 40 bytes.
    pub const NOTICE_MERCHANT: Tag = Tag::new(0x85);
    /// `86` in a notice, 8 bytes.
    pub const NOTICE_TIME: Tag = Tag::new(0x86);

    /// What to do with the passcode, 1 byte, in [`PASSCODE_ORDER`].
    pub const PASSCODE_ACTION: Tag = Tag::new(0x82);
    /// Whether a passcode must be set, 1 byte, in [`SET_RULES`].
    pub const PASSCODE_REQUIRED: Tag = Tag::new(0x80);
    /// Length of a passcode session, 4 bytes, in [`SET_RULES`].
    pub const SESSION_SECONDS: Tag = Tag::new(0x81);

    /// Chip id, 16 bytes, in orders.
    pub const FACTORY_CHIP_ID: Tag = Tag::new(0xC0);
    /// Slot, 1 byte.
    pub const SLOT: Tag = Tag::new(0xC1);
    /// Token id, 16 bytes.
    pub const TOKEN_ID: Tag = Tag::new(0xC2);
    /// Code prefix, 1 to 8 ASCII digits.
    pub const PREFIX: Tag = Tag::new(0xC3);
    /// Digits of a whole code, 1 byte.
    pub const TOTAL_DIGITS: Tag = Tag::new(0xC4);
    /// Cipher suite, 1 byte: 1 international, 2 Chinese.
    pub const SUITE: Tag = Tag::new(0xC5);
    /// Token index, 8 bytes.
    pub const TOKEN_INDEX: Tag = Tag::new(0xC6);
    /// Pay key, 32 bytes.
    pub const PAY_KEY: Tag = Tag::new(0xC7);
    /// Version of the pay key, 1 byte.
    pub const PAY_KEY_VERSION: Tag = Tag::new(0xC8);
    /// Mask key, 16 bytes.
    pub const MASK_KEY: Tag = Tag::new(0xC9);
    /// Version of the mask key, 1 byte.
    pub const MASK_KEY_VERSION: Tag = Tag::new(0xCA);
    /// Account label, 1 to 48 bytes of UTF-8.
    pub const LABEL: Tag = Tag::new(0xCB);

    /// Number of a part of the certificate chain, 1 byte.
    pub const PART_NUMBER: Tag = Tag::new(0xCC);
    /// Bytes of that part.
    pub const PART: Tag = Tag::new(0xCD);
    /// Signature scheme, 1 byte: 1 ECDSA on P-256, 2 SM2.
    pub const SCHEME: Tag = Tag::new(0xCE);
    /// Signature, 64 bytes: r and s.
    pub const SIGNATURE: Tag = Tag::new(0xCF);

    /// Time anchor, 8 bytes, Unix seconds.
    pub const TIME_ANCHOR: Tag = Tag::new(0xD0);
    /// Offline allowance, 4 bytes, seconds.
    pub const OFFLINE_ALLOWANCE: Tag = Tag::new(0xD1);
    /// Code budget, 2 bytes.
    pub const CODE_BUDGET: Tag = Tag::new(0xD2);
    /// New state, 1 byte.
    pub const NEW_STATE: Tag = Tag::new(0xD3);
    /// Lifecycle, 1 byte, in [`STATUS`].
    pub const STATUS_LIFECYCLE: Tag = Tag::new(0xD4);
    /// Passcode state, 1 byte.
    pub const PASSCODE_STATE: Tag = Tag::new(0xD5);
    /// Passcode tries left, 1 byte.
    pub const TRIES_LEFT: Tag = Tag::new(0xD6);
    /// Application transaction counter, 4 bytes.
    pub const COUNTER: Tag = Tag::new(0xD7);
    /// Stamp of a code: time step, 4 bytes, and sequence, 1 byte.
    pub const STAMP: Tag = Tag::new(0xD8);
    /// Code as ASCII digits.
    pub const DIGITS: Tag = Tag::new(0xD9);
    /// EMV payload as base64 text.
    pub const EMV: Tag = Tag::new(0xDA);
    /// Codes left in the budget, 2 bytes.
    pub const CODES_LEFT: Tag = Tag::new(0xDB);
    /// Whether the passcode session was open, 1 byte: 00 or 01.
    pub const VERIFIED: Tag = Tag::new(0xDC);
    /// End of a code's life, 8 bytes, Unix seconds.
    pub const VALID_UNTIL: Tag = Tag::new(0xDD);

    /// Hash of what the chip holds, 32 bytes, in [`ATTESTATION`].
    pub const STATE_HASH: Tag = Tag::new(0xDE);

    /// GET DATA: lifecycle, 1 byte.
    pub const LIFECYCLE: Tag = Tag::new(0x9F70);
    /// GET DATA: chip id, 16 bytes.
    pub const CHIP_ID: Tag = Tag::new(0xDF20);
    /// GET DATA: versions, 3 bytes.
    pub const VERSIONS: Tag = Tag::new(0xDF21);
    /// GET DATA: status, the public part.
    pub const STATUS: Tag = Tag::new(0xDF22);
    /// GET DATA: status of the tokens, in the channel only.
    pub const TOKEN_STATUS: Tag = Tag::new(0xDF23);
    /// GET DATA: scheme (1 byte) and public device key (65 bytes).
    pub const DEVICE_KEY: Tag = Tag::new(0xDF24);
    /// GET DATA: the logs of the slots are at this tag plus the slot's number.
    pub const CODE_LOG: Tag = Tag::new(0xDF40);
    /// GET DATA: key information template of GlobalPlatform.
    pub const KEY_INFORMATION: Tag = Tag::new(0xE0);
    /// GET DATA: the first part of the certificate chain; the others follow up to `DF39`.
    pub const CERTIFICATE: Tag = Tag::new(0xDF30);
}

/// Why a template or command of the applet could not be read or written; each names the tag at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The object that must be there is not.
    Missing(Tag),
    /// The object has the wrong length, is out of its range, or is no valid text.
    BadValue(Tag),
    /// The object is there twice.
    Duplicate(Tag),
    /// An order holds an object that does not belong in it.
    Unexpected(Tag),
    /// P1, P2 or the data field of a command are none this applet knows.
    BadCommand,
    /// The bytes are no TLV, or the buffer to write to is full.
    Tlv(tlv::Error),
    /// The bytes are no APDU, or the buffer to write to is full.
    Apdu(crate::apdu::Error),
}

impl Error {
    /// A stable, machine-readable name of this error.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing(_) => "applet_missing_object",
            Self::BadValue(_) => "applet_bad_value",
            Self::Duplicate(_) => "applet_duplicate_object",
            Self::Unexpected(_) => "applet_unexpected_object",
            Self::BadCommand => "applet_bad_command",
            Self::Tlv(inner) => inner.code(),
            Self::Apdu(inner) => inner.code(),
        }
    }

    /// The tag at fault, where one can be named.
    #[must_use]
    pub const fn tag(self) -> Option<Tag> {
        match self {
            Self::Missing(tag) | Self::BadValue(tag) | Self::Duplicate(tag) | Self::Unexpected(tag) => Some(tag),
            Self::BadCommand | Self::Tlv(_) | Self::Apdu(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(tag) => write!(f, "object {tag} is missing"),
            Self::BadValue(tag) => write!(f, "object {tag} has a wrong length or value"),
            Self::Duplicate(tag) => write!(f, "object {tag} is there twice"),
            Self::Unexpected(tag) => write!(f, "object {tag} does not belong here"),
            Self::BadCommand => f.write_str("the command's parameters are none this applet knows"),
            Self::Tlv(inner) => inner.fmt(f),
            Self::Apdu(inner) => inner.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<tlv::Error> for Error {
    fn from(inner: tlv::Error) -> Self {
        Self::Tlv(inner)
    }
}

impl From<crate::apdu::Error> for Error {
    fn from(inner: crate::apdu::Error) -> Self {
        Self::Apdu(inner)
    }
}
