//! The commands of the applet: their numbers, and typed forms of those with parameters. `encode` gives the
//! whole APDU; `decode` takes a parsed [`Command`] whose instruction the caller has already matched.

use super::fields::unix_seconds;
use super::log::code_log_tag;
use super::values::Slot;
use super::{AID, CertificatePart, Error, Scheme, tag};
use crate::apdu::{Command, MAX_SHORT_LE};
use core::fmt;
use tlv::Tag;

/// Instruction bytes.
pub mod ins {
    /// SELECT (`00 A4 04 00`).
    pub const SELECT: u8 = 0xA4;
    /// INITIALIZE UPDATE (`80 50 KVN 00`).
    pub const INITIALIZE_UPDATE: u8 = 0x50;
    /// EXTERNAL AUTHENTICATE (`84 82 level 00`).
    pub const EXTERNAL_AUTHENTICATE: u8 = 0x82;
    /// PUT KEY (`84 D8 KVN 81`).
    pub const PUT_KEY: u8 = 0xD8;
    /// STORE DATA (`84 E2 80 00`).
    pub const STORE_DATA: u8 = 0xE2;
    /// GET DATA (`00 CA tag tag`).
    pub const GET_DATA: u8 = 0xCA;
    /// VERIFY (`00 20 00 81`).
    pub const VERIFY: u8 = 0x20;
    /// CHANGE REFERENCE DATA (`00 24 P1 81`).
    pub const CHANGE_REFERENCE_DATA: u8 = 0x24;
    /// LOCK (`80 30 00 00`).
    pub const LOCK: u8 = 0x30;
    /// GET PAYMENT CODE (`80 40 form slot`).
    pub const GET_PAYMENT_CODE: u8 = 0x40;
    /// ATTEST (`80 42 00 00`).
    pub const ATTEST: u8 = 0x42;
    /// CHOOSE SLOT (`80 48 00 slot`).
    pub const CHOOSE_SLOT: u8 = 0x48;
    /// SELF TEST (`80 4E 00 00`).
    pub const SELF_TEST: u8 = 0x4E;
    /// GENERATE KEY (`84 46 00 scheme`).
    pub const GENERATE_KEY: u8 = 0x46;
    /// VOUCH (`84 4A 00 slot`).
    pub const VOUCH: u8 = 0x4A;
}

/// The longest command this module encodes, in bytes.
pub const MAX_COMMAND_BYTES: usize = 32;
/// P2 of VERIFY and CHANGE REFERENCE DATA: the wearer's passcode.
pub const PASSCODE_REFERENCE: u8 = 0x81;
/// Digits of a passcode.
pub const PASSCODE_BYTES: core::ops::RangeInclusive<usize> = 4..=8;
/// Bytes of a passcode padded with `FF`.
const PADDED_PASSCODE_BYTES: usize = 8;

/// SELECT this applet.
#[must_use]
pub const fn select() -> Command<'static> {
    Command::new(0x00, ins::SELECT, 0x04, 0x00).with_data(&AID).with_le(MAX_SHORT_LE)
}

/// INITIALIZE UPDATE with key set `key_version` (00: the chip's first); the challenge is 8 bytes for S8, 16
/// for S16.
#[must_use]
pub const fn initialize_update(key_version: u8, host_challenge: &[u8]) -> Command<'_> {
    Command::new(0x80, ins::INITIALIZE_UPDATE, key_version, 0x00).with_data(host_challenge).with_le(MAX_SHORT_LE)
}

/// STORE DATA with one order, still to be wrapped by the secure channel.
#[must_use]
pub const fn store_data(order: &[u8]) -> Command<'_> {
    Command::new(0x80, ins::STORE_DATA, 0x80, 0x00).with_data(order)
}

/// ATTEST; the challenge is 16 to 32 bytes.
#[must_use]
pub const fn attest(challenge: &[u8]) -> Command<'_> {
    Command::new(0x80, ins::ATTEST, 0x00, 0x00).with_data(challenge).with_le(MAX_SHORT_LE)
}

