//! Codes: what is made is unmasked again in every format and suite, what is not a code is refused, and
//! nothing secret reaches `Debug`.
#![cfg(all(feature = "international", feature = "chinese"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its own functions")]

use paycode::{
    Code, CodeError, CodeFormat, Hit, IndexError, MaskKey, Miss, PayKey, STEP_SECONDS, Sequence, Stamp, StampError,
    Suite, TimeStep, TokenIndex, check, make, unmask,
};
use proptest::prelude::*;

fn any_format() -> impl Strategy<Value = CodeFormat> {
    ("[0-9]{1,8}", 18u8..=24).prop_filter_map("a format", |(prefix, total)| CodeFormat::new(&prefix, total).ok())
}

fn any_suite() -> impl Strategy<Value = Suite> {
    prop_oneof![Just(Suite::International), Just(Suite::Chinese)]
}

fn any_stamp() -> impl Strategy<Value = Stamp> {
    (any::<u32>(), 0u8..4).prop_map(|(step, sequence)| Stamp::new(TimeStep(step), Sequence::new(sequence).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_code_made_is_unmasked_and_checked(
        format in any_format(),
        suite in any_suite(),
        mask: [u8; 16],
        pay: [u8; 32],
        number in 0..10_000_000_000u64,
        stamp in any_stamp(),
        verified: bool,
    ) {
        let mask_key = MaskKey::new(suite, &mask);
        let pay_key = PayKey::new(suite, &pay);
        let index = TokenIndex::new(number % 10u64.pow(format.index_digits() as u32)).unwrap();
        let code = make(&format, &mask_key, &pay_key, index, stamp, verified).unwrap();

        prop_assert_eq!(code.as_str().len(), format.total_digits());
        prop_assert!(code.as_str().starts_with(format.prefix_str()));
        let scanned = Code::parse(code.as_str()).unwrap();
        prop_assert_eq!(&scanned, &code);

        let unmasked = unmask(&format, &mask_key, &scanned).unwrap();
        prop_assert_eq!(unmasked.index, index);
        prop_assert_eq!(unmasked.password.digits(), format.password_digits());
        let password = pay_key.password(&format, index, stamp, verified);
        prop_assert_eq!(unmasked.password.get(), password.get());
        prop_assert_eq!(check(&pay_key, &unmasked, stamp.step, None), Ok(Hit { stamp, verified }));
        prop_assert_eq!(check(&pay_key, &unmasked, stamp.step, Some(stamp)), Err(Miss::Spent));
    }

    #[test]
    fn any_code_of_a_format_unmasks_to_an_index_and_a_password_of_their_widths(
        format in any_format(),
        suite in any_suite(),
        mask: [u8; 16],
        body in "[0-9]{22}",
    ) {
        let text = format!("{}{}", format.prefix_str(), &body[..format.body_digits()]);
        let code = format.parse(&text).unwrap();
        let unmasked = unmask(&format, &MaskKey::new(suite, &mask), &code).unwrap();
        prop_assert!(unmasked.index.get() < 10u64.pow(format.index_digits() as u32));
        prop_assert!(unmasked.password.get() < 10u64.pow(format.password_digits() as u32));
    }

    #[test]
    fn a_stamp_survives_its_bytes_and_its_bytes_sort_like_it(one in any_stamp(), other in any_stamp()) {
        prop_assert_eq!(Stamp::from_bytes(one.to_bytes()), Ok(one));
        prop_assert_eq!(one.cmp(&other), one.to_bytes().cmp(&other.to_bytes()));
    }
}

const NOW: Stamp = Stamp::new(TimeStep(60_000_000), Sequence::FIRST);

fn keys(suite: Suite) -> (MaskKey, PayKey) {
    (MaskKey::new(suite, &[0x11; 16]), PayKey::new(suite, &[0x22; 32]))
}

#[test]
fn every_input_changes_the_code() {
    let base = |format: &CodeFormat, suite, index, stamp, verified| {
        let (mask_key, pay_key) = keys(suite);
        make(format, &mask_key, &pay_key, TokenIndex::new(index).unwrap(), stamp, verified).unwrap().as_str().to_owned()
    };
    let default = CodeFormat::DEFAULT;
    let other_prefix = CodeFormat::new("72", 20).unwrap();
    let later = Stamp::new(TimeStep(NOW.step.0 + 1), NOW.sequence);
    let second = Stamp::new(NOW.step, NOW.sequence.next().unwrap());
    let codes = [
        base(&default, Suite::International, 42, NOW, false),
        base(&default, Suite::Chinese, 42, NOW, false),
        base(&default, Suite::International, 43, NOW, false),
        base(&default, Suite::International, 42, later, false),
        base(&default, Suite::International, 42, second, false),
        base(&default, Suite::International, 42, NOW, true),
        base(&other_prefix, Suite::International, 42, NOW, false),
    ];
    for (i, one) in codes.iter().enumerate() {
        for other in &codes[i + 1..] {
            assert_ne!(one[2..], other[2..], "bodies");
        }
    }
}

#[test]
fn another_mask_key_gives_another_token() {
    let (mask_key, pay_key) = keys(Suite::International);
    let index = TokenIndex::new(42).unwrap();
    let code = make(&CodeFormat::DEFAULT, &mask_key, &pay_key, index, NOW, false).unwrap();
    let other = MaskKey::new(Suite::International, &[0x12; 16]);
    let unmasked = unmask(&CodeFormat::DEFAULT, &other, &code).unwrap();
    assert_ne!(unmasked.index, index);
    assert_eq!(check(&pay_key, &unmasked, NOW.step, None), Err(Miss::Wrong));
}

#[test]
fn an_index_must_fit_the_format() {
    let (mask_key, pay_key) = keys(Suite::International);
    let short = CodeFormat::new("71", 19).unwrap();
    assert_eq!(short.index_digits(), 9);
    let made =
        |format, number| make(format, &mask_key, &pay_key, TokenIndex::new(number).unwrap(), NOW, false).map(|_| ());
    assert_eq!(made(&short, 999_999_999), Ok(()));
    assert_eq!(made(&short, 1_000_000_000), Err(CodeError::Index));
    assert_eq!(made(&CodeFormat::DEFAULT, 9_999_999_999), Ok(()));
    assert_eq!(TokenIndex::new(9_999_999_999), Ok(TokenIndex::MAX));
    assert_eq!(TokenIndex::new(10_000_000_000), Err(IndexError::TooLarge));
}

#[test]
fn what_is_no_code_is_refused() {
    for (text, expected) in [
        ("", CodeError::Length),
        ("71345678901234567", CodeError::Length),
        ("7134567890123456789012345", CodeError::Length),
        ("71345678901234567\n", CodeError::Digit),
        (" 71345678901234567", CodeError::Digit),
        ("7134567890-12345678", CodeError::Digit),
        ("７１３４５６７８", CodeError::Digit),
        ("7134567890123456789/", CodeError::Digit),
        ("7134567890123456789:", CodeError::Digit),
    ] {
        assert_eq!(Code::parse(text), Err(expected), "{text:?}");
    }
    for length in 18..=24 {
        assert!(Code::parse(&"7".repeat(length)).is_ok());
    }
}

#[test]
fn a_code_of_another_format_is_refused() {
    let (mask_key, _) = keys(Suite::International);
    let format = CodeFormat::DEFAULT;
    for text in ["72345678901234567890", "7134567890123456789", "713456789012345678901"] {
        let code = Code::parse(text).unwrap();
        assert_eq!(unmask(&format, &mask_key, &code).map(|_| ()), Err(CodeError::Format), "{text}");
        assert_eq!(format.parse(text), Err(CodeError::Format), "{text}");
    }
    assert_eq!(format.parse("7134567890123456789x"), Err(CodeError::Digit));
}

#[test]
fn nothing_secret_is_in_debug() {
    let (mask_key, pay_key) = keys(Suite::Chinese);
    let index = TokenIndex::new(42).unwrap();
    let code = make(&CodeFormat::DEFAULT, &mask_key, &pay_key, index, NOW, false).unwrap();
    assert_eq!(format!("{code:?}"), "Code(71…, 20 digits)");
    assert_eq!(format!("{:?}", Code::parse(code.as_str()).unwrap()), "Code(20 digits)");
    assert_eq!(format!("{mask_key:?}"), "MaskKey { suite: Chinese, .. }");
    assert_eq!(format!("{pay_key:?}"), "PayKey { suite: Chinese, .. }");
    let unmasked = unmask(&CodeFormat::DEFAULT, &mask_key, &code).unwrap();
    assert_eq!(format!("{unmasked:?}"), "Unmasked { index: TokenIndex(42), password: Password(8 digits) }");
}

#[test]
fn suites_have_stable_identifiers() {
    assert_eq!((Suite::International.id(), Suite::Chinese.id()), (1, 2));
    for id in 0..=u8::MAX {
        let expected = [Suite::International, Suite::Chinese].into_iter().find(|suite| suite.id() == id);
        assert_eq!(Suite::from_id(id), expected);
    }
    for suite in [Suite::International, Suite::Chinese] {
        let (mask_key, pay_key) = keys(suite);
        assert_eq!((mask_key.suite(), pay_key.suite()), (suite, suite));
    }
}

#[test]
fn time_steps_and_sequences_end_where_they_should() {
    assert_eq!(TimeStep::from_unix_seconds(0), Ok(TimeStep(0)));
    assert_eq!(TimeStep::from_unix_seconds(29), Ok(TimeStep(0)));
    assert_eq!(TimeStep::from_unix_seconds(30), Ok(TimeStep(1)));
    let last = u64::from(u32::MAX) * STEP_SECONDS + STEP_SECONDS - 1;
    assert_eq!(TimeStep::from_unix_seconds(last), Ok(TimeStep(u32::MAX)));
    assert_eq!(TimeStep::from_unix_seconds(last + 1), Err(StampError::Time));
    assert_eq!(TimeStep(u32::MAX).start_unix_seconds(), last + 1 - STEP_SECONDS);

    let numbers: Vec<_> = core::iter::successors(Some(Sequence::FIRST), |it| it.next()).map(Sequence::get).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert_eq!(Sequence::ALL.map(Sequence::get), [0, 1, 2, 3]);
    assert_eq!(Sequence::new(4), Err(StampError::Sequence));
    assert_eq!(Stamp::from_bytes([0, 0, 0, 1, 4]), Err(StampError::Sequence));
    assert_eq!(Stamp::new(TimeStep(0x0102_0304), Sequence::ALL[3]).to_bytes(), [1, 2, 3, 4, 3]);
}

#[test]
fn error_names_are_stable_and_distinct() {
    use paycode::{FormatError, RoutingError, emv, ff1};
    let names = [
        CodeError::Length.code(),
        CodeError::Digit.code(),
        CodeError::Format.code(),
        CodeError::Index.code(),
        Miss::Wrong.code(),
        Miss::Spent.code(),
        Miss::Superseded.code(),
        Miss::Stale.code(),
        Miss::Early.code(),
        FormatError::PrefixLength.code(),
        FormatError::PrefixDigit.code(),
        FormatError::PrefixReserved.code(),
        FormatError::TotalDigits.code(),
        FormatError::BodyDigits.code(),
        RoutingError::Unsorted.code(),
        RoutingError::Ambiguous.code(),
        IndexError::TooLarge.code(),
        StampError::Sequence.code(),
        StampError::Time.code(),
        ff1::Error::Length.code(),
        ff1::Error::Digit.code(),
        ff1::Error::Tweak.code(),
        emv::Error::TooLong.code(),
        emv::Error::Base64.code(),
        emv::Error::Tlv.code(),
        emv::Error::FormatIndicator.code(),
        emv::Error::Templates.code(),
        emv::Error::IssuerData.code(),
        emv::Error::Foreign.code(),
        emv::Error::Aid.code(),
        emv::Error::Room.code(),
        emv::Error::Mismatch.code(),
        emv::Error::Cryptogram.code(),
    ];
    let specification = include_str!("../../../spec/payment-code.md");
    for (i, name) in names.iter().enumerate() {
        assert!(!names[i + 1..].contains(name), "{name} twice");
        assert!(specification.contains(&format!("`{name}`")), "{name} is not in the specification");
    }
    assert_eq!(Miss::Stale.to_string(), "the code is too old, show a new one");
}
