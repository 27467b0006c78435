//! The embedded engine: SQLite with a write-ahead log and `synchronous=FULL`, one writing connection.
//!
//! A transaction that is reported as committed survives a power cut.

mod schema;
mod view;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;
use crate::engine::{Engine, NamedRow, NumberedRow, Outcome, RowWrite, View, Writes};
use crate::key::{Key, List, Named, Numbered};
use crate::queries::{Reader, Work};
use schema::{Ids, Rows};

/// Prepared statements kept a connection.
const STATEMENTS: usize = 128;
/// How long a connection waits for another's lock before it reports an error.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Bytes of pages the writing connection keeps in memory, in KiB (negative: SQLite's way to say so).
const WRITER_CACHE_KIB: i64 = -131_072;
/// The same for a reading connection.
const READER_CACHE_KIB: i64 = -8_192;
/// Pages in the write-ahead log after which they are carried over into the file.
const CHECKPOINT_PAGES: i64 = 16_000;
/// Reading connections; more readers wait for one another.
const READERS: usize = 4;
/// One file has one writer, and one partition.
const PARTITION: u32 = 0;

/// The one writing connection to a database file.
pub struct SqliteEngine {
    connection: Connection,
}

impl SqliteEngine {
    /// Opens the database, creating or migrating it.
    ///
    /// # Errors
    /// [`StoreError::Engine`], also when the file belongs to another program, or was written by a newer version of
    /// this one.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
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

    fn write_all(&mut self, writes: &Writes) -> Result<(), StoreError> {
        writes.rows.iter().try_for_each(|row| write_row(&self.connection, row))?;
        writes.listed.iter().try_for_each(|(list, owner, id)| {
            let mut statement = self.connection.prepare_cached(schema::list(Ids::Insert, *list))?;
            Ok(statement.execute((owner, id)).map(drop)?)
        })
    }
}

fn write_row(connection: &Connection, row: &RowWrite) -> Result<(), StoreError> {
    let what = match (&row.before, &row.after) {
        (None, Some(_)) => Rows::Insert,
        (Some(_), Some(_)) => Rows::Update,
        (_, None) => Rows::Delete,
    };
    let mut statement = connection.prepare_cached(match &row.key {
        Key::Number(table, _) => schema::numbered(what, *table),
        Key::Name(table, _) => schema::named(what, *table),
    })?;
    match &row.key {
        Key::Number(_, number) => statement.raw_bind_parameter(1, number.cast_signed())?,
        Key::Name(_, name) => statement.raw_bind_parameter(1, name)?,
    }
    if let Some(after) = &row.after {
        statement.raw_bind_parameter(2, after)?;
    }
    if statement.raw_execute()? == 1 { Ok(()) } else { Err(StoreError::Corrupt(row.key.place().0)) }
}

impl View for SqliteEngine {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        view::read(&self.connection, keys)
    }

    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        view::list(&self.connection, list, owner, before, limit)
    }

    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError> {
        view::scan(&self.connection, table, after, up_to, limit)
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        view::scan_names(&self.connection, table, after, limit)
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        view::self_check(&self.connection)
    }
}

impl Engine for SqliteEngine {
    fn partition(&self) -> u32 {
        PARTITION
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        Ok(self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)?)
    }

    fn commit(&mut self, writes: Writes) -> Outcome {
        if let Err(error) = self.write_all(&writes) {
            return self.roll_back().map_or_else(Outcome::Unknown, |()| Outcome::RolledBack(error));
        }
        let committed = self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        committed.map_or_else(|error| Outcome::Unknown(error.into()), |_| Outcome::Committed)
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        // SQLite may have rolled back by itself (a full disk): then there is no transaction left to end.
        if self.connection.is_autocommit() {
            return Ok(());
        }
        Ok(self.connection.execute_batch("ROLLBACK")?)
    }
}

/// Reading connections to a database file.
pub struct SqliteReader {
    connections: Vec<Mutex<Connection>>,
    path: PathBuf,
}

impl SqliteReader {
    /// Opens the reading connections of a database that [`SqliteEngine::open`] has prepared.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connections = (0..READERS).map(|_| open_reader(path).map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(Self { connections, path: path.to_owned() })
    }

    fn connection(&self) -> Result<MutexGuard<'_, Connection>, StoreError> {
        let free = self.connections.iter().find_map(|connection| connection.try_lock().ok());
        // None is free: wait for the first. A reader that panicked left nothing half done.
        free.or_else(|| self.connections.first().map(|first| first.lock().unwrap_or_else(PoisonError::into_inner)))
            .ok_or(StoreError::Stopped)
    }
}

impl Reader for SqliteReader {
    fn now(&self, work: Work<'_>) -> Result<(), StoreError> {
        let connection = self.connection()?;
        work(&mut view::Reading(&connection))
    }

    fn snapshot(&self, work: Work<'_>) -> Result<(), StoreError> {
        // Over a connection of its own: nobody waits for it.
        let mut connection = open_reader(&self.path)?;
        let transaction = connection.transaction()?;
        work(&mut view::Reading(&transaction))
    }
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection)?;
    connection.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(LOCK_WAIT)?;
    Ok(())
}