/// CHOOSE SLOT: which token pays when none is named; `None` for the lowest slot that holds one.
#[must_use]
pub const fn choose_slot(slot: Option<Slot>) -> Command<'static> {
    let number = match slot {
        Some(slot) => slot.number(),
        None => 0,
    };
    Command::new(0x80, ins::CHOOSE_SLOT, 0x00, number)
}

/// SELF TEST.
#[must_use]
pub const fn self_test() -> Command<'static> {
    Command::new(0x80, ins::SELF_TEST, 0x00, 0x00)
}

/// GENERATE KEY, still to be wrapped by the secure channel: a device key of this scheme.
#[must_use]
pub const fn generate_key(scheme: Scheme) -> Command<'static> {
    Command::new(0x80, ins::GENERATE_KEY, 0x00, scheme.to_byte()).with_le(MAX_SHORT_LE)
}

/// LOCK: the wearable left the wrist.
#[must_use]
pub const fn lock() -> Command<'static> {
    Command::new(0x80, ins::LOCK, 0x00, 0x00)
}

/// VERIFY; without a passcode it asks how the passcode stands.
#[must_use]
pub const fn verify(passcode: Option<Passcode<'_>>) -> Command<'_> {
    let data = match passcode {
        Some(passcode) => passcode.0,
        None => &[],
    };
    Command::new(0x00, ins::VERIFY, 0x00, PASSCODE_REFERENCE).with_data(data)
}

/// The objects of GET DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataObject {
    /// `9F70`, public.
    Lifecycle,
    /// `DF20`, public.
    ChipId,
    /// `DF21`, public.
    Versions,
    /// `DF22`, public.
    Status,
    /// `DF23`, in the channel only.
    TokenStatus,
    /// `DF41` to `DF44`, in the channel of that slot's domain only: the last codes made.
    CodeLog(Slot),
    /// `00E0`, public: the versions of the key sets (GlobalPlatform Card Specification 11.3.3.1).
    KeyInformation,
    /// `DF24`, public: the device key's scheme and public half.
    DeviceKey,
    /// `DF30` to `DF39`, public: one part of the certificate chain.
    Certificate(CertificatePart),
}

impl DataObject {
    /// Its tag.
    #[must_use]
    pub const fn tag(self) -> Tag {
        match self {
            Self::Lifecycle => tag::LIFECYCLE,
            Self::ChipId => tag::CHIP_ID,
            Self::Versions => tag::VERSIONS,
            Self::Status => tag::STATUS,
            Self::TokenStatus => tag::TOKEN_STATUS,
            Self::CodeLog(slot) => code_log_tag(slot),
            Self::KeyInformation => tag::KEY_INFORMATION,
            Self::DeviceKey => tag::DEVICE_KEY,
            Self::Certificate(part) => part.tag(),
        }
    }

    /// Whether anyone may read it; if not, the secure channel is needed.
    #[must_use]
    pub const fn is_public(self) -> bool {
        !matches!(self, Self::TokenStatus | Self::CodeLog(_))
    }

    /// The object that P1 P2 name; `None` when there is none (answer `6A88`).
    #[must_use]
    pub const fn from_p1_p2(p1_p2: u16) -> Option<Self> {
        Some(match p1_p2 {
            0x9F70 => Self::Lifecycle,
            0xDF20 => Self::ChipId,
            0xDF21 => Self::Versions,
            0xDF22 => Self::Status,
            0xDF23 => Self::TokenStatus,
            0xDF24 => Self::DeviceKey,
            0x00E0 => Self::KeyInformation,
            0xDF41..=0xDF44 => match Slot::new((p1_p2 & 0x0F) as u8) {
                Some(slot) => Self::CodeLog(slot),
                None => return None,
            },
            0xDF30..=0xDF39 => match CertificatePart::new((p1_p2 & 0x0F) as u8) {
                Some(part) => Self::Certificate(part),
                None => return None,
            },
            _ => return None,
        })
    }

    /// The GET DATA that asks for it, in the clear or still to be wrapped.
    #[must_use]
    pub const fn command(self) -> Command<'static> {
        let [_, _, p1, p2] = self.tag().to_u32().to_be_bytes();
        Command::new(0x00, ins::GET_DATA, p1, p2).with_le(MAX_SHORT_LE)
    }
}

