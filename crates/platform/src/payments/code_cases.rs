//! The table of verdicts: every way a code of a token can be right, wrong, early, late or a copy.

use paycode::{Sequence, Suite, TimeStep, find, make};

use super::*;
use crate::tokens::TokenState;
use crate::tokens::tests::token;

const NOW: TimeStep = TimeStep(1_000_000);
/// The version of the mask key that `token` was given.
const MASK_VERSION: u8 = 1;

fn pay_key() -> Arc<PayKey> {
    Arc::new(PayKey::new(Suite::International, &[7; 32]))
}

fn mask_key() -> MaskKey {
    MaskKey::new(Suite::International, &[9; 16])
}

/// When a code was made, steps from now.
fn made(steps: i32, sequence: u8) -> Stamp {
    Stamp::new(TimeStep(NOW.0.strict_add_signed(steps)), Sequence::new(sequence).unwrap())
}

fn digits(stamp: Stamp) -> Code {
    make(&CodeFormat::DEFAULT, &mask_key(), &pay_key(), token(TokenState::Active).index, stamp, true).unwrap()
}

/// The same code's EMV QR text, with this transaction counter and the cryptogram that this key makes.
fn emv_text(stamp: Stamp, counter: u32, key: &PayKey) -> PresentedCode {
    let index = token(TokenState::Active).index;
    let aid = [0xF0, 0x50, 0x41, 0x59, 0x43, 0x48, 0x49, 0x50, 0x01];
    let mut buffer = [0; emv::MAX_PAYLOAD_BYTES];
    let payment = emv::Payment::new(&aid, key, index, digits(stamp), stamp, true, counter).unwrap();
    let text = payment.encode(&mut buffer).unwrap().to_owned();
    PresentedCode::parse(&text, &CodeFormat::DEFAULT).unwrap()
}

fn candidate(presented: &PresentedCode, token: Token, mask_version: u8) -> Vec<Candidate> {
    let unmasked = presented.unmasked(&CodeFormat::DEFAULT, &[(mask_version, mask_key())]);
    let found = |unmasked: &Unmasked| find(&pay_key(), unmasked, NOW);
    let candidate = |(mask_version, unmasked): &(u8, Unmasked)| Candidate {
        token: token.clone(),
        pay_key: pay_key(),
        found: found(unmasked),
        mask_version: *mask_version,
    };
    unmasked.iter().map(candidate).collect()
}

fn judged(presented: &PresentedCode, token: Token) -> Verdict {
    judge(presented, candidate(presented, token, MASK_VERSION))
}

/// What a verdict is called here.
fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Genuine { .. } => "genuine",
        Verdict::Early { .. } => "early",
        Verdict::Refused { decline, .. } => decline.code(),
        Verdict::Wrong { .. } => "wrong",
        Verdict::Unknown => "unknown",
        Verdict::NotOurs => "not ours",
    }
}

#[test]
fn the_table_of_verdicts_on_digits() {
    let now = Some(made(0, 1));
    // made at, spent last → verdict
    for (stamp, last, expected) in [
        (made(0, 1), None, "genuine"),
        (made(1, 0), now, "genuine"),
        (made(-2, 0), None, "genuine"),
        (made(0, 1), now, "code_spent"),
        (made(0, 0), now, "code_superseded"),
        (made(-3, 0), None, "code_stale"),
        (made(-3, 0), Some(made(-3, 0)), "code_spent"),
        (made(2, 0), now, "early"),
        (made(2, 0), Some(made(2, 0)), "code_spent"),
        (made(2, 0), Some(made(2, 1)), "code_superseded"),
        (made(-7, 0), None, "wrong"),
        (made(6, 0), None, "wrong"),
    ] {
        let presented = PresentedCode::Digits(digits(stamp));
        let token = Token { last_stamp: last, ..token(TokenState::Active) };
        assert_eq!(name(&judged(&presented, token)), expected, "{stamp:?} after {last:?}");
    }
}

#[test]
fn a_code_long_past_is_known_by_its_mark_and_no_guess() {
    let old = PresentedCode::Digits(digits(made(-1_000, 0)));
    let unknown = token(TokenState::Active);
    let known = Token { spent: SpentMarks::default().with(old.mark().unwrap()), ..unknown.clone() };
    assert_eq!((name(&judged(&old, unknown)), name(&judged(&old, known))), ("wrong", "code_spent"));
}

#[test]
fn a_wrong_password_speaks_against_a_token_under_its_own_mask_key_alone() {
    let wrong = PresentedCode::Digits(digits(made(-1_000, 0)));
    for (version, expected) in [(MASK_VERSION, "wrong"), (MASK_VERSION + 1, "unknown")] {
        let verdict = judge(&wrong, candidate(&wrong, token(TokenState::Active), version));
        assert_eq!(name(&verdict), expected, "version {version}");
    }
    // A right one counts under either: a chip may have been given the key, and its answer been lost.
    let right = PresentedCode::Digits(digits(made(0, 0)));
    let verdict = judge(&right, candidate(&right, token(TokenState::Active), MASK_VERSION + 1));
    assert_eq!(name(&verdict), "genuine");
    assert_eq!(name(&judge(&right, Vec::new())), "unknown");
    assert_eq!(name(&judge(&PresentedCode::Foreign, Vec::new())), "not ours");
}

#[test]
fn the_counter_of_an_emv_code_must_be_above_the_last_and_its_cryptogram_the_chips() {
    let (own, other) = (pay_key(), PayKey::new(Suite::International, &[8; 32]));
    // counter, counter seen last, whose cryptogram → verdict
    for (counter, last, key, expected) in [
        (8, Some(7), &*own, "genuine"),
        (1, None, &*own, "genuine"),
        (7, Some(7), &*own, "chip_cloned"),
        (6, Some(7), &*own, "chip_cloned"),
        (8, Some(7), &other, "wrong"),
        (6, Some(7), &other, "wrong"),
    ] {
        let token = Token { last_counter: last, ..token(TokenState::Active) };
        let verdict = judged(&emv_text(made(0, 0), counter, key), token);
        assert_eq!(name(&verdict), expected, "{counter} after {last:?}");
        if let Verdict::Genuine { counter: seen, .. } = verdict {
            assert_eq!(seen, Some(counter));
        }
    }
}
