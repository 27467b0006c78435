//! The host's end of the line: sends a command, waits, sends it again, and gives up after a known time.

use core::fmt;
use core::time::Duration;

use crate::frame::{Frame, Kind, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES, Receiver, State};

/// How long the chip may take to say that a frame has arrived.
pub const ACCEPT_WITHIN: Duration = Duration::from_millis(1_000);
/// How long it may take to answer, from then on.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How often a frame is sent, at most.
pub const MAX_TRIES: u32 = 5;
/// Bytes taken from the line while waiting for one answer, at most.
const MAX_BYTES_PER_ANSWER: usize = 16 * MAX_FRAME_BYTES;

/// The line, as the host sees it.
pub trait Wire {
    /// Why it can't be used any more.
    type Error;

    /// Sends all of these bytes.
    ///
    /// # Errors
    /// The line is gone.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Waits for the next byte, for so long at most; `None` when none came.
    ///
    /// # Errors
    /// The line is gone.
    fn receive(&mut self, within: Duration) -> Result<Option<u8>, Self::Error>;
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The line is gone.
    Wire(E),
    /// The chip did not answer, however often it was asked. Reset it before going on: the command may have been run.
    Silent,
    /// The command or the room for the answer is too long, or too short.
    TooLong,
    /// The chip speaks another version of this protocol.
    Version,
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::Silent => f.write_str("the chip does not answer"),
            Self::TooLong => f.write_str("a command or answer is longer than a frame"),
            Self::Version => f.write_str("the chip speaks another version of the serial protocol"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}

/// The host's end.
#[derive(Debug)]
pub struct HostEnd<W> {
    wire: W,
    receiver: Receiver,
    sequence: u8,
}

impl<W: Wire> HostEnd<W> {
    /// The host's end of this line. [`HostEnd::reset`] comes first.
    pub const fn new(wire: W) -> Self {
        Self { wire, receiver: Receiver::new(), sequence: 0 }
    }

    /// The line itself.
    pub const fn wire_mut(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Resets the chip and agrees on the sequence number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn reset(&mut self) -> Result<State, Error<W::Error>> {
        self.ready(Kind::Reset)
    }

    /// Has a blank chip made, where there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn create(&mut self) -> Result<State, Error<W::Error>> {
        self.ready(Kind::Create)
    }

    /// Sends a command APDU and gives the length of its answer, which is in `answer`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, Error<W::Error>> {
        self.ask(Kind::Command, Kind::Answer, command, answer)
    }

    /// Asks an image built for measuring.
    ///
    /// # Errors
    /// [`Error`].
    pub fn measure(&mut self, question: &[u8], answer: &mut [u8]) -> Result<usize, Error<W::Error>> {
        self.ask(Kind::Measure, Kind::Measured, question, answer)
    }

    fn ready(&mut self, kind: Kind) -> Result<State, Error<W::Error>> {
        let mut answer = [0; 2];
        let length = self.ask(kind, Kind::Ready, &[], &mut answer)?;
        match (length, answer) {
            (2, [crate::VERSION, state]) => State::from_byte(state).ok_or(Error::Version),
            _ => Err(Error::Version),
        }
    }

    /// Sends a frame until it is answered.
    fn ask(&mut self, kind: Kind, wanted: Kind, payload: &[u8], into: &mut [u8]) -> Result<usize, Error<W::Error>> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLong);
        }
        self.sequence = self.sequence.wrapping_add(1);
        for attempt in 0..MAX_TRIES {
            if attempt > 0 {
                // Whatever frame was cut short at the other end, this is its end.
                self.wire.send(&[0; MAX_FRAME_BYTES]).map_err(Error::Wire)?;
            }
            self.send(Frame { kind, sequence: self.sequence, payload })?;
            if let Some(length) = self.wait(wanted, into)? {
                return Ok(length);
            }
        }
        Err(Error::Silent)
    }

    fn send(&mut self, frame: Frame<'_>) -> Result<(), Error<W::Error>> {
        let (mut bytes, mut used) = ([0; MAX_FRAME_BYTES], 0);
        frame.send(|part| {
            if let Some(to) = bytes.get_mut(used..used + part.len()) {
                to.copy_from_slice(part);
                used += part.len();
            }
        });
        self.wire.send(bytes.get(..used).unwrap_or_default()).map_err(Error::Wire)
    }

    /// Waits for the answer of this kind; `None` when it is time to send again.
    fn wait(&mut self, wanted: Kind, into: &mut [u8]) -> Result<Option<usize>, Error<W::Error>> {
        let mut within = ACCEPT_WITHIN;
        for _ in 0..MAX_BYTES_PER_ANSWER {
            let Some(byte) = self.wire.receive(within).map_err(Error::Wire)? else {
                return Ok(None);
            };
            let Some(frame) = self.receiver.push(byte) else { continue };
            if frame.sequence != self.sequence {
                continue;
            }
            if frame.kind == Kind::Accepted {
                within = ANSWER_WITHIN;
            } else if frame.kind == wanted {
                let to = into.get_mut(..frame.payload.len()).ok_or(Error::TooLong)?;
                to.copy_from_slice(frame.payload);
                return Ok(Some(to.len()));
            }
        }
        Ok(None)
    }
}
