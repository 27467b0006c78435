//! The reading side: whoever asks beside the writer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};

use super::pending::{Overlay, Shared, Source};
use super::{SqliteEngine, configure, view};
use crate::StoreError;
use crate::queries::{Reader, Work};

/// Bytes of pages a reading connection keeps in memory, in KiB (negative: SQLite's way to say so).
pub(super) const READER_CACHE_KIB: i64 = -8_192;
/// Reading connections; more readers wait for one another.
const READERS: usize = 4;

impl SqliteEngine {
    /// Reads through this engine, beside it.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn reader(&self, path: &Path) -> Result<SqliteReader, StoreError> {
        let connections =
            (0..READERS).map(|_| open_reader(path, READER_CACHE_KIB).map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(SqliteReader { connections, path: path.to_owned(), shared: Arc::clone(&self.shared) })
    }
}

/// The reading side: connections to the file, and what waits in front of it.
pub struct SqliteReader {
    connections: Vec<Mutex<Connection>>,
    path: PathBuf,
    shared: Arc<Shared>,
}

impl SqliteReader {
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
        let mut file = view::Reading(&connection, None);
        work(&mut Overlay { file: &mut file, waiting: Source::Now(&self.shared) })
    }

    fn snapshot(&self, work: Work<'_>) -> Result<(), StoreError> {
        // Over a connection of its own: nobody waits for it.
        let mut connection = open_reader(&self.path, READER_CACHE_KIB)?;
        let transaction = connection.transaction()?;
        // While this is held nothing is carried over to its end, so file and waiting rows are of one moment.
        let generations = self.shared.read();
        // The first read is what fixes the moment of the file.
        transaction.query_row("SELECT segment FROM carried", [], |row| row.get::<_, i64>(0))?;
        let waiting = Source::Snapshot(generations.clone());
        drop(generations);
        let mut file = view::Reading(&transaction, None);
        work(&mut Overlay { file: &mut file, waiting })
    }
}

pub(super) fn open_reader(path: &Path, cache_kib: i64) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection)?;
    connection.pragma_update(None, "cache_size", cache_kib)?;
    Ok(connection)
}
