//! The SDK in the wearable's own processor: bind, pay, show.
//!
//! - [`code128`], [`qr`]: the two pictures a till reads.
//! - [`screen`]: pages with codes, countdown, binding and messages for any `embedded-graphics` display.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod code128;
pub mod qr;
pub mod screen;
