//! The vault's files in the data folder: `vault.sealed`, or `vault.pkcs11` where the keys are in a token; and the
//! development key `master.key` that may become either.
//!
//! A file is replaced as a whole: written beside the old one, made durable, renamed, and the folder made durable. A power
//! cut leaves the old vault or the new one.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use super::ring::{KEY_BYTES, KeyRing, MasterKey, MasterKeyState, Material};
use super::sealed::{self, Cost, Fresh};
use super::token::{KeyId, Token, TokenAccess, TokenFault, TokenKey, table};
use super::{VaultFault, passphrase};
use crate::data_dir::{DATABASE_FILE, MASTER_KEY_FILE};
use crate::entropy;

/// The sealed vault's name in the data folder.
pub const SEALED_FILE: &str = "vault.sealed";
/// Its name where the keys are in a PKCS#11 token.
pub const TOKEN_FILE: &str = "vault.pkcs11";
/// What becomes of the sealed vault's file when its keys have gone into a token.
pub const IMPORTED_FILE: &str = "vault.sealed.imported";
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

/// The vault of a data folder, opened to be shown or changed. One program at a time.
pub struct StoredVault {
    path: PathBuf,
    ring: KeyRing,
    home: Home,
    // Freed with the file.
    _lock: fs::File,
}

/// Where a vault's keys are.
enum Home {
    /// In the file, sealed under this passphrase.
    Sealed(Zeroizing<Vec<u8>>),
    /// In a token.
    Token(Arc<Token>),
}

impl Home {
    fn file(&self) -> &'static str {
        match self {
            Self::Sealed(_) => SEALED_FILE,
            Self::Token(_) => TOKEN_FILE,
        }
    }

    /// A new key, of this version.
    fn fresh(&self, version: u8) -> Result<Material, VaultFault> {
        match self {
            Self::Sealed(_) => fresh_key().map(Material::Held),
            Self::Token(token) => {
                let id = fresh_id()?;
                token.generate(&id, &label(version))?;
                let check = table::token_check(token, &id)?;
                Ok(Material::InToken(TokenKey { id, check_value: check, token_check: check, token: Arc::clone(token) }))
            }
        }
    }

    fn bytes(&self, ring: &KeyRing) -> Result<Vec<u8>, VaultFault> {
        match self {
            Self::Sealed(passphrase) => sealed::seal(ring, passphrase, Cost::NEW, &Fresh::new()?),
            Self::Token(_) => table::write(ring),
        }
    }

    fn ring(&self, bytes: &[u8]) -> Result<KeyRing, VaultFault> {
        match self {
            Self::Sealed(passphrase) => sealed::open(bytes, passphrase),
            Self::Token(token) => table::open(bytes, token),
        }
    }
}

/// What a person sees of a key in the token's own tools.
fn label(version: u8) -> String {
    format!("paychip master key {version}")
}

impl StoredVault {
    /// Makes the sealed vault of a new data folder, with a master key of its own.
    ///
    /// # Errors
    /// [`VaultFault`]; nothing is written over.
    pub fn init(folder: &Path, passphrase: &Passphrase) -> Result<Self, VaultFault> {
        Self::must_be_new(folder, SEALED_FILE)?;
        let home = Home::Sealed(passphrase.strong_bytes()?);
        let ring = KeyRing::first(home.fresh(1)?, entropy::now_ms(), false);
        Self::make(folder, ring, home)
    }

    /// Makes a master key in a token, for a new data folder.
    ///
    /// # Errors
    /// [`VaultFault`]; nothing is written over.
    pub fn init_in_token(folder: &Path, token: &TokenAccess) -> Result<Self, VaultFault> {
        Self::must_be_new(folder, TOKEN_FILE)?;
        let home = Home::Token(token.token()?);
        let ring = KeyRing::first(home.fresh(1)?, entropy::now_ms(), false);
        Self::make(folder, ring, home)
    }

