//! Cutting a message into frames of the link's size.

use super::{CHECK_BYTES, Error, HEADER_BYTES, Header, MAX_FRAME_BYTES, MIN_FRAME_BYTES, crc16};

/// The frames of one message, in the order they are to be sent.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    message: &'a [u8],
    check: [u8; CHECK_BYTES],
    number: u8,
    frame_bytes: usize,
    /// Index of the next frame.
    next: u16,
    /// Bytes of message and check already given out.
    done: usize,
}

impl<'a> Fragments<'a> {
    /// Cuts `message` for a link whose frames hold `frame_bytes` (20 to 512) bytes. The caller gives each new
    /// message the next `number`, wrapping; a message sent again keeps its number.
    ///
    /// # Errors
    /// [`Error::BadFrameSize`], [`Error::Empty`], [`Error::TooLong`] above 65,535 bytes.
    pub fn new(message: &'a [u8], number: u8, frame_bytes: usize) -> Result<Self, Error> {
        if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&frame_bytes) {
            return Err(Error::BadFrameSize);
        }
        if message.is_empty() {
            return Err(Error::Empty);
        }
        if message.len() > usize::from(u16::MAX) {
            return Err(Error::TooLong);
        }
        Ok(Self { message, check: crc16(message).to_be_bytes(), number, frame_bytes, next: 0, done: 0 })
    }

    /// How many frames there are in all.
    #[must_use]
    pub const fn count(&self) -> usize {
        (self.message.len() + CHECK_BYTES).div_ceil(self.frame_bytes - HEADER_BYTES)
    }

    /// Begins again with the first frame, for a message the other end asks for again.
    pub fn rewind(&mut self) {
        self.next = 0;
        self.done = 0;
    }

    /// Writes the next frame to `out`; `None` after the last. A frame that did not fit is given again.
    ///
    /// # Errors
    /// [`Error::NoRoom`] when `out` is shorter than the frame.
    pub fn next_frame<'b>(&mut self, out: &'b mut [u8]) -> Result<Option<&'b [u8]>, Error> {
        let total_bytes = self.message.len() + CHECK_BYTES;
        let left_bytes = total_bytes.saturating_sub(self.done);
        if left_bytes == 0 {
            return Ok(None);
        }
        let body_bytes = left_bytes.min(self.frame_bytes - HEADER_BYTES);
        let frame = out.get_mut(..HEADER_BYTES + body_bytes).ok_or(Error::NoRoom)?;
        let (header, body) = frame.split_first_chunk_mut::<HEADER_BYTES>().ok_or(Error::NoRoom)?;
        let message_bytes = u16::try_from(self.message.len()).map_err(|_| Error::TooLong)?;
        let last = body_bytes == left_bytes;
        *header = Header { number: self.number, last, index: self.next, message_bytes }.to_bytes();
        let rest = self.message.iter().chain(&self.check).skip(self.done);
        body.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.done += body_bytes;
        self.next += 1;
        Ok(Some(frame))
    }
}
