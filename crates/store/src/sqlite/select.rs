//! Running a query and reading its rows.

use rusqlite::{Connection, Params, Row};

use crate::StoreError;

/// The first row of a query, read by `read`.
pub(crate) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    found.next()?.map(read).transpose()
}

/// Every row of a query, read by `read`. The SQL bounds how many.
pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    let mut list = Vec::new();
    while let Some(row) = found.next()? {
        list.push(read(row)?);
    }
    Ok(list)
}

/// `SELECT columns FROM table WHERE condition`.
macro_rules! select {
    ($columns:expr, $rest:literal) => {
        &format!(concat!("SELECT {} FROM ", $rest), $columns)
    };
}
pub(crate) use select;
