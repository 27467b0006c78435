//! The secure channel: GlobalPlatform SCP03 (Card Specification v2.3, Amendment D v1.1.2, and v1.2 for S16),
//! both ends. [`card`] runs in the chip, in place on its buffers; [`host`] runs in the cloud and can be rebuilt
//! from what was exchanged, so that the cloud keeps no session between two HTTP requests.
//!
//! Guarantees: a command or answer that was changed in any bit, left out, repeated or reordered is refused and
//! ends the session; keys are wiped when a session ends; secrets are compared in constant time.
//! What we chose where the specification leaves room is in `spec/secure-channel.md`.

pub mod card;
mod channel;
pub mod host;
mod keys;

pub use crate::aes_key::AesKey;
pub use keys::{KeySet, pseudo_random_challenge};

use crate::apdu::{self, StatusWord};
use core::fmt;

/// The SCP identifier in the answer to INITIALIZE UPDATE.
pub const SCP_ID: u8 = 0x03;
/// Bytes of the key diversification data in the answer to INITIALIZE UPDATE.
pub const DIVERSIFICATION_BYTES: usize = 10;
/// Bytes of the sequence counter of pseudo-random card challenges.
pub const SEQUENCE_BYTES: usize = 3;
/// The longest challenge, cryptogram or MAC, in bytes (S16).
pub const MAX_MAC_BYTES: usize = 16;
/// The longest answer to INITIALIZE UPDATE without status word, in bytes.
pub const MAX_INITIALIZE_UPDATE_BYTES: usize = 48;
/// The longest EXTERNAL AUTHENTICATE, in bytes.
pub const MAX_EXTERNAL_AUTHENTICATE_BYTES: usize = 37;
/// How many bytes protection adds to a data field at most: a block of padding and a 16-byte MAC.
pub const MAX_OVERHEAD_BYTES: usize = 32;

/// How long challenges, cryptograms and MACs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// 8 bytes.
    S8,
    /// 16 bytes.
    S16,
}

impl Mode {
    /// Bytes of a challenge, a cryptogram or a MAC.
    #[must_use]
    pub const fn mac_bytes(self) -> usize {
        match self {
            Self::S8 => 8,
            Self::S16 => 16,
        }
    }

    /// The mode a host asks for by the length of its challenge; `None` when it is neither 8 nor 16 bytes.
    #[must_use]
    pub const fn of_challenge(bytes: usize) -> Option<Self> {
        match bytes {
            8 => Some(Self::S8),
            16 => Some(Self::S16),
            _ => None,
        }
    }
}

/// The `i` parameter: what this card's SCP03 can do (Amendment D §5.1). Response MAC and encryption are always
/// among it here, so it is one of 60, 61, 70 and 71.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parameters(u8);

impl Parameters {
    const S16: u8 = 0x01;
    const PSEUDO_RANDOM: u8 = 0x10;
    const R_MAC: u8 = 0x20;
    const R_ENC: u8 = 0x40;

    /// The parameters of this mode and kind of card challenge.
    #[must_use]
    pub const fn new(mode: Mode, pseudo_random: bool) -> Self {
        let mode = match mode {
            Mode::S8 => 0,
            Mode::S16 => Self::S16,
        };
        let challenge = if pseudo_random { Self::PSEUDO_RANDOM } else { 0 };
        Self(mode | challenge | Self::R_MAC | Self::R_ENC)
    }

    /// The parameters a card named; `None` for bits reserved, or R-ENC without R-MAC.
    #[must_use]
    pub const fn from_byte(i: u8) -> Option<Self> {
        let known = Self::S16 | Self::PSEUDO_RANDOM | Self::R_MAC | Self::R_ENC;
        if i & !known != 0 || i & (Self::R_MAC | Self::R_ENC) == Self::R_ENC { None } else { Some(Self(i)) }
    }

    /// `i` on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// S8 or S16.
    #[must_use]
    pub const fn mode(self) -> Mode {
        if self.0 & Self::S16 != 0 { Mode::S16 } else { Mode::S8 }
    }

    /// Whether the card challenge follows from a sequence counter, which the answer then carries.
    #[must_use]
    pub const fn is_pseudo_random(self) -> bool {
        self.0 & Self::PSEUDO_RANDOM != 0
    }

    /// Whether the card can protect its answers as this level wants.
    #[must_use]
    pub const fn allows(self, level: Level) -> bool {
        (!level.has_r_mac() || self.0 & Self::R_MAC != 0) && (!level.has_r_enc() || self.0 & Self::R_ENC != 0)
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({:02X})", self.0)
    }
}

/// What a session protects: P1 of EXTERNAL AUTHENTICATE (Amendment D §7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Level {
    /// Both ends are known to each other; nothing after that is protected.
    Authenticated = 0x00,
    /// Commands carry a MAC.
    CMac = 0x01,
    /// Commands are encrypted and carry a MAC.
    CMacCEnc = 0x03,
    /// Commands and answers carry a MAC.
    CMacRMac = 0x11,
    /// Commands are encrypted; commands and answers carry a MAC.
    CMacCEncRMac = 0x13,
    /// Commands and answers are encrypted and carry a MAC. What the cloud uses.
    Full = 0x33,
}

impl Level {
    /// Every level there is.
    pub const ALL: [Self; 6] =
        [Self::Authenticated, Self::CMac, Self::CMacCEnc, Self::CMacRMac, Self::CMacCEncRMac, Self::Full];

