//! The database file itself: one connection that writes rows, as they come out of the log, some thousand in a transaction.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::pending::Generation;
use super::{WRITER_CACHE_KIB, configure, schema, write};
use crate::StoreError;

/// Pieces written in one transaction, whose pages then go to the disk with one sync, which is what the log's next sync waits for.
const PIECES: usize = 2_000;
/// How long a look at the file that was begun before a transaction has until that transaction is brought home.
const NEW_LOOK: Duration = Duration::from_millis(1);
/// Bytes of SQLite's log that stay on the disk when it begins anew: it is written over, and does not grow with each sync.
const KEPT_LOG_BYTES: i64 = 64 << 20;

/// The writing connection.
pub(super) struct DatabaseFile {
    connection: Connection,
}

/// Why rows were not carried over.
#[derive(Debug)]
pub(super) enum NotCarried {
    /// Nothing was changed (a full disk): it may go well another time.
    TryAgain(StoreError),
    /// What the disk holds is unknown until the file is opened again.
    Broken(StoreError),
}

impl DatabaseFile {
    /// Opens the file, creating or migrating it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        configure(&connection)?;
        schema::choose_page_size(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // See `carry`.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
        // In `bring_home`, at a better moment.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", KEPT_LOG_BYTES)?;
        schema::migrate(&mut connection)?;
        Ok(Self { connection })
    }

    /// The last segment of the log that is in the file.
    pub(super) fn carried(&self) -> Result<u64, StoreError> {
        let segment: i64 = self.connection.query_row("SELECT segment FROM carried", [], |row| row.get(0))?;
        u64::try_from(segment).map_err(|_| StoreError::Corrupt("carried"))
    }

    /// Writes a generation, a part at a time and with each part how far it came; after the last, that its segment is in
    /// the file. `pause` is told after each how long it took. Where it stops half way, and the program too, the next call
    /// with the same segment goes on from there.
    ///
    /// Readers look first among the rows that wait, and the whole generation waits until all of it is in the file: so nobody
    /// sees half of it.
    ///
    /// Only the last transaction, which says that the segment is in the file, is synced, and all those before it with it.
    /// A power cut may take of the others as many as it likes, the newest first: the log still has them, and the file
    /// says up to where.
    pub(super) fn carry(
        &mut self,
        generation: &Generation,
        segment: u64,
        mut pause: impl FnMut(Duration),
    ) -> Result<(), NotCarried> {
        let mut done = self.done(segment).map_err(NotCarried::TryAgain)?;
        let mut pieces = generation.pieces().skip(done).peekable();
        while pieces.peek().is_some() {
            self.transaction(|file| {
                done += write::pieces(&file.connection, &mut pieces, PIECES)?;
                file.note_done(segment, done)
            })?;
            pause(NEW_LOOK);
            let begun = Instant::now();
            self.bring_home()?;
            pause(begun.elapsed());
        }
        self.sync_commits(true).map_err(NotCarried::TryAgain)?;
        let ended = self.transaction(|file| file.note_carried(segment));
        self.sync_commits(false).map_err(NotCarried::Broken)?;
        ended
    }

