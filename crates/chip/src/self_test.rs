//! Known answers, computed at power-up: a chip whose primitives are wrong makes no codes at all.
//!
//! One payment code exercises the block cipher and the hash of its suite. Both suites that are compiled in are
//! tested.

use paycode::{CodeFormat, MaskKey, PayKey, Sequence, Stamp, Suite, TimeStep, TokenIndex};

/// The code of the international suite (AES-128, HMAC-SHA-256) for the inputs below.
const INTERNATIONAL: &[u8] = b"71489682616731668926";
/// The code of the Chinese suite (SM4, HMAC-SM3) for the same inputs.
const CHINESE: &[u8] = b"71649348122233489042";

/// Whether every known answer comes out.
pub(crate) fn passes() -> bool {
    [(1, INTERNATIONAL), (2, CHINESE)].into_iter().all(|(id, expected)| match Suite::from_id(id) {
        Some(suite) => code_is(suite, expected),
        None => true,
    })
}

fn code_is(suite: Suite, expected: &[u8]) -> bool {
    let mask_key = MaskKey::new(suite, &[0x4D; 16]);
    let pay_key = PayKey::new(suite, &[0x50; 32]);
    let Ok(index) = TokenIndex::new(1_234_567_890) else {
        return false;
    };
    let stamp = Stamp::new(TimeStep(60_000_000), Sequence::FIRST);
    paycode::make(&CodeFormat::DEFAULT, &mask_key, &pay_key, index, stamp, true)
        .is_ok_and(|code| code.as_bytes() == expected)
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_answers_come_out() {
        assert!(super::passes());
    }
}
