//! A whole chip under any sequence of commands, in the clear and through its channels, with power cut in between. The
//! same entry runs on a bounded number of inputs in the crate's own tests.
#![no_main]

#[path = "../../crates/chip/tests/apdus/entry.rs"]
mod entry;
#[path = "../../crates/chip/tests/support/mod.rs"]
mod support;

use std::sync::LazyLock;

static STAGES: LazyLock<[support::Flash; 5]> = LazyLock::new(entry::stages);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    entry::run(&*STAGES, data);
});
