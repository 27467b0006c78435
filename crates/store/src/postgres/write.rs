//! One transaction out in one round trip: all of it one statement; where tables are spread, or too many such statements are
//! kept, BEGIN, a statement for each table, kind of change and home, and COMMIT.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use super::link::{Link, failed, is_lost, told};
use super::pipeline::in_order;
use super::statements::{CHANGED_MEANWHILE, INSERTED_ROWS, Ids, Place, Rows, Table, What, Whole};
use crate::engine::{Outcome, RowWrite, Writes};
use crate::key::{Key, List, Named, Numbered};

/// How a transaction ended, as far as its own connection told.
pub(super) enum Ended {
    /// Certain.
    As(Outcome),
    /// The connection went away, or COMMIT itself failed: it may or may not have been written.
    Unheard,
}

/// A step of a transaction between its BEGIN and its COMMIT.
enum Step<'w> {
    Numbers(What, Columns<'w, i64>),
    Names(What, Columns<'w, &'w [u8]>),
    Ids(What, Columns<'w, &'w [u8]>),
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

impl<'w, K: ToSql + Sync + Copy> Columns<'w, K> {
    fn push(&mut self, key: K, row: &'w RowWrite) {
        self.keys.push(key);
        self.befores.extend(row.before.as_deref());
        self.afters.extend(row.after.as_deref());
    }

    fn params(&self, what: What) -> Vec<&(dyn ToSql + Sync)> {
        match what {
            What::Rows(Rows::Insert, _, Place::Home(_), _) | What::Ids(Ids::Insert, _, Place::Home(_), _) => {
                let pairs = self.keys.iter().zip(&self.afters);
                pairs.flat_map(|(key, after)| [key as &(dyn ToSql + Sync), after as _]).collect()
            }
            What::Rows(Rows::Insert, ..) | What::Ids(..) => vec![&self.keys, &self.afters],
            What::Rows(Rows::Delete, ..) => vec![&self.keys, &self.befores],
            What::Rows(Rows::Update, ..) => vec![&self.keys, &self.befores, &self.afters],
            What::Rows(Rows::Scan, ..) => vec![&self.keys],
        }
    }

    /// In the pieces that a statement on one home adds.
    fn pieces(self) -> Vec<Self> {
        let (mut keys, mut afters) = (self.keys.as_slice(), self.afters.as_slice());
        let mut pieces = Vec::new();
        for size in INSERTED_ROWS {
            while keys.len() >= size && afters.len() >= size {
                let ((first, rest), (rows, later)) = (keys.split_at(size), afters.split_at(size));
                pieces.push(Self { keys: first.to_vec(), befores: Vec::new(), afters: rows.to_vec() });
                (keys, afters) = (rest, later);
            }
        }
        pieces
    }
}

fn kind(row: &RowWrite) -> Rows {
    match (&row.before, &row.after) {
        (None, _) => Rows::Insert,
        (Some(_), Some(_)) => Rows::Update,
        (Some(_), None) => Rows::Delete,
    }
}

impl Link {
    /// The steps, in an order that is the same in every server, so that none waits for another that waits for it.
    fn steps<'w>(&self, writes: &'w Writes) -> Vec<Step<'w>> {
        let mut steps = Vec::new();
        // The partition's own row comes first: who has written it has the partition, and whoever finds out later what
        // became of this transaction waits for its end there.
        let tables = core::iter::once(Numbered::Partitions)
            .chain(Numbered::ALL.iter().copied().filter(|table| *table != Numbered::Partitions));
        for table in tables {
            let keyed = writes.rows.iter().filter_map(|row| match row.key {
                Key::Number(of, number) if of == table => Some((number.cast_signed(), row)),
                _ => None,
            });
            self.steps_of(Table::Numbers(table), keyed, &mut steps, Step::Numbers);
        }
        for table in Named::ALL.iter().copied() {
            let keyed = writes.rows.iter().filter_map(|row| match &row.key {
                Key::Name(of, name) if *of == table => Some((name.as_slice(), row)),
                _ => None,
            });
            self.steps_of(Table::Names(table), keyed, &mut steps, Step::Names);
        }
        for list in List::ALL.iter().copied() {
            let mut by_place: Vec<(Place, Columns<'w, &'w [u8]>)> = Vec::new();
            for (_, owner, id) in writes.listed.iter().filter(|(of, ..)| *of == list) {
                let columns = at(&mut by_place, self.list_place(list, owner));
                columns.keys.push(owner.as_slice());
                columns.afters.push(&id[..]);
            }
            for (place, columns) in by_place {
                split(place, columns, |rows| What::Ids(Ids::Insert, list, place, rows), &mut steps, Step::Ids);
            }
        }
        steps
    }

    fn steps_of<'w, K: ToSql + Sync + Copy>(
        &self,
        table: Table,
        rows: impl Iterator<Item = (K, &'w RowWrite)>,
        steps: &mut Vec<Step<'w>>,
        step: fn(What, Columns<'w, K>) -> Step<'w>,
    ) {
        let mut kinds = [Rows::Insert, Rows::Update, Rows::Delete].map(|what| (what, Vec::new()));
        for (key, row) in rows {
            if let Some((_, by_place)) = kinds.iter_mut().find(|(what, _)| *what == kind(row)) {
                at(by_place, self.place(&row.key)).push(key, row);
            }
        }
        for (what, by_place) in kinds {
            for (place, columns) in by_place {
                match what {
                    Rows::Insert => split(place, columns, |rows| What::Rows(what, table, place, rows), steps, step),
                    _ => steps.push(step(What::Rows(what, table, place, 0), columns)),
                }
            }
        }
    }

    /// Writes everything, or nothing.
    pub(super) async fn commit(&self, writes: &Writes) -> Ended {
        let steps = self.steps(writes);
        let whole = Whole::Change(steps.iter().map(Step::what).collect());
        if self.is_spread() || !self.may_join(&whole) {
            self.commit_in_steps(&steps).await
        } else {
            self.commit_at_once(whole, &steps).await
        }
    }

    /// A transaction in one statement, which is one by itself: it has been committed when it has been answered. Where the
    /// database answers with an error and goes on, it has not: one that comes up after a commit is in the log ends the
    /// database (`RecordTransactionAbort` in its `xact.c`), and with it the connection.
    async fn commit_at_once(&self, whole: Whole, steps: &[Step<'_>]) -> Ended {
        let statement = match self.statement(whole).await {
            Ok(statement) => statement,
            Err(error) => return Ended::As(refused(error)),
        };
        let params: Vec<_> = steps.iter().flat_map(Step::params).collect();
        match self.client.execute(&statement, &params).await {
            Ok(_) => Ended::As(Outcome::Committed),
            Err(error) if is_lost(&error) => unheard(&error),
            Err(error) => Ended::As(refused(error)),
        }
    }

    /// A transaction in many statements, its BEGIN and its COMMIT sent with them.
    async fn commit_in_steps(&self, steps: &[Step<'_>]) -> Ended {
        let mut statements = Vec::with_capacity(steps.len());
        for step in steps {
            // All of them before the first is sent: the order of the transaction must not depend on it.
            match self.statement(step.what()).await {
                Ok(statement) => statements.push(statement),
                Err(error) => return Ended::As(refused(error)),
            }
        }
        let last = steps.len() + 1;
        let sent = (0..=last).map(|place| self.take(place, last, steps, &statements));
        let results = in_order(sent).await;
        let first_error = results.into_iter().enumerate().find_map(|(place, result)| Some((place, result.err()?)));
        match first_error {
            None => Ended::As(Outcome::Committed),
            // A statement that the database refused leaves nothing for its COMMIT to commit.
            Some((place, error)) if place < last && !is_lost(&error) => Ended::As(refused(error)),
            Some((_, error)) => unheard(&error),
        }
    }

    /// One message of the transaction: BEGIN, the steps, COMMIT.
    async fn take(&self, place: usize, last: usize, steps: &[Step<'_>], prepared: &[Statement]) -> Result<(), Error> {
        let step = place.checked_sub(1).and_then(|step| Some((steps.get(step)?, prepared.get(step)?)));
        match step {
            Some((step, statement)) => self.client.execute(statement, &step.params()).await.map(drop),
            None if place == last => self.client.batch_execute("COMMIT").await,
            None => self.client.batch_execute("BEGIN").await,
        }
    }
}

/// What it means that nothing certain was heard of a commit.
fn unheard(error: &Error) -> Ended {
    tracing::warn!(error = %told(error), "a commit was not answered");
    Ended::Unheard
}

impl Step<'_> {
    fn what(&self) -> What {
        match self {
            Self::Numbers(what, _) | Self::Names(what, _) | Self::Ids(what, _) => *what,
        }
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        match self {
            Self::Numbers(what, columns) => columns.params(*what),
            Self::Names(what, columns) | Self::Ids(what, columns) => columns.params(*what),
        }
    }
}

/// The columns for a place, new ones at the end.
fn at<'a, 'w, K>(by_place: &'a mut Vec<(Place, Columns<'w, K>)>, place: Place) -> &'a mut Columns<'w, K> {
    let known = by_place.iter().position(|(known, _)| *known == place);
    let index = known.unwrap_or_else(|| {
        by_place.push((place, Columns::default()));
        by_place.len() - 1
    });
    &mut by_place[index].1
}

/// Adds rows: in one statement where the table is in one place, else in as few as there are sizes for.
fn split<'w, K: ToSql + Sync + Copy>(
    place: Place,
    columns: Columns<'w, K>,
    what: impl Fn(usize) -> What,
    steps: &mut Vec<Step<'w>>,
    step: fn(What, Columns<'w, K>) -> Step<'w>,
) {
    match place {
        Place::Whole => steps.push(step(what(0), columns)),
        Place::Home(_) => {
            steps.extend(columns.pieces().into_iter().map(|piece| step(what(piece.keys.len()), piece)));
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
