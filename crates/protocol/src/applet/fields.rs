//! Reading the objects of a template: each at most once, each with its exact length. The check runs over the
//! whole template before any field is taken, and needs no memory besides the borrowed bytes.

use super::{Error, MAX_LABEL_BYTES, MAX_UNIX_SECONDS};
use tlv::{Reader, Tag};

/// A template whose objects are well-formed and unique.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    objects: &'a [u8],
}

impl<'a> Fields<'a> {
    /// An order to the chip: objects outside `known` are refused, since skipping one would obey half an order.
    pub(super) fn of_order(objects: &'a [u8], known: &[Tag]) -> Result<Self, Error> {
        let fields = Self::of_answer(objects)?;
        for element in Reader::new(objects) {
            let tag = element?.tag;
            if !known.contains(&tag) {
                return Err(Error::Unexpected(tag));
            }
        }
        Ok(fields)
    }

    /// An answer of the chip: objects not known are skipped, so that a newer chip can say more.
    pub(super) fn of_answer(objects: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(objects);
        while let Some(element) = reader.next() {
            let tag = element?.tag;
            for later in reader.clone() {
                if later?.tag == tag {
                    return Err(Error::Duplicate(tag));
                }
            }
        }
        Ok(Self { objects })
    }

    pub(super) fn optional(&self, tag: Tag) -> Result<Option<&'a [u8]>, Error> {
        Ok(tlv::find(self.objects, tag)?)
    }

    pub(super) fn required(&self, tag: Tag) -> Result<&'a [u8], Error> {
        self.optional(tag)?.ok_or(Error::Missing(tag))
    }

    pub(super) fn array<const N: usize>(&self, tag: Tag) -> Result<&'a [u8; N], Error> {
        exact(tag, self.required(tag)?)
    }

    pub(super) fn optional_array<const N: usize>(&self, tag: Tag) -> Result<Option<&'a [u8; N]>, Error> {
        self.optional(tag)?.map(|value| exact(tag, value)).transpose()
    }

    pub(super) fn byte(&self, tag: Tag) -> Result<u8, Error> {
        self.array::<1>(tag).map(|[byte]| *byte)
    }

    pub(super) fn u16(&self, tag: Tag) -> Result<u16, Error> {
        self.array(tag).map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(super) fn u32(&self, tag: Tag) -> Result<u32, Error> {
        self.array(tag).map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(super) fn u64(&self, tag: Tag) -> Result<u64, Error> {
        self.array(tag).map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Unix seconds that a 32-bit time step can express.
    pub(super) fn unix_seconds(&self, tag: Tag) -> Result<u64, Error> {
        self.u64(tag).and_then(|seconds| unix_seconds(tag, seconds))
    }

    /// A value that `read` makes of the object's one byte.
    pub(super) fn one_of<T>(&self, tag: Tag, read: impl FnOnce(u8) -> Option<T>) -> Result<T, Error> {
        read(self.byte(tag)?).ok_or(Error::BadValue(tag))
    }
}

pub(super) fn exact<const N: usize>(tag: Tag, value: &[u8]) -> Result<&[u8; N], Error> {
    value.try_into().map_err(|_| Error::BadValue(tag))
}

pub(super) fn unix_seconds(tag: Tag, seconds: u64) -> Result<u64, Error> {
    if seconds <= MAX_UNIX_SECONDS { Ok(seconds) } else { Err(Error::BadValue(tag)) }
}

/// An account label: it goes on the wearer's screen, so control characters are refused.
pub(super) fn label(tag: Tag, value: &[u8]) -> Result<&str, Error> {
    let text = core::str::from_utf8(value).map_err(|_| Error::BadValue(tag))?;
    if text.is_empty() || text.len() > MAX_LABEL_BYTES || text.chars().any(char::is_control) {
        return Err(Error::BadValue(tag));
    }
    Ok(text)
}

/// Whether these are ASCII decimal digits, as many as `lengths` allows.
pub(super) fn is_digits(value: &[u8], lengths: core::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

/// ASCII decimal digits, as many as `lengths` allows.
pub(super) fn digits(tag: Tag, value: &[u8], lengths: core::ops::RangeInclusive<usize>) -> Result<&str, Error> {
    ensure(tag, is_digits(value, lengths))?;
    core::str::from_utf8(value).map_err(|_| Error::BadValue(tag))
}

/// Checks that a value about to be written is one that would be read back.
pub(super) fn ensure(tag: Tag, holds: bool) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::BadValue(tag)) }
}
