//! A payment code: made in the chip, scanned at the till, unmasked in the cloud.
//!
//! code = prefix ‖ FF1(mask key, index ‖ password). Guarantees: what [`make`] made, [`unmask`] takes
//! apart again under the same format and key; a [`Code`] holds 18 to 24 ASCII digits; its digits are
//! wiped when dropped and never reach `Debug`.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    CodeFormat, MaskKey, PayKey, Stamp, TokenIndex,
    decimal::{self, divide, power_of_ten},
    error::error_enum,
    ff1::Halves,
    format::{MAX_BODY_DIGITS, MAX_CODE_DIGITS, MIN_CODE_DIGITS},
    otp::Password,
};

error_enum! {
    /// Why something is no payment code, or not one of this format.
    CodeError {
        /// Shorter than 18 or longer than 24 characters.
        Length = "code_length", "a payment code has 18 to 24 digits";
        /// A character is not an ASCII digit.
        Digit = "code_digit", "a payment code holds decimal digits only";
        /// The code has another length or another prefix than the format.
        Format = "code_format", "the code does not belong to this format";
        /// The token index has more digits than the format has room for.
        Index = "code_index", "the token index does not fit this format";
    }
}

/// A payment code: 18 to 24 decimal digits. Whoever reads them while they are alive can spend them.
///
/// ```
/// use paycode::Code;
///
/// let code = Code::parse("71234567890123456789")?;
/// assert_eq!(code.as_str().len(), 20);
/// assert_eq!(format!("{code:?}"), "Code(20 digits)");
/// # Ok::<(), paycode::CodeError>(())
/// ```
// Aligned so that a small chip moves it word by word.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
#[repr(align(4))]
pub struct Code {
    digits: [u8; MAX_CODE_DIGITS],
    length: u8,
    /// Digits of the prefix where the format is known, else 0. For `Debug` only.
    prefix_digits: u8,
}

impl Code {
    /// The code a scanner read, of whatever format.
    ///
    /// # Errors
    /// [`CodeError::Length`] or [`CodeError::Digit`]. White space is not skipped.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        Self::from_ascii(text.as_bytes())
    }

    pub(crate) fn from_ascii(digits: &[u8]) -> Result<Self, CodeError> {
        if !(MIN_CODE_DIGITS..=MAX_CODE_DIGITS).contains(&digits.len()) {
            return Err(CodeError::Length);
        }
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(CodeError::Digit);
        }
        let mut code = Self {
            digits: [0; MAX_CODE_DIGITS],
            // At most 24, checked above.
            length: digits.len() as u8,
            prefix_digits: 0,
        };
        code.digits[..digits.len()].copy_from_slice(digits);
        Ok(code)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII digits are ever stored, so the fallback is never taken.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The digits in ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[..usize::from(self.length)]
    }
}

impl CodeFormat {
    /// The code a scanner read, which must be of this format.
    ///
    /// # Errors
    /// As [`Code::parse`], and [`CodeError::Format`] for another format's code.
    pub fn parse(&self, text: &str) -> Result<Code, CodeError> {
        let mut code = Code::parse(text)?;
        if !self.matches(code.as_bytes()) {
            return Err(CodeError::Format);
        }
        code.prefix_digits = self.prefix_digits() as u8;
        Ok(code)
    }
}

impl ConstantTimeEq for Code {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.digits.ct_eq(&other.digits) & self.length.ct_eq(&other.length)
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = &self.as_str()[..usize::from(self.prefix_digits)];
        let separator = if prefix.is_empty() { "" } else { "…, " };
        write!(f, "Code({prefix}{separator}{} digits)", self.length)
    }
}

/// What a code says: whose it claims to be, and the password that must prove it.
#[derive(Clone, Debug)]
pub struct Unmasked {
    /// The token the code claims to be of. Nothing is proven yet.
    pub index: TokenIndex,
    /// The password to [`check`](crate::check()).
    pub password: Password,
}

