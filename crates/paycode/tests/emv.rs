//! The EMV QR code: EMVCo's public samples are read field by field, ours has exactly one form, and every
//! fault in a text from outside is refused by its name.
#![cfg(all(feature = "international", feature = "chinese"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its own functions")]

use base64ct::{Base64, Encoding};
use paycode::{
    Code, CodeFormat, Hit, MaskKey, PayKey, Sequence, Stamp, Suite, TimeStep, TokenIndex,
    emv::{
        Error, IssuerData, MAX_ISSUER_DATA_BYTES, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_TEXT, MAX_PAYMENT_TEXT, Payload,
        Payment, is_payload, tag,
    },
    make,
};
use proptest::prelude::*;

/// EMVCo's sample with two applications and a common part.
const TWO_APPLICATIONS: &str = "hQVDUFYwMWETTwegAAAAVVVVUAhQcm9kdWN0MWETTwegAAAAZmZmUAhQcm9kdWN0MmJJWggSNFZ4kBI0WF8gDkNBUkRIT0xERVIv\
    RU1WXy0IcnVlc2RlZW5kIZ8QBwYBCgMAAACfJghYT9OF+iNLzJ82AgABnzcEbVjvEw==";
/// EMVCo's sample with track 2 data.
const TRACK_2: &str = "hQVDUFYwMWEaTwegAAAAVVVVVw8SNFZ4kBI0WNGRIgESNF8=";

const AID: [u8; 9] = [0xF0, 0x50, 0x41, 0x59, 0x43, 0x48, 0x49, 0x50, 0x01];
const STAMP: Stamp = Stamp::new(TimeStep(60_000_000), Sequence::FIRST);
const COUNTER: u32 = 0x0001_0203;

fn index() -> TokenIndex {
    TokenIndex::new(42).unwrap()
}

fn pay_key(suite: Suite) -> PayKey {
    PayKey::new(suite, &[0x22; 32])
}

fn code(format: &CodeFormat, verified: bool) -> Code {
    let mask_key = MaskKey::new(Suite::International, &[0x11; 16]);
    make(format, &mask_key, &pay_key(Suite::International), index(), STAMP, verified).unwrap()
}

fn payment() -> Payment<'static> {
    let code = code(&CodeFormat::DEFAULT, true);
    Payment::new(&AID, &pay_key(Suite::International), index(), code, STAMP, true, COUNTER).unwrap()
}

fn text_of(payment: &Payment<'_>) -> String {
    payment.encode(&mut [0; MAX_PAYMENT_TEXT]).unwrap().to_owned()
}

fn bytes_of(payment: &Payment<'_>) -> Vec<u8> {
    Base64::decode(text_of(payment), &mut [0; MAX_PAYLOAD_BYTES]).unwrap().to_vec()
}

#[test]
fn emvcos_sample_with_two_applications_is_read() {
    let mut buffer = [0; MAX_PAYLOAD_BYTES];
    let payload = Payload::parse(TWO_APPLICATIONS, &mut buffer).unwrap();

    let applications: Vec<_> = payload.applications().collect();
    assert_eq!(applications.len(), 2);
    for (application, aid, label) in [
        (applications[0], [0xA0, 0, 0, 0, 0x55, 0x55, 0x55], b"Product1"),
        (applications[1], [0xA0, 0, 0, 0, 0x66, 0x66, 0x66], b"Product2"),
    ] {
        assert_eq!(application.get(tag::AID), Some(&aid[..]));
        assert_eq!(application.get(tag::APPLICATION_LABEL), Some(&label[..]));
        assert_eq!(application.iter().count(), 2);
        assert!(application.transparent().is_none());
    }

    let common = payload.common().unwrap();
    assert_eq!(common.get(tag::PAN), Some(&[0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x58][..]));
    assert_eq!(common.get(tag::CARDHOLDER_NAME), Some(&b"CARDHOLDER/EMV"[..]));
    assert_eq!(common.get(tag::LANGUAGE_PREFERENCE), Some(&b"ruesdeen"[..]));
    assert_eq!(common.get(tag::CRYPTOGRAM), None, "it is one level deeper");

    let transparent = common.transparent().unwrap();
    assert_eq!(transparent.get(tag::ISSUER_DATA), Some(&[6, 1, 0x0A, 3, 0, 0, 0][..]));
    let cryptogram = [0x58, 0x4F, 0xD3, 0x85, 0xFA, 0x23, 0x4B, 0xCC];
    assert_eq!(transparent.get(tag::CRYPTOGRAM), Some(&cryptogram[..]));
    assert_eq!(transparent.get(tag::TRANSACTION_COUNTER), Some(&[0, 1][..]));
    assert_eq!(transparent.get(tag::UNPREDICTABLE_NUMBER), Some(&[0x6D, 0x58, 0xEF, 0x13][..]));

    assert_eq!(Payment::from_payload(&payload).map(|_| ()), Err(Error::Foreign));
}