/// Which pictures of a code are asked for: P1 of GET PAYMENT CODE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CodeForm {
    /// Decimal digits.
    Digits = 0x01,
    /// EMV QR payload.
    Emv = 0x02,
    /// Both, for one and the same spend.
    Both = 0x03,
}

impl CodeForm {
    /// The form this byte stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Digits,
            0x02 => Self::Emv,
            0x03 => Self::Both,
            _ => return None,
        })
    }

    /// Whether the digits are asked for.
    #[must_use]
    pub const fn wants_digits(self) -> bool {
        !matches!(self, Self::Emv)
    }

    /// Whether the EMV payload is asked for.
    #[must_use]
    pub const fn wants_emv(self) -> bool {
        !matches!(self, Self::Digits)
    }
}

/// GET PAYMENT CODE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRequest {
    /// Which pictures.
    pub form: CodeForm,
    /// Which token; `None` for the default.
    pub slot: Option<Slot>,
    /// The wearable's clock, in Unix seconds. The chip does not trust it, it bounds it.
    pub unix_seconds: u64,
}

impl CodeRequest {
    /// Writes the APDU (14 bytes).
    ///
    /// # Errors
    /// [`Error::BadValue`] for a time beyond [`super::MAX_UNIX_SECONDS`], [`Error::Apdu`] when `out` is too
    /// small.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let time = unix_seconds(tag::TIME_ANCHOR, self.unix_seconds)?.to_be_bytes();
        let slot = self.slot.map_or(0, Slot::number);
        let command = Command::new(0x80, ins::GET_PAYMENT_CODE, self.form as u8, slot);
        Ok(command.with_data(&time).with_le(MAX_SHORT_LE).encode(out)?)
    }

    /// Reads the parameters.
    ///
    /// # Errors
    /// [`Error::BadCommand`] for an unknown form (answer `6A86`) or a data field that is not 8 bytes (answer
    /// `6700`); [`Error::BadValue`] with `C1` for a slot outside 0 to 4 and with `D0` for a time out of range.
    pub fn decode(command: &Command<'_>) -> Result<Self, Error> {
        let form = CodeForm::from_byte(command.p1).ok_or(Error::BadCommand)?;
        let slot = match command.p2 {
            0 => None,
            number => Some(Slot::new(number).ok_or(Error::BadValue(tag::SLOT))?),
        };
        let bytes = command.data.try_into().map_err(|_| Error::BadCommand)?;
        let unix_seconds = unix_seconds(tag::TIME_ANCHOR, u64::from_be_bytes(bytes))?;
        Ok(Self { form, slot, unix_seconds })
    }
}

/// A passcode of 4 to 8 ASCII digits. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Passcode<'a>(&'a [u8]);

impl<'a> Passcode<'a> {
    /// A passcode, if these bytes are one.
    ///
    /// # Errors
    /// [`Error::BadCommand`].
    pub fn new(digits: &'a [u8]) -> Result<Self, Error> {
        if PASSCODE_BYTES.contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
            Ok(Self(digits))
        } else {
            Err(Error::BadCommand)
        }
    }

    /// The passcode in eight bytes filled up with `FF`.
    fn from_padded(padded: &'a [u8]) -> Result<Self, Error> {
        let digits = padded.iter().take_while(|byte| **byte != 0xFF).count();
        let (digits, padding) = padded.split_at_checked(digits).ok_or(Error::BadCommand)?;
        if padding.iter().any(|byte| *byte != 0xFF) {
            return Err(Error::BadCommand);
        }
        Self::new(digits)
    }

    /// Its digits, in ASCII.
    #[must_use]
    pub const fn digits(&self) -> &'a [u8] {
        self.0
    }

    /// Its digits padded to eight bytes with `FF`: one length for all, so that comparing takes one time.
    #[must_use]
    pub fn padded(&self) -> [u8; PADDED_PASSCODE_BYTES] {
        let mut padded = [0xFF; PADDED_PASSCODE_BYTES];
        for (to, from) in padded.iter_mut().zip(self.0) {
            *to = *from;
        }
        padded
    }
}

