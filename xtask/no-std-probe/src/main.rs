//! A program without std that links every `no_std` crate. It does nothing: that it builds is the test.

#![no_std]
#![no_main]

use blockcipher as _;
use chip as _;
use paycode as _;
use protocol as _;
use tlv as _;
use uart as _;
use wearable as _;

/// The only panic handler there may be. std would be a second one.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// What the C runtime starts.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    0
}

// The C runtime itself, for memcpy and the start of the program. std would link it otherwise.
#[link(name = "c")]
unsafe extern "C" {}
