//! The database file itself: one connection that writes rows, as they come out of the log, in one transaction.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::pending::Generation;
use super::schema::{self, Ids, Rows};
use super::{CHECKPOINT_PAGES, WRITER_CACHE_KIB, configure};
use crate::StoreError;
use crate::key::Key;

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
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        schema::migrate(&mut connection)?;
        Ok(Self { connection })
    }

    /// The last segment of the log that is in the file.
    pub(super) fn carried(&self) -> Result<u64, StoreError> {
        let segment: i64 = self.connection.query_row("SELECT segment FROM carried", [], |row| row.get(0))?;
        u64::try_from(segment).map_err(|_| StoreError::Corrupt("carried"))
    }

    /// Writes a generation, and that its segment is in the file: both or neither.
    pub(super) fn carry(&mut self, generation: &Generation, segment: u64) -> Result<(), NotCarried> {
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from);
        let written = begun.and_then(|()| self.write(generation, segment));
        if let Err(error) = written {
            return Err(self.undo(error));
        }
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => Ok(()),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Err(self.undo(error.into())),
            Err(error) => Err(NotCarried::Broken(error.into())),
        }
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

    fn write(&self, generation: &Generation, segment: u64) -> Result<(), StoreError> {
        for (key, waiting) in &generation.rows {
            self.write_row(key, waiting.row.as_deref(), waiting.is_new)?;
        }
        for ((list, owner), ids) in &generation.listed {
            let mut statement = self.connection.prepare_cached(schema::list(Ids::Insert, *list))?;
            for id in ids {
                statement.execute((owner, id))?;
            }
        }
        let mut carried = self.connection.prepare_cached("UPDATE carried SET segment = ?1")?;
        Ok(carried.execute([segment]).map(drop)?)
    }

    fn write_row(&self, key: &Key, row: Option<&[u8]>, is_new: bool) -> Result<(), StoreError> {
        let what = match (is_new, row) {
            // It came and went before it was ever in the file.
            (true, None) => return Ok(()),
            (true, Some(_)) => Rows::Insert,
            (false, Some(_)) => Rows::Update,
            (false, None) => Rows::Delete,
        };
        let mut statement = self.connection.prepare_cached(match key {
            Key::Number(table, _) => schema::numbered(what, *table),
            Key::Name(table, _) => schema::named(what, *table),
        })?;
        match key {
            Key::Number(_, number) => statement.raw_bind_parameter(1, number.cast_signed())?,
            Key::Name(_, name) => statement.raw_bind_parameter(1, name)?,
        }
        if let Some(row) = row {
            statement.raw_bind_parameter(2, row)?;
        }
        if statement.raw_execute()? == 1 { Ok(()) } else { Err(StoreError::Corrupt(key.place().0)) }
    }
}