    /// A new key for a database that has one would make every code ever issued wrong.
    fn must_be_new(folder: &Path, missing: &str) -> Result<(), VaultFault> {
        if let Some(there) = [MASTER_KEY_FILE, SEALED_FILE, TOKEN_FILE]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|path| path.exists())
        {
            return Err(VaultFault::Exists(there));
        }
        if folder.join(DATABASE_FILE).exists() {
            return Err(VaultFault::Missing(folder.join(missing)));
        }
        Ok(())
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
            Self::make(folder, open.clone(), Home::Sealed(passphrase.strong_bytes()?))?
        };
        if !vault.ring.holds_all_of(&open) {
            return Err(VaultFault::OtherKey(master));
        }
        fs::remove_file(&master).map_err(|error| VaultFault::file(&master, &error))?;
        sync_folder(folder)?;
        Ok(vault)
    }

    /// Puts every master key of a data folder into a token, sealed ones (with the passphrase) or a development key. Once
    /// they have been found there again the development key is removed; the sealed file becomes
    /// `vault.sealed.imported`, to be kept apart.
    ///
    /// # Errors
    /// [`VaultFault`]; what was there before stays until it is no longer needed.
    pub fn import(folder: &Path, token: &TokenAccess, passphrase: Option<&Passphrase>) -> Result<Self, VaultFault> {
        let (sealed, master) = (folder.join(SEALED_FILE), folder.join(MASTER_KEY_FILE));
        let (from, ring) = if sealed.exists() {
            let passphrase = passphrase.ok_or(VaultFault::PassphraseNeeded)?.bytes()?;
            (sealed.clone(), sealed::open(&read(&sealed, sealed::MAX_FILE_BYTES)?, &passphrase)?)
        } else {
            let open = development_ring(&master)?.ok_or_else(|| VaultFault::Missing(sealed.clone()))?;
            (master.clone(), open)
        };
        let vault = if folder.join(TOKEN_FILE).exists() {
            // A power cut between the two steps.
            Self::open_in_token(folder, token)?
        } else {
            let home = Home::Token(token.token()?);
            let in_token = ring.map_keys(|key| imported(key, &home))?;
            Self::make(folder, in_token, home)?
        };
        if !vault.ring.holds_all_of(&ring) {
            return Err(VaultFault::OtherKey(from));
        }
        let moved = if from == master { fs::remove_file(&from) } else { fs::rename(&from, folder.join(IMPORTED_FILE)) };
        moved.map_err(|error| VaultFault::file(&from, &error))?;
        sync_folder(folder)?;
        Ok(vault)
    }

    /// Opens the sealed vault of a data folder.
    ///
    /// # Errors
    /// [`VaultFault`].
    pub fn open(folder: &Path, passphrase: &Passphrase) -> Result<Self, VaultFault> {
        Self::open_at(folder, Home::Sealed(passphrase.bytes()?))
    }

    /// Opens the vault of a data folder whose keys are in a token.
    ///
    /// # Errors
    /// [`VaultFault`].
    pub fn open_in_token(folder: &Path, token: &TokenAccess) -> Result<Self, VaultFault> {
        Self::open_at(folder, Home::Token(token.token()?))
    }

    fn open_at(folder: &Path, home: Home) -> Result<Self, VaultFault> {
        let path = folder.join(home.file());
        if !path.exists() {
            return Err(VaultFault::Missing(path));
        }
        let lock = lock(folder)?;
        let ring = home.ring(&read(&path, sealed::MAX_FILE_BYTES.max(table::MAX_FILE_BYTES))?)?;
        Ok(Self { path, ring, home, _lock: lock })
    }

    fn make(folder: &Path, ring: KeyRing, home: Home) -> Result<Self, VaultFault> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|error| VaultFault::file(folder, &error))?;
        let lock = lock(folder)?;
        let path = folder.join(home.file());
        if path.exists() {
            return Err(VaultFault::Exists(path));
        }
        let vault = Self { path, ring, home, _lock: lock };
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
        let ring = self.with_next()?;
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
        let ring = self.with_next()?.activated()?;
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
        if matches!(self.home, Home::Token(_)) {
            return Err(VaultFault::KeyInToken);
        }
        let before = core::mem::replace(&mut self.home, Home::Sealed(new.strong_bytes()?));
        self.write(&self.ring).inspect_err(|_| self.home = before)
    }

    /// The ring with one more version. No key is made before it is clear that there may be one.
    fn with_next(&self) -> Result<KeyRing, VaultFault> {
        let key = self.home.fresh(self.ring.next_version()?)?;
        self.ring.prepared(key, entropy::now_ms())
    }

    fn become_ring(&mut self, ring: KeyRing) -> Result<(), VaultFault> {
        self.write(&ring)?;
        self.ring = ring;
        Ok(())
    }

    /// Replaces the file, after what will be in it has been opened once.
    fn write(&self, ring: &KeyRing) -> Result<(), VaultFault> {
        let bytes = self.home.bytes(ring)?;
        if !self.home.ring(&bytes)?.holds_all_of(ring) {
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

impl core::fmt::Debug for StoredVault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "StoredVault({}, {:?})", self.path.display(), self.ring)
    }
}

