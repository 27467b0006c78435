//! The data folder: the database, and the keys that only this server may read.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::auth::OPERATOR_KEY;
use crate::vault::{self, KeyRing, KeysAt};
use crate::{Keys, StartError};

/// The database's name in the data folder.
pub const DATABASE_FILE: &str = "paychip.db";
/// The master key of the software vault: 64 hex digits.
pub const MASTER_KEY_FILE: &str = "master.key";
/// Locked while a server works in the folder.
const LOCK_FILE: &str = "server.lock";
/// The operator's API key.
pub const OPERATOR_KEY_FILE: &str = "operator.key";

/// An open data folder.
pub(crate) struct DataDir {
    path: PathBuf,
    // Held for as long as it is open; the lock goes with the process, however it ends.
    lock: Option<fs::File>,
}

impl DataDir {
    pub(crate) fn open(path: &Path) -> Result<Self, StartError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        // Names and balances are nobody else's business.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| failed(path, &error))?;
        Ok(Self { path: path.to_owned(), lock: None })
    }

    /// Keeps every other server out of this folder: its database is a file that one server writes.
    pub(crate) fn lock(&mut self) -> Result<(), StartError> {
        let lock_path = self.path.join(LOCK_FILE);
        let lock = fs::File::create(&lock_path).map_err(|error| failed(&lock_path, &error))?;
        lock.try_lock().map_err(|_| StartError::Data {
            path: self.path.clone(),
            reason: "another server works in this folder".to_owned(),
        })?;
        self.lock = Some(lock);
        Ok(())
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE_FILE)
    }

    /// A piece of a log without its database.
    fn leftover_log(&self) -> Result<Option<PathBuf>, StartError> {
        let entries = fs::read_dir(&self.path).map_err(|error| failed(&self.path, &error))?;
        let mut logs = entries.filter_map(Result::ok).map(|entry| entry.path());
        Ok(logs.find(|path| path.to_string_lossy().contains(".log.")))
    }

    /// Puts a copy in the place of a database that is gone; durable, whole or not at all.
    pub(crate) fn restore(&self, copy: &Path) -> Result<(), StartError> {
        let database = self.database();
        if database.exists() {
            let reason = "is there already; move it away first".to_owned();
            return Err(StartError::Data { path: database, reason });
        }
        if let Some(log) = self.leftover_log()? {
            let reason = "belongs to the database that is gone; move it away first".to_owned();
            return Err(StartError::Data { path: log, reason });
        }
        let mut from = fs::File::open(copy).map_err(|error| failed(copy, &error))?;
        let restored = tempfile::NamedTempFile::new_in(&self.path).and_then(|mut file| {
            std::io::copy(&mut from, &mut file)?;
            file.as_file().sync_all()?;
            file.persist_noclobber(&database).map_err(|error| error.error)?;
            fs::File::open(&self.path)?.sync_all()
        });
        restored.map_err(|error| failed(&database, &error))
    }

    /// The master keys, and where they are. A development key is made at the first start. For a database that
    /// is used already they must be there: with another one every code ever issued would be wrong, and honest wearers
    /// would be frozen for it.
    pub(crate) fn master_keys(&self, keys: &Keys, is_database_used: bool) -> Result<(KeyRing, KeysAt), StartError> {
        if let Some(opened) = vault::open_ring(&self.path, keys)? {
            return Ok(opened);
        }
        let path = self.path.join(MASTER_KEY_FILE);
        if is_database_used {
            let reason = "is missing, and the database is used with one; restore it from your backup, or copy it from a server that works";
            return Err(StartError::Data { path, reason: reason.to_owned() });
        }
        read_or_create(&path, || fresh_hex(""))?;
        let made = vault::open_ring(&self.path, keys)?;
        made.ok_or_else(|| StartError::Data { path, reason: "is gone again".to_owned() })
    }

    /// The operator's API key, made at the first start.
    pub(crate) fn operator_key(&self) -> Result<String, StartError> {
        let path = self.path.join(OPERATOR_KEY_FILE);
        let text = read_or_create(&path, || fresh_hex(OPERATOR_KEY))?;
        let key = text.trim();
        if key.starts_with(OPERATOR_KEY) && key.len() >= OPERATOR_KEY.len() + 32 {
            return Ok(key.to_owned());
        }
        Err(StartError::Data { path, reason: format!("must hold a key that begins with {OPERATOR_KEY}") })
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            // Closing alone would not free the folder for as long as a child process that was just started holds a copy
            // of the file. Where it can't be unlocked, closing is all there is.
            let _ = lock.unlock();
        }
    }
}

fn failed(path: &Path, error: &std::io::Error) -> StartError {
    StartError::Data { path: path.to_owned(), reason: error.to_string() }
}

fn fresh_hex(kind: &str) -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(|error| error.to_string())?;
    Ok(Zeroizing::new(format!("{kind}{}\n", hex::encode(*bytes))))
}

fn read_or_create(
    path: &Path,
    fresh: impl FnOnce() -> Result<Zeroizing<String>, String>,
) -> Result<Zeroizing<String>, StartError> {
    match fs::read_to_string(path) {
        Ok(text) => return Ok(Zeroizing::new(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(path, &error)),
    }
    let text = fresh().map_err(|reason| StartError::Data { path: path.to_owned(), reason })?;
    write_secret(path, text.as_bytes()).map_err(|error| failed(path, &error))?;
    Ok(text)
}

/// Writes a new file that only its owner may read, whole or not at all, and makes it durable: a master key lost is
/// every key lost. A file that has appeared meanwhile is kept.
fn write_secret(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // A temporary file can be read by its owner alone.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn a_folder_that_was_left_is_free_whoever_holds_a_copy_of_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let open = || DataDir::open(folder.path()).unwrap();
        let (mut first, mut second) = (open(), open());
        first.lock().unwrap();
        assert!(second.lock().is_err());
        let copy = first.lock.as_ref().unwrap().try_clone().unwrap();
        drop(first);
        second.lock().unwrap();
        drop(copy);
    }
}
