//! Why a token does not answer: each its own stable code and a sentence that says what to do. None holds a PIN.

use core::fmt;
use std::path::PathBuf;

/// What is wrong with a PKCS#11 token, its URI, its PIN, or a key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFault {
    /// The keys are in a token and none is named.
    Needed,
    /// The URI is not one.
    Uri {
        /// The attribute at fault.
        attribute: String,
        /// Why.
        reason: &'static str,
    },
    /// This program was built without PKCS#11.
    NotBuiltIn,
    /// The PKCS#11 library could not be loaded or started.
    Module {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No token of the library is the one that is named.
    Missing,
    /// Several tokens are the one that is named.
    Ambiguous(usize),
    /// The token cannot make AES-CMAC.
    Mechanism,
    /// No PIN was given.
    PinNeeded,
    /// The file of the PIN could not be read, or others can read it.
    PinUnread {
        /// The code of what was wrong with it.
        code: &'static str,
        /// Why.
        reason: String,
    },
    /// The PIN is empty or too long.
    PinMalformed,
    /// The PIN is another one. It is not tried a second time: a few tries lock it.
    Pin,
    /// The PIN is locked.
    PinLocked,
    /// The token does not have the key.
    KeyMissing(String),
    /// The token has the key several times.
    KeyAmbiguous(String),
    /// The key may be taken out of the token.
    KeyOpen(String),
    /// The token has another key under this identifier.
    KeyOther(String),
    /// Every session was in use for too long.
    Busy,
    /// The token, or the way to it, failed.
    Failed {
        /// What the library was asked.
        call: String,
        /// What it answered.
        reason: String,
        /// Whether another session may do better.
        lost: bool,
    },
}

impl TokenFault {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Needed => "vault_token_needed",
            Self::Uri { .. } => "vault_token_uri",
            Self::NotBuiltIn => "vault_token_not_built_in",
            Self::Module { .. } => "vault_token_module",
            Self::Missing => "vault_token_missing",
            Self::Ambiguous(_) => "vault_token_ambiguous",
            Self::Mechanism => "vault_token_mechanism",
            Self::PinNeeded => "vault_pin_needed",
            Self::PinUnread { code, .. } => code,
            Self::PinMalformed => "vault_pin_malformed",
            Self::Pin => "vault_pin",
            Self::PinLocked => "vault_pin_locked",
            Self::KeyMissing(_) => "vault_token_key_missing",
            Self::KeyAmbiguous(_) => "vault_token_key_ambiguous",
            Self::KeyOpen(_) => "vault_token_key_open",
            Self::KeyOther(_) => "vault_token_key_other",
            Self::Busy => "vault_token_busy",
            Self::Failed { .. } => "vault_token",
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needed => {
                f.write_str("the master keys are in a PKCS#11 token; name it with --vault 'pkcs11:token=…?module-path=…'")
            }
            Self::Uri { attribute, reason } => write!(f, "the PKCS#11 URI is not right: {attribute} {reason}"),
            Self::NotBuiltIn => f.write_str("this program was built without the feature pkcs11"),
            Self::Module { path, reason } => write!(f, "the PKCS#11 library {}: {reason}", path.display()),
            Self::Missing => f.write_str("the PKCS#11 library has no such token; is it connected, and is the URI right?"),
            Self::Ambiguous(count) => {
                write!(f, "the URI means {count} tokens; add serial= or slot-id= so that it means one")
            }
            Self::Mechanism => f.write_str("the token does not offer AES-CMAC (CKM_AES_CMAC) with keys of 256 bits"),
            Self::PinNeeded => f.write_str(
                "the token's PIN is missing; name its file with --pin-file or pin-source, or give it as the systemd credential paychip-pin or in PAYCHIP_PIN",
            ),
            Self::PinUnread { reason, .. } => write!(f, "the PIN: {reason}"),
            Self::PinMalformed => {
                write!(f, "the PIN must have 1 to {} bytes", crate::vault::passphrase::MAX_PASSPHRASE_BYTES)
            }
            Self::Pin => f.write_str("the PIN is not that of the token; it was tried once, since a few tries lock it"),
            Self::PinLocked => f.write_str("the token's PIN is locked; its security officer can set a new one"),
            Self::KeyMissing(id) => write!(f, "the token does not have the key with the identifier {id}"),
            Self::KeyAmbiguous(id) => write!(f, "the token has several keys with the identifier {id}"),
            Self::KeyOpen(id) => {
                write!(f, "the key with the identifier {id} may be taken out of the token, and is not used for it")
            }
            Self::KeyOther(id) => {
                write!(f, "the key with the identifier {id} is another one than when vault.pkcs11 was written")
            }
            Self::Busy => f.write_str("every session with the token is in use"),
            Self::Failed { call, reason, .. } => write!(f, "the token failed at {call}: {reason}"),
        }
    }
}

impl std::error::Error for TokenFault {}
