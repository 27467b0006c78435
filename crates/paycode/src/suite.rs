//! The two sets of primitives a code is made with, and the two kinds of keys.
//!
//! The suite is chosen at run time, so one cloud serves both; a chip built with only one of the
//! features `international` and `chinese` does not contain the other. Keys are wiped when dropped and
//! never shown.

use core::fmt;

#[cfg(feature = "international")]
use blockcipher::Aes128;
#[cfg(feature = "chinese")]
use cipher::KeyInit;
#[cfg(feature = "chinese")]
use hmac::{Hmac, Mac};
#[cfg(feature = "chinese")]
use sm3::Sm3;
#[cfg(feature = "chinese")]
use sm4::Sm4;
use zeroize::Zeroize;

#[cfg(feature = "international")]
use crate::hmac_sha256::HmacSha256;
use crate::{CodeFormat, ff1};

/// A mask key, in bytes.
pub const MASK_KEY_BYTES: usize = 16;
/// A pay key, in bytes.
pub const PAY_KEY_BYTES: usize = 32;

/// Which primitives: block cipher for the mask, hash for the password.
///
/// A variant exists only where its feature is enabled, so a suite that exists can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// AES-128 (FIPS 197) and HMAC-SHA-256 (FIPS 198-1, FIPS 180-4). Identifier 1.
    #[cfg(feature = "international")]
    International = 1,
    /// SM4 (GB/T 32907) and HMAC-SM3 (GB/T 32905). Identifier 2.
    #[cfg(feature = "chinese")]
    Chinese = 2,
}

impl Suite {
    /// The suite with this identifier, or `None` where it is unknown or not compiled in.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            #[cfg(feature = "international")]
            1 => Some(Self::International),
            #[cfg(feature = "chinese")]
            2 => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The identifier written in tokens and in EMV issuer data: 1 or 2.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }
}

/// The key that hides a token's index in its codes (FF1). Losing it costs privacy, never money.
///
/// Wiped when dropped; its `Debug` shows the suite only.
pub struct MaskKey {
    cipher: MaskCipher,
}

enum MaskCipher {
    #[cfg(feature = "international")]
    Aes(Aes128),
    #[cfg(feature = "chinese")]
    Sm4(Sm4),
}

impl MaskKey {
    /// The mask key of 16 bytes, its key schedule computed once.
    #[must_use]
    pub fn new(suite: Suite, key: &[u8; MASK_KEY_BYTES]) -> Self {
        let cipher = match suite {
            #[cfg(feature = "international")]
            Suite::International => MaskCipher::Aes(Aes128::new(key)),
            #[cfg(feature = "chinese")]
            Suite::Chinese => MaskCipher::Sm4(Sm4::new(key.into())),
        };
        Self { cipher }
    }

    /// The suite this key belongs to.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        match self.cipher {
            #[cfg(feature = "international")]
            MaskCipher::Aes(_) => Suite::International,
            #[cfg(feature = "chinese")]
            MaskCipher::Sm4(_) => Suite::Chinese,
        }
    }

    /// Turns the halves of a body in plain into those of the body of a code.
    pub(crate) fn mask(&self, format: &CodeFormat, body: ff1::Halves) -> Result<ff1::Halves, ff1::Error> {
        let tweak = format.tweak();
        match &self.cipher {
            #[cfg(feature = "international")]
            MaskCipher::Aes(aes) => {
                Ok(ff1::Ff1::new(aes, format.body_digits(), tweak.as_bytes())?.encrypt_halves(body))
            }
            #[cfg(feature = "chinese")]
            MaskCipher::Sm4(sm4) => {
                Ok(ff1::Ff1::new(sm4, format.body_digits(), tweak.as_bytes())?.encrypt_halves(body))
            }
        }
    }

    /// Turns the body of a code into the body in plain, in place.
    pub(crate) fn unmask(&self, format: &CodeFormat, body: &mut [u8]) -> Result<(), ff1::Error> {
        let tweak = format.tweak();
        match &self.cipher {
            #[cfg(feature = "international")]
            MaskCipher::Aes(aes) => ff1::Ff1::new(aes, format.body_digits(), tweak.as_bytes())?.decrypt(body),
            #[cfg(feature = "chinese")]
            MaskCipher::Sm4(sm4) => ff1::Ff1::new(sm4, format.body_digits(), tweak.as_bytes())?.decrypt(body),
        }
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskKey").field("suite", &self.suite()).finish_non_exhaustive()
    }
}

/// The key of one token's passwords and cryptograms (HMAC). It alone protects the money.
///
/// Holds the HMAC states after the inner and the outer key block, so a password costs two
/// compressions. Wiped when dropped; its `Debug` shows the suite only.
pub struct PayKey {
    mac: PayMac,
}

enum PayMac {
    #[cfg(feature = "international")]
    Sha256(HmacSha256),
    #[cfg(feature = "chinese")]
    Sm3(Hmac<Sm3>),
}

impl PayKey {
    /// The pay key of 32 bytes, its HMAC states computed once.
    #[must_use]
    pub fn new(suite: Suite, key: &[u8; PAY_KEY_BYTES]) -> Self {
        let mac = match suite {
            #[cfg(feature = "international")]
            Suite::International => PayMac::Sha256(HmacSha256::new(key)),
            #[cfg(feature = "chinese")]
            Suite::Chinese => PayMac::Sm3(sm3_keyed(key)),
        };
        Self { mac }
    }

    /// The suite this key belongs to.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        match self.mac {
            #[cfg(feature = "international")]
            PayMac::Sha256(_) => Suite::International,
            #[cfg(feature = "chinese")]
            PayMac::Sm3(_) => Suite::Chinese,
        }
    }

    /// The first eight bytes of the MAC over `message`.
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 8] {
        // Both hashes give 32 bytes.
        let mut full: [u8; 32] = match &self.mac {
            #[cfg(feature = "international")]
            PayMac::Sha256(mac) => mac.mac(message),
            #[cfg(feature = "chinese")]
            PayMac::Sm3(state) => state.clone().chain_update(message).finalize().into_bytes().into(),
        };
        let [a, b, c, d, e, f, g, h, ..] = full;
        full.as_mut_slice().zeroize();
        [a, b, c, d, e, f, g, h]
    }
}

#[cfg(feature = "chinese")]
fn sm3_keyed(key: &[u8; PAY_KEY_BYTES]) -> Hmac<Sm3> {
    // HMAC's fixed key length is one hash block; a shorter key is zero padded (FIPS 198-1 step 3).
    let mut block = [0; 64];
    block[..PAY_KEY_BYTES].copy_from_slice(key);
    let mac = Hmac::new((&block).into());
    block.zeroize();
    mac
}

impl fmt::Debug for PayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayKey").field("suite", &self.suite()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    #[test]
    fn what_holds_a_key_wipes_itself() {
        // With SM3, HMAC is two hash cores and a block of message: the cores hold what the key became.
        fn wipes<T: ZeroizeOnDrop>() {}
        #[cfg(feature = "international")]
        {
            wipes::<HmacSha256>();
        }
        #[cfg(feature = "chinese")]
        {
            wipes::<Sm4>();
            wipes::<sm3::block_api::Sm3Core>();
        }
    }
}
