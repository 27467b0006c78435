//! In a program without the feature `pkcs11` there is no token.

use zeroize::Zeroizing;

use super::{KeyId, TokenFault, TokenUri};
use crate::vault::passphrase::Passphrase;
use crate::vault::ring::KEY_BYTES;

/// None can be opened.
pub(crate) enum Token {}

impl Token {
    pub(crate) fn open(_: &TokenUri, _: &Passphrase) -> Result<Self, TokenFault> {
        Err(TokenFault::NotBuiltIn)
    }

    pub(crate) fn cmac(&self, _: &KeyId, _: &[u8]) -> Result<Zeroizing<[u8; 16]>, TokenFault> {
        match *self {}
    }

    pub(crate) fn must_keep(&self, _: &KeyId) -> Result<(), TokenFault> {
        match *self {}
    }

    pub(crate) fn generate(&self, _: &KeyId, _: &str) -> Result<(), TokenFault> {
        match *self {}
    }

    pub(crate) fn import(&self, _: &KeyId, _: &str, _: &[u8; KEY_BYTES]) -> Result<(), TokenFault> {
        match *self {}
    }
}
