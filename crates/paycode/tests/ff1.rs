//! FF1 against an independent implementation, and at each of its bounds. NIST's samples and fixed cases
//! of every length are in `spec/vectors/ff1.json`, read by `vectors.rs`.
#![cfg(all(feature = "international", feature = "chinese"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its own functions")]

use core::cell::Cell;

use aes::{Aes128, Aes256};
use cipher::{BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use fpe::ff1::{FF1, FlexibleNumeralString};
use paycode::ff1::{Error, Ff1, MAX_DIGITS, MAX_TWEAK, MIN_DIGITS};
use proptest::prelude::*;
use sm4::Sm4;

/// The same digits encrypted by the `fpe` crate.
fn oracle(encrypted: Vec<u16>) -> String {
    encrypted.iter().map(|digit| char::from(b'0' + *digit as u8)).collect()
}

fn numerals(digits: &str) -> FlexibleNumeralString {
    digits.bytes().map(|digit| u16::from(digit - b'0')).collect::<Vec<_>>().into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn aes_agrees_with_another_implementation(
        key: [u8; 32],
        tweak in prop::collection::vec(any::<u8>(), 0..=MAX_TWEAK),
        digits in "[0-9]{6,22}",
    ) {
        let expected = FF1::<Aes256>::new(&key, 10).unwrap().encrypt(&tweak, &numerals(&digits)).unwrap();
        let ff1 = Ff1::new(Aes256::new(&key.into()), digits.len(), &tweak).unwrap();
        let mut work = digits.clone().into_bytes();
        ff1.encrypt(&mut work).unwrap();
        prop_assert_eq!(core::str::from_utf8(&work).unwrap(), oracle(expected.into()));
        ff1.decrypt(&mut work).unwrap();
        prop_assert_eq!(core::str::from_utf8(&work).unwrap(), digits);
    }

    #[test]
    fn sm4_agrees_with_another_implementation(
        key: [u8; 16],
        tweak in prop::collection::vec(any::<u8>(), 0..=MAX_TWEAK),
        digits in "[0-9]{6,22}",
    ) {
        let expected = FF1::<Sm4>::new(&key, 10).unwrap().encrypt(&tweak, &numerals(&digits)).unwrap();
        let ff1 = Ff1::new(Sm4::new(&key.into()), digits.len(), &tweak).unwrap();
        let mut work = digits.clone().into_bytes();
        ff1.encrypt(&mut work).unwrap();
        prop_assert_eq!(core::str::from_utf8(&work).unwrap(), oracle(expected.into()));
        ff1.decrypt(&mut work).unwrap();
        prop_assert_eq!(core::str::from_utf8(&work).unwrap(), digits);
    }
}

#[test]
fn the_largest_numbers_of_every_length_survive_a_round_trip() {
    let cipher = Aes128::new(&[7; 16].into());
    for length in MIN_DIGITS..=MAX_DIGITS {
        for digit in [b'0', b'9'] {
            let digits = vec![digit; length];
            let ff1 = Ff1::new(&cipher, length, b"tweak").unwrap();
            let mut work = digits.clone();
            ff1.encrypt(&mut work).unwrap();
            assert_ne!(work, digits);
            ff1.decrypt(&mut work).unwrap();
            assert_eq!(work, digits);
        }
    }
}

#[test]
fn lengths_and_tweaks_outside_the_bounds_are_refused() {
    let cipher = Aes128::new(&[7; 16].into());
    let prepare = |digits, tweak: &[u8]| Ff1::new(&cipher, digits, tweak).map(|_| ());
    assert_eq!(prepare(MIN_DIGITS - 1, b""), Err(Error::Length));
    assert_eq!(prepare(MIN_DIGITS, b""), Ok(()));
    assert_eq!(prepare(MAX_DIGITS, b""), Ok(()));
    assert_eq!(prepare(MAX_DIGITS + 1, b""), Err(Error::Length));
    assert_eq!(prepare(10, &[0; MAX_TWEAK]), Ok(()));
    assert_eq!(prepare(10, &[0; MAX_TWEAK + 1]), Err(Error::Tweak));
}

#[test]
fn refused_digits_are_left_unchanged() {
    let ff1 = Ff1::new(Aes128::new(&[7; 16].into()), 10, b"").unwrap();
    for (text, expected) in [
        ("012345678", Error::Length),
        ("01234567890", Error::Length),
        ("", Error::Length),
        ("012345678a", Error::Digit),
        ("/123456789", Error::Digit),
        ("0123:56789", Error::Digit),
    ] {
        let mut digits = text.as_bytes().to_vec();
        assert_eq!(ff1.encrypt(&mut digits), Err(expected), "{text}");
        assert_eq!(ff1.decrypt(&mut digits), Err(expected), "{text}");
        assert_eq!(digits, text.as_bytes());
    }
}

#[test]
fn a_tweak_of_another_length_or_value_gives_other_digits() {
    let cipher = Aes128::new(&[7; 16].into());
    let under = |tweak: &[u8]| {
        let mut digits = *b"0123456789";
        Ff1::new(&cipher, 10, tweak).unwrap().encrypt(&mut digits).unwrap();
        digits
    };
    // Zeros that fill are told from zeros that are the tweak by its length in the first block.
    assert_ne!(under(b""), under(b"\0"));
    assert_ne!(under(b"71\x14"), under(b"72\x14"));
    assert_ne!(under(&[1; 20]), under(&[1; 21]));
}

/// Counts how often the cipher runs.
struct Counting<'c> {
    cipher: Aes128,
    blocks: &'c Cell<u32>,
}

impl BlockSizeUser for Counting<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncrypt for Counting<'_> {
    fn encrypt_with_backend(&self, closure: impl BlockCipherEncClosure<BlockSize = U16>) {
        self.blocks.set(self.blocks.get() + 1);
        self.cipher.encrypt_with_backend(closure);
    }
}

#[test]
fn a_code_costs_eleven_blocks_and_ten_where_the_preparation_is_kept() {
    let blocks = Cell::new(0);
    for (digits, tweak) in [(16, &b"71\x12"[..]), (22, b"71\x18"), (22, b"7\x17"), (16, b"71234567\x18")] {
        blocks.set(0);
        let ff1 = Ff1::new(Counting { cipher: Aes128::new(&[7; 16].into()), blocks: &blocks }, digits, tweak).unwrap();
        assert_eq!(blocks.get(), 1);
        let mut body = vec![b'7'; digits];
        ff1.encrypt(&mut body).unwrap();
        assert_eq!(blocks.get(), 11);
        ff1.decrypt(&mut body).unwrap();
        assert_eq!(blocks.get(), 21);
    }
}

#[test]
fn debug_shows_the_length_only() {
    let ff1 = Ff1::new(Aes128::new(&[7; 16].into()), 10, b"").unwrap();
    assert_eq!(format!("{ff1:?}"), "Ff1 { digits: 10, .. }");
}
