//! The log in front of the database file: what a transaction writes goes to the end of one file with one sync of the
//! disk, and is acknowledged then. Carrying it over into the file's trees is done later, for many transactions at once.
//!
//! The log is a row of segments, files `paychip.log.N`. A segment is removed once the database file holds all of it and
//! says so (table `carried`). A record is its length, a check over its content, and the content; one that was cut off by
//! a crash was never acknowledged, and is forgotten.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::StoreError;
use crate::engine::{Outcome, RowWrite, Writes};
use crate::key::{Key, List, Named, Numbered};

/// Bytes in front of a record's content: its length (4) and its check (8).
const HEAD_BYTES: usize = 12;
/// The longest content of a record. A batch is far shorter; a longer length is damage.
const MAX_CONTENT_BYTES: usize = 256 * 1024 * 1024;

/// The segment that is written.
pub(super) struct Log {
    database: PathBuf,
    number: u64,
    file: Arc<File>,
    /// Bytes of whole records in it.
    length: u64,
    buffer: Vec<u8>,
}

impl Log {
    /// Begins segment `number`, an empty file.
    pub(super) fn begin(database: &Path, number: u64) -> Result<Self, StoreError> {
        let path = segment(database, number);
        let file =
            OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| failed(&path, &error))?;
        sync_folder(database)?;
        Ok(Self { database: database.to_owned(), number, file: Arc::new(file), length: 0, buffer: Vec::new() })
    }

    /// Appends what a transaction writes. It is durable once [`Log::file`] has been synced.
    pub(super) fn append(&mut self, writes: &Writes) -> Outcome {
        self.buffer.clear();
        self.buffer.extend([0; HEAD_BYTES]);
        encode(writes, &mut self.buffer);
        let content = self.buffer.split_off(HEAD_BYTES);
        self.buffer.clear();
        // A batch is far shorter than 4 GiB.
        self.buffer.extend((content.len() as u32).to_be_bytes());
        self.buffer.extend(check(&content));
        self.buffer.extend(content);
        if let Err(error) = (&*self.file).write_all(&self.buffer) {
            return self.forget_tail(failed(&segment(&self.database, self.number), &error));
        }
        self.length += self.buffer.len() as u64;
        Outcome::Committed
    }

    /// After a write that failed half way (a full disk): the half is cut off.
    fn forget_tail(&mut self, error: StoreError) -> Outcome {
        use std::io::{Seek, SeekFrom};
        let cut = self.file.set_len(self.length).and_then(|()| (&*self.file).seek(SeekFrom::Start(self.length)));
        match cut {
            Ok(_) => Outcome::RolledBack(error),
            Err(_) => Outcome::Unknown(error),
        }
    }

    /// The file to sync.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Leaves no empty segment behind.
    pub(super) fn remove_if_empty(&self) {
        if self.length == 0 && remove(&self.database, self.number).is_err() {
            // The next start removes it.
            tracing::warn!(segment = self.number, "an empty segment of the log could not be removed");
        }
    }

    /// Ends this segment and begins the next.
    pub(super) fn turn(&mut self) -> Result<(), StoreError> {
        *self = Self::begin(&self.database, self.number + 1)?;
        Ok(())
    }
}

fn segment(database: &Path, number: u64) -> PathBuf {
    database.with_extension(format!("log.{number}"))
}

fn failed(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Engine(format!("{}: {error}", path.display()))
}

pub(super) fn sync_folder(database: &Path) -> Result<(), StoreError> {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, &error))
}

/// Removes a segment whose content is in the database file.
pub(super) fn remove(database: &Path, number: u64) -> Result<(), StoreError> {
    let path = segment(database, number);
    std::fs::remove_file(&path).map_err(|error| failed(&path, &error))
}

/// Makes the segments of a database those of a copy as well: the copy's stay when the others are removed.
pub(super) fn link_segments(database: &Path, copy: &Path) -> Result<(), StoreError> {
    for number in segments(database)? {
        let (from, to) = (segment(database, number), segment(copy, number));
        // On another file system it can only be copied.
        let linked = std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(drop));
        match linked {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // It was carried over and removed since it was listed.
            }
            linked => linked.map_err(|error| failed(&to, &error))?,
        }
    }
    Ok(())
}

/// The numbers of the segments there are, lowest first.
pub(super) fn segments(database: &Path) -> Result<Vec<u64>, StoreError> {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = database.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let start = format!("{stem}.log.");
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, &error))? {
        let name = entry.map_err(|error| failed(folder, &error))?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix(&start)?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The transactions of a segment, in their order. A torn record at the end of the `last` segment was never acknowledged
/// and is left out.
///
/// # Errors
/// [`StoreError::Corrupt`] for damage anywhere else: what was acknowledged can't be read.
pub(super) fn read_segment(database: &Path, number: u64, last: bool) -> Result<Vec<Writes>, StoreError> {
    let path = segment(database, number);
    let mut bytes = Vec::new();
    File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|error| failed(&path, &error))?;
    let mut transactions = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match record(rest) {
            Ok((content, after)) => {
                transactions.push(decode(content).ok_or(StoreError::Corrupt("log"))?);
                rest = after;
            }
            Err(Torn::AtTheEnd) if last => break,
            Err(_) => return Err(StoreError::Corrupt("log")),
        }
    }
    Ok(transactions)
}

/// Why a record can't be read.
enum Torn {
    /// It reaches to the end of the file or beyond: a crash cut it off.
    AtTheEnd,
    /// Something follows it.
    Inside,
}

