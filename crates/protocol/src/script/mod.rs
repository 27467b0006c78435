//! What the cloud sends a wearable through a phone, or straight to a connected device, and what comes back: a
//! `Script` of commands for the chip, the `Results` with the chip's answers, and the `Outcome` to show.
//!
//! Whoever carries these messages neither can nor need read them: what matters inside the commands is protected
//! by the secure channel. Reading borrows, and a message that was decoded is valid throughout; writing fills a
//! caller's buffer. The byte layout and how a lost link is resumed are in `spec/relay.md`.

mod memory;
mod outcome;
mod read;
mod write;

pub use memory::{Memory, Verdict};
pub use outcome::Outcome;
pub use read::{Commands, Message, Responses, Results, Script, ScriptCommand};
pub use write::{ResultsWriter, ScriptWriter};

use core::fmt;

/// Most commands in a script, and so most answers in results.
pub const MAX_COMMANDS: usize = 16;
/// The longest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 2_048;
/// Bytes of a session id.
pub const SESSION_ID_BYTES: usize = 16;
/// The longest answer of the chip, in bytes: 256 of data and the status word.
pub const MAX_ANSWER_BYTES: usize = 258;
/// The longest failure code of an [`Outcome`], in bytes.
pub const MAX_CODE_BYTES: usize = 48;
/// The first byte of every message: the version of this format.
pub const FORMAT_VERSION: u8 = 0x01;

const KIND_SCRIPT: u8 = 0x01;
const KIND_RESULTS: u8 = 0x02;
const KIND_OUTCOME: u8 = 0x03;
const CONTINUE_ON_FAILURE: u8 = 0x01;

/// The name of one piece of work between cloud and chip: random, from the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; SESSION_ID_BYTES]);

/// Why a message could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The message ends before it should, or goes on after it should end.
    BadLength,
    /// The message is of a version of the format not known here.
    UnknownVersion,
    /// The message is of a kind not known here.
    UnknownKind,
    /// A flag, a percentage or a text is out of its range.
    BadValue,
    /// More than [`MAX_COMMANDS`] commands, or none.
    BadCount,
    /// The buffer, or [`MAX_MESSAGE_BYTES`], is full.
    NoRoom,
}

impl Error {
    /// A stable, machine-readable name of this error.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadLength => "script_bad_length",
            Self::UnknownVersion => "script_unknown_version",
            Self::UnknownKind => "script_unknown_kind",
            Self::BadValue => "script_bad_value",
            Self::BadCount => "script_bad_count",
            Self::NoRoom => "script_no_room",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadLength => "the relay message is too short or too long",
            Self::UnknownVersion => "the relay message has an unknown version",
            Self::UnknownKind => "the relay message is of an unknown kind",
            Self::BadValue => "a value in the relay message is out of range",
            Self::BadCount => "a script holds 1 to 16 commands",
            Self::NoRoom => "the relay message does not fit",
        })
    }
}

impl core::error::Error for Error {}
