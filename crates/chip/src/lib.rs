//! The secure element: command dispatch, secure channel, key store, lifecycle, payment applet.
//!
//! [`Chip`] is the whole of it, over what a chip maker supplies ([`hal`]). It answers command APDUs
//! (`spec/chip-commands.md`); it has no clock, no allocator and no other input. What it guarantees:
//!
//! - what it must remember is in flash before the answer that depends on it leaves (a payment code's counters,
//!   a passcode try, the sequence of a secure channel), and survives power lost at any instant ([`store`]);
//! - only the cloud changes it, through a secure channel with MAC and encryption that ends in here;
//! - its keys never leave it, and are wiped from flash when they are removed;
//! - no command makes it panic, and every one gets a status word.
//!
//! The same code is a chip on silicon and, with the feature `virtual`, a chip in a file (`virtual_chip`).

#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "virtual"))]
extern crate std;

mod answers;
mod applet;
mod attestation;
mod backoff;
mod channel;
mod command;
mod counters;
mod domain;
pub mod hal;
mod hardened;
mod health;
mod keys;
mod log;
mod orders;
mod passcode;
mod payment;
mod records;
mod rules;
mod scratch;
mod self_test;
mod session;
mod signature;
pub mod store;
mod token;
#[cfg(feature = "virtual")]
pub mod virtual_chip;

pub use answers::VERSIONS;
pub use applet::{Chip, MAX_COMMAND_BYTES, MAX_RESPONSE_BYTES, OpenError};