#[test]
fn emvcos_sample_with_track_2_is_read() {
    let mut buffer = [0; MAX_PAYLOAD_BYTES];
    let payload = Payload::parse(TRACK_2, &mut buffer).unwrap();
    let application = payload.applications().next().unwrap();
    let track_2 = [0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x58, 0xD1, 0x91, 0x22, 0x01, 0x12, 0x34, 0x5F];
    assert_eq!(application.get(tag::TRACK_2), Some(&track_2[..]));
    assert!(payload.common().is_none());
    assert_eq!(format!("{payload:?} {application:?}"), "Payload(35 bytes) Objects(26 bytes)");
}

#[test]
fn a_scanned_text_is_told_apart_from_digits() {
    assert!(is_payload(TWO_APPLICATIONS) && is_payload(TRACK_2) && is_payload(&text_of(&payment())));
    assert!(!is_payload("71234567890123456789") && !is_payload(""));
}

#[test]
fn a_payment_is_laid_out_as_specified() {
    let payment = payment();
    let bytes = bytes_of(&payment);
    let mut expected = vec![0x85, 5, b'C', b'P', b'V', b'0', b'1', 0x61, 64];
    expected.extend([0x4F, 9]);
    expected.extend(AID);
    expected.extend([0x50, 7]);
    expected.extend(b"PAYCHIP");
    expected.extend([0x63, 42, 0x9F, 0x10, 23]);
    expected.extend([1, 1, 1, 0, 1, 2, 3, 0x03, 0x93, 0x87, 0x00, 0, 20]);
    expected.extend(hex::decode(payment.code().as_str()).unwrap());
    expected.extend([0x9F, 0x26, 8]);
    expected.extend(payment.cryptogram());
    expected.extend([0x9F, 0x36, 2, 2, 3]);
    assert_eq!(hex::encode(&bytes), hex::encode(&expected));
}

#[test]
fn a_payment_verifies_against_its_own_key_token_and_hit_only() {
    let payment = payment();
    let key = pay_key(Suite::International);
    let hit = Hit { stamp: STAMP, verified: true };
    assert_eq!(payment.verify(&key, index(), &hit), Ok(()));

    let other_key = PayKey::new(Suite::International, &[0x23; 32]);
    assert_eq!(payment.verify(&other_key, index(), &hit), Err(Error::Cryptogram));
    let other_index = TokenIndex::new(43).unwrap();
    assert_eq!(payment.verify(&key, other_index, &hit), Err(Error::Cryptogram));
    assert_eq!(payment.verify(&pay_key(Suite::Chinese), index(), &hit), Err(Error::Mismatch));

    let unverified = Hit { verified: false, ..hit };
    assert_eq!(payment.verify(&key, index(), &unverified), Err(Error::Mismatch));
    let second = Hit { stamp: Stamp::new(STAMP.step, Sequence::ALL[1]), ..hit };
    assert_eq!(payment.verify(&key, index(), &second), Err(Error::Mismatch));
}

/// What a forger changes in the bytes of a payment, and what the cloud then says.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
    let mut bytes = bytes_of(&payment());
    change(&mut bytes);
    let hit = Hit { stamp: STAMP, verified: true };
    Payment::from_payload(&Payload::from_bytes(&bytes)?)?.verify(&pay_key(Suite::International), index(), &hit)
}

