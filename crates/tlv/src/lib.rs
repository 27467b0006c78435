//! BER-TLV (ISO/IEC 7816-4 §6.3, EMV Book 3 Annex B): read and write, without a heap.
//!
//! The reader borrows: nothing is copied, nothing past the slice is read, and the first fault ends it.
//! The writer fills a caller's buffer; a `put` that fails leaves what was written before untouched.
//! Every value has one encoding here: lengths are written in the shortest form, and padding bytes
//! (`00`) between objects and indefinite lengths are refused.
//!
//! ```
//! use tlv::{Tag, Writer};
//!
//! const TEMPLATE: Tag = Tag::new(0xE3);
//! const SLOT: Tag = Tag::new(0xC1);
//!
//! let mut buffer = [0; 16];
//! let mut writer = Writer::new(&mut buffer);
//! writer.nest(TEMPLATE, |inner| inner.put(SLOT, &[1]))?;
//! let written = writer.finish();
//! assert_eq!(written, [0xE3, 0x03, 0xC1, 0x01, 0x01]);
//!
//! let template = tlv::find(written, TEMPLATE)?.unwrap_or_default();
//! assert_eq!(tlv::find(template, SLOT)?, Some(&[1][..]));
//! # Ok::<(), tlv::Error>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

mod reader;
mod tag;
mod writer;

pub use reader::{Element, Reader, find, only};
pub use tag::Tag;
pub use writer::Writer;

use core::fmt;

/// The longest value this crate reads or writes, in bytes: what a length field of `82 xx xx` can say.
pub const MAX_VALUE_BYTES: usize = 0xFFFF;

/// Why a TLV text could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Error {
    /// The data end inside a tag, a length or a value.
    Truncated,
    /// A tag is longer than three bytes, is padding (`00`), or is not written in its shortest form.
    BadTag,
    /// A length is indefinite (`80`) or takes more than two bytes (`83` and above).
    BadLength,
    /// One object was expected, and more follows it.
    Trailing,
    /// The buffer being written is full.
    NoRoom,
    /// The value to write is longer than [`MAX_VALUE_BYTES`].
    ValueTooLong,
}

impl Error {
    /// A stable, machine-readable name of this error.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Truncated => "tlv_truncated",
            Self::BadTag => "tlv_bad_tag",
            Self::BadLength => "tlv_bad_length",
            Self::Trailing => "tlv_trailing",
            Self::NoRoom => "tlv_no_room",
            Self::ValueTooLong => "tlv_value_too_long",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the TLV data end inside a tag, a length or a value",
            Self::BadTag => "a TLV tag is longer than three bytes or malformed",
            Self::BadLength => "a TLV length is indefinite or takes more than two bytes",
            Self::Trailing => "something follows the one TLV object expected",
            Self::NoRoom => "the buffer for the TLV data is full",
            Self::ValueTooLong => "a TLV value is longer than 65,535 bytes",
        })
    }
}

impl core::error::Error for Error {}
