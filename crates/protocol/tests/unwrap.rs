//! The fuzz target's entry under a bounded number of inputs: random ones, and ones that look secured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

#[path = "unwrap/entry.rs"]
mod entry;
#[path = "../../../fuzz/inputs.rs"]
mod inputs;

use inputs::{Budget, Inputs};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_session_takes_nothing_its_host_did_not_wrap(
        how in any::<[u8; 2]>(),
        class in prop::sample::select(vec![0x84_u8, 0x80, 0x04, 0x00]),
        data in vec(any::<u8>(), 0..=255),
        cut in 0_usize..8,
    ) {
        let mut input = vec![how[0], how[1], class, 0xE2, 0x80, 0x00, data.len() as u8];
        input.extend(data);
        input.truncate(input.len() - cut.min(input.len()));
        entry::unwrap_anything(&input);
    }

    #[test]
    fn random_bytes_are_no_command_of_a_session(input in vec(any::<u8>(), 0..=300)) {
        entry::unwrap_anything(&input);
    }
}

/// `cargo xtask fuzz`: as many inputs, or as long, as it says.
#[test]
#[ignore = "run by `cargo xtask fuzz`"]
fn the_campaign() {
    let budget = Budget::from_environment();
    let mut inputs = Inputs::new("channel_unwrap", budget.seed);
    while budget.lasts(inputs.sequences()) {
        inputs.run_next(entry::unwrap_anything);
        let sequences = inputs.sequences();
        inputs.keep_last_if(sequences.is_multiple_of(1_000));
    }
    budget.tell(inputs.sequences());
}
