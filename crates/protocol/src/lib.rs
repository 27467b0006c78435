//! What travels between cloud and chip: APDUs, SCP03 for both ends, scripts, links.
//!
//! Everything here works on the caller's buffers: no heap, no I/O, no clock, no source of randomness of its
//! own. No input makes it panic; every fault is a small enum with a stable `code()` and a sentence.
//!
//! - [`apdu`]: commands, responses and status words of ISO/IEC 7816-4.
//! - [`applet`]: the vocabulary of the payment applet: instructions, tags and templates.
//! - [`kdf`]: how keys follow from keys.
//! - [`scp03`]: the secure channel, both ends; [`put_key`]: new keys for it.
//! - [`script`]: what cloud and wearable send each other through a phone; [`link`]: cutting it into frames.

#![no_std]
#![forbid(unsafe_code)]

mod aes_key;
pub mod apdu;
pub mod applet;
pub mod kdf;
pub mod link;
pub mod put_key;
pub mod scp03;
pub mod script;
