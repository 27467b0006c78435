//! The TLV reader on arbitrary bytes. The same entry runs in the crate's own tests.
#![no_main]

#[path = "../../crates/tlv/tests/parser/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::read_everything(data));