    /// The level this byte stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x00 => Self::Authenticated,
            0x01 => Self::CMac,
            0x03 => Self::CMacCEnc,
            0x11 => Self::CMacRMac,
            0x13 => Self::CMacCEncRMac,
            0x33 => Self::Full,
            _ => return None,
        })
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }

    /// Whether commands carry a MAC.
    #[must_use]
    pub const fn has_c_mac(self) -> bool {
        self.to_byte() & 0x01 != 0
    }

    /// Whether command data are encrypted.
    #[must_use]
    pub const fn has_c_enc(self) -> bool {
        self.to_byte() & 0x02 != 0
    }

    /// Whether answers carry a MAC.
    #[must_use]
    pub const fn has_r_mac(self) -> bool {
        self.to_byte() & 0x10 != 0
    }

    /// Whether answer data are encrypted.
    #[must_use]
    pub const fn has_r_enc(self) -> bool {
        self.to_byte() & 0x20 != 0
    }
}

/// Why the secure channel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A key is not 16, 24 or 32 bytes long, or the keys of a set differ in length.
    BadKeyLength,
    /// A challenge has the wrong length for the mode.
    BadChallenge,
    /// The command is no well-formed EXTERNAL AUTHENTICATE.
    BadAuthenticate,
    /// The security level does not exist, or the card cannot do it.
    BadLevel,
    /// The answer to INITIALIZE UPDATE is malformed or not of SCP03.
    BadInitializeUpdate,
    /// The card does not know the keys. Not a session error: nothing was open.
    CardCryptogram,
    /// The host does not know the keys.
    HostCryptogram,
    /// The command does not announce secure messaging, which this session demands. The session stays open.
    NotSecured,
    /// A MAC is wrong or missing; the session is over.
    Mac,
    /// Encrypted data are not whole blocks or not padded by method 2; the session is over.
    Padding,
    /// Called out of order: a second authentication, or an answer without its command.
    OutOfOrder,
    /// The session has ended.
    Closed,
    /// The session's counter is used up; the session is over.
    Exhausted,
    /// The buffer to write to is too small, or what is written would be longer than an APDU.
    NoRoom,
    /// The bytes are no APDU.
    Apdu(apdu::Error),
}

impl Error {
    /// A stable, machine-readable name of this error.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadKeyLength => "scp03_bad_key_length",
            Self::BadChallenge => "scp03_bad_challenge",
            Self::BadAuthenticate => "scp03_bad_authenticate",
            Self::BadLevel => "scp03_bad_level",
            Self::BadInitializeUpdate => "scp03_bad_initialize_update",
            Self::CardCryptogram => "scp03_card_cryptogram",
            Self::HostCryptogram => "scp03_host_cryptogram",
            Self::NotSecured => "scp03_not_secured",
            Self::Mac => "scp03_mac",
            Self::Padding => "scp03_padding",
            Self::OutOfOrder => "scp03_out_of_order",
            Self::Closed => "scp03_closed",
            Self::Exhausted => "scp03_exhausted",
            Self::NoRoom => "scp03_no_room",
            Self::Apdu(inner) => inner.code(),
        }
    }

    /// What a card answers when it met this error.
    #[must_use]
    pub const fn status(self) -> StatusWord {
        match self {
            Self::HostCryptogram => StatusWord::AUTHENTICATION_FAILED,
            Self::BadChallenge | Self::BadAuthenticate | Self::Apdu(_) => StatusWord::WRONG_LENGTH,
            Self::BadLevel => StatusWord::WRONG_P1_P2,
            Self::OutOfOrder => StatusWord::CONDITIONS_OF_USE,
            Self::NotSecured | Self::Mac | Self::Padding | Self::Closed | Self::Exhausted => {
                StatusWord::SECURITY_STATUS
            }
            Self::BadKeyLength | Self::BadInitializeUpdate | Self::CardCryptogram | Self::NoRoom => {
                StatusWord::INTERNAL
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadKeyLength => "the keys are not three AES keys of one length",
            Self::BadChallenge => "a challenge is not 8 or 16 bytes long as the mode wants",
            Self::BadAuthenticate => "the command is no EXTERNAL AUTHENTICATE of this mode",
            Self::BadLevel => "the security level does not exist or is not supported",
            Self::BadInitializeUpdate => "the answer to INITIALIZE UPDATE is malformed",
            Self::CardCryptogram => "the card does not hold the keys expected",
            Self::HostCryptogram => "the host does not hold the keys expected",
            Self::NotSecured => "the command is not secured, and this session demands it",
            Self::Mac => "a MAC is wrong or missing, the session is over",
            Self::Padding => "encrypted data are malformed, the session is over",
            Self::OutOfOrder => "a step of the secure channel came out of order",
            Self::Closed => "the secure channel is closed",
            Self::Exhausted => "the secure channel's counter is used up",
            Self::NoRoom => "the buffer is too small for the protected data",
            Self::Apdu(inner) => return inner.fmt(f),
        })
    }
}

impl core::error::Error for Error {}

impl From<apdu::Error> for Error {
    fn from(inner: apdu::Error) -> Self {
        match inner {
            apdu::Error::NoRoom | apdu::Error::TooLong => Self::NoRoom,
            other => Self::Apdu(other),
        }
    }
}
