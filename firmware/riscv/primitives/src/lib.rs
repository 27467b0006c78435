//! What the primitives under a payment code cost in this very image: the yardstick for what the chip adds to them. A
//! crate of its own, so that it is compiled as the crate that makes the codes is: for speed rather than size.

#![no_std]
#![forbid(unsafe_code)]

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use board::time;
use core::hint::black_box;
use sm3::digest::block_api::UpdateCore;

/// Blocks of the cipher, and compressions of the hash, that one payment code takes (`spec/payment-code.md`).
const CIPHER_BLOCKS_PER_CODE: u32 = 11;
const COMPRESSIONS_PER_CODE: u32 = 2;

/// Instructions of `work`, without those of counting.
fn count(mut work: impl FnMut()) -> u32 {
    let empty = time::instructions();
    let begun = time::instructions();
    work();
    let done = time::instructions();
    done.wrapping_sub(begun).wrapping_sub(begun.wrapping_sub(empty))
}

/// A block through a cipher held by reference, as FF1 holds it.
fn count_block<C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>>(cipher: C) -> u32 {
    let mut block = black_box([7; 16]).into();
    let instructions = count(|| cipher.encrypt_block(&mut block));
    black_box(block);
    instructions
}

/// One block each of AES-128, SHA-256, SM4, SM3; what a code of the international suite takes of them; of the Chinese.
#[must_use]
pub fn count_all() -> [u32; 6] {
    let aes = aes::Aes128::new(&black_box([0x4D; 16]).into());
    let sm4 = sm4::Sm4::new(&black_box([0x4D; 16]).into());
    let (aes, sm4) = (count_block(&aes), count_block(&sm4));

    let message = black_box([[0x36; 64]]);
    let mut state = black_box([1; 8]);
    let sha256 = count(|| sha2::block_api::compress256(&mut state, &message));
    black_box(state);
    let mut core = sm3::block_api::Sm3Core::default();
    let message = message.map(Into::into);
    let sm3 = count(|| core.update_blocks(&message));
    black_box(&core);

    let international = CIPHER_BLOCKS_PER_CODE * aes + COMPRESSIONS_PER_CODE * sha256;
    let chinese = CIPHER_BLOCKS_PER_CODE * sm4 + COMPRESSIONS_PER_CODE * sm3;
    [aes, sha256, sm4, sm3, international, chinese]
}
