//! Pieces of a generation as statements on the database file. Pieces of one table come one after the other, so that most of
//! them are written with the statement of the one before, and what is new many at once.

use core::iter::Peekable;

use rusqlite::{CachedStatement, Connection, ToSql};

use super::packed;
use super::pending::{Piece, Waiting};
use super::schema::{self, AT_ONCE, Ids, Rows};
use crate::StoreError;
use crate::key::{Key, List, Named, Numbered};

/// What is done with a piece: pieces of which it is the same are written with the same statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Numbered(Rows, Numbered),
    Named(Rows, Named),
    List(Ids, List),
}

impl Work {
    /// Nothing is done with a row that came and went before it was ever in the file.
    fn of(piece: &Piece<'_>) -> Option<Self> {
        let (key, waiting) = match piece {
            Piece::Row(key, waiting) => (key, waiting),
            Piece::Listed(list, ..) => return Some(Self::List(Ids::Insert, *list)),
        };
        let what = match waiting {
            Waiting { is_new: true, row: None } => return None,
            Waiting { is_new: true, row: Some(_) } => Rows::Insert,
            Waiting { is_new: false, row: Some(_) } => Rows::Update,
            Waiting { is_new: false, row: None } => Rows::Delete,
        };
        Some(match key {
            Key::Number(table, _) => Self::Numbered(what, *table),
            Key::Name(table, _) => Self::Named(what, *table),
        })
    }

    /// The same with many pieces in one statement, where it is one that adds.
    fn many(self) -> Option<Self> {
        match self {
            Self::Numbered(Rows::Insert, table) => Some(Self::Numbered(Rows::InsertMany, table)),
            Self::Named(Rows::Insert, table) => Some(Self::Named(Rows::InsertMany, table)),
            Self::List(Ids::Insert, list) => Some(Self::List(Ids::InsertMany, list)),
            _ => None,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Numbered(what, table) => schema::numbered(what, table),
            Self::Named(what, table) => schema::named(what, table),
            Self::List(what, list) => schema::list(what, list),
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::Numbered(_, table) => table.name(),
            Self::Named(_, table) => table.name(),
            Self::List(_, list) => list.name(),
        }
    }
}

/// The statement that was used last.
struct Last<'c> {
    connection: &'c Connection,
    used: Option<(Work, CachedStatement<'c>)>,
}

impl<'c> Last<'c> {
    fn for_work(&mut self, work: Work) -> Result<&mut CachedStatement<'c>, StoreError> {
        let used = match self.used.take() {
            Some(used) if used.0 == work => used,
            _ => (work, self.connection.prepare_cached(work.text())?),
        };
        Ok(&mut self.used.insert(used).1)
    }

    /// Writes pieces of which the same is done: each changes one row.
    fn write(&mut self, work: Work, pieces: &[Piece<'_>]) -> Result<(), StoreError> {
        let statement = self.for_work(work)?;
        let mut next = 1;
        let mut bind = |value: &dyn ToSql| -> Result<(), StoreError> {
            statement.raw_bind_parameter(next, value)?;
            next += 1;
            Ok(())
        };
        for piece in pieces {
            match piece {
                Piece::Row(key, _) if let Some(number) = packed::key(key) => bind(&number?)?,
                Piece::Row(Key::Number(_, number), _) => bind(&number.cast_signed())?,
                Piece::Row(Key::Name(_, name), _) => bind(&name.as_slice())?,
                Piece::Listed(_, owner, _) => bind(owner)?,
            }
            match piece {
                Piece::Row(_, Waiting { row: Some(row), .. }) => bind(row)?,
                Piece::Row(_, Waiting { row: None, .. }) => {}
                Piece::Listed(_, _, id) => bind(id)?,
            }
        }
        if statement.raw_execute()? == pieces.len() { Ok(()) } else { Err(StoreError::Corrupt(work.table())) }
    }
}

/// Writes the next `limit` pieces, or as many as there are; says how many.
pub(super) fn pieces<'g>(
    connection: &Connection,
    pieces: &mut Peekable<impl Iterator<Item = Piece<'g>>>,
    limit: usize,
) -> Result<usize, StoreError> {
    let mut last = Last { connection, used: None };
    let mut run = Vec::with_capacity(AT_ONCE);
    let mut taken = 0;
    while taken < limit
        && let Some(first) = pieces.next()
    {
        taken += 1;
        let Some(work) = Work::of(&first) else { continue };
        run.push(first);
        let most = if work.many().is_some() { AT_ONCE.min(limit - taken + 1) } else { 1 };
        while run.len() < most
            && let Some(piece) = pieces.next_if(|piece| Work::of(piece) == Some(work))
        {
            taken += 1;
            run.push(piece);
        }
        match work.many().filter(|_| run.len() == AT_ONCE) {
            Some(many) => last.write(many, &run)?,
            None => run.iter().try_for_each(|piece| last.write(work, core::slice::from_ref(piece)))?,
        }
        run.clear();
    }
    Ok(taken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    /// Every number of new rows around a whole statement of them, with a row that changes, goes or never was in between.
    #[test]
    fn each_piece_changes_one_row_and_one_that_finds_none_is_told() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE purses (key INTEGER PRIMARY KEY, row BLOB) STRICT").unwrap();
        let mut expected = std::collections::BTreeMap::new();
        let mut last = 0;
        for new in [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE, 3 * AT_ONCE + 5] {
            let change = |row: Option<u8>, is_new| Waiting { row: row.map(|byte| vec![byte]), is_new };
            let mut changes: Vec<(Key, Waiting)> = Vec::new();
            if let Some(number) = expected.keys().next().copied() {
                changes.push((Key::Number(Numbered::Purses, number), change(None, false)));
                expected.remove(&number);
            }
            if let Some((number, byte)) = expected.iter_mut().next() {
                *byte += 1;
                changes.push((Key::Number(Numbered::Purses, *number), change(Some(*byte), false)));
            }
            for _ in 0..new {
                last += 1;
                expected.insert(last, new as u8);
                changes.push((Key::Number(Numbered::Purses, last), change(Some(new as u8), true)));
            }
            changes.insert(changes.len() / 2, (Key::Number(Numbered::Purses, u64::MAX), change(None, true)));
            let mut all = changes.iter().map(|(key, waiting)| Piece::Row(key, waiting)).peekable();
            let most = 2 * AT_ONCE + 1;
            let mut written = 0;
            while all.peek().is_some() {
                let now = pieces(&connection, &mut all, most).unwrap();
                assert!((1..=most).contains(&now), "{now}");
                written += now;
            }
            assert_eq!(written, changes.len());
            let mut statement = connection.prepare("SELECT key, row FROM purses").unwrap();
            let rows =
                statement.query_map([], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?[0]))).unwrap();
            assert_eq!(rows.collect::<Result<std::collections::BTreeMap<_, _>, _>>().unwrap(), expected);
        }
        for waiting in [Waiting { row: Some(vec![1]), is_new: false }, Waiting { row: None, is_new: false }] {
            let key = Key::Number(Numbered::Purses, last + 1);
            let mut one = [Piece::Row(&key, &waiting)].into_iter().peekable();
            assert_eq!(pieces(&connection, &mut one, 9), Err(StoreError::Corrupt("purses")));
        }
    }
}
