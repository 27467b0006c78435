//! AES keys of 128, 192 and 256 bits and the three ways they are used here: block, CBC, CMAC. A key is
//! wiped when dropped, does not show in `Debug`, and is compared in constant time.

use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use cmac::{Cmac, Mac};
use core::fmt;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of an AES block and of a full CMAC.
pub(crate) const BLOCK_BYTES: usize = 16;
/// The longest AES key in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 32;

/// An AES key (FIPS 197). Cipher objects are made for each use: a chip has little RAM for key schedules.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub enum AesKey {
    /// 16 bytes.
    Aes128([u8; 16]),
    /// 24 bytes.
    Aes192([u8; 24]),
    /// 32 bytes.
    Aes256([u8; 32]),
}

impl AesKey {
    /// The key these 16, 24 or 32 bytes are; `None` for any other length.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        Some(match bytes.len() {
            16 => Self::Aes128(bytes.try_into().ok()?),
            24 => Self::Aes192(bytes.try_into().ok()?),
            32 => Self::Aes256(bytes.try_into().ok()?),
            _ => return None,
        })
    }

    /// The bytes of the key, for the store that keeps it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Aes128(bytes) => bytes,
            Self::Aes192(bytes) => bytes,
            Self::Aes256(bytes) => bytes,
        }
    }

    /// Its length in bytes: 16, 24 or 32.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.as_bytes().len()
    }

    /// AES-CMAC (NIST SP 800-38B) over the parts, one after the other.
    #[must_use]
    pub fn cmac(&self, parts: &[&[u8]]) -> [u8; BLOCK_BYTES] {
        match self {
            Self::Aes128(key) => mac_of(Cmac::<Aes128>::new(key.into()), parts),
            Self::Aes192(key) => mac_of(Cmac::<Aes192>::new(key.into()), parts),
            Self::Aes256(key) => mac_of(Cmac::<Aes256>::new(key.into()), parts),
        }
    }

    /// Encrypts one block in place.
    pub fn encrypt_block(&self, block: &mut [u8; BLOCK_BYTES]) {
        self.cbc_encrypt(&[0; BLOCK_BYTES], core::slice::from_mut(block));
    }

    /// AES-CBC (NIST SP 800-38A §6.2) over whole blocks, in place.
    pub fn cbc_encrypt(&self, iv: &[u8; BLOCK_BYTES], blocks: &mut [[u8; BLOCK_BYTES]]) {
        match self {
            Self::Aes128(key) => encrypt_chain(&Aes128::new(key.into()), iv, blocks),
            Self::Aes192(key) => encrypt_chain(&Aes192::new(key.into()), iv, blocks),
            Self::Aes256(key) => encrypt_chain(&Aes256::new(key.into()), iv, blocks),
        }
    }

    /// The inverse of [`AesKey::cbc_encrypt`].
    pub fn cbc_decrypt(&self, iv: &[u8; BLOCK_BYTES], blocks: &mut [[u8; BLOCK_BYTES]]) {
        match self {
            Self::Aes128(key) => decrypt_chain(&Aes128::new(key.into()), iv, blocks),
            Self::Aes192(key) => decrypt_chain(&Aes192::new(key.into()), iv, blocks),
            Self::Aes256(key) => decrypt_chain(&Aes256::new(key.into()), iv, blocks),
        }
    }
}

impl ConstantTimeEq for AesKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.as_bytes().ct_eq(other.as_bytes())
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

fn mac_of<M: Mac<OutputSize = cmac::digest::consts::U16>>(mut mac: M, parts: &[&[u8]]) -> [u8; BLOCK_BYTES] {
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn encrypt_chain<C>(cipher: &C, iv: &[u8; BLOCK_BYTES], blocks: &mut [[u8; BLOCK_BYTES]])
where
    C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
{
    let mut previous = *iv;
    for block in blocks {
        xor(block, &previous);
        cipher.encrypt_block(<&mut Block<C>>::from(&mut *block));
        previous = *block;
    }
}

fn decrypt_chain<C>(cipher: &C, iv: &[u8; BLOCK_BYTES], blocks: &mut [[u8; BLOCK_BYTES]])
where
    C: BlockCipherDecrypt<BlockSize = aes::cipher::consts::U16>,
{
    let mut previous = *iv;
    for block in blocks {
        let encrypted = *block;
        cipher.decrypt_block(<&mut Block<C>>::from(&mut *block));
        xor(block, &previous);
        previous = encrypted;
    }
}

fn xor(block: &mut [u8; BLOCK_BYTES], with: &[u8; BLOCK_BYTES]) {
    for (byte, other) in block.iter_mut().zip(with) {
        *byte ^= other;
    }
}
