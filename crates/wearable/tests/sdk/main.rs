//! The SDK against a scripted chip at the maker's callbacks. The real chip and the real cloud meet it in
//! the program's end-to-end tests; here it is about what the SDK itself decides.

#![allow(clippy::unwrap_used, clippy::panic)] // A failed step of a test ends the test.

mod binding;
mod carrier;
mod device;
mod passcode;
mod payment;

#[test]
fn the_sdk_keeps_the_memory_it_promises() {
    let own = size_of::<wearable::Wearable<device::Bench>>() - size_of::<device::Bench>();
    assert!(own <= 7 * 1024, "{own} bytes");
}
