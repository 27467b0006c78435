//! AES keys of 128, 192 and 256 bits and the three ways they are used here: block, CBC, CMAC. A key is
//! wiped when dropped, does not show in `Debug`, and is compared in constant time.
//!
//! CBC and CMAC are written here, over any of the three: one copy of each is enough, and a chip's flash is small. A chip
//! short of flash leaves the longer keys out (feature `long-keys`); AES-128 is always there.

use cipher::BlockCipherDecrypt;
use core::fmt;
use engine::{Aes, BLOCK_BYTES, MAX_KEY_BYTES, is_key_length};
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// An AES key (FIPS 197). Cipher objects are made for each use: a chip has little RAM for key schedules.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AesKey {
    bytes: [u8; MAX_KEY_BYTES],
    /// Of the bytes, how many are the key: 16, 24 or 32. The others are zero.
    len: u8,
}

impl AesKey {
    /// The key these 16, 24 or 32 bytes are; `None` for any other length, and for one that is not compiled in.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if !is_key_length(bytes.len()) {
            return None;
        }
        let mut key = Self { bytes: [0; MAX_KEY_BYTES], len: bytes.len() as u8 };
        key.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(key)
    }

    /// The bytes of the key, for the store that keeps it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len_bytes()).unwrap_or_default()
    }

    /// The bytes of the key, to be overwritten with another one's of the same length.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..usize::from(self.len)).unwrap_or_default()
    }

    /// Its length in bytes: 16, 24 or 32.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len as usize
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

    /// A key that exists has a length that is compiled in; were it otherwise, nothing would be decided by a key of zeros
    /// that anybody could foresee: no MAC made with it is ever one that was asked for.
    fn cipher(&self) -> Aes {
        Aes::new(self.as_bytes()).unwrap_or_else(|| Aes::with_128_bits(&[0; 16]))
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
            decrypt(&cipher, block);
            xor(block, before.last().unwrap_or(iv));
            rest = before;
        }
    }
}

impl ConstantTimeEq for AesKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.bytes.ct_eq(&other.bytes) & self.len.ct_eq(&other.len)
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

/// Decrypts a block in place.
#[inline(never)]
fn decrypt(cipher: &Aes, block: &mut [u8; BLOCK_BYTES]) {
    match cipher {
        Aes::Aes128(aes) => aes.decrypt_block(block.into()),
        #[cfg(feature = "long-keys")]
        Aes::Aes192(aes) => aes.decrypt_block(block.into()),
        #[cfg(feature = "long-keys")]
        Aes::Aes256(aes) => aes.decrypt_block(block.into()),
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
