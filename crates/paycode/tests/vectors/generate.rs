//! Makes the vectors, the same ones every time: keys and cases follow from small numbers.

use base64ct::{Base64, Encoding};
use cipher::{BlockCipherEncrypt, KeyInit, consts::U16};
use paycode::{
    CodeFormat, MaskKey, PayKey, Sequence, Stamp, Suite, TimeStep, TokenIndex,
    emv::{MAX_ISSUER_DATA_BYTES, MAX_PAYLOAD_BYTES, MAX_PAYMENT_TEXT, Payment},
    ff1::{Ff1, MAX_DIGITS, MIN_DIGITS},
    make, unmask,
};

use super::model;

const NOW: u32 = 60_000_000;
const AID: &str = "f05041594348495001";
const TWO_APPLICATIONS: &str = "hQVDUFYwMWETTwegAAAAVVVVUAhQcm9kdWN0MWETTwegAAAAZmZmUAhQcm9kdWN0MmJJWggSNFZ4kBI0WF8gDkNBUkRIT0xERVIv\
    RU1WXy0IcnVlc2RlZW5kIZ8QBwYBCgMAAACfJghYT9OF+iNLzJ82AgABnzcEbVjvEw==";
const TRACK_2: &str = "hQVDUFYwMWEaTwegAAAAVVVVVw8SNFZ4kBI0WNGRIgESNF8=";

/// `length` bytes that count up from `first`.
fn counting(first: u8, length: usize) -> Vec<u8> {
    (0..length).map(|i| first.wrapping_add(i as u8)).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn encrypted<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: C, tweak: &[u8], plaintext: &str) -> String {
    let mut digits = plaintext.as_bytes().to_vec();
    Ff1::new(cipher, digits.len(), tweak).unwrap().encrypt(&mut digits).unwrap();
    String::from_utf8(digits).unwrap()
}

/// NIST's radix-10 samples as published, then every length under tweaks around the block size.
pub(crate) fn ff1() -> model::Ff1File {
    const KEY: &str = "2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94";
    const TWEAK: &str = "39383736353433323130";
    let mut vectors: Vec<_> = [
        (1, "AES-128", 16, "", "2433477484"),
        (2, "AES-128", 16, TWEAK, "6124200773"),
        (4, "AES-192", 24, "", "2830668132"),
        (5, "AES-192", 24, TWEAK, "2496655549"),
        (7, "AES-256", 32, "", "6657667009"),
        (8, "AES-256", 32, TWEAK, "1001623463"),
    ]
    .map(|(sample, cipher, key_bytes, tweak, ciphertext)| model::Ff1 {
        source: format!("NIST FF1 sample {sample}"),
        cipher: cipher.into(),
        key: KEY[..2 * key_bytes].into(),
        tweak: tweak.into(),
        plaintext: "0123456789".into(),
        ciphertext: ciphertext.into(),
    })
    .into();
    let tweaks = [0, 2, 3, 9, 10, 11, 12, 16, 26, 27, 64];
    for (number, digits) in (MIN_DIGITS..=MAX_DIGITS).flat_map(|digits| [digits; 2]).enumerate() {
        let key: [u8; 16] = counting(number as u8, 16).try_into().unwrap();
        let tweak = counting(0xA0, tweaks[number % tweaks.len()]);
        let plaintext: String = (0..digits).map(|i| char::from(b'0' + ((number * 7 + i * 3) % 10) as u8)).collect();
        let (cipher, ciphertext) = if number % 2 == 0 {
            ("AES-128", encrypted(aes::Aes128::new(&key.into()), &tweak, &plaintext))
        } else {
            ("SM4", encrypted(sm4::Sm4::new(&key.into()), &tweak, &plaintext))
        };
        vectors.push(model::Ff1 {
            source: "paychip".into(),
            cipher: cipher.into(),
            key: hex::encode(key),
            tweak: hex::encode(tweak),
            plaintext,
            ciphertext,
        });
    }
    model::Ff1File { about: "FF1 (NIST SP 800-38G), radix 10. Keys and tweaks are hexadecimal.".into(), vectors }
}

