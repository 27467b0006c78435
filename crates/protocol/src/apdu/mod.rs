//! APDUs of ISO/IEC 7816-4: reading and writing commands (all cases, short and extended) and responses.
//! Reading borrows and never looks past the bytes given; a command that was read can be written again.

mod class;
mod status;

pub use class::Class;
pub use status::StatusWord;

use core::fmt;

/// Bytes of a command header: CLA, INS, P1, P2.
pub const HEADER_BYTES: usize = 4;
/// The longest data field of a short command, in bytes.
pub const MAX_SHORT_DATA_BYTES: usize = 255;
/// The longest data field of an extended command, in bytes.
pub const MAX_EXTENDED_DATA_BYTES: usize = 65_535;
/// The longest answer a short Le can ask for, in bytes (Le byte `00`).
pub const MAX_SHORT_LE: u32 = 256;
/// The longest answer an extended Le can ask for, in bytes (Le bytes `00 00`).
pub const MAX_EXTENDED_LE: u32 = 65_536;

/// Why an APDU could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Error {
    /// A command shorter than its four header bytes, or a response without a status word.
    TooShort,
    /// The length fields contradict the length of the whole.
    BadLength,
    /// Data or Le beyond what an APDU can carry.
    TooLong,
    /// The buffer to write to is too small.
    NoRoom,
}

impl Error {
    /// A stable, machine-readable name of this error.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooShort => "apdu_too_short",
            Self::BadLength => "apdu_bad_length",
            Self::TooLong => "apdu_too_long",
            Self::NoRoom => "apdu_no_room",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "the APDU is shorter than its header or its status word",
            Self::BadLength => "the length fields of the APDU contradict its length",
            Self::TooLong => "the APDU would carry more than 65,535 bytes or ask for more than 65,536",
            Self::NoRoom => "the buffer for the APDU is too small",
        })
    }
}

impl core::error::Error for Error {}

/// A command APDU (ISO/IEC 7816-4 §5.1).
///
/// `Debug` shows header and lengths only: the data may hold a passcode or a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// CLA.
    pub class: Class,
    /// INS.
    pub instruction: u8,
    /// P1.
    pub p1: u8,
    /// P2.
    pub p2: u8,
    /// The data field; empty when there is none.
    pub data: &'a [u8],
    /// How many bytes of answer are asked for (1 to 65,536); `None` when Le is absent.
    pub le: Option<u32>,
}

impl<'a> Command<'a> {
    /// A command with neither data nor Le.
    #[must_use]
    pub const fn new(class: u8, instruction: u8, p1: u8, p2: u8) -> Self {
        Self { class: Class(class), instruction, p1, p2, data: &[], le: None }
    }

    /// The same command with this data field.
    #[must_use]
    pub const fn with_data(self, data: &'a [u8]) -> Self {
        Self { data, ..self }
    }

    /// The same command asking for up to `le` bytes; 256 is the short form's "all there is".
    #[must_use]
    pub const fn with_le(self, le: u32) -> Self {
        Self { le: Some(le), ..self }
    }

    /// P1 and P2 as one number, as GET DATA uses them.
    #[must_use]
    pub const fn p1_p2(&self) -> u16 {
        u16::from_be_bytes([self.p1, self.p2])
    }

    /// Reads a command of any case, short or extended.
    ///
    /// # Errors
    /// [`Error::TooShort`], [`Error::BadLength`].
    pub fn parse(apdu: &'a [u8]) -> Result<Self, Error> {
        let parts = Parts::of(apdu)?;
        let [class, instruction, p1, p2] = parts.header;
        let data = apdu.get(parts.data_start..parts.data_end).ok_or(Error::BadLength)?;
        Ok(Self { class: Class(class), instruction, p1, p2, data, le: parts.le })
    }

