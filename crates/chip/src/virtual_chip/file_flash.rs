//! Flash in a file: the virtual chip's memory.
//!
//! The file is the words, little-endian, and nothing else. Every word programmed and every page erased goes to
//! the file at once; at each commit point of the store the file is synced to disk. The file is locked while it
//! is open, so that no second process makes codes with the same counters.

use crate::hal::{Flash, FlashError};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::vec;
use std::vec::Vec;
use std::{error, fmt};

const PAGES: usize = 4;
const PAGE_WORDS: usize = 1024;
const FILE_BYTES: usize = PAGES * PAGE_WORDS * 4;

/// Why the file of a virtual chip could not be used.
#[derive(Debug)]
pub enum FileError {
    /// There is no such file, or it can't be read, written or made.
    Io(PathBuf, io::Error),
    /// Another process has the chip open.
    InUse(PathBuf),
    /// The file is not as long as a virtual chip is, so it is something else or was cut.
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The length a chip's file has, in bytes.
        expected: u64,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::InUse(path) => write!(f, "{}: the chip is in use by another process", path.display()),
            Self::WrongSize { path, found, expected } => {
                write!(f, "{}: {found} bytes, a chip's file has {expected}: not a chip, or damaged", path.display())
            }
        }
    }
}

impl error::Error for FileError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::InUse(_) | Self::WrongSize { .. } => None,
        }
    }
}

/// Flash in a file: 4 pages of 4 KiB.
#[derive(Debug)]
pub struct FileFlash {
    file: File,
    /// The file's content, read once: what flash reads is what was written.
    words: Vec<u32>,
}

impl FileFlash {
    /// Opens the flash in an existing file and locks it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let io = |error| FileError::Io(path.to_path_buf(), error);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        lock(&file, path)?;
        let found = file.metadata().map_err(io)?.len();
        if found != FILE_BYTES as u64 {
            return Err(FileError::WrongSize { path: path.to_path_buf(), found, expected: FILE_BYTES as u64 });
        }
        let mut bytes = Vec::with_capacity(FILE_BYTES);
        (&file).read_to_end(&mut bytes).map_err(io)?;
        let words =
            bytes.chunks_exact(4).map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
        Ok(Self { file, words: words.collect() })
    }

    /// Makes a file of erased flash that did not exist before, and locks it.
    ///
    /// # Errors
    /// [`FileError::Io`]; `AlreadyExists` where there is such a file: a chip is never made over another one.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let io = |error| FileError::Io(path.to_path_buf(), error);
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(io)?;
        lock(&file, path)?;
        file.write_all(&vec![0xFF; FILE_BYTES]).map_err(io)?;
        file.sync_all().map_err(io)?;
        Ok(Self { file, words: vec![u32::MAX; PAGES * PAGE_WORDS] })
    }

    fn write(&mut self, word: usize, bytes: &[u8]) -> Result<(), FlashError> {
        self.file.seek(SeekFrom::Start(word as u64 * 4)).map_err(|_| FlashError)?;
        self.file.write_all(bytes).map_err(|_| FlashError)
    }
}

impl Drop for FileFlash {
    fn drop(&mut self) {
        // Closing alone would not free it for as long as a child process that was just started holds a copy of the file.
        // Where it can't be unlocked, closing is all there is.
        let _ = self.file.unlock();
    }
}

fn lock(file: &File, path: &Path) -> Result<(), FileError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => FileError::InUse(path.to_path_buf()),
        TryLockError::Error(error) => FileError::Io(path.to_path_buf(), error),
    })
}

impl Flash for FileFlash {
    const PAGES: usize = PAGES;
    const PAGE_WORDS: usize = PAGE_WORDS;

    fn read(&self, word: usize) -> Result<u32, FlashError> {
        self.words.get(word).copied().ok_or(FlashError)
    }

    fn program(&mut self, word: usize, value: u32) -> Result<(), FlashError> {
        let programmed = self.read(word)? & value;
        self.write(word, &programmed.to_le_bytes())?;
        self.words[word] = programmed;
        Ok(())
    }

    fn erase(&mut self, page: usize) -> Result<(), FlashError> {
        let from = page * PAGE_WORDS;
        let words = self.words.get_mut(from..from + PAGE_WORDS).ok_or(FlashError)?;
        words.fill(u32::MAX);
        self.write(from, &[0xFF; PAGE_WORDS * 4])
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        self.file.sync_data().map_err(|_| FlashError)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn a_chip_that_was_put_away_is_free_whoever_holds_a_copy_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chip.flash");
        let flash = FileFlash::create(&path).unwrap();
        assert!(matches!(FileFlash::open(&path), Err(FileError::InUse(_))));
        let copy = flash.file.try_clone().unwrap();
        drop(flash);
        FileFlash::open(&path).unwrap();
        drop(copy);
    }
}
