//! The block cipher AES-128 (FIPS 197).
//!
//! Payment codes and the secure channel both need it, and every copy of it is 2 KiB of a chip's flash: so it is compiled
//! once, here, and both hold an [`Aes128`]. It is also where a chip maker's accelerator takes the place of the software,
//! which is RustCrypto's and runs in constant time.
//!
//! Nothing else may be in here. Decryption and longer keys, which only the secure channel needs, are where they are used:
//! compiled side by side they share pieces, and where pieces are shared the compiler calls them instead of putting them
//! in line; a block then costs an eighth more instructions, or nearly twice as many.

#![no_std]
#![forbid(unsafe_code)]

use cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, InOut, KeyInit, ParBlocksSizeUser,
    consts::{U1, U16},
};
use core::fmt;

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 16;
/// Bytes of a key.
pub const KEY_BYTES: usize = 16;

/// AES-128 under one key, its key schedule computed once. Wiped when dropped; `Debug` shows no key.
pub struct Aes128(aes::Aes128);

impl Aes128 {
    /// The cipher under this key.
    #[inline(never)]
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(aes::Aes128::new(key.into()))
    }

    /// The key schedule, for whoever decrypts.
    #[must_use]
    pub const fn schedule(&self) -> &aes::Aes128 {
        &self.0
    }

    /// Encrypts a block in place.
    #[inline(never)]
    pub fn encrypt(&self, block: &mut [u8; BLOCK_BYTES]) {
        self.0.encrypt_block(block.into());
    }
}

impl fmt::Debug for Aes128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aes128").finish_non_exhaustive()
    }
}

impl BlockSizeUser for Aes128 {
    type BlockSize = U16;
}

/// For modes that take any block cipher, as FF1 does.
impl BlockCipherEncrypt for Aes128 {
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        f.call(&OneByOne(self));
    }
}

struct OneByOne<'a>(&'a Aes128);

impl BlockSizeUser for OneByOne<'_> {
    type BlockSize = U16;
}

impl ParBlocksSizeUser for OneByOne<'_> {
    type ParBlocksSize = U1;
}

impl BlockCipherEncBackend for OneByOne<'_> {
    fn encrypt_block(&self, mut block: InOut<'_, '_, cipher::Block<Self>>) {
        // Nothing is copied where both are the same block, as nearly always.
        let bytes = block.clone_in();
        let out = block.get_out();
        *out = bytes;
        self.0.encrypt(&mut out.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix C.1: key `00 01 02 …`, block `00 11 22 …`.
    #[test]
    fn the_example_of_the_standard() {
        let key: [u8; 16] = core::array::from_fn(|at| at as u8);
        let plain: [u8; 16] = core::array::from_fn(|at| at as u8 * 0x11);
        let aes = Aes128::new(&key);
        let mut block = plain;
        aes.encrypt(&mut block);
        assert_eq!(block[..], hex::decode("69c4e0d86a7b0430d8cdb78070b4c55a").unwrap());
        let mut through_trait = plain;
        aes.encrypt_block((&mut through_trait).into());
        assert_eq!(through_trait, block);
    }
}