/// One format of every body length, then every prefix length.
fn formats() -> Vec<CodeFormat> {
    let by_body = (18..=24).map(|total| ("71", total));
    let by_prefix = [("7", 18), ("00", 20), ("999", 20), ("7123", 24), ("40000", 22), ("510203", 23), ("7000001", 23)];
    by_body
        .chain(by_prefix)
        .chain([("71234567", 24)])
        .map(|(prefix, total)| CodeFormat::new(prefix, total).unwrap())
        .collect()
}

/// A code of this format, every other field following from `number`.
fn code(suite: Suite, format: &CodeFormat, number: u8) -> model::Code {
    let largest = 10u64.pow(format.index_digits() as u32) - 1;
    let index = match number % 4 {
        0 => 1_234_567_890 % (largest + 1),
        1 => largest,
        2 => 0,
        _ => u64::from(number) * 9_876_543,
    };
    let step = match number % 5 {
        0 | 1 => NOW + u32::from(number),
        2 => 0,
        3 => u32::MAX,
        _ => 1 << (number % 32),
    };
    code_at(
        suite,
        format,
        number,
        index,
        Stamp::new(TimeStep(step), Sequence::ALL[usize::from(number % 4)]),
        number.is_multiple_of(2),
    )
}

fn code_at(suite: Suite, format: &CodeFormat, number: u8, index: u64, stamp: Stamp, verified: bool) -> model::Code {
    let mask: [u8; 16] = counting(0x10 + number, 16).try_into().unwrap();
    let pay: [u8; 32] = counting(0x80 + number, 32).try_into().unwrap();
    let pay_key = PayKey::new(suite, &pay);
    let token = TokenIndex::new(index).unwrap();
    let password = pay_key.password(format, token, stamp, verified).get();
    let code = make(format, &MaskKey::new(suite, &mask), &pay_key, token, stamp, verified).unwrap();
    let (index_width, password_width) = (format.index_digits(), format.password_digits());
    model::Code {
        suite: suite.id(),
        mask_key: hex::encode(mask),
        pay_key: hex::encode(pay),
        prefix: format.prefix_str().into(),
        total_digits: format.total_digits() as u8,
        index,
        step: stamp.step.0,
        sequence: stamp.sequence.get(),
        verified,
        tweak: hex::encode(format.prefix_str()) + &hex::encode([format.total_digits() as u8]),
        plain_body: format!("{index:0index_width$}{password:0password_width$}"),
        code: code.as_str().into(),
    }
}

fn all_codes() -> Vec<model::Code> {
    let formats = formats();
    let both = [Suite::International, Suite::Chinese];
    let pairs = formats.iter().flat_map(|format| both.map(|suite| (suite, format)));
    pairs.zip(0..).map(|((suite, format), number)| code(suite, format, number)).collect()
}

fn message(kind: u8, code: &model::Code) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(code.index.to_be_bytes());
    message.extend(code.step.to_be_bytes());
    message.extend([code.sequence, u8::from(code.verified)]);
    message
}

/// The password in each of the codes.
pub(crate) fn passwords() -> model::PasswordFile {
    let vectors = all_codes()
        .into_iter()
        .map(|code| {
            let format = CodeFormat::new(&code.prefix, code.total_digits).unwrap();
            model::Password {
                suite: code.suite,
                message: hex::encode(message(1, &code)),
                pay_key: code.pay_key,
                index: code.index,
                step: code.step,
                sequence: code.sequence,
                verified: code.verified,
                prefix: code.prefix,
                total_digits: code.total_digits,
                password_digits: format.password_digits(),
                password: code.plain_body[format.index_digits()..].into(),
            }
        })
        .collect();
    model::PasswordFile {
        about: "One-time passwords. Suite 1: HMAC-SHA-256, suite 2: HMAC-SM3. Keys and messages are hexadecimal."
            .into(),
        vectors,
    }
}

