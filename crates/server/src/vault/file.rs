//! The vault's files in the data folder: `vault.sealed`, and the development key `master.key` that may become one.
//!
//! A file is replaced as a whole: written beside the old one, made durable, renamed, and the folder made durable. A power
//! cut leaves the old vault or the new one.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use super::ring::{KEY_BYTES, KeyRing, MasterKeyState};
use super::sealed::{self, Cost, Fresh};
use super::{VaultFault, passphrase};
use crate::data_dir::{DATABASE_FILE, MASTER_KEY_FILE};
use crate::entropy;

/// The sealed vault's name in the data folder.
pub const SEALED_FILE: &str = "vault.sealed";
/// Locked while a command changes the vault.
const LOCK_FILE: &str = "vault.lock";

/// One version of the master key, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKeyView {
    /// Its number.
    pub version: u8,
    /// What it is used for.
    pub state: MasterKeyState,
    /// When it was made, Unix milliseconds; 0 where nobody knows.
    pub created_ms: u64,
    /// Whether it once lay in the open as a development key.
    pub was_open: bool,
    /// A value by which the same key is known elsewhere, and from which nobody finds it.
    pub check_value: [u8; 16],
}

/// The sealed vault of a data folder, opened to be shown or changed. One program at a time.
pub struct SealedVault {
    path: PathBuf,
    ring: KeyRing,
    passphrase: Zeroizing<Vec<u8>>,
    // Freed with the file.
    _lock: fs::File,
}

impl SealedVault {
    /// Makes the vault of a new data folder, with a master key of its own.
    ///
    /// # Errors
    /// [`VaultFault`]; nothing is written over.
    pub fn init(folder: &Path, passphrase: &Passphrase) -> Result<Self, VaultFault> {
        let master = folder.join(MASTER_KEY_FILE);
        if master.exists() {
            return Err(VaultFault::Exists(master));
        }
        // A new key for a database that has one would make every code ever issued wrong.
        if folder.join(DATABASE_FILE).exists() {
            return Err(VaultFault::Missing(folder.join(SEALED_FILE)));
        }
        let ring = KeyRing::first(fresh_key()?, entropy::now_ms(), false);
        Self::make(folder, ring, passphrase)
    }

    /// Seals the development key of a data folder, and removes it once the sealed file has been read back.
    ///
    /// # Errors
    /// [`VaultFault`]; the development key is there for as long as there is no sealed one.
    pub fn seal(folder: &Path, passphrase: &Passphrase) -> Result<Self, VaultFault> {
        let master = folder.join(MASTER_KEY_FILE);
        let open = development_ring(&master)?.ok_or_else(|| VaultFault::Missing(master.clone()))?;
        let vault = if folder.join(SEALED_FILE).exists() {
            // A power cut between the two steps.
            Self::open(folder, passphrase)?
        } else {
            Self::make(folder, open.clone(), passphrase)?
        };
        if !vault.ring.holds_all_of(&open) {
            return Err(VaultFault::OtherKey(master));
        }
        fs::remove_file(&master).map_err(|error| VaultFault::file(&master, &error))?;
        sync_folder(folder)?;
        Ok(vault)
    }

    /// Opens the vault of a data folder.
    ///
    /// # Errors
    /// [`VaultFault`].
    pub fn open(folder: &Path, passphrase: &Passphrase) -> Result<Self, VaultFault> {
        let path = folder.join(SEALED_FILE);
        if !path.exists() {
            return Err(VaultFault::Missing(path));
        }
        let lock = lock(folder)?;
        let passphrase = passphrase.bytes()?;
        let ring = sealed::open(&read(&path)?, &passphrase)?;
        Ok(Self { path, ring, passphrase, _lock: lock })
    }

