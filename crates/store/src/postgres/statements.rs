//! The statements on the tables: texts made once, and prepared once for each connection.
//!
//! A statement that changes or removes rows names the rows it found before, and fails where it does not find every one
//! of them as it was: so a whole transaction goes out at once, its COMMIT with it, and still all or nothing is written.

use tokio_postgres::{Client, Error, Statement};

use super::pipeline::in_order;
use crate::key::{List, Named, Numbered};

/// The SQLSTATE of `paychip.expect`: a row is not what it was when the decision was made.
pub(super) const CHANGED_MEANWHILE: &str = "PC409";

/// What is done with the rows of a table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows {
    Select,
    Scan,
    Insert,
    Update,
    Delete,
}

/// What is done with a list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ids {
    Select,
    Insert,
}

impl Rows {
    const ALL: [Self; 5] = [Self::Select, Self::Scan, Self::Insert, Self::Update, Self::Delete];

    fn text(self, table: &str, key: &str) -> String {
        match self {
            Self::Select => format!("SELECT key, row FROM paychip.{table} WHERE key = ANY($1::{key}[])"),
            Self::Scan => format!(
                "SELECT key, row FROM paychip.{table} WHERE key > $1::{key} AND ($2::{key} IS NULL OR key <= $2) \
                 ORDER BY key LIMIT $3"
            ),
            Self::Insert => {
                format!("INSERT INTO paychip.{table} (key, row) SELECT * FROM unnest($1::{key}[], $2::bytea[])")
            }
            Self::Update => format!(
                "WITH changed AS (UPDATE paychip.{table} AS t SET row = new.after \
                 FROM unnest($1::{key}[], $2::bytea[], $3::bytea[]) AS new (key, before, after) \
                 WHERE t.key = new.key AND t.row = new.before RETURNING 1) \
                 SELECT paychip.expect((SELECT count(*) FROM changed), cardinality($1))"
            ),
            Self::Delete => format!(
                "WITH gone AS (DELETE FROM paychip.{table} AS t \
                 USING unnest($1::{key}[], $2::bytea[]) AS old (key, before) \
                 WHERE t.key = old.key AND t.row = old.before RETURNING 1) \
                 SELECT paychip.expect((SELECT count(*) FROM gone), cardinality($1))"
            ),
        }
    }
}

impl Ids {
    const ALL: [Self; 2] = [Self::Select, Self::Insert];

    fn text(self, table: &str) -> String {
        match self {
            Self::Select => {
                format!("SELECT id FROM paychip.{table} WHERE owner = $1 AND id < $2 ORDER BY id DESC LIMIT $3")
            }
            Self::Insert => {
                format!("INSERT INTO paychip.{table} (owner, id) SELECT * FROM unnest($1::bytea[], $2::bytea[])")
            }
        }
    }
}

/// Every statement, prepared on one connection.
pub(super) struct Statements {
    prepared: Vec<Statement>,
}

const NAMED_FROM: usize = Numbered::ALL.len() * Rows::ALL.len();
const LISTS_FROM: usize = NAMED_FROM + Named::ALL.len() * Rows::ALL.len();

impl Statements {
    /// Prepares all of them, in one round trip.
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let numbered = Numbered::ALL.iter().flat_map(|table| Rows::ALL.map(|what| what.text(table.name(), "bigint")));
        let named = Named::ALL.iter().flat_map(|table| Rows::ALL.map(|what| what.text(table.name(), "bytea")));
        let lists = List::ALL.iter().flat_map(|table| Ids::ALL.map(|what| what.text(table.name())));
        let texts: Vec<String> = numbered.chain(named).chain(lists).collect();
        let prepared = in_order(texts.iter().map(|text| client.prepare(text))).await;
        Ok(Self { prepared: prepared.into_iter().collect::<Result<_, _>>()? })
    }

    /// The statement that does this with the rows of a table of numbers.
    pub(super) fn numbered(&self, what: Rows, table: Numbered) -> &Statement {
        &self.prepared[table as usize * Rows::ALL.len() + what as usize]
    }

    /// The statement that does this with the rows of a table of names.
    pub(super) fn named(&self, what: Rows, table: Named) -> &Statement {
        &self.prepared[NAMED_FROM + table as usize * Rows::ALL.len() + what as usize]
    }

    /// The statement that does this with a list.
    pub(super) fn list(&self, what: Ids, table: List) -> &Statement {
        &self.prepared[LISTS_FROM + table as usize * Ids::ALL.len() + what as usize]
    }
}
