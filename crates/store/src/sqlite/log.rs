//! The log in front of the database file: what a transaction writes goes to the end of one file with one sync of the
//! disk, and is acknowledged then. Carrying it over into the file's trees is done later, for many transactions at once.
//!
//! The log is a row of segments, files `paychip.log.N`. A segment is removed once the database file holds all of it and
//! says so (table `carried`).
//!
//! A record is a mark, its length, how much of the segment was durable when it was written, a check over all of that and
//! its content, and the content. Several records may be on their way to the disk at once, and a power cut may leave any of
//! them torn, a whole one behind a torn one too: none of them was acknowledged. So a bad record is where the log ends,
//! unless a later one says that it had been durable: then it is damage, and nothing is passed over in silence.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::StoreError;
use crate::engine::{Outcome, RowWrite, Writes};
use crate::key::{Key, List, Named, Numbered};

/// What a record begins with.
const MARK: [u8; 4] = *b"pclR";
/// Bytes in front of a record's content: mark (4), length (4), bytes durable before (8), check (8).
const HEAD_BYTES: usize = 24;
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
        if let Err(error) = sync_folder(database) {
            // Another try must not find it there.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self { database: database.to_owned(), number, file: Arc::new(file), length: 0, buffer: Vec::new() })
    }

    /// Appends what a transaction writes, and says in it how many bytes of this segment are `durable`. It is durable itself
    /// once [`Log::file`] has been synced.
    pub(super) fn append(&mut self, writes: &Writes, durable: u64) -> Outcome {
        self.buffer.clear();
        self.buffer.extend([0; HEAD_BYTES]);
        encode(writes, &mut self.buffer);
        let content = self.buffer.split_off(HEAD_BYTES);
        self.buffer.clear();
        // A batch is far shorter than 4 GiB.
        let length = content.len() as u32;
        self.buffer.extend(MARK);
        self.buffer.extend(length.to_be_bytes());
        self.buffer.extend(durable.to_be_bytes());
        self.buffer.extend(check(durable, &content));
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

    /// Bytes of whole records in the segment.
    pub(super) fn length(&self) -> u64 {
        self.length
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

/// The transactions of a segment, in their order, up to the first bad record. In the `last` segment that is one that was
/// never acknowledged, unless a later one says otherwise.
///
/// # Errors
/// [`StoreError::Corrupt`] for damage anywhere else: what was acknowledged can't be read.
pub(super) fn read_segment(database: &Path, number: u64, last: bool) -> Result<Vec<Writes>, StoreError> {
    let path = segment(database, number);
    let mut bytes = Vec::new();
    File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|error| failed(&path, &error))?;
    let mut transactions = Vec::new();
    let mut at = 0;
    while let Some(record) = record_at(&bytes, at) {
        transactions.push(decode(record.content).ok_or(StoreError::Corrupt("log"))?);
        at = record.end;
    }
    if at < bytes.len() && (!last || was_durable(&bytes, at)) {
        return Err(StoreError::Corrupt("log"));
    }
    Ok(transactions)
}

/// Whether a record behind this place says that more than what is before it had been durable.
fn was_durable(bytes: &[u8], bad: usize) -> bool {
    let rest = bytes.get(bad..).unwrap_or_default();
    let marks = rest.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    marks.filter_map(|(place, _)| record_at(bytes, bad + place)).any(|record| record.durable > bad as u64)
}

/// A whole record.
struct Record<'b> {
    content: &'b [u8],
    durable: u64,
    /// Where the next one begins.
    end: usize,
}

fn record_at(bytes: &[u8], at: usize) -> Option<Record<'_>> {
    let mut rest = bytes.get(at..)?;
    let is_marked = take(&mut rest)? == MARK;
    let length = u32::from_be_bytes(take(&mut rest)?) as usize;
    let durable = u64::from_be_bytes(take(&mut rest)?);
    let right = take::<8>(&mut rest)?;
    let content = rest.get(..length).filter(|_| is_marked && (1..=MAX_CONTENT_BYTES).contains(&length))?;
    (check(durable, content) == right).then_some(Record { content, durable, end: at + HEAD_BYTES + length })
}

fn check(durable: u64, content: &[u8]) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(durable.to_be_bytes());
    hash.update(content);
    let mut check = [0; 8];
    check.copy_from_slice(&hash.finalize()[..8]);
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

    /// A segment of so many records, each durable before the next was written, or none of them.
    fn segment_of(count: u64, synced: bool) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("paychip.db");
        let mut log = Log::begin(&database, 1).unwrap();
        for number in 0..count {
            let durable = if synced { log.length() } else { 0 };
            assert_eq!(log.append(&writes(number), durable), Outcome::Committed);
        }
        (folder, database)
    }

    #[test]
    fn transactions_come_back_in_their_order() {
        let (_folder, database) = segment_of(3, true);
        assert_eq!(segments(&database).unwrap(), [1]);
        assert_eq!(read_segment(&database, 1, true).unwrap(), [writes(0), writes(1), writes(2)]);
    }

    #[test]
    fn a_record_cut_off_at_any_byte_is_forgotten_and_those_before_it_are_not() {
        let (_folder, database) = segment_of(2, true);
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
            assert_eq!(read_segment(&database, 1, true).unwrap(), [writes(0)], "{length}, with zeros behind");
        }
    }

    /// The segment with one byte altered, at each place of one of its three records in turn.
    fn altered(synced: bool, record: usize) -> Vec<Result<Vec<Writes>, StoreError>> {
        let (_folder, database) = segment_of(3, synced);
        let path = segment(&database, 1);
        let whole = std::fs::read(&path).unwrap();
        let one = whole.len() / 3;
        let read = |at: usize| {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x44;
            std::fs::write(&path, damaged).unwrap();
            read_segment(&database, 1, true)
        };
        (record * one..(record + 1) * one).map(read).collect()
    }

    #[test]
    fn a_damaged_record_that_had_been_durable_is_never_passed_over_whatever_byte_of_it_is_wrong() {
        for record in [0, 1] {
            for read in altered(true, record) {
                assert_eq!(read, Err(StoreError::Corrupt("log")), "record {record}");
            }
        }
    }

    #[test]
    fn of_records_on_their_way_together_a_torn_one_ends_the_log_and_is_no_damage() {
        for (record, before) in [(0, vec![]), (1, vec![writes(0)])] {
            for read in altered(false, record) {
                assert_eq!(read, Ok(before.clone()), "record {record}");
            }
        }
    }
}
