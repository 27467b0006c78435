//! The tables of a database file, and the statements on them: one text a table, made once.

use std::path::Path;
use std::sync::LazyLock;

use rusqlite::{Connection, TransactionBehavior};

use super::packed;
use crate::StoreError;
use crate::key::{List, Named, Numbered};

/// The version of the schema: the file's `user_version`. 1 was that of release 0.1.0; 3 knows makers, 4 risk rules, 5
/// reservations, 6 shipments, 7 syncs, 8 which payments codes were used for, and refused bindings, 9 how much of a segment is
/// carried over, 10 has tokens under numbers, 11 purses that tell all of their tokens, and whose tokens are.
const VERSION: usize = 11;
/// From this version on tokens are under numbers and not under names.
const PACKED: usize = 10;
/// Marks the file as ours (`application_id`): "PCHP".
const APPLICATION_ID: i32 = 0x5043_4850;
/// Bytes of a page. Small, because a payment changes one row each in a few pages that no other payment of its batch
/// touches, and whole pages go through the log.
const PAGE_BYTES: i64 = 2_048;
/// Rows that one statement adds: what SQLite does around each statement takes longer than what it does for a row.
pub(super) const AT_ONCE: usize = 16;

/// What is done with the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Insert,
    /// So many rows as [`AT_ONCE`] says.
    InsertMany,
    Update,
    Delete,
    Select,
    /// The row under a key, or else the next.
    Seek,
    Scan,
}

/// What is done with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    Insert,
    /// So many ids as [`AT_ONCE`] says.
    InsertMany,
    Select,
}

impl Rows {
    const ALL: [Self; 7] =
        [Self::Insert, Self::InsertMany, Self::Update, Self::Delete, Self::Select, Self::Seek, Self::Scan];

    fn write(self, table: &str) -> String {
        match self {
            Self::Insert => format!("INSERT INTO {table} (key, row) VALUES (?1, ?2)"),
            Self::InsertMany => format!("INSERT INTO {table} (key, row) VALUES {}", pairs()),
            Self::Update => format!("UPDATE {table} SET row = ?2 WHERE key = ?1"),
            Self::Delete => format!("DELETE FROM {table} WHERE key = ?1"),
            Self::Select => format!("SELECT row FROM {table} WHERE key = ?1"),
            Self::Seek => format!("SELECT key, row FROM {table} WHERE key >= ?1 ORDER BY key LIMIT 1"),
            Self::Scan => format!(
                "SELECT key, row FROM {table} WHERE key > ?1 AND (?2 IS NULL OR key <= ?2) ORDER BY key LIMIT ?3"
            ),
        }
    }
}

impl Ids {
    const ALL: [Self; 3] = [Self::Insert, Self::InsertMany, Self::Select];

    fn write(self, table: &str) -> String {
        match self {
            Self::Insert => format!("INSERT INTO {table} (owner, id) VALUES (?1, ?2)"),
            Self::InsertMany => format!("INSERT INTO {table} (owner, id) VALUES {}", pairs()),
            Self::Select => format!("SELECT id FROM {table} WHERE owner = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"),
        }
    }
}

/// The parameters of [`AT_ONCE`] rows.
fn pairs() -> String {
    let pair = |row: usize| format!("(?{}, ?{})", 2 * row + 1, 2 * row + 2);
    (0..AT_ONCE).map(pair).collect::<Vec<_>>().join(", ")
}

/// Every statement as text, made once: formatting one takes longer than looking it up.
struct Statements {
    numbered: Vec<[String; 7]>,
    named: Vec<[String; 7]>,
    lists: Vec<[String; 3]>,
}

static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| Statements {
    numbered: Numbered::ALL.iter().map(|table| Rows::ALL.map(|what| what.write(table.name()))).collect(),
    named: Named::ALL.iter().map(|table| Rows::ALL.map(|what| what.write(table.name()))).collect(),
    lists: List::ALL.iter().map(|table| Ids::ALL.map(|what| what.write(table.name()))).collect(),
});

