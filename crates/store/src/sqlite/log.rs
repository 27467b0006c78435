//! The log in front of the database file: what a transaction writes goes to the end of one file with one sync of the
//! disk, and is acknowledged then. Carrying it over into the file's trees is done later, for many transactions at once.
//!
//! The log is a row of segments, files `paychip.log.N`. Once the database file holds all of a segment and says so (table
//! `carried`), its file is taken for a later segment: it keeps its place on the disk, so that a sync has only the record
//! itself to write, and waits for nothing that the file system does for other files. What was in it stays behind the new
//! records, and counts for nothing, for a record's check knows its segment.
//!
//! Several records may be on their way to the disk at once, and a power cut may leave any of them torn, a whole one behind a
//! torn one too: none of them was acknowledged. So a bad record is where the log ends, unless a later one says that it had
//! been durable: then it is damage, and nothing is passed over in silence. All segments but the last have a record that ends
//! them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{self, Record};
use crate::StoreError;
use crate::engine::{Outcome, Writes};

/// Bytes of zeros that a segment grows by, ahead of what is written to it.
const GROWN_BY: usize = 16 * ZEROS.len();
/// A piece of them.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The segment that is written.
pub(super) struct Log {
    database: PathBuf,
    number: u64,
    file: Arc<File>,
    /// Bytes of whole records in it.
    length: u64,
    /// Bytes that have their place on the disk.
    placed: u64,
    buffer: Vec<u8>,
}

impl Log {
    /// Begins segment `number`, in the file that an earlier one has left where there is one.
    pub(super) fn begin(database: &Path, number: u64) -> Result<Self, StoreError> {
        let path = segment(database, number);
        if path.exists() {
            // Nothing in it may be lost.
            return Err(failed(&path, &std::io::ErrorKind::AlreadyExists.into()));
        }
        Self::open(database, number, &path).inspect_err(|_| {
            // Another try must not find it there.
            let _ = std::fs::remove_file(&path);
        })
    }