#[test]
fn a_forged_counter_stamp_flag_suite_or_cryptogram_is_refused() {
    // Offsets from the layout test: the issuer data begin at 9 + 11 + 9 + 2 + 3.
    const ISSUER: usize = 34;
    const CRYPTOGRAM: usize = ISSUER + 23 + 3;
    const COUNTER: usize = CRYPTOGRAM + 8 + 3;
    assert_eq!(forged(|_| {}), Ok(()));
    // The full counter alone contradicts tag 9F36; its upper half alone does not, but the cryptogram does.
    assert_eq!(forged(|bytes| bytes[ISSUER + 6] ^= 1), Err(Error::Foreign));
    assert_eq!(forged(|bytes| bytes[COUNTER + 1] ^= 1), Err(Error::Foreign));
    assert_eq!(forged(|bytes| bytes[ISSUER + 3] ^= 1), Err(Error::Cryptogram));
    assert_eq!(
        forged(|bytes| {
            bytes[ISSUER + 6] ^= 1;
            bytes[COUNTER + 1] ^= 1;
        }),
        Err(Error::Cryptogram)
    );
    for bit in 0..64 {
        assert_eq!(forged(|bytes| bytes[CRYPTOGRAM + bit / 8] ^= 1 << (bit % 8)), Err(Error::Cryptogram));
    }
    assert_eq!(forged(|bytes| bytes[ISSUER + 10] ^= 1), Err(Error::Mismatch));
    assert_eq!(forged(|bytes| bytes[ISSUER + 11] ^= 1), Err(Error::Mismatch));
    assert_eq!(forged(|bytes| bytes[ISSUER + 2] ^= 1), Err(Error::Mismatch));
    assert_eq!(forged(|bytes| bytes[ISSUER + 1] = 2), Err(Error::Mismatch));
    // Another operator's application or label.
    assert_eq!(forged(|bytes| bytes[11] ^= 1), Ok(()), "the identifier is the operator's to compare");
    assert_eq!(forged(|bytes| bytes[22] ^= 1), Err(Error::Foreign));
    // Anything more, at any level, and anything less.
    assert_eq!(forged(|bytes| bytes.extend([0x9F, 0x37, 0])), Err(Error::Foreign));
    assert_eq!(forged(|bytes| bytes.push(0)), Err(Error::Tlv));
    assert_eq!(forged(|bytes| bytes.truncate(bytes.len() - 1)), Err(Error::Tlv));
    assert_eq!(
        forged(|bytes| {
            bytes.extend([0x9F, 0x37, 0]);
            bytes[8] += 3;
        }),
        Err(Error::Foreign)
    );
}

#[test]
fn issuer_data_have_one_form() {
    for (prefix, total) in [("71", 18), ("71", 19), ("71", 20), ("71", 23), ("71", 24)] {
        for (suite, verified) in [(Suite::International, false), (Suite::Chinese, true)] {
            let code = code(&CodeFormat::new(prefix, total).unwrap(), verified);
            let data = IssuerData { suite, verified, transaction_counter: u32::MAX, stamp: STAMP, code };
            let mut buffer = [0; MAX_ISSUER_DATA_BYTES];
            let bytes = data.encode(&mut buffer);
            assert_eq!(bytes.len(), 13 + usize::from(total).div_ceil(2));
            assert_eq!(IssuerData::parse(bytes), Ok(data));
        }
    }
}

#[test]
fn malformed_issuer_data_are_refused() {
    let valid = "01010100010203039387000013".to_owned() + "7100000000000000000F";
    let parsed = |hex: &str| IssuerData::parse(&hex::decode(hex).unwrap()).map(|_| ());
    assert_eq!(parsed(&valid), Ok(()));
    for (from, to) in [
        (0, "02"),
        (0, "00"),
        (2, "00"),
        (2, "03"),
        (4, "02"),
        (4, "81"),
        (22, "04"),
        (24, "11"),
        (24, "19"),
        (24, "14"),
        (24, "12"),
    ] {
        let mut bad = valid.clone();
        bad.replace_range(from..from + 2, to);
        assert_eq!(parsed(&bad), Err(Error::IssuerData), "{bad}");
    }
    // A half byte that is no digit, a filler that is none, too short, too long, empty.
    assert_eq!(parsed(&valid.replace("7100", "7A00")), Err(Error::IssuerData));
    assert_eq!(parsed(&valid.replace("7100", "F100")), Err(Error::IssuerData));
    assert_eq!(parsed(&valid.replace("00F", "000")), Err(Error::IssuerData));
    assert_eq!(parsed(&valid[..valid.len() - 2]), Err(Error::IssuerData));
    assert_eq!(parsed(&(valid.clone() + "00")), Err(Error::IssuerData));
    assert_eq!(parsed(&(valid.clone() + "FF")), Err(Error::IssuerData));
    assert_eq!(parsed(&valid[..24]), Err(Error::IssuerData));
    assert_eq!(parsed(""), Err(Error::IssuerData));
}