pub(crate) fn codes() -> model::CodeFile {
    let mut valid: Vec<_> = formats()
        .iter()
        .map(|format| model::Format {
            prefix: format.prefix_str().into(),
            total_digits: format.total_digits() as u8,
            digits: Some([format.body_digits(), format.index_digits(), format.password_digits()]),
            error: None,
        })
        .collect();
    let refused = [
        ("", 20, "format_prefix_length"),
        ("712345678", 24, "format_prefix_length"),
        ("7a", 20, "format_prefix_digit"),
        ("71", 17, "format_total_digits"),
        ("71", 25, "format_total_digits"),
        ("712", 18, "format_body_digits"),
        ("71234567", 23, "format_body_digits"),
        ("7", 24, "format_body_digits"),
        ("10", 20, "format_prefix_reserved"),
        ("1599", 20, "format_prefix_reserved"),
        ("25", 20, "format_prefix_reserved"),
        ("30", 20, "format_prefix_reserved"),
        ("62", 20, "format_prefix_reserved"),
        ("01", 20, "format_prefix_reserved"),
        ("0", 20, "format_prefix_reserved"),
        ("1", 20, "format_prefix_reserved"),
        ("2", 20, "format_prefix_reserved"),
        ("3", 20, "format_prefix_reserved"),
        ("6", 20, "format_prefix_reserved"),
    ];
    valid.extend(refused.map(|(prefix, total_digits, error)| model::Format {
        prefix: prefix.into(),
        total_digits,
        digits: None,
        error: Some(error.into()),
    }));
    model::CodeFile {
        about: "Formats, codes, checks (with the keys of suite 1 in the first of the codes) and routing tables. Keys \
                and tweaks are hexadecimal; last is [step, sequence], hit is [step, sequence, verified]."
            .into(),
        formats: valid,
        codes: all_codes(),
        checks: checks(),
        routing: routing(),
    }
}

/// The outcomes are written down here, not computed: they are what the specification says.
fn checks() -> Vec<model::Check> {
    let default = CodeFormat::DEFAULT;
    let at = |offset: i32| NOW.checked_add_signed(offset).unwrap();
    let stamp = |step, sequence| Stamp::new(TimeStep(step), Sequence::new(sequence).unwrap());
    let case = |case: &str, made: (u32, u8, bool), now, last: Option<(u32, u8)>, outcome: Result<(), &str>| {
        let code = code_at(Suite::International, &default, 0, 1_234_567_890, stamp(made.0, made.1), made.2);
        model::Check {
            case: case.into(),
            prefix: code.prefix,
            total_digits: code.total_digits,
            index: code.index,
            code: code.code,
            now,
            last,
            hit: outcome.ok().map(|()| made),
            miss: outcome.err().map(str::to_owned),
        }
    };
    let mut cases = vec![
        case("right now", (NOW, 0, false), NOW, None, Ok(())),
        case("with the passcode", (NOW, 3, true), NOW, None, Ok(())),
        case("one step ahead", (at(1), 0, false), NOW, None, Ok(())),
        case("two steps ahead", (at(2), 0, false), NOW, None, Err("code_early")),
        case("five steps ahead", (at(5), 3, true), NOW, None, Err("code_early")),
        case("six steps ahead", (at(6), 0, false), NOW, None, Err("code_wrong")),
        case("early, and shown before", (at(3), 1, false), NOW, Some((at(3), 1)), Err("code_spent")),
        case("early, and older than the last", (at(3), 1, false), NOW, Some((at(4), 0)), Err("code_superseded")),
        case("two steps behind", (at(-2), 3, true), NOW, None, Ok(())),
        case("three steps behind", (at(-3), 3, true), NOW, None, Err("code_stale")),
        case("six steps behind", (at(-6), 0, true), NOW, None, Err("code_stale")),
        case("seven steps behind", (at(-7), 0, true), NOW, None, Err("code_wrong")),
        case("newer in the same step", (NOW, 1, false), NOW, Some((NOW, 0)), Ok(())),
        case("newer step", (NOW, 0, false), NOW, Some((at(-1), 3)), Ok(())),
        case("the one spent last", (NOW, 1, false), NOW, Some((NOW, 1)), Err("code_spent")),
        case("the one spent last, other flag", (NOW, 1, true), NOW, Some((NOW, 1)), Err("code_spent")),
        case("older in the same step", (NOW, 1, false), NOW, Some((NOW, 2)), Err("code_superseded")),
        case("older step", (at(-1), 3, false), NOW, Some((NOW, 0)), Err("code_superseded")),
        case("spent last, now past the window", (at(-5), 1, false), NOW, Some((at(-5), 1)), Err("code_spent")),
        case("stale and older than the last", (at(-5), 1, false), NOW, Some((NOW, 0)), Err("code_stale")),
        case("first step there is", (0, 0, false), 0, None, Ok(())),
        case("last step there is", (u32::MAX, 3, false), u32::MAX, None, Ok(())),
        case("time does not wrap", (0, 0, false), u32::MAX, None, Err("code_wrong")),
    ];
    let mut guess = case("one digit changed", (NOW, 0, false), NOW, None, Err("code_wrong"));
    let last = guess.code.pop().unwrap();
    guess.code.push(if last == '9' { '0' } else { char::from(last as u8 + 1) });
    // Whose code it then is, nobody knows before it is unmasked.
    let mask_key = MaskKey::new(Suite::International, &counting(0x10, 16).try_into().unwrap());
    guess.index = unmask(&default, &mask_key, &default.parse(&guess.code).unwrap()).unwrap().index.get();
    cases.push(guess);

    // Two stamps of one token with one password of seven digits, found by searching: the newer one counts.
    let short = CodeFormat::new("71", 18).unwrap();
    let (index, older, newer) = (284_324, stamp(at(-1), 2), stamp(at(1), 3));
    assert_eq!(
        code_at(Suite::International, &short, 0, index, older, false).plain_body,
        code_at(Suite::International, &short, 0, index, newer, false).plain_body,
    );
    for (name, last, outcome) in [
        ("one password for two stamps: the newer one", None, Ok((newer.step.0, newer.sequence.get(), false))),
        ("one password for two stamps: not a second time", Some(newer), Err("code_spent")),
    ] {
        cases.push(model::Check {
            case: name.into(),
            prefix: "71".into(),
            total_digits: 18,
            index,
            code: code_at(Suite::International, &short, 0, index, older, false).code,
            now: NOW,
            last: last.map(|last: Stamp| (last.step.0, last.sequence.get())),
            hit: outcome.ok(),
            miss: outcome.err().map(str::to_owned),
        });
    }
    cases
}