/// The statement that does this with the rows of a table of numbers.
pub(super) fn numbered(what: Rows, table: Numbered) -> &'static str {
    &STATEMENTS.numbered[table as usize][what as usize]
}

/// The statement that does this with the rows of a table of names.
pub(super) fn named(what: Rows, table: Named) -> &'static str {
    &STATEMENTS.named[table as usize][what as usize]
}

/// The statement that does this with a list.
pub(super) fn list(what: Ids, table: List) -> &'static str {
    &STATEMENTS.lists[table as usize][what as usize]
}

/// Takes effect on a file that is still empty, and on no other.
pub(super) fn choose_page_size(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.pragma_update(None, "page_size", PAGE_BYTES)?)
}

/// Whether a file has the schema of release 0.1.0.
pub(super) fn is_of_release_0_1_0(path: &Path) -> Result<bool, StoreError> {
    if !path.exists() {
        return Ok(false);
    }
    let connection = Connection::open(path)?;
    let number = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i32>(0));
    Ok(number("application_id")? == APPLICATION_ID && number("user_version")? == 1)
}

/// Makes the tables of a new file; refuses one of another program or of a schema it does not know.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: usize = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let application: i32 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Engine("this database belongs to another program".to_owned()));
    }
    match version {
        0 => {
            create_tables(&transaction)?;
            create(&transaction)?;
        }
        // Since schema 2 there have been new tables, rows that say more when they are next written, and tokens under numbers.
        2..PACKED => pack_tokens(&transaction)?,
        PACKED..=VERSION => create_tables(&transaction)?,
        newer => {
            let text = format!("this database has schema {newer}, newer than this program knows");
            return Err(StoreError::Engine(text));
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Makes every table that is not there yet.
fn create_tables(connection: &Connection) -> Result<(), StoreError> {
    for table in Numbered::ALL {
        let name = table.name();
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {name} (key INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT"
        ))?;
    }
    for table in Named::ALL {
        let name = table.name();
        let columns = match packed::is_packed(*table) {
            true => "(key INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT",
            false => "(key BLOB PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID",
        };
        connection.execute_batch(&format!("CREATE TABLE IF NOT EXISTS {name} {columns}"))?;
    }
    for table in List::ALL {
        let name = table.name();
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {name} (owner BLOB NOT NULL, id BLOB NOT NULL, PRIMARY KEY (owner, id)) STRICT, WITHOUT ROWID"
        ))?;
    }
    // How many pieces of which segment are in the file, while it is being carried over.
    Ok(connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS carrying (one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL,
         pieces INTEGER NOT NULL) STRICT;
         INSERT OR IGNORE INTO carrying VALUES (1, 0, 0);",
    )?)
}

/// Makes every table that is not there yet, and puts tokens, which were under names, under numbers. The rows stay as they are.
fn pack_tokens(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch("ALTER TABLE token_numbers RENAME TO token_names")?;
    create_tables(connection)?;
    {
        let mut named = connection.prepare("SELECT key, row FROM token_names ORDER BY key")?;
        let mut found = named.query([])?;
        let mut insert = connection.prepare("INSERT INTO token_numbers (key, row) VALUES (?1, ?2)")?;
        while let Some(token) = found.next()? {
            let number = packed::number(token.get_ref(0)?.as_bytes().unwrap_or_default());
            insert.execute((number.ok_or(StoreError::Corrupt("token_numbers"))?, token.get::<_, Vec<u8>>(1)?))?;
        }
    }
    Ok(connection.execute_batch("DROP TABLE token_names")?)
}

fn create(connection: &Connection) -> Result<(), StoreError> {
    // The journal is only ever added to. One row of `carried` says which segment of the log is in the file already.
    Ok(connection.execute_batch(
        "CREATE TABLE carried (one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL) STRICT;
         INSERT INTO carried VALUES (1, 0);
         CREATE TRIGGER journal_is_final BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is final'); END;
         CREATE TRIGGER journal_is_kept BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is final'); END;",
    )?)
}
