//! Looking rows up side by side, where the disk has to be waited for: with many wearers most of the file is not in memory,
//! and a batch would wait for one page after the other while the disk could bring many at once.
//!
//! What one of these finds is what the engine's own connection would find, though it looks at another moment of the file: only
//! rows that also wait in memory are changed there, and those are not looked up in the file.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::reader::{READER_CACHE_KIB, open_reader};
use super::view;
use crate::StoreError;
use crate::key::Key;

/// How many look, beside the engine itself: what one disk brings at the same time without hurry.
const SEEKERS: usize = 7;
/// Rows that the engine looks up itself, to see how long it takes.
const FIRST: usize = 4;
/// A row that takes longer than this on the way to it was not in memory: there it takes a few microseconds.
const SLOW: Duration = Duration::from_micros(40);

type Rows = Vec<Option<Vec<u8>>>;

/// Rows that one of them is to look up.
struct Asked {
    keys: Vec<Key>,
    tell: Sender<Result<Rows, StoreError>>,
}

/// Threads with a connection each.
pub(super) struct Seekers {
    asked: Vec<Sender<Asked>>,
    threads: Vec<JoinHandle<()>>,
}

impl Seekers {
    /// Opens the file for each of them.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut seekers = Self { asked: Vec::new(), threads: Vec::new() };
        for _ in 0..SEEKERS {
            let connection = open_reader(path, READER_CACHE_KIB)?;
            let (sender, asked) = channel();
            let thread = std::thread::Builder::new().name("store-seeker".to_owned());
            let thread = thread.spawn(move || seek(&connection, &asked));
            seekers.threads.push(thread.map_err(|error| StoreError::Engine(error.to_string()))?);
            seekers.asked.push(sender);
        }
        Ok(seekers)
    }

    /// Looks rows up in the file: over this connection, and the rest side by side where the first show that the disk is
    /// waited for.
    pub(super) fn read(&self, connection: &Connection, keys: &[Key]) -> Result<Rows, StoreError> {
        let (first, rest) = keys.split_at(FIRST.min(keys.len()));
        let begun = Instant::now();
        let mut rows = view::read(connection, first)?;
        let is_slow = begun.elapsed() > SLOW * FIRST as u32;
        rows.extend(if is_slow { self.side_by_side(connection, rest)? } else { view::read(connection, rest)? });
        Ok(rows)
    }

    /// The rows, in the order of their keys. Bounded: each seeker has one share at a time, which is waited for here.
    fn side_by_side(&self, connection: &Connection, keys: &[Key]) -> Result<Rows, StoreError> {
        let share = keys.len().div_ceil(self.asked.len() + 1).max(1);
        let mut shares = keys.chunks(share);
        let own = shares.next().unwrap_or_default();
        let mut told = Vec::with_capacity(SEEKERS);
        for (seeker, keys) in self.asked.iter().zip(shares) {
            let (tell, hears) = channel();
            seeker.send(Asked { keys: keys.to_vec(), tell }).map_err(|_| StoreError::Stopped)?;
            told.push(hears);
        }
        let mut rows = view::read(connection, own)?;
        for hears in told {
            rows.extend(hears.recv().map_err(|_| StoreError::Stopped)??);
        }
        Ok(rows)
    }

    /// Ends them all; their connections are closed then.
    pub(super) fn close(&mut self) {
        self.asked.clear();
        for thread in self.threads.drain(..) {
            // One that panicked has told so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Seekers {
    fn drop(&mut self) {
        self.close();
    }
}

fn seek(connection: &Connection, asked: &Receiver<Asked>) {
    while let Ok(Asked { keys, tell }) = asked.recv() {
        // Who asked has gone on after an error of its own.
        let _ = tell.send(view::read(connection, &keys));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::super::SqliteEngine;
    use super::*;
    use crate::engine::{Engine as _, Outcome, RowWrite, Writes};
    use crate::key::{Named, Numbered, name};

    /// Every third row is missing, and tables take turns.
    fn key(number: u64) -> Key {
        if number.is_multiple_of(2) {
            Key::Number(Numbered::Purses, number)
        } else {
            Key::Name(Named::TokenNumbers, name(&[&number.to_be_bytes()]))
        }
    }

    fn row(number: u64) -> Option<Vec<u8>> {
        (!number.is_multiple_of(3)).then(|| number.to_le_bytes().to_vec())
    }

    #[test]
    fn rows_found_side_by_side_are_in_the_order_of_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paychip.db");
        let mut engine = SqliteEngine::open(&path).unwrap();
        let rows = (0..200).filter_map(|number| {
            row(number).map(|after| RowWrite { key: key(number), before: None, after: Some(after) })
        });
        engine.begin().unwrap();
        assert_eq!(engine.commit(Writes { rows: rows.collect(), listed: Vec::new() }), Outcome::Committed);
        // Its end brings everything into the file.
        drop(engine);
        let (connection, seekers) = (open_reader(&path, READER_CACHE_KIB).unwrap(), Seekers::open(&path).unwrap());
        for count in (0..40).chain([199]) {
            let numbers = || (0..count).map(|at| (at * 77) % 200);
            let keys: Vec<_> = numbers().map(key).collect();
            let expected: Vec<_> = numbers().map(row).collect();
            assert_eq!(seekers.side_by_side(&connection, &keys).unwrap(), expected, "{count}");
            assert_eq!(seekers.read(&connection, &keys).unwrap(), expected, "{count}");
        }
    }

    #[test]
    fn seekers_that_have_ended_are_no_rows_that_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paychip.db");
        drop(SqliteEngine::open(&path).unwrap());
        let (connection, mut seekers) = (open_reader(&path, READER_CACHE_KIB).unwrap(), Seekers::open(&path).unwrap());
        let keys: Vec<_> = (0..20).map(key).collect();
        assert_eq!(seekers.side_by_side(&connection, &keys).unwrap(), vec![None; 20]);
        // Their threads are gone, their places are not.
        let (gone, asked) = channel();
        drop(asked);
        seekers.asked = vec![gone];
        assert_eq!(seekers.side_by_side(&connection, &keys), Err(StoreError::Stopped));
    }
}
