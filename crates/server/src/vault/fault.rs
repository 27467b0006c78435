//! Why a vault cannot be opened or changed: each its own stable code and a sentence that says what to do. None holds a
//! byte of a key or a passphrase.

use core::fmt;
use std::path::{Path, PathBuf};

use super::token::TokenFault;

/// What is wrong with a vault, its passphrase, or what was asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultFault {
    /// There is none.
    Missing(PathBuf),
    /// There is one already.
    Exists(PathBuf),
    /// Production was asked for, and the key lies in the open.
    DevelopmentKey(PathBuf),
    /// It is sealed and no passphrase was given.
    PassphraseNeeded,
    /// The passphrase is another one.
    Passphrase,
    /// No passphrase, or one that is too long.
    PassphraseMalformed,
    /// Too short for a new vault.
    PassphraseShort,
    /// Others may read the file.
    OpenToOthers(PathBuf),
    /// The file begins with something else.
    NotAVault,
    /// The file ends too early.
    Cut,
    /// The file is not what was written.
    Altered,
    /// The file is of a later program.
    Newer(u16),
    /// The development key beside the sealed one is another key.
    OtherKey(PathBuf),
    /// Another program changes the vault at this moment.
    Busy,
    /// A version waits to be activated.
    NextWaits(u8),
    /// No version waits to be activated.
    NothingNext,
    /// Codes of as many versions as can be are accepted.
    TooManyInForce,
    /// All versions have been used.
    NoVersionLeft,
    /// It is not a version whose codes are accepted beside the current one's.
    NotAccepted(u8),
    /// There are a sealed vault and one in a token.
    Two(PathBuf),
    /// The keys are in a token, and what was asked is for a sealed vault.
    KeyInToken,
    /// A key is not in a token, and what was asked is for one.
    NotInToken,
    /// The PKCS#11 token with the keys.
    Token(TokenFault),
    /// A sealing key could not be derived: there was no memory for it.
    Derivation,
    /// The operating system gave no random bytes.
    Entropy,
    /// A file could not be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl From<TokenFault> for VaultFault {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

impl VaultFault {
    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::File { path: path.to_owned(), reason: error.to_string() }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "vault_missing",
            Self::Exists(_) => "vault_exists",
            Self::DevelopmentKey(_) => "vault_development_key",
            Self::PassphraseNeeded => "vault_passphrase_needed",
            Self::Passphrase => "vault_passphrase",
            Self::PassphraseMalformed => "vault_passphrase_malformed",
            Self::PassphraseShort => "vault_passphrase_short",
            Self::OpenToOthers(_) => "vault_file_open",
            Self::NotAVault => "vault_unknown",
            Self::Cut => "vault_cut",
            Self::Altered => "vault_altered",
            Self::Newer(_) => "vault_newer",
            Self::OtherKey(_) => "vault_other_key",
            Self::Busy => "vault_busy",
            Self::NextWaits(_) => "vault_next_waits",
            Self::NothingNext => "vault_nothing_next",
            Self::TooManyInForce => "vault_versions_in_force",
            Self::NoVersionLeft => "vault_versions_used_up",
            Self::NotAccepted(_) => "vault_version",
            Self::Two(_) => "vault_two",
            Self::KeyInToken => "vault_in_token",
            Self::NotInToken => "vault_not_in_token",
            Self::Token(fault) => fault.code(),
            Self::Derivation => "vault_derivation",
            Self::Entropy => "vault_entropy",
            Self::File { .. } => "vault_file",
        }
    }
}

impl fmt::Display for VaultFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(f, "{} is not there; restore it from your backup, or make a vault with `paychip vault init`", path.display())
            }
            Self::Exists(path) => write!(f, "{} is there already; nothing was written", path.display()),
            Self::DevelopmentKey(path) => write!(
                f,
                "{} is a development key: whoever reads it has every key, and it is refused in production; seal it with `paychip vault seal`, and remove every other copy",
                path.display()
            ),
            Self::PassphraseNeeded => f.write_str(
                "the vault is sealed; name its passphrase with --passphrase-file or --passphrase-fd, or as the systemd credential paychip-vault",
            ),
            Self::Passphrase => f.write_str("the passphrase is not that of this vault"),
            Self::PassphraseMalformed => {
                write!(f, "the passphrase must have 1 to {} bytes", super::passphrase::MAX_PASSPHRASE_BYTES)
            }
            Self::PassphraseShort => {
                write!(f, "a new passphrase must have at least {} bytes", super::passphrase::MIN_PASSPHRASE_BYTES)
            }
            Self::OpenToOthers(path) => {
                write!(f, "{} can be read by others on this machine; say `chmod 600` to it", path.display())
            }
            Self::NotAVault => f.write_str("the file is not a sealed vault"),
            Self::Cut => f.write_str("the vault's file ends too early; restore it from your backup"),
            Self::Altered => f.write_str("the vault's file was altered or damaged; restore it from your backup"),
            Self::Newer(format) => write!(f, "the vault has format {format}, which this program does not know; use a newer one"),
            Self::OtherKey(path) => {
                write!(f, "{} is another key than the one that is sealed; nothing was changed", path.display())
            }
            Self::Busy => f.write_str("another program changes this vault; try again"),
            Self::NextWaits(version) => {
                write!(f, "version {version} waits to be activated: say `paychip vault activate` first")
            }
            Self::NothingNext => f.write_str("no version waits to be activated: say `paychip vault rotate --prepare` first"),
            Self::TooManyInForce => write!(
                f,
                "codes of {} versions are accepted, which is the most; retire the oldest once no token of it is left",
                super::ring::MAX_IN_FORCE
            ),
            Self::NoVersionLeft => write!(f, "version {} was the last there is", super::ring::MAX_VERSION),
            Self::NotAccepted(version) => {
                write!(f, "version {version} is not one that is accepted beside the current one; see `paychip vault show`")
            }
            Self::Two(sealed) => write!(
                f,
                "there are {} and a vault in a PKCS#11 token; say `paychip vault import` again, or move the one away that is not used",
                sealed.display()
            ),
            Self::KeyInToken => {
                f.write_str("the master keys are in a PKCS#11 token, which has a PIN of its own: its own tools change that")
            }
            Self::NotInToken => f.write_str("a master key is not in the PKCS#11 token"),
            Self::Token(fault) => write!(f, "{fault}"),
            Self::Derivation => f.write_str("the sealing key could not be derived; is there memory for it?"),
            Self::Entropy => f.write_str("the operating system gave no random bytes"),
            Self::File { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for VaultFault {}
