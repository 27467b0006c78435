//! The fuzz target's entry under a bounded number of inputs: random, and valid ones with bytes changed.
#![cfg(all(feature = "international", feature = "chinese"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its own functions")]

#[path = "parsers/entry.rs"]
mod entry;

use base64ct::{Base64, Encoding};
use entry::parse_everything;
use proptest::prelude::*;

/// A payment, its cryptogram 01 to 08, then EMVCo's samples.
const SEEDS: [&str; 3] = [
    "hQVDUFYwMWFATwnwUEFZQ0hJUAFQB1BBWUNISVBjKp8QFwEBAQABAgMDk4cAABRxI0VniQEjRWeJnyYIAQIDBAUGBwifNgICAw==",
    "hQVDUFYwMWETTwegAAAAVVVVUAhQcm9kdWN0MWETTwegAAAAZmZmUAhQcm9kdWN0MmJJWggSNFZ4kBI0WF8gDkNBUkRIT0xERVIv\
     RU1WXy0IcnVlc2RlZW5kIZ8QBwYBCgMAAACfJghYT9OF+iNLzJ82AgABnzcEbVjvEw==",
    "hQVDUFYwMWEaTwegAAAAVVVVVw8SNFZ4kBI0WNGRIgESNF8=",
];

#[test]
fn the_seeds_are_read() {
    use paycode::emv::{MAX_PAYLOAD_BYTES, Payload, Payment};
    for seed in SEEDS {
        assert!(Payload::parse(seed, &mut [0; MAX_PAYLOAD_BYTES]).is_ok(), "{seed}");
    }
    assert!(Payment::parse(SEEDS[0], &mut [0; MAX_PAYLOAD_BYTES]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn random_bytes_break_nothing(data in prop::collection::vec(any::<u8>(), 0..700)) {
        parse_everything(&data);
    }

    #[test]
    fn digits_and_near_digits_break_nothing(text in "[0-9:/ ]{0,26}") {
        parse_everything(text.as_bytes());
    }

    #[test]
    fn changed_payloads_break_nothing(
        seed in prop::sample::select(&SEEDS[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        cuts: bool,
    ) {
        let mut buffer = [0; 512];
        let mut bytes = Base64::decode(seed, &mut buffer).unwrap().to_vec();
        for (position, value) in changes {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        parse_everything(&bytes);
        let mut text = [0; 800];
        parse_everything(Base64::encode(&bytes, &mut text).unwrap().as_bytes());
        // From the issuer data on, where the first seed has them.
        parse_everything(bytes.get(34..57).unwrap_or_default());
    }

    #[test]
    fn changed_texts_break_nothing(
        seed in prop::sample::select(&SEEDS[..]),
        position in any::<prop::sample::Index>(),
        value: u8,
    ) {
        let mut text = seed.as_bytes().to_vec();
        let position = position.index(text.len());
        text[position] = value;
        parse_everything(&text);
    }
}
