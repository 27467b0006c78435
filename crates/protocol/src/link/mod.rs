//! Carrying messages over a narrow link, such as BLE notifications of 20 bytes: a message is cut into frames,
//! and put together again at the other end.
//!
//! Guarantees: the receiver yields exactly the messages that were sent, or an error: a frame lost, repeated,
//! reordered or damaged never makes another message (up to the 1 in 65,536 of a 16-bit check; whoever forges on
//! purpose is stopped by the secure channel). After an error it waits for the beginning of a message and asks
//! for the lost one again. The byte layout is in `spec/relay.md` §5.

mod crc;
mod fragment;
mod reassemble;

pub use crc::crc16;
pub use fragment::Fragments;
pub use reassemble::{Reassembler, Received};

use core::fmt;

/// Bytes of a frame header: message number (1), last flag and fragment index (2), message length (2).
pub const HEADER_BYTES: usize = 5;
/// The shortest frame a link may have, in bytes: a BLE notification without a larger MTU.
pub const MIN_FRAME_BYTES: usize = 20;
/// The longest frame used, in bytes.
pub const MAX_FRAME_BYTES: usize = 512;
/// Bytes of the check that follows a message.
pub const CHECK_BYTES: usize = 2;

/// The bit that marks the last frame of a message.
const LAST: u16 = 0x8000;

/// Why a message could not be cut or put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The frame is shorter than its header, longer than [`MAX_FRAME_BYTES`], or contradicts itself.
    BadFrame,
    /// The frame is not the next of the message being received.
    OutOfOrder,
    /// The message is longer than the receiver can hold, or longer than a frame header can say.
    TooLong,
    /// The check does not match the message.
    Check,
    /// The frame size of the link is not 20 to 512 bytes.
    BadFrameSize,
    /// A message to send is empty.
    Empty,
    /// The buffer for the frame is too small.
    NoRoom,
}

impl Error {
    /// A stable, machine-readable name of this error.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadFrame => "link_bad_frame",
            Self::OutOfOrder => "link_out_of_order",
            Self::TooLong => "link_too_long",
            Self::Check => "link_check",
            Self::BadFrameSize => "link_bad_frame_size",
            Self::Empty => "link_empty",
            Self::NoRoom => "link_no_room",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadFrame => "the frame is malformed",
            Self::OutOfOrder => "a frame was lost, repeated or reordered",
            Self::TooLong => "the message is too long",
            Self::Check => "the message was damaged on its way",
            Self::BadFrameSize => "a link's frames are 20 to 512 bytes long",
            Self::Empty => "an empty message cannot be sent",
            Self::NoRoom => "the buffer for the frame is too small",
        })
    }
}

impl core::error::Error for Error {}

/// The frame that asks the other end to send a message again: a header that announces no bytes.
#[must_use]
pub const fn resend_request(number: u8) -> [u8; HEADER_BYTES] {
    Header { number, last: true, index: 0, message_bytes: 0 }.to_bytes()
}

/// What stands before every fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// The message's number; the sender counts up and wraps.
    number: u8,
    last: bool,
    index: u16,
    message_bytes: u16,
}

impl Header {
    const fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let flags = if self.last { LAST } else { 0 };
        let [index_high, index_low] = (self.index & !LAST | flags).to_be_bytes();
        let [length_high, length_low] = self.message_bytes.to_be_bytes();
        [self.number, index_high, index_low, length_high, length_low]
    }

    const fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        let [number, index_high, index_low, length_high, length_low] = bytes;
        let index = u16::from_be_bytes([index_high, index_low]);
        Self {
            number,
            last: index & LAST != 0,
            index: index & !LAST,
            message_bytes: u16::from_be_bytes([length_high, length_low]),
        }
    }
}
