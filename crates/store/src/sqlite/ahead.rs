//! Rows looked up ahead: where the disk is waited for, a command that is on its way to the writer has the rows it will ask
//! for looked up meanwhile, so that the writer finds them here.
//!
//! A row is found at some moment of the file, and is used later. It is then still what the file would say, and what has
//! changed since is still in memory, where it is looked for first, unless a generation was carried over in between: what was
//! found before that is forgotten.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hashbrown::HashMap;

use super::seekers::Asked;
use crate::engine::Ahead;
use crate::key::Key;

/// A row that takes longer than this on the way to it was not in memory: there it takes a few microseconds.
pub(super) const SLOW: Duration = Duration::from_micros(40);
/// Rows whose looking up is judged together, and how many of them must have been slow.
const JUDGED: u32 = 256;
const MANY: u32 = JUDGED / 8;
/// Rows found that may wait for the engine, and as many that it may hold: those of a full queue of commands.
const MAX_FOUND: usize = 2 * crate::writer::QUEUE_LEN;

/// Whether the disk is waited for, as the last looks at the file have shown.
#[derive(Default)]
pub(super) struct Pace {
    looks: AtomicU32,
    slow: AtomicU32,
    is_slow: AtomicBool,
}

impl Pace {
    /// So many rows took so long.
    pub(super) fn note(&self, rows: usize, took: Duration) {
        // A batch has at most some thousand rows.
        let rows = rows as u32;
        if rows == 0 {
            return;
        }
        if took > SLOW * rows {
            self.slow.fetch_add(rows, Ordering::Relaxed);
        }
        // Of two threads that come here together both may judge, the second by what has come since: that does no harm.
        if self.looks.fetch_add(rows, Ordering::Relaxed) + rows >= JUDGED {
            self.looks.store(0, Ordering::Relaxed);
            self.is_slow.store(self.slow.swap(0, Ordering::Relaxed) >= MANY, Ordering::Relaxed);
        }
    }
}

/// A row that was looked up ahead.
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) row: Option<Vec<u8>>,
    /// How many generations had been carried over before it was looked for.
    pub(super) carried: u64,
}

/// The way of commands to the seekers.
pub(super) struct AheadOf {
    asked: Vec<SyncSender<Asked>>,
    turn: AtomicUsize,
    pub(super) pace: Pace,
}

impl AheadOf {
    pub(super) fn new(asked: Vec<SyncSender<Asked>>) -> Self {
        Self { asked, turn: AtomicUsize::new(0), pace: Pace::default() }
    }
}

impl Ahead for AheadOf {
    fn is_worth_it(&self) -> bool {
        self.pace.is_slow.load(Ordering::Relaxed)
    }

    fn expect(&self, key: Key) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.asked.len().max(1);
        if let Some(seeker) = self.asked.get(turn) {
            // One that has too much to do leaves this to the engine.
            let _ = seeker.try_send(Asked::Ahead(key));
        }
    }
}

/// What was found ahead, for the engine.
pub(super) struct FoundAhead {
    coming: Receiver<Found>,
    rows: HashMap<Key, Option<Vec<u8>>>,
    /// How many generations had been carried over as the present decision began.
    carried: u64,
}

impl FoundAhead {
    /// The way there, and here.
    pub(super) fn new() -> (SyncSender<Found>, Self) {
        let (tell, coming) = sync_channel(MAX_FOUND);
        (tell, Self { coming, rows: HashMap::new(), carried: 0 })
    }

    /// A decision begins that looks in memory for all but what so many generations held.
    pub(super) fn begin(&mut self, carried: u64) {
        if self.carried != carried {
            self.carried = carried;
            self.rows.clear();
        }
        for Found { key, row, carried } in self.coming.try_iter().take(MAX_FOUND) {
            // What was found later than that is found to hold all that and more.
            if carried >= self.carried && self.rows.len() < MAX_FOUND {
                self.rows.insert(key, row);
            }
        }
    }

    /// Whether a row was found and not asked for since.
    #[cfg(test)]
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
    }

    /// The row, where it was found and not asked for since.
    pub(super) fn take(&mut self, key: &Key) -> Option<Option<Vec<u8>>> {
        if self.rows.is_empty() { None } else { self.rows.remove(key) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::key::Numbered;

    fn key(number: u64) -> Key {
        Key::Number(Numbered::Payments, number)
    }

    #[test]
    fn a_disk_is_waited_for_where_many_of_the_last_looks_were_slow() {
        let pace = Pace::default();
        let looks = |slow: u32| {
            for look in 0..JUDGED {
                pace.note(1, if look < slow { 3 * SLOW } else { SLOW / 3 });
            }
            pace.is_slow.load(Ordering::Relaxed)
        };
        assert_eq!(
            [looks(0), looks(MANY - 1), looks(MANY), looks(JUDGED), looks(0)],
            [false, false, true, true, false]
        );
        // Rows of one look count as so many.
        pace.note(JUDGED as usize, SLOW * (JUDGED + 1));
        assert!(pace.is_slow.load(Ordering::Relaxed));
        pace.note(0, SLOW);
        pace.note(JUDGED as usize, SLOW * (JUDGED - 1));
        assert!(!pace.is_slow.load(Ordering::Relaxed));
    }

    #[test]
    fn what_was_found_before_a_generation_was_done_is_forgotten() {
        let (tell, mut found) = FoundAhead::new();
        let find = |number, carried| tell.try_send(Found { key: key(number), row: Some(vec![1]), carried }).unwrap();
        found.begin(4);
        for (number, carried) in [(1, 3), (2, 4), (3, 5)] {
            find(number, carried);
        }
        assert_eq!(found.take(&key(2)), None, "it comes with the next decision");
        found.begin(4);
        let there = |found: &mut FoundAhead| [1, 2, 3].map(|number| found.take(&key(number)).is_some());
        assert_eq!(
            there(&mut found),
            [false, true, true],
            "what came before the fourth was done is not known to stand"
        );
        assert_eq!(there(&mut found), [false; 3], "once each");
        find(2, 4);
        found.begin(4);
        found.begin(5);
        assert_eq!(there(&mut found), [false; 3]);
    }

    #[test]
    fn no_more_is_held_than_a_full_queue_asks_for() {
        let (tell, mut found) = FoundAhead::new();
        for round in 0..2 {
            for number in 0..=MAX_FOUND as u64 {
                let number = round * MAX_FOUND as u64 + number;
                let sent = tell.try_send(Found { key: key(number), row: None, carried: 0 });
                assert_eq!(sent.is_ok(), number < (round + 1) * MAX_FOUND as u64);
            }
            found.begin(0);
            assert_eq!(found.rows.len(), MAX_FOUND);
        }
        assert_eq!(found.take(&key(0)), Some(None), "that there is none is known as well");
    }
}
