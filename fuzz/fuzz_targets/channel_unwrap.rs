//! The card's end of the secure channel under forged commands. The same entry runs in the crate's own tests.
#![no_main]

#[path = "../../crates/protocol/tests/unwrap/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::unwrap_anything(data));
