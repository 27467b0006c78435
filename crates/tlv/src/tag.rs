//! A tag of one to three bytes. A `Tag` that exists is well-formed.

use crate::Error;
use core::fmt;

/// A BER tag of one to three bytes, held as the number its bytes spell: `0x9F70` is the tag `9F 70`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u32);

impl Tag {
    /// A tag known when the program is written. Meant for `const` items, where a wrong number does not
    /// compile; [`Tag::from_u32`] is the way for numbers that arrive at run time.
    ///
    /// # Panics
    /// When the number is no well-formed tag.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        assert!(is_tag(number), "not a BER tag of one to three bytes");
        Self(number)
    }

    /// A tag from a number that may not be one.
    ///
    /// # Errors
    /// [`Error::BadTag`] when the number is no well-formed tag of one to three bytes.
    pub const fn from_u32(number: u32) -> Result<Self, Error> {
        if is_tag(number) { Ok(Self(number)) } else { Err(Error::BadTag) }
    }

    /// The number the tag's bytes spell, big-endian.
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// How many bytes the tag takes: 1, 2 or 3.
    #[must_use]
    pub const fn encoded_bytes(self) -> usize {
        match self.0 {
            0..=0xFF => 1,
            0x100..=0xFFFF => 2,
            _ => 3,
        }
    }

    /// Whether the value is itself made of TLV objects (bit b6 of the first byte).
    #[must_use]
    pub const fn is_constructed(self) -> bool {
        (self.0 >> (8 * (self.encoded_bytes() - 1))) & 0x20 != 0
    }

    /// Takes a tag off the front of `data`; gives the tag and the rest.
    pub(crate) fn split_from(data: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (&first, mut rest) = data.split_first().ok_or(Error::Truncated)?;
        let mut number = u32::from(first);
        if first & 0x1F == 0x1F {
            loop {
                let (&byte, after) = rest.split_first().ok_or(Error::Truncated)?;
                if number > 0xFFFF {
                    return Err(Error::BadTag);
                }
                number = number << 8 | u32::from(byte);
                rest = after;
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        Ok((Self::from_u32(number)?, rest))
    }

    /// Big-endian bytes, right-aligned; the last [`Tag::encoded_bytes`] of them are the tag.
    pub(crate) const fn padded_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

/// ISO/IEC 8825-1 §8.1.2: a first byte ending in five ones announces more; each of them but the last has
/// bit b8 set, and the number does not begin with an empty group (`80`). `00` is padding, not a tag.
const fn is_tag(number: u32) -> bool {
    let [zero, a, b, c] = number.to_be_bytes();
    if zero != 0 {
        return false;
    }
    if a != 0 {
        return a & 0x1F == 0x1F && b & 0x80 != 0 && b != 0x80 && c & 0x80 == 0;
    }
    if b != 0 {
        return b & 0x1F == 0x1F && c & 0x80 == 0;
    }
    c != 0 && c & 0x1F != 0x1F
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$X}", self.0, width = 2 * self.encoded_bytes())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}
