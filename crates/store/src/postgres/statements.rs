//! The statements on the tables, each prepared once for a connection, when it is first needed.
//!
//! A statement that changes or removes rows names the rows it found before, and fails where it does not find every one
//! of them as it was: so a whole transaction goes out at once, and still all or nothing is written.
//!
//! All that is asked for together is one statement, and where the tables are in one place so is a transaction: sending and
//! answering a statement costs the database more than carrying it out. Where they are spread over machines (`citus.rs`),
//! every statement names the home it is about in its text, not in a parameter: then it is planned once, for one machine, and
//! every execution of it goes there alone. What a transaction changes there is a statement for each table.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::{Client, Error, Statement};

use crate::key::{Key, List, Named, Numbered};

/// The SQLSTATE of `paychip.expect`: a row is not what it was when the decision was made.
pub(super) const CHANGED_MEANWHILE: &str = "PC409";
/// Rows that one statement adds to a table that is spread: as many of the largest as fit, then of the next.
pub(super) const INSERTED_ROWS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];
/// Statements kept prepared on one connection; the rest are prepared each time.
const MAX_KEPT: usize = 4_096;
/// How many of them may be of several tables: each holds the plans of all its parts in the database's memory. What else is
/// asked or written together goes out as a statement for each table.
const MAX_JOINED: usize = 256;

/// What is done with the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rows {
    Scan,
    Insert,
    Update,
    Delete,
}

/// What is done with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ids {
    Select,
    Insert,
}

/// A table of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Table {
    Numbers(Numbered),
    Names(Named),
}

impl Table {
    /// The table that a row is in.
    pub(super) const fn of(key: &Key) -> Self {
        match key {
            Key::Number(table, _) => Self::Numbers(*table),
            Key::Name(table, _) => Self::Names(*table),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Numbers(table) => table.name(),
            Self::Names(table) => table.name(),
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Numbers(_) => "bigint",
            Self::Names(_) => "bytea",
        }
    }
}

/// Which rows of a table a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// All of them: the table is in one place, or on every machine, or all machines are asked.
    Whole,
    /// Those of one home, by the value its rows have in the column `home`.
    Home(i32),
}

impl Place {
    /// What a condition says of it.
    fn and(self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Home(home) => format!(" AND home = {home}"),
        }
    }
}

impl Rows {
    /// A statement of its own.
    fn text(self, table: Table, place: Place, rows: usize) -> String {
        let (name, key, and) = (table.name(), table.key(), place.and());
        match self {
            // Both ends are conditions of the index. Where one were only a filter, a stretch with fewer rows than the limit would
            // be looked for to the end of the table: through the records of every other partition.
            Self::Scan => match table {
                Table::Numbers(_) => format!(
                    "SELECT key, row FROM paychip.{name} WHERE key > $1::{key} AND key <= $2::{key}{and} ORDER BY key LIMIT $3"
                ),
                Table::Names(_) => {
                    format!("SELECT key, row FROM paychip.{name} WHERE key > $1::{key}{and} ORDER BY key LIMIT $2")
                }
            },
            Self::Insert => self.change(table, place, rows, 1),
            Self::Update | Self::Delete => format!(
                "WITH changed AS ({}) SELECT paychip.expect((SELECT count(*) FROM changed), cardinality($1))",
                self.change(table, place, rows, 1)
            ),
        }
    }

