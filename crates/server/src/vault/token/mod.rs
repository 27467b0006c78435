//! Master keys in a PKCS#11 token: a hardware security module, or a program that plays one. The key never leaves it; what
//! it is asked for is AES-CMAC, from which every other key is derived here as the software vault derives it.
//!
//! | file | what |
//! |---|---|
//! | `uri` | which token: a PKCS#11 URI (RFC 7512) |
//! | `table` | `vault.pkcs11`: which key of the token is which version, and what it may be used for |
//! | `pkcs11` | the token itself: sessions, login, keys made and used (with the feature `pkcs11`) |
//! | `fault` | why it does not answer |

mod fault;
pub(super) mod table;
mod uri;

#[cfg(feature = "pkcs11")]
mod pkcs11;
#[cfg(feature = "pkcs11")]
pub(super) use pkcs11::Token;

#[cfg(not(feature = "pkcs11"))]
mod absent;
#[cfg(not(feature = "pkcs11"))]
pub(super) use absent::Token;

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use super::ring::CHECK_VALUE_BYTES;
pub use fault::TokenFault;
pub use uri::TokenUri;

/// What a key is found by in its token (`CKA_ID`): random, so that no other program's key is meant.
pub(crate) type KeyId = [u8; 16];

/// A master key in a token.
#[derive(Clone)]
pub(crate) struct TokenKey {
    pub(crate) id: KeyId,
    pub(crate) check_value: [u8; CHECK_VALUE_BYTES],
    /// What the token answers to [`TOKEN_CHECK`] with this key.
    pub(crate) token_check: [u8; CHECK_VALUE_BYTES],
    pub(crate) token: Arc<Token>,
}

/// What a token's keys are asked to find out that they are the right ones. Nothing derived begins like it: that begins
/// with a counter (SP 800-108), which never has these four bytes.
pub(crate) const TOKEN_CHECK: &[u8] = b"paychip master key check value";

impl TokenKey {
    /// AES-CMAC under this key, of a message in pieces.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub(crate) fn cmac(&self, pieces: &[&[u8]]) -> Result<Zeroizing<[u8; 16]>, TokenFault> {
        self.token.cmac(&self.id, &pieces.concat())
    }
}

/// A token that is opened when it is first needed, and once.
#[derive(Clone)]
pub struct TokenAccess {
    uri: TokenUri,
    pin: Passphrase,
    opened: Arc<Mutex<Option<Arc<Token>>>>,
}

impl TokenAccess {
    /// The token of this URI, logged into with this PIN.
    #[must_use]
    pub fn new(uri: TokenUri, pin: Passphrase) -> Self {
        Self { uri, pin, opened: Arc::default() }
    }

    pub(crate) fn token(&self) -> Result<Arc<Token>, TokenFault> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*opened {
            return Ok(Arc::clone(token));
        }
        let token = Arc::new(Token::open(&self.uri, &self.pin)?);
        *opened = Some(Arc::clone(&token));
        Ok(token)
    }
}

impl core::fmt::Debug for TokenAccess {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TokenAccess").field("uri", &self.uri).finish_non_exhaustive()
    }
}
