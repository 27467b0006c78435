//! The files in `spec/vectors`: what the specification promises to every other implementation.
//!
//! Each is read and held against the crate, and is what `generate` makes, so neither can drift. After
//! a change to the specification: `cargo test -p paycode --test vectors -- --ignored`.
#![cfg(all(feature = "international", feature = "chinese"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its own functions")]

#[path = "vectors/generate.rs"]
mod generate;
#[path = "vectors/model.rs"]
mod model;

use std::{fs, path::PathBuf};

use aes::{Aes128, Aes192, Aes256};
use cipher::{BlockCipherEncrypt, KeyInit, consts::U16};
use paycode::{
    Code, CodeFormat, Hit, InstitutionId, MaskKey, PayKey, Route, RoutingTable, Sequence, Stamp, Suite, TimeStep,
    TokenIndex, check,
    emv::{self, IssuerData, MAX_PAYLOAD_BYTES, MAX_PAYMENT_TEXT, Payload, Payment},
    ff1::Ff1,
    make, unmask,
};
use serde::{Serialize, de::DeserializeOwned};
use sm4::Sm4;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(name)
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap()
}

fn write<T: Serialize>(name: &str, file: &T) {
    fs::write(path(name), serde_json::to_string_pretty(file).unwrap() + "\n").unwrap();
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn stamp(step: u32, sequence: u8) -> Stamp {
    Stamp::new(TimeStep(step), Sequence::new(sequence).unwrap())
}

#[test]
#[ignore = "writes spec/vectors"]
fn regenerate() {
    write("ff1.json", &generate::ff1());
    write("one-time-password.json", &generate::passwords());
    write("payment-code.json", &generate::codes());
    write("emv-qr.json", &generate::emv());
}

#[test]
fn the_files_are_what_the_generator_makes() {
    assert_eq!(read::<model::Ff1File>("ff1.json"), generate::ff1());
    assert_eq!(read::<model::PasswordFile>("one-time-password.json"), generate::passwords());
    assert_eq!(read::<model::CodeFile>("payment-code.json"), generate::codes());
    assert_eq!(read::<model::EmvFile>("emv-qr.json"), generate::emv());
}

#[test]
fn ff1_agrees() {
    let file: model::Ff1File = read("ff1.json");
    assert_eq!(file.vectors.iter().filter(|vector| vector.source.starts_with("NIST")).count(), 6);
    for vector in &file.vectors {
        let key = hex::decode(&vector.key).unwrap();
        match vector.cipher.as_str() {
            "AES-128" => ff1_vector(Aes128::new_from_slice(&key).unwrap(), vector),
            "AES-192" => ff1_vector(Aes192::new_from_slice(&key).unwrap(), vector),
            "AES-256" => ff1_vector(Aes256::new_from_slice(&key).unwrap(), vector),
            "SM4" => ff1_vector(Sm4::new_from_slice(&key).unwrap(), vector),
            other => panic!("unknown cipher {other}"),
        }
    }
}

fn ff1_vector<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: C, vector: &model::Ff1) {
    let tweak = hex::decode(&vector.tweak).unwrap();
    let ff1 = Ff1::new(cipher, vector.plaintext.len(), &tweak).unwrap();
    let mut digits = vector.plaintext.clone().into_bytes();
    ff1.encrypt(&mut digits).unwrap();
    assert_eq!(String::from_utf8_lossy(&digits), vector.ciphertext, "{vector:?}");
    ff1.decrypt(&mut digits).unwrap();
    assert_eq!(String::from_utf8_lossy(&digits), vector.plaintext, "{vector:?}");
}

#[test]
fn passwords_agree() {
    let file: model::PasswordFile = read("one-time-password.json");
    assert!(!file.vectors.is_empty());
    for vector in &file.vectors {
        let format = CodeFormat::new(&vector.prefix, vector.total_digits).unwrap();
        assert_eq!(format.password_digits(), vector.password_digits);
        let key = PayKey::new(Suite::from_id(vector.suite).unwrap(), &array(&vector.pay_key));
        let index = TokenIndex::new(vector.index).unwrap();
        let password = key.password(&format, index, stamp(vector.step, vector.sequence), vector.verified);
        assert_eq!(format!("{:0width$}", password.get(), width = password.digits()), vector.password, "{vector:?}");
    }
}

