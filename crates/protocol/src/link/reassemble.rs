//! Putting a message together from frames, in a buffer of fixed size. The frames of one message must arrive
//! whole and in order; anything else drops what was collected.

use super::{CHECK_BYTES, Error, HEADER_BYTES, Header, MAX_FRAME_BYTES, crc16};
use core::fmt;

/// What a frame brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing yet: more frames are to come.
    Incomplete,
    /// The last frame of a message, which is whole.
    Message {
        /// Its number.
        number: u8,
        /// The message.
        bytes: &'a [u8],
    },
    /// The other end asks for a message again.
    ResendRequested {
        /// Its number.
        number: u8,
    },
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("Incomplete"),
            Self::Message { number, bytes } => write!(f, "Message({number}, {} bytes)", bytes.len()),
            Self::ResendRequested { number } => write!(f, "ResendRequested({number})"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between messages.
    Idle,
    /// In a message: its number, its length, and the index of the frame that must come next.
    Receiving { number: u8, message_bytes: u16, next: u16 },
    /// A message was lost, and said to be; what is left of it is passed over in silence.
    Skipping,
}

/// Collects frames into messages of up to `N` bytes.
pub struct Reassembler<const N: usize> {
    buffer: [u8; N],
    check: [u8; CHECK_BYTES],
    /// Bytes of message and check collected.
    collected: usize,
    state: State,
}

impl<const N: usize> Reassembler<N> {
    /// Waits for the beginning of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: [0; N], check: [0; CHECK_BYTES], collected: 0, state: State::Idle }
    }

    /// Forgets what was collected: the link was lost.
    pub fn reset(&mut self) {
        self.state = State::Idle;
        self.collected = 0;
    }

    /// Takes a frame. The first frame of a message always begins that message, whatever was going on.
    ///
    /// # Errors
    /// [`Error::BadFrame`], [`Error::OutOfOrder`], [`Error::TooLong`], [`Error::Check`]: what was collected is
    /// dropped; the receiver sends [`super::resend_request`]. One lost message gives one error: its remaining
    /// frames are [`Received::Incomplete`].
    pub fn accept(&mut self, frame: &[u8]) -> Result<Received<'_>, Error> {
        match self.collect(frame) {
            Ok(Step::More) => Ok(Received::Incomplete),
            Ok(Step::Resend(number)) => Ok(Received::ResendRequested { number }),
            Ok(Step::Whole(number, message_bytes)) => {
                self.reset();
                let bytes = self.buffer.get(..message_bytes).ok_or(Error::TooLong)?;
                Ok(Received::Message { number, bytes })
            }
            Err(error) => {
                self.state = State::Skipping;
                self.collected = 0;
                Err(error)
            }
        }
    }

    fn collect(&mut self, frame: &[u8]) -> Result<Step, Error> {
        if frame.len() > MAX_FRAME_BYTES {
            return Err(Error::BadFrame);
        }
        let (header, body) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(Error::BadFrame)?;
        let header = Header::from_bytes(*header);
        if header.message_bytes == 0 {
            let is_request = header.index == 0 && header.last && body.is_empty();
            return if is_request { Ok(Step::Resend(header.number)) } else { Err(Error::BadFrame) };
        }
        if !self.is_next(&header)? {
            return Ok(Step::More);
        }
        self.append(body, usize::from(header.message_bytes))?;
        let is_whole = self.collected == usize::from(header.message_bytes) + CHECK_BYTES;
        if is_whole != header.last {
            return Err(Error::BadFrame);
        }
        if !is_whole {
            self.state = State::Receiving {
                number: header.number,
                message_bytes: header.message_bytes,
                next: header.index.checked_add(1).ok_or(Error::BadFrame)?,
            };
            return Ok(Step::More);
        }
        let message = self.buffer.get(..usize::from(header.message_bytes)).ok_or(Error::TooLong)?;
        if crc16(message).to_be_bytes() != self.check {
            return Err(Error::Check);
        }
        Ok(Step::Whole(header.number, message.len()))
    }

    /// Whether the frame belongs to what is being received; `false` for one to pass over.
    fn is_next(&mut self, header: &Header) -> Result<bool, Error> {
        if header.index == 0 {
            if usize::from(header.message_bytes) > N {
                return Err(Error::TooLong);
            }
            self.collected = 0;
            return Ok(true);
        }
        match self.state {
            State::Skipping => Ok(false),
            State::Receiving { number, message_bytes, next }
                if (number, message_bytes, next) == (header.number, header.message_bytes, header.index) =>
            {
                Ok(true)
            }
            State::Idle | State::Receiving { .. } => Err(Error::OutOfOrder),
        }
    }

    /// Appends to the message and, past its end, to the check.
    fn append(&mut self, body: &[u8], message_bytes: usize) -> Result<(), Error> {
        if body.is_empty() {
            return Err(Error::BadFrame);
        }
        for byte in body {
            let place = match self.collected.checked_sub(message_bytes) {
                None => self.buffer.get_mut(self.collected),
                Some(past) => self.check.get_mut(past),
            };
            *place.ok_or(Error::BadFrame)? = *byte;
            self.collected += 1;
        }
        Ok(())
    }
}

impl<const N: usize> Default for Reassembler<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for Reassembler<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reassembler").field("state", &self.state).field("collected", &self.collected).finish()
    }
}

enum Step {
    More,
    Whole(u8, usize),
    Resend(u8),
}