fn routing() -> Vec<model::Routing> {
    let table = |routes: &[(&str, u8, u32)], error: Option<&str>, routed: &[(&str, Option<u32>)]| model::Routing {
        routes: routes.iter().map(|&(prefix, total, id)| (prefix.into(), total, id)).collect(),
        error: error.map(str::to_owned),
        routed: routed.iter().map(|&(code, id)| (code.into(), id)).collect(),
    };
    vec![
        table(
            &[("7", 18, 3), ("71", 20, 1), ("72", 20, 2), ("7123", 24, 4), ("7124", 24, 1)],
            None,
            &[
                ("790000000000000000", Some(3)),
                ("71999999999999999999", Some(1)),
                ("72000000000000000000", Some(2)),
                ("73000000000000000000", None),
                ("7100000000000000000", None),
                ("712300000000000000000000", Some(4)),
                ("712499999999999999999999", Some(1)),
                ("712500000000000000000000", None),
            ],
        ),
        table(&[("71", 20, 1), ("71", 20, 2)], Some("routing_ambiguous"), &[]),
        table(&[("7", 20, 1), ("71", 20, 2)], Some("routing_ambiguous"), &[]),
        table(&[("72", 20, 1), ("71", 20, 2)], Some("routing_unsorted"), &[]),
    ]
}

fn payment(code: &model::Code, aid: &str, transaction_counter: u32) -> model::Payment {
    let pay_key = PayKey::new(Suite::from_id(code.suite).unwrap(), &array(&code.pay_key));
    let stamp = Stamp::new(TimeStep(code.step), Sequence::new(code.sequence).unwrap());
    let index = TokenIndex::new(code.index).unwrap();
    let digits = paycode::Code::parse(&code.code).unwrap();
    let aid_bytes = hex::decode(aid).unwrap();
    let made = Payment::new(&aid_bytes, &pay_key, index, digits, stamp, code.verified, transaction_counter).unwrap();
    let mut text = [0; MAX_PAYMENT_TEXT];
    let text = made.encode(&mut text).unwrap();
    let mut cryptogram_message = message(2, code);
    cryptogram_message.extend(transaction_counter.to_be_bytes());
    model::Payment {
        aid: aid.into(),
        transaction_counter,
        code: code.clone(),
        issuer_data: hex::encode(made.issuer_data().encode(&mut [0; MAX_ISSUER_DATA_BYTES])),
        cryptogram_message: hex::encode(cryptogram_message),
        cryptogram: hex::encode(made.cryptogram()),
        payload: hex::encode(Base64::decode(text, &mut [0; MAX_PAYLOAD_BYTES]).unwrap()),
        text: text.into(),
    }
}

