//! A frame: `A5 ‖ kind ‖ sequence ‖ length (2) ‖ payload ‖ CRC-16 (2)`, and finding frames in a stream of bytes.

use zeroize::Zeroize;

/// What a frame begins with.
const SYNC: u8 = 0xA5;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 5;
/// The longest payload, in bytes: any short APDU, and any answer to one.
pub const MAX_PAYLOAD_BYTES: usize = 300;
/// Bytes of the check, CRC-16/IBM-3740 over everything before it but the first byte.
const CHECK_BYTES: usize = 2;
/// The longest frame, in bytes.
pub const MAX_FRAME_BYTES: usize = HEADER_BYTES + MAX_PAYLOAD_BYTES + CHECK_BYTES;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Host to chip: reset, and count from this sequence number on.
    Reset = 0x01,
    /// Chip to host: the answer to [`Kind::Reset`] and [`Kind::Create`]: version, [`State`].
    Ready = 0x02,
    /// Host to chip: a command APDU.
    Command = 0x03,
    /// Chip to host: the command has arrived and is being run.
    Accepted = 0x04,
    /// Chip to host: the response APDU.
    Answer = 0x05,
    /// Host to chip, in the factory: make a blank chip in flash that holds none.
    Create = 0x06,
    /// Host to chip: a question to an image built for measuring.
    Measure = 0x10,
    /// Chip to host: the answer to [`Kind::Measure`]; empty from an image that is not built for it.
    Measured = 0x11,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Reset,
            0x02 => Self::Ready,
            0x03 => Self::Command,
            0x04 => Self::Accepted,
            0x05 => Self::Answer,
            0x06 => Self::Create,
            0x10 => Self::Measure,
            0x11 => Self::Measured,
            _ => return None,
        })
    }
}

/// What the chip found when it was powered up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// A chip that answers commands.
    Works = 0,
    /// Flash without a chip in it.
    NotCreated = 1,
    /// Flash whose content is damaged.
    Damaged = 2,
    /// Flash that can't be read or written.
    FlashFailed = 3,
    /// A known answer that did not come out.
    SelfTestFailed = 4,
}

impl State {
    /// The state this byte stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Works,
            1 => Self::NotCreated,
            2 => Self::Damaged,
            3 => Self::FlashFailed,
            4 => Self::SelfTestFailed,
            _ => return None,
        })
    }
}

/// A frame, its payload borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its number.
    pub sequence: u8,
    /// What it carries.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Hands the bytes of the frame to `send`, in three pieces; nothing of it needs to be copied.
    pub fn send(&self, mut send: impl FnMut(&[u8])) {
        let length = self.payload.len().min(MAX_PAYLOAD_BYTES);
        let payload = self.payload.get(..length).unwrap_or_default();
        let [high, low] = (length as u16).to_be_bytes();
        let header = [SYNC, self.kind as u8, self.sequence, high, low];
        let check = crc16(header.iter().skip(1).chain(payload));
        send(&header);
        send(payload);
        send(&check.to_be_bytes());
    }
}

/// Finds frames in a stream of bytes. What is damaged, or belongs to no frame, is skipped.
#[derive(Debug)]
pub struct Receiver {
    buffer: [u8; MAX_FRAME_BYTES],
    used: usize,
    /// The buffer holds a whole frame that was given out: the next byte begins anew.
    is_done: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// Nothing received yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: [0; MAX_FRAME_BYTES], used: 0, is_done: false }
    }

    /// Takes the next byte, and gives the frame it completes. What was received before is wiped: it may have
    /// been a passcode.
    pub fn push(&mut self, byte: u8) -> Option<Frame<'_>> {
        if self.is_done {
            self.forget();
        }
        if self.used == 0 && byte != SYNC {
            return None;
        }
        if let Some(place) = self.buffer.get_mut(self.used) {
            *place = byte;
            self.used += 1;
        }
        let total = self.total()?;
        if total > MAX_FRAME_BYTES {
            self.forget();
            return None;
        }
        if self.used < total {
            return None;
        }
        self.is_done = true;
        let frame = self.buffer.get(1..total)?;
        let (content, check) = frame.split_last_chunk::<CHECK_BYTES>()?;
        let (&[kind, sequence, _, _], payload) = content.split_first_chunk()?;
        if crc16(content.iter()) != u16::from_be_bytes(*check) {
            return None;
        }
        Some(Frame { kind: Kind::from_byte(kind)?, sequence, payload })
    }

    /// Bytes of the frame being received, once its header is there.
    fn total(&self) -> Option<usize> {
        let header = self.buffer.get(..self.used)?.first_chunk::<HEADER_BYTES>()?;
        Some(HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]])) + CHECK_BYTES)
    }

    fn forget(&mut self) {
        if let Some(used) = self.buffer.get_mut(..self.used) {
            used.zeroize();
        }
        self.used = 0;
        self.is_done = false;
    }
}

/// CRC-16/IBM-3740, over bytes that need not lie together. Bit by bit: a table would cost 512 bytes of flash.
fn crc16<'a>(bytes: impl Iterator<Item = &'a u8>) -> u16 {
    bytes.fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_the_one_of_the_catalogue() {
        assert_eq!(crc16(b"123456789".iter()), 0x29B1);
    }

    fn bytes(frame: Frame<'_>) -> ([u8; MAX_FRAME_BYTES], usize) {
        let (mut all, mut used) = ([0; MAX_FRAME_BYTES], 0);
        frame.send(|bytes| {
            all[used..used + bytes.len()].copy_from_slice(bytes);
            used += bytes.len();
        });
        (all, used)
    }

    #[test]
    fn a_frame_has_the_bytes_of_the_specification() {
        let (all, used) = bytes(Frame { kind: Kind::Command, sequence: 7, payload: &[0x00, 0xCA, 0x9F, 0x70, 0x00] });
        assert_eq!(all[..used], [0xA5, 0x03, 0x07, 0x00, 0x05, 0x00, 0xCA, 0x9F, 0x70, 0x00, 0x36, 0x71]);
    }

    #[test]
    fn a_frame_is_found_behind_anything_that_was_cut_short() {
        let (whole, used) = bytes(Frame { kind: Kind::Answer, sequence: 9, payload: &[1; 40] });
        for cut in 0..used {
            let mut receiver = Receiver::new();
            let stream = whole[..cut].iter().chain(&[0; MAX_FRAME_BYTES]);
            for byte in stream {
                assert!(receiver.push(*byte).is_none());
            }
            let found = whole[..used].iter().filter_map(|byte| receiver.push(*byte).map(|frame| frame.sequence));
            assert_eq!(found.last(), Some(9), "cut after {cut}");
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let (whole, used) = bytes(Frame { kind: Kind::Answer, sequence: 9, payload: &[0x90, 0x00] });
        for bit in 0..used * 8 {
            let mut damaged = whole;
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut receiver = Receiver::new();
            assert!(damaged[..used].iter().all(|byte| receiver.push(*byte).is_none()), "bit {bit}");
        }
    }
}
