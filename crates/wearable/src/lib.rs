//! The SDK in the wearable's own processor: bind, pay, show.
//!
//! - [`Wearable`]: the calls, over the maker's callbacks in [`Host`].
//! - [`screen`]: pages with codes, countdown, binding and messages for any `embedded-graphics` display.
//! - [`code128`], [`qr`]: the two pictures a till reads.
//! - [`offer`]: the text of the binding QR code, for those who show and those who read it.
//!
//! No heap, no threads, no clock or randomness of its own; no input from link or chip makes it panic.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod code;
pub mod code128;
mod element;
mod error;
mod host;
pub mod offer;
pub mod qr;
mod relay;
mod results;
pub mod screen;
mod wearable;

/// The porting guide, so that its example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/porting-a-wearable.md")]
pub struct PortingGuide;

pub use code::PaymentCode;
pub use error::Error;
pub use host::{Device, Host, HostFault, Key};
pub use offer::Offer;
pub use protocol::applet::{CodeForm, Lifecycle, PasscodeState, PaymentOutcome};
pub use relay::Progress;
pub use results::{MAX_RESULTS, PaymentResult};
pub use wearable::{Status, Wearable};
