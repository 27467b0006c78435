//! Known answers, computed at power-up: a chip whose primitives are wrong makes no codes at all.
//!
//! One payment code exercises FF1 and the block cipher, HMAC and the hash of its suite; each suite that is compiled in
//! is tested. The secure channel's AES in both directions and CMAC, and the HMAC-SHA-256 of the passcode, are
//! tested on their own, with the vectors of their standards. Signatures have their test in `signature`.

use paycode::hmac_sha256::HmacSha256;
use paycode::{CodeFormat, MaskKey, PayKey, Sequence, Stamp, Suite, TimeStep, TokenIndex};
use protocol::scp03::AesKey;

/// The code of the international suite (AES-128, HMAC-SHA-256) for the inputs below.
const INTERNATIONAL: &[u8] = b"71489682616731668926";
/// The code of the Chinese suite (SM4, HMAC-SM3) for the same inputs.
const CHINESE: &[u8] = b"71649348122233489042";

/// Whether every known answer comes out.
pub(crate) fn passes() -> bool {
    aes_and_cmac_come_out() && hmac_comes_out() && codes_come_out()
}

/// NIST SP 800-38A F.2.1 (CBC) and SP 800-38B D.1 (CMAC): one key, one first block.
fn aes_and_cmac_come_out() -> bool {
    const KEY: [u8; 16] =
        [0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6, 0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F, 0x3C];
    const IV: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const PLAIN: [u8; 16] =
        [0x6B, 0xC1, 0xBE, 0xE2, 0x2E, 0x40, 0x9F, 0x96, 0xE9, 0x3D, 0x7E, 0x11, 0x73, 0x93, 0x17, 0x2A];
    const ENCRYPTED: [u8; 16] =
        [0x76, 0x49, 0xAB, 0xAC, 0x81, 0x19, 0xB2, 0x46, 0xCE, 0xE9, 0x8E, 0x9B, 0x12, 0xE9, 0x19, 0x7D];
    const MAC: [u8; 16] =
        [0x07, 0x0A, 0x16, 0xB4, 0x6B, 0x4D, 0x41, 0x44, 0xF7, 0x9B, 0xDD, 0x9D, 0xD0, 0x4A, 0x28, 0x7C];
    let Some(key) = AesKey::new(&KEY) else {
        return false;
    };
    let mut block = [PLAIN];
    key.cbc_encrypt(&IV, &mut block);
    let encrypted = block == [ENCRYPTED];
    key.cbc_decrypt(&IV, &mut block);
    encrypted && block == [PLAIN] && key.cmac(&[&PLAIN]) == MAC
}

/// RFC 4231 §4.3.
fn hmac_comes_out() -> bool {
    const MAC: [u8; 32] = [
        0x5B, 0xDC, 0xC1, 0x46, 0xBF, 0x60, 0x75, 0x4E, 0x6A, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xC7, 0x5A, 0x00,
        0x3F, 0x08, 0x9D, 0x27, 0x39, 0x83, 0x9D, 0xEC, 0x58, 0xB9, 0x64, 0xEC, 0x38, 0x43,
    ];
    HmacSha256::new(b"Jefe").mac(b"what do ya want for nothing?") == MAC
}

fn codes_come_out() -> bool {
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
