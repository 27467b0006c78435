//! One transaction out in one round trip: BEGIN, a statement for each table and kind of change, COMMIT.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::link::{Link, failed, is_lost, told};
use super::pipeline::in_order;
use super::statements::{CHANGED_MEANWHILE, Ids, Rows};
use crate::engine::{Outcome, RowWrite, Writes};
use crate::key::{Key, List, Named, Numbered};

/// How a transaction ended, as far as its own connection told.
pub(super) enum Ended {
    /// Certain.
    As(Outcome),
    /// The connection went away, or COMMIT itself failed: it may or may not have been written.
    Unheard,
}

/// A step of a transaction.
enum Step<'w> {
    Begin,
    Commit,
    Numbers(Rows, Numbered, Columns<'w, i64>),
    Names(Rows, Named, Columns<'w, &'w [u8]>),
    Ids(List, Vec<&'w [u8]>, Vec<&'w [u8]>),
}

/// What one statement is given.
struct Columns<'w, K> {
    keys: Vec<K>,
    befores: Vec<&'w [u8]>,
    afters: Vec<&'w [u8]>,
}

impl<K> Default for Columns<'_, K> {
    fn default() -> Self {
        Self { keys: Vec::new(), befores: Vec::new(), afters: Vec::new() }
    }
}

impl<'w, K: ToSql + Sync> Columns<'w, K> {
    fn push(&mut self, key: K, row: &'w RowWrite) {
        self.keys.push(key);
        self.befores.extend(row.before.as_deref());
        self.afters.extend(row.after.as_deref());
    }

    fn params(&self, what: Rows) -> Vec<&(dyn ToSql + Sync)> {
        match what {
            Rows::Insert => vec![&self.keys, &self.afters],
            Rows::Delete => vec![&self.keys, &self.befores],
            Rows::Update => vec![&self.keys, &self.befores, &self.afters],
            Rows::Select | Rows::Scan => vec![&self.keys],
        }
    }
}

fn kind(row: &RowWrite) -> Rows {
    match (&row.before, &row.after) {
        (None, _) => Rows::Insert,
        (Some(_), Some(_)) => Rows::Update,
        (Some(_), None) => Rows::Delete,
    }
}

/// The steps, in an order that is the same in every server, so that none waits for another that waits for it.
fn steps(writes: &Writes) -> Vec<Step<'_>> {
    let mut steps = vec![Step::Begin];
    // The partition's own row comes first: who has written it has the partition, and whoever finds out later what
    // became of this transaction waits for its end there.
    let tables = core::iter::once(Numbered::Partitions)
        .chain(Numbered::ALL.iter().copied().filter(|table| *table != Numbered::Partitions));
    for table in tables {
        for what in [Rows::Insert, Rows::Update, Rows::Delete] {
            let mut columns = Columns::default();
            for row in writes.rows.iter().filter(|row| kind(row) as usize == what as usize) {
                match row.key {
                    Key::Number(of, number) if of == table => columns.push(number.cast_signed(), row),
                    _ => {}
                }
            }
            if !columns.keys.is_empty() {
                steps.push(Step::Numbers(what, table, columns));
            }
        }
    }
    for table in Named::ALL.iter().copied() {
        for what in [Rows::Insert, Rows::Update, Rows::Delete] {
            let mut columns = Columns::default();
            for row in writes.rows.iter().filter(|row| kind(row) as usize == what as usize) {
                match &row.key {
                    Key::Name(of, name) if *of == table => columns.push(name.as_slice(), row),
                    _ => {}
                }
            }
            if !columns.keys.is_empty() {
                steps.push(Step::Names(what, table, columns));
            }
        }
    }
    for list in List::ALL.iter().copied() {
        let ids = writes.listed.iter().filter(|(of, ..)| *of == list);
        let (owners, ids): (Vec<_>, Vec<_>) = ids.map(|(_, owner, id)| (owner.as_slice(), &id[..])).unzip();
        if !ids.is_empty() {
            steps.push(Step::Ids(list, owners, ids));
        }
    }
    steps.push(Step::Commit);
    steps
}

impl Link {
    /// Writes everything, or nothing.
    pub(super) async fn commit(&self, writes: &Writes) -> Ended {
        let steps = steps(writes);
        let last = steps.len() - 1;
        let results = in_order(steps.iter().map(|step| self.take(step))).await;
        let first_error = results.into_iter().enumerate().find_map(|(place, result)| Some((place, result.err()?)));
        match first_error {
            None => Ended::As(Outcome::Committed),
            // A statement that the database refused leaves nothing for its COMMIT to commit.
            Some((place, error)) if place < last && !is_lost(&error) => Ended::As(refused(error)),
            Some((_, error)) => {
                tracing::warn!(error = %told(&error), "a commit was not answered");
                Ended::Unheard
            }
        }
    }

    async fn take(&self, step: &Step<'_>) -> Result<(), Error> {
        match step {
            Step::Begin => self.client.batch_execute("BEGIN").await,
            Step::Commit => self.client.batch_execute("COMMIT").await,
            Step::Numbers(what, table, columns) => {
                let statement = self.statements.numbered(*what, *table);
                self.client.execute(statement, &columns.params(*what)).await.map(drop)
            }
            Step::Names(what, table, columns) => {
                let statement = self.statements.named(*what, *table);
                self.client.execute(statement, &columns.params(*what)).await.map(drop)
            }
            Step::Ids(list, owners, ids) => {
                let statement = self.statements.list(Ids::Insert, *list);
                self.client.execute(statement, &[owners, ids]).await.map(drop)
            }
        }
    }
}

/// What it means that the database refused a statement.
fn refused(error: Error) -> Outcome {
    let conflicts = [SqlState::UNIQUE_VIOLATION, SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
    match error.code() {
        Some(code) if code.code() == CHANGED_MEANWHILE || conflicts.contains(code) => Outcome::Conflict,
        // Another server held a lock for too long.
        Some(code) if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE => {
            tracing::warn!(error = %told(&error), "a transaction took too long");
            Outcome::RolledBack(crate::StoreError::Busy)
        }
        _ => Outcome::RolledBack(failed(error)),
    }
}
