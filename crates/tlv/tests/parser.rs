//! The fuzz target's entry under a bounded number of inputs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

#[path = "parser/entry.rs"]
mod entry;
#[path = "../../../fuzz/inputs.rs"]
mod inputs;

use inputs::{Budget, Inputs};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5_000) })]

    #[test]
    fn any_bytes_are_read_to_their_end(data in vec(any::<u8>(), 0..=300)) {
        entry::read_everything(&data);
    }

    #[test]
    fn bytes_that_look_like_objects_are_read_to_their_end(
        data in vec(prop::sample::select(vec![0x00_u8, 0x01, 0x02, 0x1F, 0x3F, 0x7F, 0x80, 0x81, 0x82, 0x9F, 0xE1]), 0..=60),
    ) {
        entry::read_everything(&data);
    }
}

/// `cargo xtask fuzz`: as many inputs, or as long, as it says.
#[test]
#[ignore = "run by `cargo xtask fuzz`"]
fn the_campaign() {
    let budget = Budget::from_environment();
    let mut inputs = Inputs::new("tlv", budget.seed);
    while budget.lasts(inputs.sequences()) {
        inputs.run_next(entry::read_everything);
        let sequences = inputs.sequences();
        inputs.keep_last_if(sequences.is_multiple_of(1_000));
    }
    budget.tell(inputs.sequences());
}