    /// What changes rows, its parameters numbered from `first`: their keys, and what they were and what they become. What
    /// looks for rows as they were returns a line for each that it found.
    fn change(self, table: Table, place: Place, rows: usize, first: usize) -> String {
        let (name, key) = (table.name(), table.key());
        let (second, third) = (first + 1, first + 2);
        let and = match place {
            Place::Whole => String::new(),
            // Every machine plans for itself, and must not look through a whole home for a few keys.
            Place::Home(home) => format!(" AND t.home = {home} AND t.key = ANY(${first}::{key}[])"),
        };
        match self {
            Self::Update => format!(
                "UPDATE paychip.{name} AS t SET row = new.after \
                 FROM unnest(${first}::{key}[], ${second}::bytea[], ${third}::bytea[]) AS new (key, before, after) \
                 WHERE t.key = new.key AND t.row = new.before{and} RETURNING 1"
            ),
            Self::Delete => format!(
                "DELETE FROM paychip.{name} AS t USING unnest(${first}::{key}[], ${second}::bytea[]) AS old (key, before) \
                 WHERE t.key = old.key AND t.row = old.before{and} RETURNING 1"
            ),
            _ => insert(name, ["key", "row"], key, place, rows, first),
        }
    }
}

/// Adds rows of two columns, the first of this type.
fn insert(table: &str, columns: [&str; 2], key: &str, place: Place, rows: usize, first: usize) -> String {
    let [one, other] = columns;
    match place {
        Place::Whole => format!(
            "INSERT INTO paychip.{table} ({one}, {other}) SELECT * FROM unnest(${first}::{key}[], ${}::bytea[])",
            first + 1
        ),
        Place::Home(home) => {
            format!("INSERT INTO paychip.{table} (home, {one}, {other}) VALUES {}", values(home, key, rows))
        }
    }
}

impl Ids {
    fn text(self, list: List, place: Place, rows: usize) -> String {
        let name = list.name();
        match self {
            Self::Select => {
                let and = place.and();
                format!("SELECT id FROM paychip.{name} WHERE owner = $1 AND id < $2{and} ORDER BY id DESC LIMIT $3")
            }
            Self::Insert => insert(name, ["owner", "id"], "bytea", place, rows, 1),
        }
    }
}

/// So many rows of one home as parameters, two a row.
fn values(home: i32, key: &str, rows: usize) -> String {
    let row = |row: usize| format!("({home}, ${}::{key}, ${}::bytea)", 2 * row + 1, 2 * row + 2);
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// A statement by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// With rows. The last is how many it adds, where it adds to one home.
    Rows(Rows, Table, Place, usize),
    /// With the ids of a list.
    Ids(Ids, List, Place, usize),
}

impl What {
    pub(super) fn text(self) -> String {
        match self {
            Self::Rows(what, table, place, rows) => what.text(table, place, rows),
            Self::Ids(what, list, place, rows) => what.text(list, place, rows),
        }
    }

    /// As a part of a transaction in one statement, its parameters numbered from `first`.
    fn change(self, first: usize) -> String {
        match self {
            Self::Rows(what, table, place, rows) => what.change(table, place, rows, first),
            Self::Ids(_, list, place, rows) => insert(list.name(), ["owner", "id"], "bytea", place, rows, first),
        }
    }

    /// How many parameters it has as such a part.
    fn params(self) -> usize {
        if matches!(self, Self::Rows(Rows::Update, ..)) { 3 } else { 2 }
    }

    /// Whether rows must be found as they were.
    fn expects(self) -> bool {
        matches!(self, Self::Rows(Rows::Update | Rows::Delete, ..))
    }
}

/// All that one statement does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Whole {
    /// This alone.
    One(What),
    /// Rows of several tables by their keys: a line for each with the table's number among these, the key as a number or a
    /// name, and the row.
    Select(Place, Vec<Table>),
    /// A transaction: every part, or nothing.
    Change(Vec<What>),
}

impl From<What> for Whole {
    fn from(what: What) -> Self {
        Self::One(what)
    }
}

