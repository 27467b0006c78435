//! The format of a payment code: its routing prefix and its length, and what follows from them.
//!
//! A [`CodeFormat`] that exists is valid: the prefix is 1 to 8 digits that no other scheme uses, the
//! code has 18 to 24 digits, and what is left for the body is 16 to 22 digits.

use crate::{TokenIndex, decimal::power_of_ten, error::error_enum};

/// The shortest code, in digits.
pub const MIN_CODE_DIGITS: usize = 18;
/// The longest code, in digits.
pub const MAX_CODE_DIGITS: usize = 24;
/// The longest routing prefix, in digits.
pub const MAX_PREFIX_DIGITS: usize = 8;
/// The shortest body (what follows the prefix), in digits.
pub const MIN_BODY_DIGITS: usize = 16;
/// The longest body, in digits.
pub const MAX_BODY_DIGITS: usize = 22;
/// The most digits a token index takes.
pub const MAX_INDEX_DIGITS: usize = 10;

/// Bodies of at least this many digits hold an index of ten digits, shorter ones of nine.
const LONG_BODY_DIGITS: usize = 18;

/// First two digits of codes others have in use: WeChat Pay 10–15, Alipay 25–30, UnionPay 62, e-CNY 01.
const RESERVED: [[u8; 2]; 14] =
    [*b"10", *b"11", *b"12", *b"13", *b"14", *b"15", *b"25", *b"26", *b"27", *b"28", *b"29", *b"30", *b"62", *b"01"];

error_enum! {
    /// Why a prefix and a length are no code format.
    FormatError {
        /// The prefix is empty or longer than [`MAX_PREFIX_DIGITS`].
        PrefixLength = "format_prefix_length", "a prefix has 1 to 8 digits";
        /// The prefix holds something other than ASCII digits.
        PrefixDigit = "format_prefix_digit", "a prefix holds decimal digits only";
        /// Codes with this prefix could be taken for another scheme's.
        PrefixReserved = "format_prefix_reserved",
            "the prefix overlaps a range in use by another scheme (10-15, 25-30, 62, 01)";
        /// The code is shorter than [`MIN_CODE_DIGITS`] or longer than [`MAX_CODE_DIGITS`].
        TotalDigits = "format_total_digits", "a code has 18 to 24 digits";
        /// What is left after the prefix is below [`MIN_BODY_DIGITS`] or above [`MAX_BODY_DIGITS`].
        BodyDigits = "format_body_digits", "prefix and length must leave a body of 16 to 22 digits";
    }
}

/// A valid code format: routing prefix and total number of digits.
///
/// Ordered by length, then by prefix, which is the order a [`RoutingTable`](crate::RoutingTable) wants.
///
/// ```
/// use paycode::CodeFormat;
///
/// let format = CodeFormat::new("71", 20)?;
/// assert_eq!(format, CodeFormat::DEFAULT);
/// assert_eq!((format.index_digits(), format.password_digits()), (10, 8));
/// # Ok::<(), paycode::FormatError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodeFormat {
    total_digits: u8,
    /// ASCII digits, then zero bytes: below any digit, so a prefix sorts just before its extensions.
    prefix: [u8; MAX_PREFIX_DIGITS],
    prefix_digits: u8,
}

impl CodeFormat {
    /// Prefix `71`, 20 digits: the format of an operator who chose none.
    pub const DEFAULT: Self = Self { total_digits: 20, prefix: *b"71\0\0\0\0\0\0", prefix_digits: 2 };

    /// The format with this prefix (ASCII digits) and this many digits in all, prefix included.
    ///
    /// # Errors
    /// The rule that is broken, see [`FormatError`].
    pub fn new(prefix: &str, total_digits: u8) -> Result<Self, FormatError> {
        Self::from_digits(prefix.as_bytes(), total_digits)
    }