#[test]
fn formats_agree() {
    let file: model::CodeFile = read("payment-code.json");
    assert!(!file.formats.is_empty());
    for vector in &file.formats {
        match CodeFormat::new(&vector.prefix, vector.total_digits) {
            Ok(format) => {
                let digits = [format.body_digits(), format.index_digits(), format.password_digits()];
                assert_eq!((Some(digits), None), (vector.digits, vector.error.as_deref()), "{vector:?}");
            }
            Err(error) => {
                assert_eq!((None, Some(error.code())), (vector.digits, vector.error.as_deref()), "{vector:?}")
            }
        }
    }
}

#[test]
fn codes_agree_in_both_directions() {
    let file: model::CodeFile = read("payment-code.json");
    assert!(!file.codes.is_empty());
    for vector in &file.codes {
        let suite = Suite::from_id(vector.suite).unwrap();
        let format = CodeFormat::new(&vector.prefix, vector.total_digits).unwrap();
        let mask_key = MaskKey::new(suite, &array(&vector.mask_key));
        let pay_key = PayKey::new(suite, &array(&vector.pay_key));
        let index = TokenIndex::new(vector.index).unwrap();
        let made = stamp(vector.step, vector.sequence);

        let code = make(&format, &mask_key, &pay_key, index, made, vector.verified).unwrap();
        assert_eq!(code.as_str(), vector.code, "{vector:?}");

        let unmasked = unmask(&format, &mask_key, &Code::parse(&vector.code).unwrap()).unwrap();
        let (index_digits, password_digits) = vector.plain_body.split_at(format.index_digits());
        assert_eq!(unmasked.index.get(), index_digits.parse::<u64>().unwrap(), "{vector:?}");
        assert_eq!(unmasked.password.get(), password_digits.parse::<u64>().unwrap(), "{vector:?}");
        assert_eq!(check(&pay_key, &unmasked, made.step, None), Ok(Hit { stamp: made, verified: vector.verified }));
    }
}

#[test]
fn checks_agree() {
    let file: model::CodeFile = read("payment-code.json");
    let mask_key = MaskKey::new(Suite::International, &array(&file.codes[0].mask_key));
    let pay_key = PayKey::new(Suite::International, &array(&file.codes[0].pay_key));
    assert!(!file.checks.is_empty());
    for vector in &file.checks {
        let format = CodeFormat::new(&vector.prefix, vector.total_digits).unwrap();
        let unmasked = unmask(&format, &mask_key, &Code::parse(&vector.code).unwrap()).unwrap();
        assert_eq!(unmasked.index.get(), vector.index, "{vector:?}");
        let last = vector.last.map(|(step, sequence)| stamp(step, sequence));
        let outcome = check(&pay_key, &unmasked, TimeStep(vector.now), last);
        let hit = outcome.ok().map(|hit| (hit.stamp.step.0, hit.stamp.sequence.get(), hit.verified));
        let miss = outcome.err().map(|miss| miss.code());
        assert_eq!((hit, miss), (vector.hit, vector.miss.as_deref()), "{vector:?}");
    }
}

#[test]
fn routing_agrees() {
    let file: model::CodeFile = read("payment-code.json");
    assert!(!file.routing.is_empty());
    for vector in &file.routing {
        let routes: Vec<_> = vector
            .routes
            .iter()
            .map(|(prefix, total, id)| Route {
                format: CodeFormat::new(prefix, *total).unwrap(),
                institution: InstitutionId(*id),
            })
            .collect();
        match RoutingTable::new(&routes) {
            Err(error) => assert_eq!(Some(error.code()), vector.error.as_deref()),
            Ok(table) => {
                assert_eq!(vector.error, None);
                for (code, expected) in &vector.routed {
                    let route = table.route(&Code::parse(code).unwrap());
                    assert_eq!(route.map(|route| route.institution.0), *expected, "{code}");
                }
            }
        }
    }
}