#[test]
fn texts_that_are_not_canonical_base64_are_refused() {
    let parsed = |text: &str| Payload::parse(text, &mut [0; MAX_PAYLOAD_BYTES]).map(|_| ());
    assert_eq!(parsed(TRACK_2), Ok(()));
    let end = TRACK_2.len();
    for text in [
        &TRACK_2[..end - 1],
        &TRACK_2[..end - 2],
        &(TRACK_2[..end - 1].to_owned() + "=="),
        &(TRACK_2.to_owned() + "="),
        &(TRACK_2.to_owned() + "\n"),
        &(TRACK_2.to_owned() + "AAAA"),
        &(" ".to_owned() + TRACK_2),
        &TRACK_2.replace('h', "-"),
        &TRACK_2.replace('h', "é"),
        // The same bytes with other unused bits.
        &TRACK_2.replace("F8=", "F9="),
    ] {
        assert_eq!(parsed(text), Err(Error::Base64), "{text:?}");
    }
}

#[test]
fn payloads_that_break_a_rule_are_refused_by_its_name() {
    let parsed = |hex: &str| Payload::from_bytes(&hex::decode(hex).unwrap()).map(|_| ());
    let cpv = "85054350563031";
    let application = "61024F00";
    for (hex, expected) in [
        (cpv.to_owned() + application, Ok(())),
        (cpv.to_owned() + application + application + "6200", Ok(())),
        // Unknown objects are kept.
        (cpv.to_owned() + application + "DF0100", Ok(())),
        // Lengths of two bytes where one would do are BER too.
        (cpv.to_owned() + "6181024F00", Ok(())),
        (String::new(), Err(Error::FormatIndicator)),
        (application.to_owned() + cpv, Err(Error::FormatIndicator)),
        ("85054350563032".to_owned() + application, Err(Error::FormatIndicator)),
        ("850443505630".to_owned() + application, Err(Error::FormatIndicator)),
        (cpv.to_owned() + cpv + application, Err(Error::FormatIndicator)),
        ("8505435056".to_owned(), Err(Error::Tlv)),
        (cpv.to_owned(), Err(Error::Templates)),
        (cpv.to_owned() + "6200", Err(Error::Templates)),
        (cpv.to_owned() + application + "62006200", Err(Error::Templates)),
        (cpv.to_owned() + "61034F00", Err(Error::Tlv)),
        (cpv.to_owned() + "61024F01", Err(Error::Tlv)),
        (cpv.to_owned() + "610463029F26", Err(Error::Tlv)),
        (cpv.to_owned() + application + "62046402" + "9F26", Err(Error::Tlv)),
        (cpv.to_owned() + application + "00", Err(Error::Tlv)),
        (cpv.to_owned() + application + "6180", Err(Error::Tlv)),
    ] {
        assert_eq!(parsed(&hex), expected, "{hex}");
    }
}

