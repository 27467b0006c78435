//! Every parser of `paycode` on arbitrary bytes. The same entry runs on a bounded number of inputs in
//! the crate's own tests.
#![no_main]

#[path = "../../crates/paycode/tests/parsers/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::parse_everything(data));
