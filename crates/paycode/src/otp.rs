//! The one-time password: what in a code only this token's pay key can make.
//!
//! password = the first eight bytes of MAC(pay key, 01 ‖ index ‖ step ‖ sequence ‖ verified), big-endian,
//! modulo 10^(password digits). The same key makes the EMV cryptogram; the first byte of the message
//! (01 or 02) keeps the two apart.

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    CodeFormat, PayKey, Stamp,
    decimal::{divide, power_of_ten},
    error::error_enum,
};

/// First byte of a one-time password's message, in version 1 of the specification.
const PASSWORD_MESSAGE: u8 = 1;
/// A password's message, in bytes: short enough that the inner hash is one compression.
const PASSWORD_MESSAGE_BYTES: usize = 15;

error_enum! {
    /// Why a number is no token index.
    IndexError {
        /// The index has more than ten digits.
        TooLarge = "index_too_large", "a token index has at most ten digits";
    }
}

/// The number of a token under its prefix: below 10^10, and below 10^9 where the format's body is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenIndex(u64);

impl TokenIndex {
    /// The largest index any format has room for.
    pub const MAX: Self = Self(power_of_ten(crate::format::MAX_INDEX_DIGITS) - 1);

    /// The index with this number.
    ///
    /// # Errors
    /// [`IndexError::TooLarge`] above [`TokenIndex::MAX`].
    pub const fn new(number: u64) -> Result<Self, IndexError> {
        if number > Self::MAX.0 { Err(IndexError::TooLarge) } else { Ok(Self(number)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A one-time password as a number with its width. Secret while alive: wiped when dropped, never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Password {
    pub(crate) value: u64,
    pub(crate) digits: u8,
}

impl Password {
    /// The password as a number below 10^digits. Secret: for comparing implementations, not for logs.
    #[must_use]
    pub const fn get(&self) -> u64 {
        self.value
    }

    /// The number of decimal digits, 7 to 12.
    #[must_use]
    pub const fn digits(&self) -> usize {
        self.digits as usize
    }
}

impl ConstantTimeEq for Password {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.value.ct_eq(&other.value) & self.digits.ct_eq(&other.digits)
    }
}

impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Password({} digits)", self.digits)
    }
}

impl PayKey {
    /// The password of one code of this format.
    #[must_use]
    pub fn password(&self, format: &CodeFormat, index: TokenIndex, stamp: Stamp, verified: bool) -> Password {
        self.password_of_width(format.password_digits() as u8, index, stamp, verified)
    }

    /// The password of `digits` decimal digits, 7 to 12 because they are a format's.
    pub(crate) fn password_of_width(&self, digits: u8, index: TokenIndex, stamp: Stamp, verified: bool) -> Password {
        let mut message = [0; PASSWORD_MESSAGE_BYTES];
        message[0] = PASSWORD_MESSAGE;
        message[1..9].copy_from_slice(&index.get().to_be_bytes());
        message[9..14].copy_from_slice(&stamp.to_bytes());
        message[14] = u8::from(verified);
        let mut first = self.mac(&message);
        let (_, value) = divide(u64::from_be_bytes(first), usize::from(digits));
        first.zeroize();
        Password { value, digits }
    }
}