    fn open(database: &Path, number: u64, path: &Path) -> Result<Self, StoreError> {
        let spare = spare(database);
        // Where a copy of the database is being made of it (see `link_segments`), what is in it must stay. Looked at here and
        // not where it was put aside: a crash may have come between. Without it, or where it can't be had, a new file does.
        let _ = if has_one_name(&spare) { std::fs::rename(&spare, path) } else { std::fs::remove_file(&spare) };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| failed(path, &error))?;
        let placed = file.metadata().map_err(|error| failed(path, &error))?.len();
        sync_folder(database)?;
        let (database, file) = (database.to_owned(), Arc::new(file));
        Ok(Self { database, number, file, length: 0, placed, buffer: Vec::new() })
    }

    /// Appends what a transaction writes, and says in it how many bytes of this segment are `durable`. It is durable itself
    /// once [`Log::file`] has been synced.
    pub(super) fn append(&mut self, writes: &Writes, durable: u64) -> Outcome {
        record::write(self.number, writes, durable, &mut self.buffer);
        if let Err(error) = self.put() {
            return self.forget_tail(failed(&segment(&self.database, self.number), &error));
        }
        self.length += self.buffer.len() as u64;
        Outcome::Committed
    }

    /// Writes what is in the buffer behind the last record.
    fn put(&mut self) -> std::io::Result<()> {
        let mut file = &*self.file;
        let end = self.length + self.buffer.len() as u64;
        if end > self.placed {
            file.seek(SeekFrom::Start(self.placed))?;
            for _ in 0..GROWN_BY / ZEROS.len() {
                // A disk without room for more than the record itself still takes that.
                if file.write_all(&ZEROS).is_err() {
                    break;
                }
                self.placed += ZEROS.len() as u64;
            }
        }
        file.seek(SeekFrom::Start(self.length))?;
        file.write_all(&self.buffer)?;
        self.placed = self.placed.max(end);
        Ok(())
    }

    /// After a write that failed half way (a full disk): the half is cut off.
    fn forget_tail(&mut self, error: StoreError) -> Outcome {
        match self.file.set_len(self.length) {
            Ok(()) => {
                self.placed = self.length;
                Outcome::RolledBack(error)
            }
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

    /// Leaves nothing behind that holds nothing.
    pub(super) fn close(&self) {
        // The next start does without it.
        let _ = std::fs::remove_file(spare(&self.database));
        if self.length == 0 && remove(&self.database, self.number).is_err() {
            // The next start removes it.
            tracing::warn!(segment = self.number, "an empty segment of the log could not be removed");
        }
    }

    /// Ends this segment, all of which is durable, and begins the next. Where the next can't be begun, this one goes on: its
    /// next record takes the place of the end.
    pub(super) fn turn(&mut self) -> Result<(), StoreError> {
        record::write_end(self.number, self.length, &mut self.buffer);
        let ended = self.put().and_then(|()| self.file.sync_data());
        ended.map_err(|error| failed(&segment(&self.database, self.number), &error))?;
        *self = Self::begin(&self.database, self.number + 1)?;
        Ok(())
    }
}

fn segment(database: &Path, number: u64) -> PathBuf {
    database.with_extension(format!("log.{number}"))
}

/// The file of an earlier segment, for the next one to be begun.
fn spare(database: &Path) -> PathBuf {
    database.with_extension("log.spare")
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

/// Leaves the file of a segment whose content is in the database file to a later segment. From then on nobody finds it under
/// its number, so that no more links come to it.
pub(super) fn leave(database: &Path, number: u64) -> Result<(), StoreError> {
    let path = segment(database, number);
    std::fs::rename(&path, spare(database)).map_err(|error| failed(&path, &error))
}

#[cfg(unix)]
fn has_one_name(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|about| about.nlink() == 1)
}

#[cfg(not(unix))]
fn has_one_name(_: &Path) -> bool {
    false
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
    let (mut at, mut ends_with_file) = (0, false);
    loop {
        match record::at(number, &bytes, at) {
            Some(Record::Transaction { content, end, is_first_form, .. }) => {
                transactions.push(record::decode(content).ok_or(StoreError::Corrupt("log"))?);
                (at, ends_with_file) = (end, is_first_form);
            }
            Some(Record::End) => return Ok(transactions),
            None => break,
        }
    }
    let is_whole = if last { !record::was_durable(number, &bytes, at) } else { ends_with_file && at == bytes.len() };
    if is_whole { Ok(transactions) } else { Err(StoreError::Corrupt("log")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::engine::RowWrite;
    use crate::key::{Key, List, Named, Numbered, name};

    fn writes(number: u64) -> Writes {
        let row = |key, before, after| RowWrite { key, before, after };
        Writes {
            rows: vec![
                row(Key::Number(Numbered::Payments, number), None, Some(vec![7; 90])),
                row(Key::Number(Numbered::Purses, 3), Some(Vec::new()), Some(vec![8; 40])),
                row(Key::Name(Named::LivingTokens, name(&[&[9; 16]])), Some(Vec::new()), None),
            ],
            listed: vec![(List::MerchantPayments, vec![1; 16], [2; 16])],
        }
    }

    /// A segment of so many records, each durable before the next was written, or none of them.
    fn segment_of(count: u64, synced: bool) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("paychip.db");
        let log = filled(Log::begin(&database, 1).unwrap(), 0..count, synced);
        log.file.set_len(log.length).unwrap();
        (folder, database)
    }

    fn filled(mut log: Log, numbers: core::ops::Range<u64>, synced: bool) -> Log {
        for number in numbers {
            let durable = if synced { log.length() } else { 0 };
            assert_eq!(log.append(&writes(number), durable), Outcome::Committed);
        }
        log
    }

    /// The second segment, in the file of the first: that held this many records, and it this many.
    fn in_a_used_file(before: u64, after: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("paychip.db");
        drop(filled(Log::begin(&database, 1).unwrap(), 0..before, true));
        leave(&database, 1).unwrap();
        assert_eq!(segments(&database).unwrap(), [0; 0]);
        let log = filled(Log::begin(&database, 2).unwrap(), 0..after, true);
        assert_eq!(log.placed, GROWN_BY as u64, "it has its place from the first");
        assert_eq!(segments(&database).unwrap(), [2]);
        (folder, database)
    }

    #[test]
    fn what_an_earlier_segment_left_in_the_file_is_no_part_of_a_later_one() {
        for after in 0..4 {
            let (_folder, database) = in_a_used_file(3, after);
            let expected: Vec<_> = (0..after).map(writes).collect();
            assert_eq!(read_segment(&database, 2, true).unwrap(), expected);
            assert_eq!(read_segment(&database, 2, false), Err(StoreError::Corrupt("log")), "no end was written");
        }
    }

    #[test]
    fn a_segment_that_was_ended_ends_there_and_one_that_goes_on_does_not() {
        let (_folder, database) = segment_of(0, true);
        let mut log = filled(Log::begin(&database, 2).unwrap(), 0..2, true);
        // The third can't be begun.
        std::fs::write(segment(&database, 3), b"in the way").unwrap();
        assert!(log.turn().is_err());
        assert_eq!(std::fs::read(segment(&database, 3)).unwrap(), b"in the way");
        assert_eq!(read_segment(&database, 2, false).unwrap(), [writes(0), writes(1)]);
        log = filled(log, 2..4, true);
        assert_eq!(read_segment(&database, 2, true).unwrap(), (0..4).map(writes).collect::<Vec<_>>());
        std::fs::remove_file(segment(&database, 3)).unwrap();
        log.turn().unwrap();
        assert_eq!(log.number(), 3);
        for last in [true, false] {
            assert_eq!(read_segment(&database, 2, last).unwrap(), (0..4).map(writes).collect::<Vec<_>>());
        }
    }

    #[test]
    fn damage_in_front_of_the_end_is_damage_in_the_last_segment_too() {
        let (_folder, database) = segment_of(0, true);
        let mut log = filled(Log::begin(&database, 2).unwrap(), 0..1, true);
        log.turn().unwrap();
        let mut bytes = std::fs::read(segment(&database, 2)).unwrap();
        bytes[40] ^= 1;
        std::fs::write(segment(&database, 2), bytes).unwrap();
        assert_eq!(read_segment(&database, 2, true), Err(StoreError::Corrupt("log")));
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_a_copy_is_made_of_is_not_written_to_again() {
        let (_folder, database) = segment_of(3, true);
        let copy = database.with_file_name("copy.db");
        link_segments(&database, &copy).unwrap();
        leave(&database, 1).unwrap();
        drop(filled(Log::begin(&database, 2).unwrap(), 7..9, true));
        assert_eq!(read_segment(&copy, 1, true).unwrap(), [writes(0), writes(1), writes(2)]);
    }

    #[test]
    fn segments_of_the_first_form_are_read() {
        let (_folder, database) = segment_of(0, true);
        let mut bytes = Vec::new();
        for number in 0..2 {
            bytes.extend(record::of_first_form(&writes(number), bytes.len() as u64));
        }
        std::fs::write(segment(&database, 1), &bytes).unwrap();
        for last in [true, false] {
            assert_eq!(read_segment(&database, 1, last).unwrap(), [writes(0), writes(1)], "{last}");
        }
        bytes.pop();
        std::fs::write(segment(&database, 1), &bytes).unwrap();
        assert_eq!(read_segment(&database, 1, true).unwrap(), [writes(0)]);
        assert_eq!(read_segment(&database, 1, false), Err(StoreError::Corrupt("log")));
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
            assert_eq!(older, Err(StoreError::Corrupt("log")), "only the last segment can have been cut off");
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
