//! AES keys of 128, 192 and 256 bits and the three ways they are used here: block, CBC, CMAC. A key is
//! wiped when dropped, does not show in `Debug`, and is compared in constant time.
//!
//! CBC and CMAC are written here, over any of the three: one copy of each is enough, and a chip's flash is small. A chip
//! short of flash leaves the longer keys out (feature `long-keys`); AES-128 is always there.

use blockcipher::{Aes128, BLOCK_BYTES};
#[cfg(feature = "long-keys")]
use cipher::consts::U24;
use cipher::{
    Array, BlockCipherDecrypt,
    consts::{U16, U32},
};
#[cfg(feature = "long-keys")]
use cipher::{BlockCipherEncrypt, KeyInit};
use core::fmt;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The longest key in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 32;

/// Whether a key of this many bytes can be used in this build: 16 always, 24 and 32 with the feature `long-keys`.
pub(crate) const fn is_key_length(bytes: usize) -> bool {
    Length::of_bytes(bytes).is_some()
}

/// A length of keys that is compiled in, in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Length {
    Bits128 = 16,
    #[cfg(feature = "long-keys")]
    Bits192 = 24,
    #[cfg(feature = "long-keys")]
    Bits256 = 32,
}

impl Length {
    const fn of_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            16 => Some(Self::Bits128),
            #[cfg(feature = "long-keys")]
            24 => Some(Self::Bits192),
            #[cfg(feature = "long-keys")]
            32 => Some(Self::Bits256),
            _ => None,
        }
    }
}

/// An AES key (FIPS 197). Cipher objects are made for each use: a chip has little RAM for key schedules.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AesKey {
    /// The key, then zeros.
    bytes: [u8; MAX_KEY_BYTES],
    #[zeroize(skip)]
    length: Length,
}

impl AesKey {
    /// The key these 16, 24 or 32 bytes are; `None` for any other length, and for one that is not compiled in.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut key = Self { bytes: [0; MAX_KEY_BYTES], length: Length::of_bytes(bytes.len())? };
        key.bytes_mut().copy_from_slice(bytes);
        Some(key)
    }

    /// The bytes of the key, for the store that keeps it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len_bytes()).unwrap_or_default()
    }

    /// The bytes of the key, to be overwritten with another one's of the same length.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length as usize).unwrap_or_default()
    }

    /// Its length in bytes: 16, 24 or 32.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.length as usize
    }

    /// The cipher under this key.
    fn cipher(&self) -> Cipher {
        let bytes: &Array<u8, U32> = (&self.bytes).into();
        match self.length {
            Length::Bits128 => Cipher::Aes128(Aes128::new(&bytes.split_ref::<U16>().0.0)),
            #[cfg(feature = "long-keys")]
            Length::Bits192 => Cipher::Aes192(aes::Aes192::new(bytes.split_ref::<U24>().0)),
            #[cfg(feature = "long-keys")]
            Length::Bits256 => Cipher::Aes256(aes::Aes256::new(bytes)),
        }
    }

    /// AES-CMAC (NIST SP 800-38B) over the parts, one after the other.
    #[must_use]
    pub fn cmac(&self, parts: &[&[u8]]) -> [u8; BLOCK_BYTES] {
        let cipher = self.cipher();
        let mut mac = [0; BLOCK_BYTES];
        let mut used = 0;
        for byte in parts.iter().copied().flatten() {
            // The last block waits: a subkey goes into it.
            if used == BLOCK_BYTES {
                cipher.encrypt(&mut mac);
                used = 0;
            }
            if let Some(to) = mac.get_mut(used) {
                *to ^= byte;
            }
            used += 1;
        }
        let mut subkey = [0; BLOCK_BYTES];
        cipher.encrypt(&mut subkey);
        double(&mut subkey);
        if let Some(padding) = mac.get_mut(used) {
            *padding ^= 0x80;
            double(&mut subkey);
        }
        xor(&mut mac, &subkey);
        subkey.zeroize();
        cipher.encrypt(&mut mac);
        mac
    }

    /// Encrypts one block in place.
    pub fn encrypt_block(&self, block: &mut [u8; BLOCK_BYTES]) {
        self.cipher().encrypt(block);
    }

    /// AES-CBC (NIST SP 800-38A §6.2) over whole blocks, in place.
    pub fn cbc_encrypt(&self, iv: &[u8; BLOCK_BYTES], blocks: &mut [[u8; BLOCK_BYTES]]) {
        let cipher = self.cipher();
        let mut previous = iv;
        for block in blocks {
            xor(block, previous);
            cipher.encrypt(block);
            previous = block;
        }
    }

    /// The inverse of [`AesKey::cbc_encrypt`].
    pub fn cbc_decrypt(&self, iv: &[u8; BLOCK_BYTES], blocks: &mut [[u8; BLOCK_BYTES]]) {
        let cipher = self.cipher();
        let mut rest = blocks;
        // From the end, where the block before is still encrypted.
        while let Some((block, before)) = rest.split_last_mut() {
            cipher.decrypt(block);
            xor(block, before.last().unwrap_or(iv));
            rest = before;
        }
    }
}

impl ConstantTimeEq for AesKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.bytes.ct_eq(&other.bytes) & (self.length as u8).ct_eq(&(other.length as u8))
    }
}

impl PartialEq for AesKey {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for AesKey {}

impl fmt::Debug for AesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AesKey({} bits)", self.len_bytes() * 8)
    }
}

/// AES under one key, whatever its length. Wiped when dropped.
enum Cipher {
    Aes128(Aes128),
    #[cfg(feature = "long-keys")]
    Aes192(aes::Aes192),
    #[cfg(feature = "long-keys")]
    Aes256(aes::Aes256),
}

impl Cipher {
    /// Encrypts a block in place.
    #[inline(never)]
    fn encrypt(&self, block: &mut [u8; BLOCK_BYTES]) {
        match self {
            Self::Aes128(aes) => aes.encrypt(block),
            #[cfg(feature = "long-keys")]
            Self::Aes192(aes) => aes.encrypt_block(block.into()),
            #[cfg(feature = "long-keys")]
            Self::Aes256(aes) => aes.encrypt_block(block.into()),
        }
    }

    /// Decrypts a block in place.
    #[inline(never)]
    fn decrypt(&self, block: &mut [u8; BLOCK_BYTES]) {
        match self {
            Self::Aes128(aes) => aes.schedule().decrypt_block(block.into()),
            #[cfg(feature = "long-keys")]
            Self::Aes192(aes) => aes.decrypt_block(block.into()),
            #[cfg(feature = "long-keys")]
            Self::Aes256(aes) => aes.decrypt_block(block.into()),
        }
    }
}

/// Doubles a block in the field of SP 800-38B, in one time for all.
fn double(block: &mut [u8; BLOCK_BYTES]) {
    let [first, ..] = *block;
    let mut carry = (first >> 7) * 0x87;
    for byte in block.iter_mut().rev() {
        let out = *byte >> 7;
        *byte = *byte << 1 ^ carry;
        carry = out;
    }
}

fn xor(block: &mut [u8; BLOCK_BYTES], with: &[u8; BLOCK_BYTES]) {
    for (byte, other) in block.iter_mut().zip(with) {
        *byte ^= other;
    }
}
