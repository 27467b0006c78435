//! Issuer application data (tag 9F10) of a payment: which code this is, when it was made, and the full
//! counter. One form each: what parses, encodes to the same bytes.

use zeroize::Zeroize;

use super::Error;
use crate::{Code, MAX_CODE_DIGITS, MIN_CODE_DIGITS, Stamp, Suite};

/// The longest issuer data, in bytes: 13 and twelve of digits. EMV allows 32.
pub const MAX_ISSUER_DATA_BYTES: usize = FIXED_BYTES + MAX_CODE_DIGITS / 2;

/// version 1 ‖ suite 1 ‖ flags 1 ‖ counter 4 ‖ step 4 ‖ sequence 1 ‖ total digits 1.
const FIXED_BYTES: usize = 13;
const VERSION: u8 = 1;
const FLAG_VERIFIED: u8 = 1;
/// Fills the last half byte where the number of digits is odd.
const FILLER: u8 = 0xF;

/// What a payment says of itself. Nothing of it is proven before [`Payment::verify`](super::Payment::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerData {
    /// The suite the code and the cryptogram are made with.
    pub suite: Suite,
    /// True where the wearer's passcode session was open.
    pub verified: bool,
    /// The token's transaction counter, all 32 bits of it.
    pub transaction_counter: u32,
    /// When the code was made.
    pub stamp: Stamp,
    /// The code, the same as in the digits beside this QR code.
    pub code: Code,
}

impl IssuerData {
    /// Writes the value of tag 9F10, 22 to 25 bytes.
    pub fn encode<'b>(&self, buffer: &'b mut [u8; MAX_ISSUER_DATA_BYTES]) -> &'b [u8] {
        let digits = self.code.as_bytes();
        buffer[0] = VERSION;
        buffer[1] = self.suite.id();
        buffer[2] = if self.verified { FLAG_VERIFIED } else { 0 };
        buffer[3..7].copy_from_slice(&self.transaction_counter.to_be_bytes());
        buffer[7..12].copy_from_slice(&self.stamp.to_bytes());
        // At most 24.
        buffer[12] = digits.len() as u8;
        let packed = digits.chunks(2).map(|pair| match pair {
            [high, low] => (high - b'0') << 4 | (low - b'0'),
            [high] => (high - b'0') << 4 | FILLER,
            _ => 0,
        });
        buffer[FIXED_BYTES..].iter_mut().zip(packed).for_each(|(to, byte)| *to = byte);
        &buffer[..FIXED_BYTES + digits.len().div_ceil(2)]
    }

    /// Reads the value of tag 9F10.
    ///
    /// # Errors
    /// [`Error::IssuerData`]: another version, an unknown suite, an unknown flag, a sequence above 3, a
    /// length outside 18 to 24, a half byte that is no digit, a wrong filler, too few or too many bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (fixed, packed) = bytes.split_first_chunk::<FIXED_BYTES>().ok_or(Error::IssuerData)?;
        let &[version, suite, flags, c0, c1, c2, c3, s0, s1, s2, s3, sequence, total_digits] = fixed;
        if version != VERSION || flags & !FLAG_VERIFIED != 0 {
            return Err(Error::IssuerData);
        }
        Ok(Self {
            suite: Suite::from_id(suite).ok_or(Error::IssuerData)?,
            verified: flags == FLAG_VERIFIED,
            transaction_counter: u32::from_be_bytes([c0, c1, c2, c3]),
            stamp: Stamp::from_bytes([s0, s1, s2, s3, sequence]).map_err(|_| Error::IssuerData)?,
            code: unpack(packed, usize::from(total_digits))?,
        })
    }
}

/// The code packed two digits a byte, left-justified.
fn unpack(packed: &[u8], total_digits: usize) -> Result<Code, Error> {
    if !(MIN_CODE_DIGITS..=MAX_CODE_DIGITS).contains(&total_digits) || packed.len() != total_digits.div_ceil(2) {
        return Err(Error::IssuerData);
    }
    let mut digits = [0; MAX_CODE_DIGITS];
    let mut halves = packed.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    digits[..total_digits].iter_mut().zip(&mut halves).for_each(|(digit, half)| *digit = b'0' + half);
    let filled = halves.all(|half| half == FILLER);
    // A half byte above 9 has become a character after '9', which the code refuses.
    let code = Code::from_ascii(&digits[..total_digits]);
    digits.zeroize();
    match code {
        Ok(code) if filled => Ok(code),
        _ => Err(Error::IssuerData),
    }
}
