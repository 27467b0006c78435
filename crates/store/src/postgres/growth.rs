//! How far tables have grown since their statements were planned.
//!
//! A statement is planned once for each connection, on the size its tables have then. Of a table that is as good as empty
//! PostgreSQL looks through all rows and compares each with those that are asked for, and goes on doing so when it has
//! thousands: until it is analyzed next, which is a minute or more. So statements are planned anew whenever a table that this
//! connection adds to has doubled.

use std::collections::HashMap;

use crate::engine::Writes;

/// Rows added to a table before its statements are planned anew for the first time.
const FIRST: u64 = 64;

/// The rows that a connection has added.
#[derive(Debug, Default)]
pub(super) struct Growth {
    tables: HashMap<&'static str, Added>,
    has_doubled: bool,
}

#[derive(Debug)]
struct Added {
    rows: u64,
    /// At this many, statements are planned anew.
    limit: u64,
}

impl Growth {
    /// Counts what was written.
    pub(super) fn note(&mut self, writes: &Writes) {
        for row in writes.rows.iter().filter(|row| row.before.is_none()) {
            self.tables.entry(row.key.place().0).or_insert(Added { rows: 0, limit: FIRST }).rows += 1;
        }
        for added in self.tables.values_mut().filter(|added| added.rows >= added.limit) {
            added.limit = added.rows * 2;
            self.has_doubled = true;
        }
    }

    /// Whether a table has doubled since statements were planned.
    pub(super) fn has_doubled(&self) -> bool {
        self.has_doubled
    }

    /// Statements are planned anew.
    pub(super) fn planned(&mut self) {
        self.has_doubled = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RowWrite;
    use crate::key::{Key, Numbered};

    fn rows(table: Numbered, count: u64, before: Option<Vec<u8>>) -> Writes {
        let row = |number| RowWrite { key: Key::Number(table, number), before: before.clone(), after: Some(vec![1]) };
        Writes { rows: (0..count).map(row).collect(), listed: Vec::new() }
    }

    #[test]
    fn each_table_doubles_by_itself_and_changes_are_no_growth() {
        let mut growth = Growth::default();
        let mut doubles = |table, count, before| {
            growth.note(&rows(table, count, before));
            let has_doubled = growth.has_doubled();
            growth.planned();
            has_doubled
        };
        assert!(!doubles(Numbered::Payments, FIRST - 1, None));
        assert!(!doubles(Numbered::Payments, 9, Some(vec![0])), "changed, not added");
        assert!(doubles(Numbered::Payments, 1, None));
        assert!(!doubles(Numbered::Payments, FIRST - 1, None));
        assert!(doubles(Numbered::Payments, 1_000, None));
        assert!(!doubles(Numbered::Payments, 1_000, None));
        assert!(doubles(Numbered::Refunds, FIRST, None), "a table that was empty");
    }
}
