//! Where the passphrase of the sealed vault comes from: a file, or what was read once from elsewhere.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::VaultFault;

/// The longest passphrase, bytes.
pub(crate) const MAX_PASSPHRASE_BYTES: usize = 1_024;
/// The shortest for a new vault, bytes. A secret that a machine keeps should have 32 random bytes.
pub(crate) const MIN_PASSPHRASE_BYTES: usize = 12;

/// A passphrase, or where it is.
#[derive(Clone)]
pub enum Passphrase {
    /// In a file that only its owner may read; read again whenever the vault is.
    File(PathBuf),
    /// Read already.
    Held(Zeroizing<Vec<u8>>),
}

impl Passphrase {
    /// Reads a passphrase that can be read once: from a pipe, or an open descriptor.
    ///
    /// # Errors
    /// Those of reading; [`VaultFault::PassphraseMalformed`].
    pub fn read_once(path: &Path) -> Result<Self, VaultFault> {
        read(path).map(Self::Held)
    }

    /// A passphrase that was typed.
    ///
    /// # Errors
    /// [`VaultFault::PassphraseMalformed`].
    pub fn typed(text: &str) -> Result<Self, VaultFault> {
        trimmed(Zeroizing::new(text.as_bytes().to_vec())).map(Self::Held)
    }

    pub(crate) fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
        match self {
            Self::Held(bytes) => Ok(bytes.clone()),
            Self::File(path) => {
                must_be_private(path)?;
                read(path)
            }
        }
    }

    /// The passphrase of a vault to be made.
    pub(crate) fn strong_bytes(&self) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
        let bytes = self.bytes()?;
        if bytes.len() < MIN_PASSPHRASE_BYTES { Err(VaultFault::PassphraseShort) } else { Ok(bytes) }
    }
}

impl core::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::File(path) => write!(f, "Passphrase(in {})", path.display()),
            Self::Held(_) => f.write_str("Passphrase(..)"),
        }
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
    let file = fs::File::open(path).map_err(|error| VaultFault::file(path, &error))?;
    // As large as it may become, so that it never moves and leaves a copy.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES + 2));
    file.take(MAX_PASSPHRASE_BYTES as u64 + 2)
        .read_to_end(&mut bytes)
        .map_err(|error| VaultFault::file(path, &error))?;
    trimmed(bytes)
}

/// Without the end of its line, which an editor adds.
fn trimmed(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let is_good = (1..=MAX_PASSPHRASE_BYTES).contains(&bytes.len());
    if is_good { Ok(bytes) } else { Err(VaultFault::PassphraseMalformed) }
}

/// Refuses a secret that others on the machine may read.
pub(crate) fn must_be_private(path: &Path) -> Result<(), VaultFault> {
    let metadata = fs::metadata(path).map_err(|error| VaultFault::file(path, &error))?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err(VaultFault::OpenToOthers(path.to_owned()));
    }
    Ok(())
}