impl fmt::Debug for Passcode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passcode(..)")
    }
}

/// VERIFY with the wearable's clock: from this time on the passcode session counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedPasscode<'a> {
    /// The passcode.
    pub passcode: Passcode<'a>,
    /// The wearable's clock, in Unix seconds.
    pub unix_seconds: u64,
}

impl<'a> TimedPasscode<'a> {
    /// P1 of VERIFY with a time.
    pub const P1: u8 = 0x01;

    /// Writes the APDU (21 bytes); the caller wipes `out` after use.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a time beyond [`super::MAX_UNIX_SECONDS`], [`Error::Apdu`] when `out` is too small.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let time = unix_seconds(tag::TIME_ANCHOR, self.unix_seconds)?;
        let mut data = zeroize::Zeroizing::new([0; 2 * PADDED_PASSCODE_BYTES]);
        let (head, tail) = data.split_at_mut(PADDED_PASSCODE_BYTES);
        head.copy_from_slice(&self.passcode.padded());
        tail.copy_from_slice(&time.to_be_bytes());
        Ok(Command::new(0x00, ins::VERIFY, Self::P1, PASSCODE_REFERENCE).with_data(&*data).encode(out)?)
    }

    /// Reads the parameters.
    ///
    /// # Errors
    /// [`Error::BadCommand`] when the data are not a padded passcode and a time, [`Error::BadValue`] for a time out
    /// of range.
    pub fn decode(command: &Command<'a>) -> Result<Self, Error> {
        let (padded, time) = command.data.split_at_checked(PADDED_PASSCODE_BYTES).ok_or(Error::BadCommand)?;
        let time = u64::from_be_bytes(time.try_into().map_err(|_| Error::BadCommand)?);
        Ok(Self { passcode: Passcode::from_padded(padded)?, unix_seconds: unix_seconds(tag::TIME_ANCHOR, time)? })
    }
}

/// CHANGE REFERENCE DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasscodeChange<'a> {
    /// P1 = 01: the first passcode.
    First {
        /// The passcode from now on.
        new: Passcode<'a>,
    },
    /// P1 = 00: another passcode for the one in force.
    Replace {
        /// The passcode in force.
        old: Passcode<'a>,
        /// The passcode from now on.
        new: Passcode<'a>,
    },
}

impl<'a> PasscodeChange<'a> {
    /// Writes the APDU (at most 21 bytes); the caller wipes `out` after use.
    ///
    /// # Errors
    /// [`Error::Apdu`] when `out` is too small.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let mut data = zeroize::Zeroizing::new([0; 2 * PADDED_PASSCODE_BYTES]);
        let (p1, start, new) = match self {
            Self::First { new } => (0x01, 0, new),
            Self::Replace { old, new } => {
                let (head, _) = data.split_at_mut(PADDED_PASSCODE_BYTES);
                head.copy_from_slice(&old.padded());
                (0x00, PADDED_PASSCODE_BYTES, new)
            }
        };
        let end = start + new.0.len();
        data.get_mut(start..end).ok_or(Error::BadCommand)?.copy_from_slice(new.0);
        let data = data.get(..end).ok_or(Error::BadCommand)?;
        Ok(Command::new(0x00, ins::CHANGE_REFERENCE_DATA, p1, PASSCODE_REFERENCE).with_data(data).encode(out)?)
    }

    /// Reads the parameters.
    ///
    /// # Errors
    /// [`Error::BadCommand`] when P1 is unknown or the data are not passcodes.
    pub fn decode(command: &Command<'a>) -> Result<Self, Error> {
        match command.p1 {
            0x01 => Ok(Self::First { new: Passcode::new(command.data)? }),
            0x00 => {
                let (old, new) = command.data.split_at_checked(PADDED_PASSCODE_BYTES).ok_or(Error::BadCommand)?;
                Ok(Self::Replace { old: Passcode::from_padded(old)?, new: Passcode::new(new)? })
            }
            _ => Err(Error::BadCommand),
        }
    }
}