/// Where the master keys of a server are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysAt {
    /// In the open, for development.
    Open,
    /// In the sealed file.
    Sealed,
    /// In a PKCS#11 token.
    Token,
}

impl KeysAt {
    /// The file in the data folder that says which keys there are.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Open => MASTER_KEY_FILE,
            Self::Sealed => SEALED_FILE,
            Self::Token => TOKEN_FILE,
        }
    }
}

/// The ring of a data folder and where its keys are; none where there is no key at all.
pub(crate) fn open_ring(folder: &Path, keys: &crate::Keys) -> Result<Option<(KeyRing, KeysAt)>, VaultFault> {
    let [master, sealed, in_token] = [MASTER_KEY_FILE, SEALED_FILE, TOKEN_FILE].map(|name| folder.join(name));
    if keys.production && master.exists() {
        return Err(VaultFault::DevelopmentKey(master));
    }
    match (sealed.exists(), in_token.exists()) {
        (true, true) => Err(VaultFault::Two(sealed)),
        (false, true) => {
            let token = keys.token.as_ref().ok_or(TokenFault::Needed)?.token()?;
            let ring = table::open(&read(&in_token, table::MAX_FILE_BYTES)?, &token)?;
            Ok(Some((ring, KeysAt::Token)))
        }
        // Whoever names a token means to use no other key.
        (_, false) if keys.token.is_some() => Err(VaultFault::Missing(in_token)),
        (true, false) => {
            let passphrase = keys.passphrase.as_ref().ok_or(VaultFault::PassphraseNeeded)?.bytes()?;
            let ring = sealed::open(&read(&sealed, sealed::MAX_FILE_BYTES)?, &passphrase)?;
            Ok(Some((ring, KeysAt::Sealed)))
        }
        (false, false) if keys.production => Err(VaultFault::Missing(sealed)),
        (false, false) => Ok(development_ring(&master)?.map(|ring| (ring, KeysAt::Open))),
    }
}

/// A key that was held here, put into the token.
fn imported(key: &MasterKey, home: &Home) -> Result<Material, VaultFault> {
    let (Material::Held(held), Home::Token(token)) = (&key.key, home) else { return Err(VaultFault::NotInToken) };
    let id = fresh_id()?;
    token.import(&id, &label(key.version), held)?;
    let token_check = table::token_check(token, &id)?;
    // Other servers know it by the value it always had.
    Ok(Material::InToken(TokenKey { id, check_value: key.check_value(), token_check, token: Arc::clone(token) }))
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

fn fresh_id() -> Result<KeyId, VaultFault> {
    let mut id = KeyId::default();
    getrandom::fill(&mut id).map_err(|_| VaultFault::Entropy)?;
    Ok(id)
}

/// A file of at most so many bytes; one that is longer shows as altered.
fn read(path: &Path, most: usize) -> Result<Vec<u8>, VaultFault> {
    passphrase::must_be_private(path)?;
    let file = fs::File::open(path).map_err(|error| VaultFault::file(path, &error))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| VaultFault::file(path, &error))?;
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
