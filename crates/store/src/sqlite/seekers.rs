//! Looking rows up side by side, where the disk has to be waited for: with many wearers most of the file is not in memory,
//! and a batch would wait for one page after the other while the disk could bring many at once.
//!
//! The same threads look up ahead what commands that still wait will ask for (`ahead.rs`).
//!
//! What one of these finds is what the engine's own connection would find, though it looks at another moment of the file: only
//! rows that also wait in memory are changed there, and those are not looked up in the file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::Connection;

use super::ahead::{AheadOf, Found, SLOW};
use super::pending::Shared;
use super::reader::{READER_CACHE_KIB, open_reader};
use super::view;
use crate::key::Key;
use crate::{StoreError, rows};

/// How many look, beside the engine itself: what one disk brings at the same time without hurry.
const SEEKERS: usize = 7;
/// Rows that the engine looks up itself, to see how long it takes.
const FIRST: usize = 4;
/// Rows that one looks for ahead, each because of the one before.
const MAX_STEPS: usize = 2;
/// What each of them may have to do, shares of batches and rows looked up ahead: of those, one more is left out.
const MAX_ASKED: usize = 256;

type Rows = Vec<Option<Vec<u8>>>;

/// What one of them is asked.
pub(super) enum Asked {
    /// Rows of a batch that is being decided.
    Rows { keys: Vec<Key>, tell: Sender<Result<Rows, StoreError>> },
    /// A row that will be asked for soon.
    Ahead(Key),
    /// To end.
    End,
}

/// Threads with a connection each.
pub(super) struct Seekers {
    asked: Vec<SyncSender<Asked>>,
    threads: Vec<JoinHandle<()>>,
    ahead: Arc<AheadOf>,
}

impl Seekers {
    /// Opens the file for each of them. What they look up ahead they tell `found`.
    pub(super) fn open(path: &Path, shared: &Arc<Shared>, found: &SyncSender<Found>) -> Result<Self, StoreError> {
        let (asked, theirs): (Vec<_>, Vec<_>) = (0..SEEKERS).map(|_| sync_channel(MAX_ASKED)).unzip();
        let ahead = Arc::new(AheadOf::new(asked.clone()));
        let mut seekers = Self { asked, threads: Vec::new(), ahead };
        for asked in theirs {
            let seeker = Seeker {
                connection: open_reader(path, READER_CACHE_KIB)?,
                shared: Arc::clone(shared),
                found: found.clone(),
                ahead: Arc::clone(&seekers.ahead),
            };
            let thread = std::thread::Builder::new().name("store-seeker".to_owned());
            let thread = thread.spawn(move || seeker.seek(&asked));
            seekers.threads.push(thread.map_err(|error| StoreError::Engine(error.to_string()))?);
        }
        Ok(seekers)
    }

    /// The way of commands to them.
    pub(super) fn ahead(&self) -> Arc<AheadOf> {
        Arc::clone(&self.ahead)
    }

    /// Looks rows up in the file: over this connection, and the rest side by side where the first show that the disk is
    /// waited for.
    pub(super) fn read(&self, connection: &Connection, keys: &[Key]) -> Result<Rows, StoreError> {
        let (first, rest) = keys.split_at(FIRST.min(keys.len()));
        let begun = Instant::now();
        let mut rows = view::read(connection, first)?;
        let took = begun.elapsed();
        self.ahead.pace.note(first.len(), took);
        let is_slow = took > SLOW * FIRST as u32;
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
            seeker.send(Asked::Rows { keys: keys.to_vec(), tell }).map_err(|_| StoreError::Stopped)?;
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
        for seeker in self.asked.drain(..) {
            // Commands on their way may know it for a moment longer.
            let _ = seeker.send(Asked::End);
        }
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

/// One of them.
struct Seeker {
    connection: Connection,
    shared: Arc<Shared>,
    found: SyncSender<Found>,
    ahead: Arc<AheadOf>,
}

impl Seeker {
    /// Does what it is asked until it is told to end.
    fn seek(&self, asked: &Receiver<Asked>) {
        while let Ok(asked) = asked.recv() {
            match asked {
                // Who asked has gone on after an error of its own.
                Asked::Rows { keys, tell } => drop(tell.send(view::read(&self.connection, &keys))),
                Asked::Ahead(key) => self.look_ahead(key),
                Asked::End => return,
            }
        }
    }

    /// Looks for a row and for what it leads to. Where that goes wrong, it goes wrong for the engine as well, which tells.
    fn look_ahead(&self, key: Key) {
        let carried = self.shared.carried.load(Ordering::Acquire);
        let mut next = Some(key);
        for _ in 0..MAX_STEPS {
            let Some(key) = next else { return };
            let begun = Instant::now();
            let Ok(row) = view::read(&self.connection, core::slice::from_ref(&key)) else { return };
            self.ahead.pace.note(1, begun.elapsed());
            let row = row.into_iter().next().flatten();
            next = row.as_deref().and_then(|row| rows::leads_to(&key, row));
            // The engine looks itself for what it is not told.
            let _ = self.found.try_send(Found { key, row, carried });
        }
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
            Key::Name(Named::LivingTokens, name(&[&number.to_be_bytes()]))
        }
    }

    fn row(number: u64) -> Option<Vec<u8>> {
        (!number.is_multiple_of(3)).then(|| number.to_le_bytes().to_vec())
    }

    fn open(path: &Path) -> Seekers {
        Seekers::open(path, &Arc::default(), &super::super::FoundAhead::new().0).unwrap()
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
        let (connection, seekers) = (open_reader(&path, READER_CACHE_KIB).unwrap(), open(&path));
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
        let (connection, mut seekers) = (open_reader(&path, READER_CACHE_KIB).unwrap(), open(&path));
        let keys: Vec<_> = (0..20).map(key).collect();
        assert_eq!(seekers.side_by_side(&connection, &keys).unwrap(), vec![None; 20]);
        // Their threads are gone, their places are not.
        seekers.close();
        let (gone, asked) = sync_channel(1);
        drop(asked);
        seekers.asked = vec![gone];
        assert_eq!(seekers.side_by_side(&connection, &keys), Err(StoreError::Stopped));
    }
}