    /// The same from bytes.
    ///
    /// # Errors
    /// As [`CodeFormat::new`].
    pub fn from_digits(prefix: &[u8], total_digits: u8) -> Result<Self, FormatError> {
        if !(1..=MAX_PREFIX_DIGITS).contains(&prefix.len()) {
            return Err(FormatError::PrefixLength);
        }
        if !prefix.iter().all(u8::is_ascii_digit) {
            return Err(FormatError::PrefixDigit);
        }
        if overlaps_reserved(prefix) {
            return Err(FormatError::PrefixReserved);
        }
        let total = usize::from(total_digits);
        if !(MIN_CODE_DIGITS..=MAX_CODE_DIGITS).contains(&total) {
            return Err(FormatError::TotalDigits);
        }
        if !(MIN_BODY_DIGITS..=MAX_BODY_DIGITS).contains(&(total - prefix.len())) {
            return Err(FormatError::BodyDigits);
        }
        let mut stored = [0; MAX_PREFIX_DIGITS];
        stored[..prefix.len()].copy_from_slice(prefix);
        Ok(Self {
            total_digits,
            prefix: stored,
            // At most 8, checked above.
            prefix_digits: prefix.len() as u8,
        })
    }

    /// The routing prefix, 1 to 8 digits.
    #[must_use]
    pub fn prefix_str(&self) -> &str {
        // Only ASCII digits are ever stored, so the fallback is never taken.
        core::str::from_utf8(self.prefix()).unwrap_or_default()
    }

    /// The number of digits of the whole code, 18 to 24.
    #[must_use]
    pub const fn total_digits(&self) -> usize {
        self.total_digits as usize
    }

    /// The number of digits of the prefix, 1 to 8.
    #[must_use]
    pub const fn prefix_digits(&self) -> usize {
        self.prefix_digits as usize
    }

    /// The number of digits after the prefix, 16 to 22.
    #[must_use]
    pub const fn body_digits(&self) -> usize {
        self.total_digits() - self.prefix_digits()
    }

    /// The number of digits of the token index: 9 where the body is under 18 digits, else 10.
    #[must_use]
    pub const fn index_digits(&self) -> usize {
        if self.body_digits() < LONG_BODY_DIGITS { 9 } else { 10 }
    }

    /// Whether an index has no more digits than this format keeps for it.
    #[must_use]
    pub const fn has_room_for(&self, index: TokenIndex) -> bool {
        index.get() < power_of_ten(self.index_digits())
    }

    /// The number of digits of the one-time password, 7 to 12.
    #[must_use]
    pub const fn password_digits(&self) -> usize {
        self.body_digits() - self.index_digits()
    }

    /// True where `digits` has this format's length and begins with its prefix.
    pub(crate) fn matches(&self, digits: &[u8]) -> bool {
        digits.len() == self.total_digits() && digits.starts_with(self.prefix())
    }

    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix[..self.prefix_digits()]
    }

    /// The FF1 tweak: the prefix in ASCII, then the total length as one byte.
    pub(crate) fn tweak(&self) -> Tweak {
        let mut bytes = [0; MAX_PREFIX_DIGITS + 1];
        bytes[..MAX_PREFIX_DIGITS].copy_from_slice(&self.prefix);
        bytes[self.prefix_digits()] = self.total_digits;
        Tweak { bytes, length: self.prefix_digits() + 1 }
    }
}

impl core::fmt::Debug for CodeFormat {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CodeFormat({}/{})", self.prefix_str(), self.total_digits)
    }
}

/// The tweak of a format, 2 to 9 bytes.
pub(crate) struct Tweak {
    bytes: [u8; MAX_PREFIX_DIGITS + 1],
    length: usize,
}

impl Tweak {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// True where some code with this prefix begins with a reserved pair: the prefix begins with the pair,
/// or is the first digit of it.
fn overlaps_reserved(prefix: &[u8]) -> bool {
    RESERVED.iter().any(|pair| prefix.starts_with(pair) || pair.starts_with(prefix))
}