    fn make(folder: &Path, ring: KeyRing, passphrase: &Passphrase) -> Result<Self, VaultFault> {
        let passphrase = passphrase.strong_bytes()?;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|error| VaultFault::file(folder, &error))?;
        let lock = lock(folder)?;
        let path = folder.join(SEALED_FILE);
        if path.exists() {
            return Err(VaultFault::Exists(path));
        }
        let vault = Self { path, ring, passphrase, _lock: lock };
        vault.write(&vault.ring)?;
        Ok(vault)
    }

    /// Its versions, in ascending order.
    #[must_use]
    pub fn versions(&self) -> Vec<MasterKeyView> {
        let view = |key: &super::ring::MasterKey| MasterKeyView {
            version: key.version,
            state: key.state,
            created_ms: key.created_ms,
            was_open: key.was_open,
            check_value: key.check_value(),
        };
        self.ring.keys().iter().map(view).collect()
    }

    /// Makes one more version, of which no keys are made yet: first every server has to know it.
    ///
    /// # Errors
    /// [`VaultFault`]; the old vault stays.
    pub fn prepare(&mut self) -> Result<(), VaultFault> {
        let ring = self.ring.prepared(fresh_key()?, entropy::now_ms())?;
        self.become_ring(ring)
    }

    /// Makes keys from the version that was prepared, from now on.
    ///
    /// # Errors
    /// [`VaultFault`]; the old vault stays.
    pub fn activate(&mut self) -> Result<(), VaultFault> {
        let ring = self.ring.activated()?;
        self.become_ring(ring)
    }

    /// Makes a version and makes keys from it, in one step: for a server that is alone.
    ///
    /// # Errors
    /// [`VaultFault`]; the old vault stays.
    pub fn rotate(&mut self) -> Result<(), VaultFault> {
        let ring = self.ring.prepared(fresh_key()?, entropy::now_ms())?.activated()?;
        self.become_ring(ring)
    }

    /// Refuses the codes of an old version from now on.
    ///
    /// # Errors
    /// [`VaultFault`]; the old vault stays.
    pub fn retire(&mut self, version: u8) -> Result<(), VaultFault> {
        let ring = self.ring.retired(version)?;
        self.become_ring(ring)
    }

    /// Seals it under another passphrase. Copies that were made before open with the old one.
    ///
    /// # Errors
    /// [`VaultFault`]; the old vault stays.
    pub fn change_passphrase(&mut self, new: &Passphrase) -> Result<(), VaultFault> {
        let before = core::mem::replace(&mut self.passphrase, new.strong_bytes()?);
        self.write(&self.ring).inspect_err(|_| self.passphrase = before)
    }

    fn become_ring(&mut self, ring: KeyRing) -> Result<(), VaultFault> {
        self.write(&ring)?;
        self.ring = ring;
        Ok(())
    }

    /// Replaces the file, after what will be in it has been opened once.
    fn write(&self, ring: &KeyRing) -> Result<(), VaultFault> {
        let bytes = sealed::seal(ring, &self.passphrase, Cost::NEW, &Fresh::new()?)?;
        if !sealed::open(&bytes, &self.passphrase)?.holds_all_of(ring) {
            return Err(VaultFault::Altered);
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)
        });
        written.map_err(|error| VaultFault::file(&self.path, &error))?;
        sync_folder(folder)
    }
}

impl core::fmt::Debug for SealedVault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SealedVault({}, {:?})", self.path.display(), self.ring)
    }
}

/// The ring of a data folder and whether it is sealed; none where there is no key at all.
pub(crate) fn open_ring(folder: &Path, keys: &crate::Keys) -> Result<Option<(KeyRing, bool)>, VaultFault> {
    let (sealed, master) = (folder.join(SEALED_FILE), folder.join(MASTER_KEY_FILE));
    if keys.production && master.exists() {
        return Err(VaultFault::DevelopmentKey(master));
    }
    if sealed.exists() {
        let passphrase = keys.passphrase.as_ref().ok_or(VaultFault::PassphraseNeeded)?.bytes()?;
        let ring = sealed::open(&read(&sealed)?, &passphrase)?;
        return Ok(Some((ring, true)));
    }
    if keys.production {
        return Err(VaultFault::Missing(sealed));
    }
    Ok(development_ring(&master)?.map(|ring| (ring, false)))
}

/// The development key: 64 hex digits.
fn development_ring(path: &Path) -> Result<Option<KeyRing>, VaultFault> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(VaultFault::file(path, &error)),
    };
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(text.trim(), &mut *key)
        .map_err(|_| VaultFault::File { path: path.to_owned(), reason: "must hold 64 hex digits".to_owned() })?;
    Ok(Some(KeyRing::first(key, 0, true)))
}

fn fresh_key() -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultFault> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(&mut *key).map_err(|_| VaultFault::Entropy)?;
    Ok(key)
}

fn read(path: &Path) -> Result<Vec<u8>, VaultFault> {
    passphrase::must_be_private(path)?;
    let file = fs::File::open(path).map_err(|error| VaultFault::file(path, &error))?;
    let mut bytes = Vec::new();
    // One byte more than there can be: a longer file shows as altered.
    file.take(sealed::MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| VaultFault::file(path, &error))?;
    Ok(bytes)
}

fn lock(folder: &Path) -> Result<fs::File, VaultFault> {
    let path = folder.join(LOCK_FILE);
    let lock = fs::File::create(&path).map_err(|error| VaultFault::file(&path, &error))?;
    lock.try_lock().map_err(|_| VaultFault::Busy)?;
    Ok(lock)
}

fn sync_folder(folder: &Path) -> Result<(), VaultFault> {
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| VaultFault::file(folder, &error))
}
