//! The secure element: command dispatch, secure channel, key store, lifecycle, payment applet.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "virtual"))]
extern crate std;

pub mod hal;
pub mod store;
#[cfg(feature = "virtual")]
pub mod virtual_chip;
