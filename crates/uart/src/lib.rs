//! Commands to a chip over a serial line, and its answers, in frames that are checked, numbered and repeated
//! (`spec/uart.md`). Both ends are here: [`chip_end`] in the chip, [`host_end`] in what talks to it.
//!
//! Guarantees, over a line that loses, repeats or damages bytes: a command is run once, whatever is sent twice; the
//! host gets the answer to the very command it sent, or an error, up to the 1 in 65,536 of a 16-bit check for each
//! damaged frame (whoever forges on purpose is stopped by the secure channel). Neither end needs an allocator, and the
//! chip's end needs no clock.

#![no_std]
#![forbid(unsafe_code)]

pub mod chip_end;
mod frame;
pub mod host_end;

pub use frame::{Frame, HEADER_BYTES, Kind, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES, Receiver, State};

/// The version of this protocol, told with every [`Kind::Ready`].
pub const VERSION: u8 = 1;