pub(crate) fn emv() -> model::EmvFile {
    let payments: Vec<_> = all_codes()
        .iter()
        .zip([1, 0x0001_0203, u32::MAX, 0xFFFF, 0x1_0000].into_iter().cycle())
        .enumerate()
        .map(|(number, (code, counter))| {
            let aid = match number % 4 {
                0 | 1 => AID.to_owned(),
                2 => hex::encode(counting(0xF0, 5)),
                _ => hex::encode(counting(0xF0, 16)),
            };
            payment(code, &aid, counter)
        })
        .collect();
    let conforming = [
        ("EMVCo, two applications", TWO_APPLICATIONS, &["a0000000555555", "a0000000666666"][..]),
        ("EMVCo, track 2", TRACK_2, &["a0000000555555"][..]),
    ]
    .map(|(source, text, aids)| model::Conforming {
        source: source.into(),
        text: text.into(),
        application_identifiers: aids.iter().map(|&aid| aid.into()).collect(),
    })
    .into();
    // Prefix 71 and 20 digits: 73 bytes, so the base64 text is padded.
    let refused = refused(&payments[4]).into_iter().map(|(case, text, error)| model::Refused {
        case: case.into(),
        text,
        error: error.into(),
    });
    model::EmvFile {
        about: "EMV QR codes: payments of this specification, other conforming payloads, and texts that a reader of \
                payments refuses. Bytes are hexadecimal, texts are base64."
            .into(),
        refused: refused.collect(),
        payments,
        conforming,
    }
}

/// Texts made from one payment by one change each.
fn refused(payment: &model::Payment) -> Vec<(&'static str, String, &'static str)> {
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = hex::decode(&payment.payload).unwrap();
        change(&mut bytes);
        Base64::encode(&bytes, &mut [0; 800]).unwrap().to_owned()
    };
    // The issuer data begin at byte 34: after 85 (7), 61 (2), 4F (11), 50 (9), 63 (2) and 9F10 (3).
    const ISSUER: usize = 34;
    vec![
        ("another payload format", changed(&|bytes| bytes[6] = b'2'), "emv_format_indicator"),
        ("cut", changed(&|bytes| bytes.truncate(60)), "emv_tlv"),
        ("a byte after the end", changed(&|bytes| bytes.push(0)), "emv_tlv"),
        ("an object after the end", changed(&|bytes| bytes.extend([0x9F, 0x37, 0])), "emv_foreign"),
        ("another label", changed(&|bytes| bytes[22] = b'p'), "emv_foreign"),
        ("counter and issuer data differ", changed(&|bytes| bytes[ISSUER + 6] ^= 1), "emv_foreign"),
        ("another issuer data version", changed(&|bytes| bytes[ISSUER] = 2), "emv_issuer_data"),
        ("an unknown suite", changed(&|bytes| bytes[ISSUER + 1] = 3), "emv_issuer_data"),
        ("an unknown flag", changed(&|bytes| bytes[ISSUER + 2] |= 2), "emv_issuer_data"),
        ("sequence 4", changed(&|bytes| bytes[ISSUER + 11] = 4), "emv_issuer_data"),
        ("a half byte that is no digit", changed(&|bytes| bytes[ISSUER + 14] = 0x1A), "emv_issuer_data"),
        ("a line feed after the text", payment.text.clone() + "\n", "emv_base64"),
        ("no padding", payment.text.trim_end_matches('=').into(), "emv_base64"),
        ("not one of this specification", TRACK_2.into(), "emv_foreign"),
        ("longer than any payload", "hQVD".repeat(172), "emv_too_long"),
    ]
}