#[test]
fn sizes_are_bounded_in_text_and_in_bytes() {
    // An application template that fills the payload to the last byte.
    let filled = |total: usize| {
        let mut bytes = vec![0x85, 5, b'C', b'P', b'V', b'0', b'1', 0x61, 0x82];
        bytes.extend(u16::try_from(total - 11).unwrap().to_be_bytes());
        bytes.extend([0x50, 0x82]);
        bytes.extend(u16::try_from(total - 15).unwrap().to_be_bytes());
        bytes.resize(total, b'x');
        bytes
    };
    assert!(Payload::from_bytes(&filled(MAX_PAYLOAD_BYTES)).is_ok());
    assert_eq!(Payload::from_bytes(&filled(MAX_PAYLOAD_BYTES + 1)).map(|_| ()), Err(Error::TooLong));

    let encoded = |total| Base64::encode(&filled(total), &mut [0; 1000]).unwrap().to_owned();
    let mut buffer = [0; 1000];
    assert!(Payload::parse(&encoded(MAX_PAYLOAD_BYTES), &mut buffer).is_ok());
    assert_eq!(Payload::parse(&encoded(MAX_PAYLOAD_BYTES + 1), &mut buffer).map(|_| ()), Err(Error::TooLong));
    let long = "A".repeat(MAX_PAYLOAD_TEXT + 1);
    assert_eq!(Payload::parse(&long, &mut buffer).map(|_| ()), Err(Error::TooLong));
    // One byte too many fits the text's bound exactly; what is no base64 at all is told apart from no room.
    let mut small = [0; MAX_PAYLOAD_BYTES];
    assert_eq!(Payload::parse(&encoded(MAX_PAYLOAD_BYTES + 1), &mut small).map(|_| ()), Err(Error::TooLong));
    assert_eq!(Payload::parse(&"A".repeat(101), &mut small).map(|_| ()), Err(Error::Base64));
    assert_eq!(Payload::parse(&encoded(100), &mut buffer[..99]).map(|_| ()), Err(Error::Room));
    assert!(Payload::parse(&encoded(100), &mut buffer[..100]).is_ok());
}

#[test]
fn an_application_identifier_has_5_to_16_bytes() {
    let key = pay_key(Suite::International);
    for length in 0..=20 {
        let aid = vec![0xF0; length];
        let code = code(&CodeFormat::new("71", 24).unwrap(), false);
        let payment = Payment::new(&aid, &key, index(), code, STAMP, false, 1);
        if (5..=16).contains(&length) {
            let text = text_of(&payment.unwrap());
            let mut buffer = [0; MAX_PAYLOAD_BYTES];
            assert_eq!(Payment::parse(&text, &mut buffer).unwrap().aid(), aid);
        } else {
            assert_eq!(payment.map(|_| ()), Err(Error::Aid));
        }
    }
    // From outside as well.
    let forged_aid = forged(|bytes| {
        bytes.splice(9..20, [0x4F, 4, 1, 2, 3, 4]);
        bytes[8] -= 5;
    });
    assert_eq!(forged_aid, Err(Error::Foreign));
}

#[test]
fn the_longest_payment_fills_its_bound() {
    let aid = [0xF0; 16];
    let code = code(&CodeFormat::new("71", 24).unwrap(), false);
    let payment = Payment::new(&aid, &pay_key(Suite::International), index(), code, STAMP, false, 1).unwrap();
    assert_eq!(text_of(&payment).len(), MAX_PAYMENT_TEXT);
    assert_eq!(payment.encode(&mut [0; MAX_PAYMENT_TEXT - 1]), Err(Error::Room));
    const { assert!(MAX_PAYMENT_TEXT <= 200) };
}

#[test]
fn debug_hides_digits_and_cryptogram() {
    let payment = payment();
    let shown = format!("{payment:?}");
    assert!(!shown.contains(&payment.code().as_str()[2..]), "{shown}");
    assert!(shown.contains("Code(71…, 20 digits)") && shown.ends_with(".. }"), "{shown}");
}

proptest! {
    #[test]
    fn a_payment_survives_its_text(
        suite in prop_oneof![Just(Suite::International), Just(Suite::Chinese)],
        aid in prop::collection::vec(any::<u8>(), 5..=16),
        digits in "[0-9]{18,24}",
        number in 0..10_000_000_000u64,
        step: u32,
        sequence in 0u8..4,
        verified: bool,
        counter: u32,
    ) {
        let key = pay_key(suite);
        let index = TokenIndex::new(number).unwrap();
        let stamp = Stamp::new(TimeStep(step), Sequence::new(sequence).unwrap());
        let code = Code::parse(&digits).unwrap();
        let made = Payment::new(&aid, &key, index, code, stamp, verified, counter).unwrap();
        let text = text_of(&made);
        let mut buffer = [0; MAX_PAYLOAD_BYTES];
        let read = Payment::parse(&text, &mut buffer).unwrap();
        prop_assert_eq!(read.aid(), &aid[..]);
        prop_assert_eq!(read.code().as_str(), digits);
        prop_assert_eq!(read.transaction_counter(), counter);
        prop_assert_eq!(read.issuer_data(), made.issuer_data());
        prop_assert_eq!(read.verify(&key, index, &Hit { stamp, verified }), Ok(()));
    }
}
