//! The embedded engine: SQLite with a write-ahead log and `synchronous=FULL`, one writing connection.
//!
//! A transaction that [`SqliteEngine::transaction`] reports as committed survives a power cut.

mod apply;
mod read;
pub(crate) mod rows;
pub(crate) mod select;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::{StoreError, Tables};

/// The forward-only migrations; the number of those applied is the file's `user_version`.
const MIGRATIONS: [&str; 2] = [include_str!("migrations/0001.sql"), include_str!("migrations/0002.sql")];
/// Marks the file as ours (`application_id`): "PCHP".
const APPLICATION_ID: i32 = 0x5043_4850;
/// Prepared statements kept a connection.
const STATEMENTS: usize = 128;
/// How long a connection waits for another's lock before it reports an error.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Committed,
    /// It changed nothing.
    RolledBack(StoreError),
    /// The commit itself failed: what the disk holds is unknown until the file is opened again.
    Unknown(StoreError),
}

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
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        migrate(&mut connection)?;
        Ok(Self { connection })
    }

    /// A connection that only reads, for [`crate::Queries`].
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn open_reader(path: &Path) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        configure(&connection)?;
        Ok(connection)
    }

    /// Runs `work` in one transaction and makes it durable.
    pub fn transaction(&mut self, work: impl FnOnce(&mut dyn Tables) -> Result<(), StoreError>) -> Outcome {
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from);
        if let Err(error) = begun {
            return Outcome::RolledBack(error);
        }
        if let Err(error) = work(&mut self.connection) {
            return self.roll_back(error);
        }
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => Outcome::Committed,
            Err(error) => Outcome::Unknown(error.into()),
        }
    }

    fn roll_back(&mut self, error: StoreError) -> Outcome {
        // SQLite may have rolled back by itself (a full disk): then there is no transaction left to end.
        if self.connection.is_autocommit() {
            return Outcome::RolledBack(error);
        }
        match self.connection.execute_batch("ROLLBACK") {
            Ok(()) => Outcome::RolledBack(error),
            Err(second) => Outcome::Unknown(second.into()),
        }
    }
}

fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(LOCK_WAIT)?;
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: usize = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let application: i32 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Engine("this database belongs to another program".to_owned()));
    }
    if version > MIGRATIONS.len() {
        return Err(StoreError::Engine(format!("this database has schema {version}, newer than this program knows")));
    }
    for migration in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn bindings_under_way_go_on_with_the_number_of_their_script_after_an_update() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        // Channel 1 opening; channel 1 installing; channel 3 installing.
        for (id, attempt, state) in [(1_u8, 1, 1), (2, 1, 2), (3, 3, 2)] {
            connection
                .execute(
                    "INSERT INTO bindings VALUES (?1, x'00', ?1, x'00', x'00', x'00', ?2, NULL, 0, 0, 0, ?3, 0)",
                    rusqlite::params![[id], attempt, state],
                )
                .unwrap();
        }
        migrate(&mut connection).unwrap();
        let mut statement = connection.prepare("SELECT script FROM bindings ORDER BY id").unwrap();
        let scripts: Vec<u8> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(scripts, [1, 2, 6]);
    }
}
