//! The payment code on the screen: digits, EMV QR, one-time password; making and checking.
//!
//! The chip makes codes with [`make`]; the cloud routes a scanned one ([`RoutingTable`]), takes it apart
//! with [`unmask`] and decides with [`check()`]. `spec/payment-code.md` is the normative text; this
//! crate is one implementation of it, for both ends, without heap and without I/O.
//!
//! Every type that exists is valid, no function panics, and keys, passwords and code digits are wiped
//! when dropped and never reach `Debug`.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(not(any(feature = "international", feature = "chinese")))]
compile_error!("paycode needs at least one suite: enable `international` or `chinese`");

pub mod check;
mod code;
mod decimal;
pub mod emv;
mod error;
pub mod ff1;
mod format;
#[cfg(feature = "sha256")]
pub mod hmac_sha256;
mod otp;
mod routing;
mod stamp;
mod suite;

pub use check::{Found, Hit, Miss, check, find};
pub use code::{Code, CodeError, Unmasked, make, unmask};
pub use format::{
    CodeFormat, FormatError, MAX_BODY_DIGITS, MAX_CODE_DIGITS, MAX_INDEX_DIGITS, MAX_PREFIX_DIGITS, MIN_BODY_DIGITS,
    MIN_CODE_DIGITS,
};
pub use otp::{IndexError, Password, TokenIndex};
pub use routing::{InstitutionId, Route, RoutingError, RoutingTable};
pub use stamp::{STEP_SECONDS, Sequence, Stamp, StampError, TimeStep};
pub use suite::{MASK_KEY_BYTES, MaskKey, PAY_KEY_BYTES, PayKey, Suite};
