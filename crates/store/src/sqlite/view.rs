//! Reading a database file, over the writing connection or one that only reads.

use rusqlite::{Connection, Row, Statement};

use super::ahead::FoundAhead;
use super::packed;
use super::schema::{self, Ids, Rows};
use super::seekers::Seekers;
use crate::StoreError;
use crate::engine::{NamedRow, NumberedRow, View};
use crate::key::{Key, List, Named, Numbered};

pub(super) fn read(connection: &Connection, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    keys.iter().map(|key| one(connection, key)).collect()
}

fn one(connection: &Connection, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached(match key {
        Key::Number(table, _) => schema::numbered(Rows::Select, *table),
        Key::Name(table, _) => schema::named(Rows::Select, *table),
    })?;
    match (key, packed::key(key)) {
        (_, Some(Ok(number))) => statement.raw_bind_parameter(1, number)?,
        // There is no such row.
        (_, Some(Err(_))) => return Ok(None),
        (Key::Number(_, number), None) => statement.raw_bind_parameter(1, number.cast_signed())?,
        (Key::Name(_, name), None) => statement.raw_bind_parameter(1, name.as_slice())?,
    }
    let mut found = statement.raw_query();
    Ok(found.next()?.map(|row| row.get(0)).transpose()?)
}

/// The row under a name; where there is none, the first key of its table above it, if there is one.
pub(super) fn seek(
    connection: &Connection,
    table: Named,
    name: &[u8],
) -> Result<(Option<Vec<u8>>, Option<Key>), StoreError> {
    let mut statement = connection.prepare_cached(schema::named(Rows::Seek, table))?;
    statement.raw_bind_parameter(1, name)?;
    let mut found = statement.raw_query();
    let Some(row) = found.next()? else { return Ok((None, None)) };
    let at: Vec<u8> = row.get(0)?;
    Ok(if at == name { (Some(row.get(1)?), None) } else { (None, Some(Key::Name(table, at.into()))) })
}

pub(super) fn list(
    connection: &Connection,
    list: List,
    owner: &[u8],
    before: [u8; 16],
    limit: usize,
) -> Result<Vec<[u8; 16]>, StoreError> {
    let mut statement = connection.prepare_cached(schema::list(Ids::Select, list))?;
    collect(&mut statement, (owner, before, limit), |row| row.get(0))
}

pub(super) fn scan(
    connection: &Connection,
    table: Numbered,
    after: u64,
    up_to: u64,
    limit: usize,
) -> Result<Vec<NumberedRow>, StoreError> {
    let mut statement = connection.prepare_cached(schema::numbered(Rows::Scan, table))?;
    collect(&mut statement, (after.cast_signed(), up_to.cast_signed(), limit), |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
    })
}

pub(super) fn scan_names(
    connection: &Connection,
    table: Named,
    after: &[u8],
    limit: usize,
) -> Result<Vec<NamedRow>, StoreError> {
    let mut statement = connection.prepare_cached(schema::named(Rows::Scan, table))?;
    if packed::is_packed(table) {
        let corrupt = || StoreError::Corrupt(table.name());
        let after = if after.is_empty() { -1 } else { packed::number(after).ok_or_else(corrupt)? };
        let rows = collect(&mut statement, (after, None::<i64>, limit), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let named = |(number, row)| Ok((packed::name_of(number).ok_or_else(corrupt)?.into_vec(), row));
        return rows.into_iter().map(named).collect();
    }
    collect(&mut statement, (after, None::<Vec<u8>>, limit), |row| Ok((row.get(0)?, row.get(1)?)))
}

pub(super) fn self_check(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    let mut lines = collect(&mut statement, [], |row| row.get::<_, String>(0))?;
    lines.retain(|line| line != "ok");
    Ok(lines)
}

fn collect<T>(
    statement: &mut Statement<'_>,
    params: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    Ok(statement.query_map(params, |row| read(row))?.collect::<rusqlite::Result<_>>()?)
}

/// A connection that only reads, and what the engine has beside it.
pub(super) struct Reading<'c>(pub(super) &'c Connection, pub(super) Option<Beside<'c>>);

/// Rows that were looked up ahead, and who looks rows up side by side.
pub(super) struct Beside<'c> {
    pub(super) found: &'c mut FoundAhead,
    pub(super) seekers: &'c Seekers,
}

impl View for Reading<'_> {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let Some(beside) = &mut self.1 else { return read(self.0, keys) };
        let mut rows: Vec<_> = keys.iter().map(|key| beside.found.take(key)).collect();
        let missing: Vec<_> =
            keys.iter().zip(&rows).filter(|(_, row)| row.is_none()).map(|(key, _)| key.clone()).collect();
        let mut looked_up = beside.seekers.read(self.0, &missing)?.into_iter();
        for row in rows.iter_mut().filter(|row| row.is_none()) {
            *row = Some(looked_up.next().flatten());
        }
        Ok(rows.into_iter().map(Option::flatten).collect())
    }

    fn list(&mut self, table: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        list(self.0, table, owner, before, limit)
    }

    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError> {
        scan(self.0, table, after, up_to, limit)
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        scan_names(self.0, table, after, limit)
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        self_check(self.0)
    }
}
