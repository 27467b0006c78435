//! The statements on the tables: texts made once, and prepared once for each connection.
//!
//! A statement that changes or removes rows names the rows it found before, and fails where it does not find every one
//! of them as it was: so a whole transaction goes out at once, its COMMIT with it, and still all or nothing is written.
//!
//! Where the tables are spread over machines (`citus.rs`), every statement names the home it is about in its text, not in
//! a parameter: then it is planned once, for one machine, and every execution of it goes there alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio_postgres::{Client, Error, Statement};

use super::pipeline::in_order;
use crate::key::{List, Named, Numbered};

/// The SQLSTATE of `paychip.expect`: a row is not what it was when the decision was made.
pub(super) const CHANGED_MEANWHILE: &str = "PC409";
/// Rows that one statement adds to a table that is spread: as many of the largest as fit, then of the next.
pub(super) const INSERTED_ROWS: [usize; 4] = [64, 16, 4, 1];
/// Statements kept prepared on one connection to a database that is spread; the rest are prepared each time.
const MAX_KEPT: usize = 4_096;

/// What is done with the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rows {
    Select,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Table {
    Numbers(Numbered),
    Names(Named),
}

impl Table {
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

impl Rows {
    const ALL: [Self; 5] = [Self::Select, Self::Scan, Self::Insert, Self::Update, Self::Delete];

    fn text(self, table: Table, place: Place, rows: usize) -> String {
        let (name, key) = (table.name(), table.key());
        let (and, and_of_t) = match place {
            Place::Whole => (String::new(), String::new()),
            // Every machine plans for itself, and must not look through a whole home for a few keys.
            Place::Home(home) => {
                (format!(" AND home = {home}"), format!(" AND t.home = {home} AND t.key = ANY($1::{key}[])"))
            }
        };
        match self {
            Self::Select => format!("SELECT key, row FROM paychip.{name} WHERE key = ANY($1::{key}[]){and}"),
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
            Self::Insert => match place {
                Place::Whole => {
                    format!("INSERT INTO paychip.{name} (key, row) SELECT * FROM unnest($1::{key}[], $2::bytea[])")
                }
                Place::Home(home) => {
                    format!("INSERT INTO paychip.{name} (home, key, row) VALUES {}", values(home, key, rows))
                }
            },
            Self::Update => format!(
                "WITH changed AS (UPDATE paychip.{name} AS t SET row = new.after \
                 FROM unnest($1::{key}[], $2::bytea[], $3::bytea[]) AS new (key, before, after) \
                 WHERE t.key = new.key AND t.row = new.before{and_of_t} RETURNING 1) \
                 SELECT paychip.expect((SELECT count(*) FROM changed), cardinality($1))"
            ),
            Self::Delete => format!(
                "WITH gone AS (DELETE FROM paychip.{name} AS t \
                 USING unnest($1::{key}[], $2::bytea[]) AS old (key, before) \
                 WHERE t.key = old.key AND t.row = old.before{and_of_t} RETURNING 1) \
                 SELECT paychip.expect((SELECT count(*) FROM gone), cardinality($1))"
            ),
        }
    }
}

impl Ids {
    const ALL: [Self; 2] = [Self::Select, Self::Insert];

    fn text(self, list: List, place: Place, rows: usize) -> String {
        let name = list.name();
        match (self, place) {
            (Self::Select, place) => {
                let and = match place {
                    Place::Whole => String::new(),
                    Place::Home(home) => format!(" AND home = {home}"),
                };
                format!("SELECT id FROM paychip.{name} WHERE owner = $1 AND id < $2{and} ORDER BY id DESC LIMIT $3")
            }
            (Self::Insert, Place::Whole) => {
                format!("INSERT INTO paychip.{name} (owner, id) SELECT * FROM unnest($1::bytea[], $2::bytea[])")
            }
            (Self::Insert, Place::Home(home)) => {
                format!("INSERT INTO paychip.{name} (home, owner, id) VALUES {}", values(home, "bytea", rows))
            }
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

    /// Its place among the statements on tables that are in one place.
    fn index(self) -> usize {
        match self {
            Self::Rows(what, Table::Numbers(table), ..) => table as usize * Rows::ALL.len() + what as usize,
            Self::Rows(what, Table::Names(table), ..) => NAMED_FROM + table as usize * Rows::ALL.len() + what as usize,
            Self::Ids(what, list, ..) => LISTS_FROM + list as usize * Ids::ALL.len() + what as usize,
        }
    }

    /// Every statement on tables that are in one place.
    fn all() -> impl Iterator<Item = Self> {
        let rows = |table| Rows::ALL.map(|what| Self::Rows(what, table, Place::Whole, 0));
        let numbered = Numbered::ALL.iter().flat_map(move |table| rows(Table::Numbers(*table)));
        let named = Named::ALL.iter().flat_map(move |table| rows(Table::Names(*table)));
        let lists = List::ALL.iter().flat_map(|list| Ids::ALL.map(|what| Self::Ids(what, *list, Place::Whole, 0)));
        numbered.chain(named).chain(lists)
    }
}

/// The statements prepared on one connection.
pub(super) enum Statements {
    /// All there are, for tables in one place.
    Few(Vec<Statement>),
    /// Those asked for so far: there is one for each home.
    Many(Mutex<HashMap<What, Statement>>),
}

const NAMED_FROM: usize = Numbered::ALL.len() * Rows::ALL.len();
const LISTS_FROM: usize = NAMED_FROM + Named::ALL.len() * Rows::ALL.len();

impl Statements {
    /// Prepares all of them, in one round trip; where there is one for each home, each when it is first needed.
    pub(super) async fn prepare(client: &Client, is_spread: bool) -> Result<Self, Error> {
        if is_spread {
            return Ok(Self::Many(Mutex::default()));
        }
        let texts: Vec<String> = What::all().map(What::text).collect();
        let prepared = in_order(texts.iter().map(|text| client.prepare(text))).await;
        Ok(Self::Few(prepared.into_iter().collect::<Result<_, _>>()?))
    }

    /// A statement, prepared.
    pub(super) async fn get(&self, client: &Client, what: What) -> Result<Statement, Error> {
        let kept = match self {
            Self::Few(all) => return Ok(all[what.index()].clone()),
            Self::Many(kept) => kept,
        };
        let known = kept.lock().unwrap_or_else(PoisonError::into_inner).get(&what).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let prepared = client.prepare(&what.text()).await?;
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT {
            kept.insert(what, prepared.clone());
        }
        Ok(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_is_where_it_is_looked_for() {
        for (place, what) in What::all().enumerate() {
            assert_eq!(what.index(), place, "{what:?}");
        }
    }

    #[test]
    fn a_statement_about_a_home_names_it() {
        for table in [Table::Numbers(Numbered::Purses), Table::Names(Named::Orders)] {
            for what in Rows::ALL {
                assert!(What::Rows(what, table, Place::Home(-77), 4).text().contains("-77"), "{what:?}");
            }
        }
        for what in Ids::ALL {
            assert!(What::Ids(what, List::PaymentRefunds, Place::Home(-77), 4).text().contains("-77"), "{what:?}");
        }
    }
}