    /// Changes the file as `work` says, or not at all.
    fn transaction(&self, work: impl FnOnce(&Self) -> Result<(), StoreError>) -> Result<(), NotCarried> {
        let opened = self.connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from);
        opened.and_then(|()| work(self)).map_err(|error| self.undo(error))?;
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => Ok(()),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Err(self.undo(error.into())),
            Err(error) => Err(NotCarried::Broken(error.into())),
        }
    }

    /// Whether a commit syncs SQLite's own log. What goes home from there is synced in any case, before it goes and after.
    fn sync_commits(&self, yes: bool) -> Result<(), StoreError> {
        Ok(self.connection.pragma_update(None, "synchronous", if yes { "FULL" } else { "NORMAL" })?)
    }

    /// Brings the pages in SQLite's log to their places in the file. Not right behind a commit, as SQLite would: who reads
    /// then still reads what was there before it, and keeps the last transaction from going home. The log would never be
    /// home as a whole, and so never begin anew: under load without a pause it grew for as long as that lasted.
    fn bring_home(&self) -> Result<(), NotCarried> {
        // Who looks at an older state keeps some of them there: the next transaction tries again.
        match self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            Ok(()) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                tracing::warn!(%error, "SQLite's log grows until there is room for the file");
            }
            Err(error) => return Err(NotCarried::Broken(error.into())),
        }
        Ok(())
    }

    /// How many pieces of a segment are in the file already.
    fn done(&self, segment: u64) -> Result<usize, StoreError> {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let (of, done) = self.connection.query_row("SELECT segment, pieces FROM carrying", [], row)?;
        if u64::try_from(of) != Ok(segment) {
            return Ok(0);
        }
        usize::try_from(done).map_err(|_| StoreError::Corrupt("carrying"))
    }

    fn note_done(&self, segment: u64, done: usize) -> Result<(), StoreError> {
        let mut carrying = self.connection.prepare_cached("UPDATE carrying SET segment = ?1, pieces = ?2")?;
        Ok(carrying.execute((segment, done)).map(drop)?)
    }

    fn note_carried(&self, segment: u64) -> Result<(), StoreError> {
        Ok(self.connection.prepare_cached("UPDATE carried SET segment = ?1")?.execute([segment]).map(drop)?)
    }

    /// Leaves one whole file behind, with nothing in SQLite's own log: as whoever copies it expects. Where a reader
    /// holds that up, the next start finds both.
    pub(super) fn close(self) {
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "SQLite's log is carried over at the next start");
        }
    }

    fn undo(&self, error: StoreError) -> NotCarried {
        // SQLite may have rolled back by itself (a full disk): then there is no transaction left to end.
        if self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok() {
            NotCarried::TryAgain(error)
        } else {
            NotCarried::Broken(error)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::cell::Cell;

    use super::super::log;
    use super::super::pending::Piece;
    use super::*;
    use crate::engine::{RowWrite, Writes};
    use crate::key::{Key, List, Named, Numbered, name};

    const SEGMENT: u64 = 7;
    const ROWS: u64 = 3 * PIECES as u64;

    /// Rows that come, one that changes and one that goes, and ids of a list.
    fn transactions() -> [Writes; 2] {
        let name = |number: u64| Key::Name(Named::LivingTokens, name(&[&number.to_be_bytes()]));
        let row = |key, before: Option<u8>, after: Option<u8>| {
            let row = |byte: Option<u8>| byte.map(|byte| vec![byte; 30]);
            RowWrite { key, before: row(before), after: row(after) }
        };
        let id = |number: u64| u128::from(number).to_be_bytes();
        let first = [row(name(ROWS), None, Some(1)), row(Key::Number(Numbered::Purses, 1), None, Some(1))];
        let rows = (0..ROWS).map(|number| row(name(number), None, Some(2)));
        let then = [row(name(ROWS), Some(1), None), row(Key::Number(Numbered::Purses, 1), Some(1), Some(2))];
        let listed = (0..ROWS).map(|number| (List::MerchantPayments, vec![number as u8; 16], id(number))).collect();
        [
            Writes { rows: first.into(), listed: Vec::new() },
            Writes { rows: then.into_iter().chain(rows).collect(), listed },
        ]
    }

    fn generation(of: &[Writes]) -> Generation {
        let mut generation = Generation::default();
        of.iter().for_each(|writes| generation.take_in(writes.clone()));
        generation
    }

    fn rows(file: &DatabaseFile) -> (u64, u64, Vec<u8>) {
        let count = |table: &str| {
            let text = format!("SELECT count(*) FROM {table}");
            file.connection.query_row(&text, [], |row| row.get::<_, u64>(0)).unwrap()
        };
        let purse = "SELECT row FROM purses WHERE key = 1";
        let purse = file.connection.query_row(purse, [], |row| row.get(0)).unwrap();
        (count(Named::LivingTokens.name()), count(List::MerchantPayments.name()), purse)
    }

    /// What a crash would leave after each transaction, before and after its log is brought home: the file, and the log.
    #[test]
    fn a_segment_carried_half_way_is_carried_on_with_and_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paychip.db");
        let [before, then] = transactions();
        let mut file = DatabaseFile::open(&path).unwrap();
        file.carry(&generation(&[before]), SEGMENT - 1, |_| ()).unwrap();
        let copies = Cell::new(0);
        file.carry(&generation(core::slice::from_ref(&then)), SEGMENT, |_| {
            let copy = folder.path().join(format!("copy-{}.db", copies.get()));
            std::fs::copy(&path, &copy).unwrap();
            std::fs::copy(path.with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
            copies.set(copies.get() + 1);
        })
        .unwrap();
        let expected = (ROWS, ROWS, vec![2; 30]);
        assert_eq!(rows(&file), expected);
        assert_eq!(file.carried().unwrap(), SEGMENT);
        for number in 0..copies.get() {
            let mut copy = DatabaseFile::open(&folder.path().join(format!("copy-{number}.db"))).unwrap();
            assert_eq!(copy.carried().unwrap(), SEGMENT - 1, "{number}");
            let (tokens, listed, _) = rows(&copy);
            // After the last of them, before and after its log is brought home, all of it is there, and not said yet.
            let is_all_there = number + 2 >= copies.get();
            assert_eq!(tokens + listed == 2 * ROWS, is_all_there, "{number}");
            copy.carry(&generation(core::slice::from_ref(&then)), SEGMENT, |_| ()).unwrap();
            assert_eq!((rows(&copy), copy.carried().unwrap()), (expected.clone(), SEGMENT), "{number}");
        }
        assert_eq!(copies.get(), 2 * (2 * ROWS + 2).div_ceil(PIECES as u64));
    }

    /// A store without a quiet moment always has somebody looking at the file as it was before the last transaction.
    #[test]
    fn sqlites_log_begins_anew_also_where_somebody_always_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paychip.db");
        let mut file = DatabaseFile::open(&path).unwrap();
        let reader = Connection::open(&path).unwrap();
        let look = || reader.query_row("SELECT segment FROM carried", [], |row| row.get::<_, i64>(0)).unwrap();
        let (mut longest, mut all) = (0, 0);
        for segment in 1..=24_u64 {
            let row = |number: u64| RowWrite {
                key: Key::Name(Named::LivingTokens, name(&[&(segment << 32 | number).to_be_bytes()])),
                before: None,
                after: Some(vec![1; 200]),
            };
            let writes = Writes { rows: (0..ROWS).map(row).collect(), listed: Vec::new() };
            reader.execute_batch("BEGIN").unwrap();
            look();
            file.carry(&generation(&[writes]), segment, |_| {
                reader.execute_batch("COMMIT; BEGIN").unwrap();
                look();
                longest = longest.max(std::fs::metadata(path.with_extension("db-wal")).unwrap().len());
            })
            .unwrap();
            reader.execute_batch("COMMIT").unwrap();
            all += ROWS * 200;
        }
        assert!(longest < all / 3, "{longest} bytes of log for {all} of rows");
    }

    /// What an engine that starts again carries over is in the same order as what the one before carried.
    #[test]
    fn a_generation_read_from_the_log_has_its_pieces_in_the_same_order() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("paychip.db");
        let transactions = transactions();
        let mut written = log::Log::begin(&database, 1).unwrap();
        let mut present = Generation::default();
        for writes in &transactions {
            assert_eq!(written.append(writes, written.length()), crate::engine::Outcome::Committed);
            present.absorb(&generation(core::slice::from_ref(writes)));
        }
        let read = generation(&log::read_segment(&database, 1, true).unwrap());
        let told = |generation: &Generation| {
            let told = |piece| match piece {
                Piece::Row(key, waiting) => format!("{key:?} {} {:?}", waiting.is_new, waiting.row),
                Piece::Listed(list, owner, id) => format!("{list:?} {owner:?} {id:?}"),
            };
            generation.pieces().map(told).collect::<Vec<_>>()
        };
        assert_eq!(told(&read), told(&present));
    }
}