/// Makes the code of this token for this stamp. `verified`: the wearer's passcode session is open.
///
/// The caller never makes two codes with one stamp, nor one older than the last.
///
/// # Errors
/// [`CodeError::Index`] where the format has nine index digits and the index has ten.
///
/// ```
/// use paycode::*;
///
/// let mask_key = MaskKey::new(Suite::International, &[0x11; 16]);
/// let pay_key = PayKey::new(Suite::International, &[0x22; 32]);
/// let index = TokenIndex::new(42)?;
/// let now = TimeStep::from_unix_seconds(1_800_000_000)?;
/// let stamp = Stamp::new(now, Sequence::FIRST);
///
/// let code = make(&CodeFormat::DEFAULT, &mask_key, &pay_key, index, stamp, true)?;
///
/// let unmasked = unmask(&CodeFormat::DEFAULT, &mask_key, &code)?;
/// assert_eq!(unmasked.index, index);
/// let hit = check(&pay_key, &unmasked, now, None)?;
/// assert_eq!(hit, Hit { stamp, verified: true });
/// // Once spent, never again.
/// assert_eq!(check(&pay_key, &unmasked, now, Some(hit.stamp)), Err(Miss::Spent));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn make(
    format: &CodeFormat,
    mask_key: &MaskKey,
    pay_key: &PayKey,
    index: TokenIndex,
    stamp: Stamp,
    verified: bool,
) -> Result<Code, CodeError> {
    if !format.has_room_for(index) {
        return Err(CodeError::Index);
    }
    let password = pay_key.password(format, index, stamp, verified);

    let mut code = Code {
        digits: [0; MAX_CODE_DIGITS],
        // Both at most 24 by the format.
        length: format.total_digits() as u8,
        prefix_digits: format.prefix_digits() as u8,
    };
    let (prefix, rest) = code.digits.split_at_mut(format.prefix_digits());
    prefix.copy_from_slice(format.prefix());
    let body = &mut rest[..format.body_digits()];
    // FF1 takes every body a format can have, so this never fails; were it to, no code leaves.
    let masked = mask_key.mask(format, halves(format, index, &password)).map_err(|_| CodeError::Format)?;
    let (left, right) = body.split_at_mut(body.len() / 2);
    decimal::write(masked.0, left);
    decimal::write(masked.1, right);
    Ok(code)
}

/// The digits index ‖ password, cut in the middle: as numbers, so that they need not be written to be read again.
fn halves(format: &CodeFormat, index: TokenIndex, password: &Password) -> Halves {
    let (index_digits, password_digits) = (format.index_digits(), format.password_digits());
    let left_digits = format.body_digits() / 2;
    if left_digits <= index_digits {
        let (left, rest) = divide(index.get(), index_digits - left_digits);
        (left, rest * power_of_ten(password_digits) + password.value)
    } else {
        // The longest body only: the first digit of the password is in the left half.
        let moved = left_digits - index_digits;
        let (first, right) = divide(password.value, password_digits - moved);
        (index.get() * power_of_ten(moved) + first, right)
    }
}

/// Takes a code apart under one mask key. Any code of the format gives some index and password: what
/// they are worth, only [`check`](crate::check()) tells.
///
/// # Errors
/// [`CodeError::Format`] where length or prefix are another format's.
pub fn unmask(format: &CodeFormat, mask_key: &MaskKey, code: &Code) -> Result<Unmasked, CodeError> {
    if !format.matches(code.as_bytes()) {
        return Err(CodeError::Format);
    }
    let mut buffer = [0; MAX_BODY_DIGITS];
    let body = &mut buffer[..format.body_digits()];
    body.copy_from_slice(&code.as_bytes()[format.prefix_digits()..]);
    let unmasked = unmask_body(format, mask_key, body);
    buffer.zeroize();
    unmasked
}

fn unmask_body(format: &CodeFormat, mask_key: &MaskKey, body: &mut [u8]) -> Result<Unmasked, CodeError> {
    mask_key.unmask(format, body).map_err(|_| CodeError::Digit)?;
    let (index, password) = body.split_at(format.index_digits());
    let index = decimal::read(index).ok_or(CodeError::Digit)?;
    let value = decimal::read(password).ok_or(CodeError::Digit)?;
    Ok(Unmasked {
        index: TokenIndex::new(index).map_err(|_| CodeError::Index)?,
        password: Password { value, digits: format.password_digits() as u8 },
    })
}
