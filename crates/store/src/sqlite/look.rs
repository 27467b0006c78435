//! The engine's look at the file: one moment of it, kept from one decision to the next.
//!
//! Once somebody has changed the file, SQLite forgets every page that another connection had in memory, and the carrier
//! changes it many times a second. With many wearers that is most of what a decision then waits for: the pages above the
//! one with the row, read again and again. While the engine looks at one moment they stay.
//!
//! What has reached the file after that moment waits in memory as well, for as long as its generation is carried over. So a
//! moment is good until that is done; and no longer than until the carrier asks for another, since SQLite's log can not
//! be brought home beyond the oldest moment that somebody looks at.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::ENGINE_CACHE_KIB;
use super::pending::{Generation, Shared};
use super::reader::open_reader;
use crate::StoreError;

/// The connection that decisions read over, and which moment of the file it shows.
pub(super) struct Look {
    file: Connection,
    /// How often the carrier had asked to look anew as the moment was chosen; nothing while none is kept: most decisions find
    /// all they look for in memory.
    kept: Option<u64>,
    /// What was being carried over at that moment, or is since: not all of it is in the file as it is shown.
    before: Option<Arc<Generation>>,
    /// How many generations had been carried over as the decision began.
    carried: u64,
    is_deciding: bool,
}

impl Look {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            file: open_reader(path, ENGINE_CACHE_KIB)?,
            kept: None,
            before: None,
            carried: 0,
            is_deciding: false,
        })
    }

    /// A decision begins: what it sees stays as it is until it ends.
    pub(super) fn begin(&mut self, shared: &Shared) -> Result<(), StoreError> {
        // First what waits, then, with the first look, the moment of the file: what is carried over in between is in both.
        let generations = shared.read();
        let carried = generations.before.as_ref().map(|(generation, _)| Arc::clone(generation));
        self.carried = shared.carried.load(Ordering::Acquire);
        drop(generations);
        if let Some(asked) = self.kept {
            let is_good = match (&self.before, &carried) {
                (Some(before), Some(carried)) => Arc::ptr_eq(before, carried),
                // All of it is in the file now, and nowhere else.
                (Some(_), None) => false,
                // Nothing of it was in the file then.
                (None, _) => true,
            };
            if !is_good || asked != shared.looks_asked_for.load(Ordering::Acquire) {
                self.let_go()?;
            }
        }
        self.before = carried;
        self.is_deciding = true;
        Ok(())
    }

    /// A decision has ended.
    pub(super) fn end(&mut self) {
        self.is_deciding = false;
        if self.kept.is_none() {
            self.before = None;
        }
    }

    /// The file at the moment that is shown, and what waits in front of it since.
    pub(super) fn at(&mut self, shared: &Shared) -> Result<(&Connection, Option<&Generation>), StoreError> {
        if !self.is_deciding {
            self.begin(shared)?;
            self.is_deciding = false;
        }
        if self.kept.is_none() {
            self.kept = Some(shared.looks_asked_for.load(Ordering::Acquire));
            // All looks are one transaction of SQLite's, whose moment is that of the first.
            self.file.prepare_cached("BEGIN")?.execute([])?;
        }
        Ok((&self.file, self.before.as_deref()))
    }

    /// How many generations had been carried over as this decision began: what they held it does not look for in memory.
    pub(super) fn carried(&self) -> u64 {
        self.carried
    }

    fn let_go(&mut self) -> Result<(), StoreError> {
        self.file.prepare_cached("COMMIT")?.execute([])?;
        self.kept = None;
        Ok(())
    }

    /// Closes the file.
    pub(super) fn close(&mut self) {
        if let Ok(nothing) = Connection::open_in_memory() {
            self.file = nothing;
        }
        self.before = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::time::Duration;

    use super::super::file::DatabaseFile;
    use super::super::{carrier, view};
    use super::*;
    use crate::engine::{RowWrite, Writes};
    use crate::key::{Key, Numbered};

    const ROWS: u64 = 6_000;

    fn key(number: u64) -> Key {
        Key::Number(Numbered::Payments, number)
    }

    fn generation(numbers: std::ops::Range<u64>) -> Generation {
        let mut generation = Generation::default();
        let row = |number| RowWrite { key: key(number), before: None, after: Some(vec![1; 200]) };
        generation.take_in(Writes { rows: numbers.map(row).collect(), listed: Vec::new() });
        generation
    }

    fn is_in_file(look: &mut Look, shared: &Shared, number: u64) -> bool {
        let (file, _) = look.at(shared).unwrap();
        view::read(file, &[key(number)]).unwrap() != [None]
    }

    #[test]
    fn a_moment_is_kept_until_a_generation_is_done_or_another_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paychip.db");
        let mut file = DatabaseFile::open(&path).unwrap();
        let (mut look, shared) = (Look::open(&path).unwrap(), Shared::default());
        let mut carry = |number: u64| file.carry(&generation(number..number + 1), number, |_| ()).unwrap();
        let mut decide = |number| {
            look.begin(&shared).unwrap();
            let found = is_in_file(&mut look, &shared, number);
            look.end();
            found
        };
        assert!(!decide(1));
        carry(1);
        assert!(!decide(1), "the moment before it was kept");
        shared.looks_asked_for.fetch_add(1, Ordering::Release);
        assert!(decide(1), "another was asked for");

        // One that is handed over after the moment goes on being looked for in memory.
        shared.write().before = Some((Arc::new(generation(2..3)), 2));
        carry(2);
        assert!(!decide(2), "it waits in memory");
        shared.write().before = None;
        assert!(decide(2), "it is in the file and nowhere else");
        // And so where the next has taken its place already.
        shared.write().before = Some((Arc::new(generation(3..4)), 3));
        assert!(!decide(3));
        carry(3);
        shared.write().before = Some((Arc::new(generation(4..5)), 4));
        assert!(decide(3));
    }

    #[test]
    fn within_a_decision_nothing_moves_and_outside_of_one_each_look_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paychip.db");
        let mut file = DatabaseFile::open(&path).unwrap();
        let (mut look, shared) = (Look::open(&path).unwrap(), Shared::default());
        look.begin(&shared).unwrap();
        assert!(!is_in_file(&mut look, &shared, 1));
        file.carry(&generation(1..2), 1, |_| ()).unwrap();
        shared.looks_asked_for.fetch_add(1, Ordering::Release);
        assert!(!is_in_file(&mut look, &shared, 1));
        look.end();
        assert!(is_in_file(&mut look, &shared, 1));
    }

    /// A look that is never let go keeps SQLite's log from going home; one that is let go when asked does not.
    #[test]
    fn sqlites_log_begins_anew_while_decisions_are_made_without_a_pause() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paychip.db");
        let mut file = DatabaseFile::open(&path).unwrap();
        let (mut look, shared) = (Look::open(&path).unwrap(), Shared::default());
        let (mut longest, mut all) = (0, 0);
        for segment in 1..=16_u64 {
            let first = segment * ROWS;
            let carried = Arc::new(generation(first..first + ROWS));
            shared.write().before = Some((Arc::clone(&carried), segment));
            file.carry(&carried, segment, |_| {
                carrier::rest(&shared, Duration::ZERO);
                look.begin(&shared).unwrap();
                is_in_file(&mut look, &shared, first);
                look.end();
                longest = longest.max(std::fs::metadata(path.with_extension("db-wal")).unwrap().len());
            })
            .unwrap();
            shared.write().before = None;
            all += ROWS * 200;
        }
        assert!(longest < all / 3, "{longest} bytes of log for {all} of rows");
    }
}