#[test]
fn payments_agree_in_both_directions() {
    let file: model::EmvFile = read("emv-qr.json");
    assert!(!file.payments.is_empty());
    for vector in &file.payments {
        let suite = Suite::from_id(vector.code.suite).unwrap();
        let pay_key = PayKey::new(suite, &array(&vector.code.pay_key));
        let index = TokenIndex::new(vector.code.index).unwrap();
        let hit = Hit { stamp: stamp(vector.code.step, vector.code.sequence), verified: vector.code.verified };
        let aid = hex::decode(&vector.aid).unwrap();

        let code = Code::parse(&vector.code.code).unwrap();
        let made =
            Payment::new(&aid, &pay_key, index, code, hit.stamp, hit.verified, vector.transaction_counter).unwrap();
        assert_eq!(made.encode(&mut [0; MAX_PAYMENT_TEXT]), Ok(vector.text.as_str()));

        let mut buffer = [0; MAX_PAYLOAD_BYTES];
        let read = Payment::parse(&vector.text, &mut buffer).unwrap();
        assert_eq!(read.aid(), aid);
        assert_eq!(read.code().as_str(), vector.code.code);
        assert_eq!(hex::encode(read.cryptogram()), vector.cryptogram);
        assert_eq!(read.transaction_counter(), vector.transaction_counter);
        assert_eq!(Ok(read.issuer_data()), IssuerData::parse(&hex::decode(&vector.issuer_data).unwrap()).as_ref());
        assert_eq!(read.verify(&pay_key, index, &hit), Ok(()));
        let payload = hex::decode(&vector.payload).unwrap();
        assert!(Payload::from_bytes(&payload).is_ok());
    }
}

#[test]
fn other_conforming_payloads_are_read_and_the_refused_are_refused() {
    let file: model::EmvFile = read("emv-qr.json");
    assert!(!file.conforming.is_empty() && !file.refused.is_empty());
    for vector in &file.conforming {
        let mut buffer = [0; MAX_PAYLOAD_BYTES];
        let payload = Payload::parse(&vector.text, &mut buffer).unwrap();
        let aids: Vec<_> =
            payload.applications().map(|application| hex::encode(application.get(emv::tag::AID).unwrap())).collect();
        assert_eq!(aids, vector.application_identifiers);
    }
    for vector in &file.refused {
        let mut buffer = [0; MAX_PAYLOAD_BYTES];
        let outcome = Payment::parse(&vector.text, &mut buffer).map(|_| ()).map_err(emv::Error::code);
        assert_eq!(outcome, Err(vector.error.as_str()), "{vector:?}");
    }
}

#[test]
fn the_worked_examples_of_the_specification_are_right() {
    let specification = include_str!("../../../spec/payment-code.md");
    let mask: Vec<u8> = (0x00..0x10).collect();
    let pay: Vec<u8> = (0x20..0x40).collect();
    assert!(specification.contains(&hex::encode(&mask)) && specification.contains(&hex::encode(&pay)));
    let examples = specification.split("## 12. ").nth(1).unwrap().split("## 14. ").next().unwrap();
    let (international, chinese) = examples.split_once("## 13. ").unwrap();
    for (suite, example) in [(Suite::International, international), (Suite::Chinese, chinese)] {
        let pay_key = PayKey::new(suite, pay.as_slice().try_into().unwrap());
        let mask_key = MaskKey::new(suite, mask.as_slice().try_into().unwrap());
        let index = TokenIndex::new(1_234_567_890).unwrap();
        let made = Stamp::new(TimeStep::from_unix_seconds(1_800_000_000).unwrap(), Sequence::FIRST);
        let format = CodeFormat::DEFAULT;
        let code = make(&format, &mask_key, &pay_key, index, made, true).unwrap();
        let (prefix, body) = code.as_str().split_at(2);
        let (left, right) = body.split_at(9);
        assert!(example.contains(&format!("code        {prefix} {left} {right}\n")));
        let password = pay_key.password(&format, index, made, true).get();
        assert!(example.contains(&format!("password    {password:08}\n")));
        let aid = [0xF0, 0x50, 0x41, 0x59, 0x43, 0x48, 0x49, 0x50, 0x01];
        let payment = Payment::new(&aid, &pay_key, index, code, made, true, 0x0001_0203).unwrap();
        assert!(example.contains(&format!("cryptogram  {}\n", hex::encode(payment.cryptogram()))));
        let text = payment.encode(&mut [0; MAX_PAYMENT_TEXT]).unwrap().to_owned();
        assert!(example.contains(&format!("text        {text}\n")));
    }
}
