//! The block cipher AES (FIPS 197) as one type, whatever the length of its key.
//!
//! Payment codes and the secure channel both need it, and every copy of it is 2 KiB of a chip's flash: so it is compiled
//! once, here, and both hold an [`Aes`]. It is also where a chip maker's accelerator takes the place of the software, which
//! is RustCrypto's and runs in constant time. A chip short of flash leaves the longer keys out (feature `long-keys`).

#![no_std]
#![forbid(unsafe_code)]

use aes::Aes128;
#[cfg(feature = "long-keys")]
use aes::{Aes192, Aes256};
use cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, InOut, KeyInit, ParBlocksSizeUser,
    consts::{U1, U16},
};
use core::fmt;

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 16;
/// The longest key in bytes.
pub const MAX_KEY_BYTES: usize = 32;

/// Whether a key of this many bytes can be used in this build: 16 always, 24 and 32 with the feature `long-keys`.
#[must_use]
pub const fn is_key_length(bytes: usize) -> bool {
    bytes == 16 || cfg!(feature = "long-keys") && (bytes == 24 || bytes == 32)
}

/// AES under one key, its key schedule computed once. Wiped when dropped; `Debug` shows no key.
///
/// Encryption is here. Decryption, which only the secure channel needs, is where it is used: compiled side by side, each
/// keeps the compiler from leaving out work the other does not need, and a block costs nearly twice the instructions.
pub enum Aes {
    /// With a key of 16 bytes.
    Aes128(Aes128),
    /// With a key of 24 bytes.
    #[cfg(feature = "long-keys")]
    Aes192(Aes192),
    /// With a key of 32 bytes.
    #[cfg(feature = "long-keys")]
    Aes256(Aes256),
}

impl Aes {
    /// AES under this key; nothing for a length that is no key's, or not compiled in.
    #[inline(never)]
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        #[cfg(feature = "long-keys")]
        match key.len() {
            24 => return Aes192::new_from_slice(key).ok().map(Self::Aes192),
            32 => return Aes256::new_from_slice(key).ok().map(Self::Aes256),
            _ => {}
        }
        key.try_into().ok().map(Self::with_128_bits)
    }

    /// AES-128 under this key.
    #[inline(never)]
    #[must_use]
    pub fn with_128_bits(key: &[u8; 16]) -> Self {
        Self::Aes128(Aes128::new(key.into()))
    }

    /// Encrypts a block in place.
    #[inline(never)]
    pub fn encrypt(&self, block: &mut [u8; BLOCK_BYTES]) {
        match self {
            Self::Aes128(aes) => aes.encrypt_block(block.into()),
            #[cfg(feature = "long-keys")]
            Self::Aes192(aes) => aes.encrypt_block(block.into()),
            #[cfg(feature = "long-keys")]
            Self::Aes256(aes) => aes.encrypt_block(block.into()),
        }
    }
}

impl fmt::Debug for Aes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aes").finish_non_exhaustive()
    }
}

impl BlockSizeUser for Aes {
    type BlockSize = U16;
}

/// For modes that take any block cipher, as FF1 does.
impl BlockCipherEncrypt for Aes {
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        f.call(&OneByOne(self));
    }
}

struct OneByOne<'a>(&'a Aes);

impl BlockSizeUser for OneByOne<'_> {
    type BlockSize = U16;
}

impl ParBlocksSizeUser for OneByOne<'_> {
    type ParBlocksSize = U1;
}

impl BlockCipherEncBackend for OneByOne<'_> {
    fn encrypt_block(&self, mut block: InOut<'_, '_, cipher::Block<Self>>) {
        let mut bytes = block.clone_in();
        self.0.encrypt(&mut bytes.0);
        *block.get_out() = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix C: keys `00 01 02 …`, block `00 11 22 …`.
    #[test]
    fn the_examples_of_the_standard() {
        let key: [u8; 32] = core::array::from_fn(|at| at as u8);
        let plain: [u8; 16] = core::array::from_fn(|at| at as u8 * 0x11);
        let mut examples = 0;
        for (key_bytes, encrypted) in [
            (16, "69c4e0d86a7b0430d8cdb78070b4c55a"),
            (24, "dda97ca4864cdfe06eaf70a0ec0d7191"),
            (32, "8ea2b7ca516745bfeafc49904b496089"),
        ] {
            let aes = Aes::new(&key[..key_bytes]);
            assert_eq!(aes.is_some(), is_key_length(key_bytes));
            let Some(aes) = aes else { continue };
            let mut block = plain;
            aes.encrypt(&mut block);
            assert_eq!(block[..], hex::decode(encrypted).unwrap());
            let mut through_trait = plain;
            aes.encrypt_block((&mut through_trait).into());
            assert_eq!(through_trait, block);
            examples += 1;
        }
        assert!(examples > 0);
        for key_bytes in [0, 1, 15, 17, 23, 25, 31] {
            assert!(Aes::new(&key[..key_bytes]).is_none());
        }
    }
}