impl Whole {
    /// Whether it is of several tables.
    fn is_joined(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Select(_, tables) => tables.len() > 1,
            Self::Change(parts) => parts.len() > 1,
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::One(what) => what.text(),
            Self::Select(place, tables) => {
                let of = |(number, table): (usize, &Table)| {
                    let (name, key, and) = (table.name(), table.key(), place.and());
                    let columns = match table {
                        Table::Numbers(_) => "key, NULL::bytea",
                        Table::Names(_) => "NULL::bigint, key",
                    };
                    format!(
                        "SELECT {number}, {columns}, row FROM paychip.{name} WHERE key = ANY(${}::{key}[]){and}",
                        number + 1
                    )
                };
                tables.iter().enumerate().map(of).collect::<Vec<_>>().join(" UNION ALL ")
            }
            Self::Change(parts) => {
                let mut first = 1;
                let (mut changes, mut found, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
                for (place, part) in parts.iter().enumerate() {
                    changes.push(format!("c{place} AS ({})", part.change(first)));
                    if part.expects() {
                        // Rows are changed in the order in which they are counted; what is added comes after.
                        found.push(format!("(SELECT count(*) FROM c{place})"));
                        wanted.push(format!("cardinality(${first})"));
                    }
                    first += part.params();
                }
                if found.is_empty() {
                    return format!("WITH {} SELECT", changes.join(", "));
                }
                let (changes, found, wanted) = (changes.join(", "), found.join(" + "), wanted.join(" + "));
                format!("WITH {changes} SELECT paychip.expect({found}, {wanted})")
            }
        }
    }
}

/// The statements prepared on one connection: those asked for so far.
#[derive(Default)]
pub(super) struct Statements(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    all: HashMap<Whole, Statement>,
    /// Those of several tables.
    joined: usize,
}

impl Statements {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a statement is there, or there is room for it among those of several tables.
    pub(super) fn may_join(&self, whole: &Whole) -> bool {
        let kept = self.kept();
        kept.joined < MAX_JOINED || kept.all.contains_key(whole)
    }

    /// A statement, prepared.
    pub(super) async fn get(&self, client: &Client, whole: impl Into<Whole>) -> Result<Statement, Error> {
        let whole = whole.into();
        let known = self.kept().all.get(&whole).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let prepared = client.prepare(&whole.text()).await?;
        let mut kept = self.kept();
        if kept.all.len() < MAX_KEPT {
            let is_joined = whole.is_joined();
            if kept.all.insert(whole, prepared.clone()).is_none() && is_joined {
                kept.joined += 1;
            }
        }
        Ok(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_in_one_statement_counts_all_that_was_to_be_found_and_numbers_its_parameters_through() {
        let rows = |what, table| What::Rows(what, table, Place::Whole, 0);
        let purses = Table::Numbers(Numbered::Purses);
        let text = Whole::Change(vec![
            rows(Rows::Update, Table::Numbers(Numbered::Partitions)),
            rows(Rows::Insert, purses),
            rows(Rows::Delete, Table::Names(Named::Pending)),
            What::Ids(Ids::Insert, List::PaymentRefunds, Place::Whole, 0),
        ])
        .text();
        for part in
            ["($1::bigint[], $2::bytea[], $3::bytea[])", "($4::bigint[], $5::bytea[])", "($6::bytea[], $7::bytea[])"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.contains("($8::bytea[], $9::bytea[])") && !text.contains("$10"), "{text}");
        let counted =
            "expect((SELECT count(*) FROM c0) + (SELECT count(*) FROM c2), cardinality($1) + cardinality($6))";
        assert!(text.ends_with(counted), "{text}");
    }

    #[test]
    fn a_statement_about_a_home_names_it() {
        for table in [Table::Numbers(Numbered::Purses), Table::Names(Named::Orders)] {
            for what in [Rows::Scan, Rows::Insert, Rows::Update, Rows::Delete] {
                assert!(What::Rows(what, table, Place::Home(-77), 4).text().contains("-77"), "{what:?}");
            }
        }
        for what in [Ids::Select, Ids::Insert] {
            assert!(What::Ids(what, List::PaymentRefunds, Place::Home(-77), 4).text().contains("-77"), "{what:?}");
        }
    }
}