fn record(bytes: &[u8]) -> Result<(&[u8], &[u8]), Torn> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Err(Torn::AtTheEnd) };
    let [a, b, c, d, check_bytes @ ..] = *head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let torn = if length >= rest.len() { Torn::AtTheEnd } else { Torn::Inside };
    // A file that grew before its bytes were written reads as zeros to its end.
    let unwritten = bytes.iter().all(|byte| *byte == 0);
    match rest.split_at_checked(length) {
        Some((content, after))
            if length <= MAX_CONTENT_BYTES && check(content) == check_bytes && !content.is_empty() =>
        {
            Ok((content, after))
        }
        _ if unwritten => Err(Torn::AtTheEnd),
        _ => Err(torn),
    }
}

fn check(content: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&Sha256::digest(content)[..8]);
    check
}

/// The first byte of each piece of a record.
const NUMBERED: u8 = 1;
const NAMED: u8 = 2;
const LISTED: u8 = 3;
/// What becomes of a row.
const NEW: u8 = 1;
const CHANGED: u8 = 2;
const REMOVED: u8 = 3;

fn encode(writes: &Writes, to: &mut Vec<u8>) {
    for RowWrite { key, before, after } in &writes.rows {
        match key {
            Key::Number(table, number) => {
                to.extend([NUMBERED, *table as u8]);
                to.extend(number.to_be_bytes());
            }
            Key::Name(table, name) => {
                to.extend([NAMED, *table as u8]);
                put_bytes(name, to);
            }
        }
        match (before, after) {
            (None, Some(row)) => {
                to.push(NEW);
                put_bytes(row, to);
            }
            (Some(_), Some(row)) => {
                to.push(CHANGED);
                put_bytes(row, to);
            }
            (_, None) => to.push(REMOVED),
        }
    }
    for (list, owner, id) in &writes.listed {
        to.extend([LISTED, *list as u8]);
        put_bytes(owner, to);
        to.extend(id);
    }
}

fn put_bytes(bytes: &[u8], to: &mut Vec<u8>) {
    // Rows and names are far shorter than 4 GiB.
    to.extend((bytes.len() as u32).to_be_bytes());
    to.extend(bytes);
}

/// Nothing where the content is not what [`encode`] wrote.
fn decode(mut rest: &[u8]) -> Option<Writes> {
    let mut writes = Writes::default();
    while let Some((kind, after)) = rest.split_first() {
        rest = after;
        let table = usize::from(take::<1>(&mut rest)?[0]);
        let key = match *kind {
            NUMBERED => Key::Number(*Numbered::ALL.get(table)?, u64::from_be_bytes(take(&mut rest)?)),
            NAMED => Key::Name(*Named::ALL.get(table)?, take_bytes(&mut rest)?.to_vec()),
            LISTED => {
                let owner = take_bytes(&mut rest)?.to_vec();
                writes.listed.push((*List::ALL.get(table)?, owner, take(&mut rest)?));
                continue;
            }
            _ => return None,
        };
        let (before, after) = match take::<1>(&mut rest)?[0] {
            NEW => (None, Some(take_bytes(&mut rest)?.to_vec())),
            // What it was before is of no use any more, only that it was.
            CHANGED => (Some(Vec::new()), Some(take_bytes(&mut rest)?.to_vec())),
            REMOVED => (Some(Vec::new()), None),
            _ => return None,
        };
        writes.rows.push(RowWrite { key, before, after });
    }
    Some(writes)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (value, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*value)
}

fn take_bytes<'r>(rest: &mut &'r [u8]) -> Option<&'r [u8]> {
    let length = u32::from_be_bytes(take(rest)?) as usize;
    let (value, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    fn writes(number: u64) -> Writes {
        let row = |key, before, after| RowWrite { key, before, after };
        Writes {
            rows: vec![
                row(Key::Number(Numbered::Payments, number), None, Some(vec![7; 90])),
                row(Key::Number(Numbered::Purses, 3), Some(Vec::new()), Some(vec![8; 40])),
                row(Key::Name(Named::LivingTokens, vec![9; 16]), Some(Vec::new()), None),
            ],
            listed: vec![(List::MerchantPayments, vec![1; 16], [2; 16])],
        }
    }

    fn segment_of(count: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("paychip.db");
        let mut log = Log::begin(&database, 1).unwrap();
        for number in 0..count {
            assert_eq!(log.append(&writes(number)), Outcome::Committed);
        }
        (folder, database)
    }

    #[test]
    fn transactions_come_back_in_their_order() {
        let (_folder, database) = segment_of(3);
        assert_eq!(segments(&database).unwrap(), [1]);
        assert_eq!(read_segment(&database, 1, true).unwrap(), [writes(0), writes(1), writes(2)]);
    }

    #[test]
    fn a_record_cut_off_at_any_byte_is_forgotten_and_those_before_it_are_not() {
        let (_folder, database) = segment_of(2);
        let path = segment(&database, 1);
        let whole = std::fs::read(&path).unwrap();
        for length in whole.len() / 2..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read_segment(&database, 1, true).unwrap(), [writes(0)], "{length}");
            let older = read_segment(&database, 1, false);
            assert_eq!(older.is_err(), length > whole.len() / 2, "only the last segment can have been cut off");
            let mut unwritten = whole[..length].to_vec();
            unwritten.resize(whole.len() + 100, 0);
            std::fs::write(&path, unwritten).unwrap();
            let read = read_segment(&database, 1, true);
            assert!(read.is_err() || read.unwrap() == [writes(0)], "{length}");
        }
    }

    #[test]
    fn a_damaged_record_with_another_behind_it_is_never_passed_over() {
        let (_folder, database) = segment_of(2);
        let path = segment(&database, 1);
        let whole = std::fs::read(&path).unwrap();
        for at in HEAD_BYTES..whole.len() / 2 {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(read_segment(&database, 1, true), Err(StoreError::Corrupt("log")), "{at}");
        }
    }
}