    /// Writes the command in its shortest form: extended only when data or Le ask for it.
    ///
    /// # Errors
    /// [`Error::TooLong`] when data or Le are beyond an APDU or Le is 0, [`Error::NoRoom`].
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        if self.data.len() > MAX_EXTENDED_DATA_BYTES || self.le.is_some_and(|le| le == 0 || le > MAX_EXTENDED_LE) {
            return Err(Error::TooLong);
        }
        let mut used = 0;
        let mut append = |bytes: &[u8]| -> Result<(), Error> {
            out.get_mut(used..used + bytes.len()).ok_or(Error::NoRoom)?.copy_from_slice(bytes);
            used += bytes.len();
            Ok(())
        };
        append(&[self.class.0, self.instruction, self.p1, self.p2])?;
        let extended = self.needs_extended_form();
        let [.., high, low] = self.data.len().to_be_bytes();
        if !self.data.is_empty() {
            match extended {
                true => append(&[0, high, low])?,
                false => append(&[low])?,
            }
            append(self.data)?;
        }
        if let Some(le) = self.le {
            // 256 and 65,536 become zero by dropping the high bits, as the standard wants.
            let [_, _, high, low] = le.to_be_bytes();
            match (extended, self.data.is_empty()) {
                (false, _) => append(&[low])?,
                (true, true) => append(&[0, high, low])?,
                (true, false) => append(&[high, low])?,
            }
        }
        out.get(..used).ok_or(Error::NoRoom)
    }

    /// How many bytes [`Command::encode`] writes.
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        let extended = self.needs_extended_form();
        let lc = match (self.data.is_empty(), extended) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 3,
        };
        let le = match (self.le, extended) {
            (None, _) => 0,
            (Some(_), false) => 1,
            (Some(_), true) => 2 + self.data.is_empty() as usize,
        };
        HEADER_BYTES + lc + self.data.len() + le
    }

    const fn needs_extended_form(&self) -> bool {
        self.data.len() > MAX_SHORT_DATA_BYTES || matches!(self.le, Some(le) if le > MAX_SHORT_LE)
    }
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Command({:02X} {:02X} {:02X} {:02X}, {} bytes of data, Le {:?})",
            self.class.0,
            self.instruction,
            self.p1,
            self.p2,
            self.data.len(),
            self.le
        )
    }
}

/// Where the parts of a command lie in its bytes; shared with the secure channel, which works in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) header: [u8; HEADER_BYTES],
    pub(crate) data_start: usize,
    pub(crate) data_end: usize,
    pub(crate) le: Option<u32>,
}

impl Parts {
    /// Sorts the bytes into the cases of ISO/IEC 7816-4 §5.2.
    pub(crate) fn of(apdu: &[u8]) -> Result<Self, Error> {
        let (&header, body) = apdu.split_first_chunk::<HEADER_BYTES>().ok_or(Error::TooShort)?;
        let (data_start, data_bytes, le) = match *body {
            // Case 1, case 2 short.
            [] => (HEADER_BYTES, 0, None),
            [le] => (HEADER_BYTES, 0, Some(short_le(le))),
            // Case 2 extended.
            [0, high, low] => (HEADER_BYTES, 0, Some(extended_le(high, low))),
            // Cases 3 and 4 extended.
            [0, high, low, ref rest @ ..] => {
                let data_bytes = usize::from(u16::from_be_bytes([high, low]));
                let after = rest.get(data_bytes..).ok_or(Error::BadLength)?;
                let le = match *after {
                    [] => None,
                    [high, low] => Some(extended_le(high, low)),
                    _ => return Err(Error::BadLength),
                };
                (HEADER_BYTES + 3, data_bytes, le)
            }
            // Cases 3 and 4 short.
            [lc, ref rest @ ..] => {
                let data_bytes = usize::from(lc);
                let after = rest.get(data_bytes..).ok_or(Error::BadLength)?;
                let le = match *after {
                    [] => None,
                    [le] => Some(short_le(le)),
                    _ => return Err(Error::BadLength),
                };
                (HEADER_BYTES + 1, data_bytes, le)
            }
        };
        // A length field that announces no data is not one of the cases.
        if data_bytes == 0 && data_start != HEADER_BYTES {
            return Err(Error::BadLength);
        }
        Ok(Self { header, data_start, data_end: data_start + data_bytes, le })
    }
}

const fn short_le(byte: u8) -> u32 {
    if byte == 0 { MAX_SHORT_LE } else { byte as u32 }
}

const fn extended_le(high: u8, low: u8) -> u32 {
    match u16::from_be_bytes([high, low]) {
        0 => MAX_EXTENDED_LE,
        le => le as u32,
    }
}

/// A response APDU: data and status word (ISO/IEC 7816-4 §5.1).
///
/// `Debug` shows status and length only: the data may hold a payment code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// The data field; empty when there is none.
    pub data: &'a [u8],
    /// SW1 SW2.
    pub status: StatusWord,
}

impl<'a> Response<'a> {
    /// Splits the bytes a card answered into data and status word.
    ///
    /// # Errors
    /// [`Error::TooShort`] when there are fewer than two bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (data, &status) = bytes.split_last_chunk::<2>().ok_or(Error::TooShort)?;
        Ok(Self { data, status: StatusWord::new(u16::from_be_bytes(status)) })
    }

    /// Writes data and status word.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let end = self.data.len();
        out.get_mut(..end).ok_or(Error::NoRoom)?.copy_from_slice(self.data);
        out.get_mut(end..end + 2).ok_or(Error::NoRoom)?.copy_from_slice(&self.status.to_bytes());
        out.get(..end + 2).ok_or(Error::NoRoom)
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} bytes of data, {:?})", self.data.len(), self.status)
    }
}
