//! What the log holds and the database file does not hold yet, in memory: the present generation, which transactions
//! are added to, and the one before, while it is carried over. Every reader looks here first.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use smallvec::SmallVec;

use crate::StoreError;
use crate::engine::{NamedRow, NumberedRow, View, Writes};
use crate::key::{Key, List, Named, Numbered};

/// Transactions that the writer may have ahead of what is durable: those that the syncer has, and those that wait for it.
pub(super) const UNSYNCED: usize = 8;

/// A transaction that is in the log and not known to be durable.
pub(super) struct Unsynced {
    /// How many were appended before it, and it.
    pub(super) number: u64,
    /// Where in its segment it begins.
    pub(super) from: u64,
    pub(super) rows: Arc<Generation>,
}

/// A row that waits to be carried over.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    /// The row; `None` where it was removed.
    pub(super) row: Option<Vec<u8>>,
    /// Whether the database file has none.
    pub(super) is_new: bool,
}

/// The rows of some transactions after them.
#[derive(Debug, Clone, Default)]
pub(super) struct Generation {
    pub(super) rows: BTreeMap<Key, Waiting>,
    pub(super) listed: BTreeMap<(List, Vec<u8>), BTreeSet<[u8; 16]>>,
}

impl Generation {
    /// Adds what a later generation holds.
    pub(super) fn absorb(&mut self, later: &Self) {
        for (key, waiting) in &later.rows {
            // What is new is looked for once.
            let known = if waiting.is_new { None } else { self.rows.get_mut(key) };
            match known {
                Some(known) => known.row.clone_from(&waiting.row),
                None => put(&mut self.rows, key.clone(), waiting.clone()),
            }
        }
        for (list, ids) in &later.listed {
            self.listed.entry(list.clone()).or_default().extend(ids);
        }
    }

    pub(super) fn take_in(&mut self, writes: Writes) {
        for write in writes.rows {
            let is_new = write.before.is_none();
            put(&mut self.rows, write.key, Waiting { row: write.after, is_new });
        }
        for (list, owner, id) in writes.listed {
            self.listed.entry((list, owner)).or_default().insert(id);
        }
    }

    fn list_into(&self, list: List, owner: &[u8], before: [u8; 16], limit: usize, ids: &mut BTreeSet<[u8; 16]>) {
        if let Some(known) = self.listed.get(&(list, owner.to_vec())) {
            ids.extend(known.range(..before).rev().take(limit));
        }
    }
}

/// Puts a row in the place of the one that waits under its key; whether the database file has one was known then.
fn put(rows: &mut BTreeMap<Key, Waiting>, key: Key, waiting: Waiting) {
    match rows.entry(key) {
        Entry::Occupied(known) => known.into_mut().row = waiting.row,
        Entry::Vacant(place) => {
            place.insert(waiting);
        }
    }
}

/// What is written into the database file at once.
pub(super) enum Piece<'g> {
    Row(&'g Key, &'g Waiting),
    Listed(List, &'g [u8], &'g [u8; 16]),
}

impl Generation {
    /// All of it, in the order of the file's trees: neighbours come one after the other. It is the same order whenever the
    /// same segment of the log is read.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let rows = self.rows.iter().map(|(key, waiting)| Piece::Row(key, waiting));
        rows.chain(
            self.listed
                .iter()
                .flat_map(|((list, owner), ids)| ids.iter().map(move |id| Piece::Listed(*list, owner, id))),
        )
    }
}

/// Both generations.
#[derive(Debug, Clone, Default)]
pub(super) struct Generations {
    pub(super) present: Generation,
    /// The one that is being carried over, and the log segment that holds it.
    pub(super) before: Option<(Arc<Generation>, u64)>,
}

impl Generations {
    fn newest_first(&self) -> NewestFirst<'_> {
        let before = self.before.as_ref().map(|(generation, _)| generation.as_ref());
        NewestFirst([&self.present].into_iter().chain(before).collect())
    }
}

/// The generations a reader looks at.
struct NewestFirst<'g>(SmallVec<[&'g Generation; UNSYNCED + 2]>);

impl NewestFirst<'_> {
    fn iter(&self) -> impl DoubleEndedIterator<Item = &Generation> {
        self.0.iter().copied()
    }

    /// The row as it is now, where one waits; the inner `None` is a row removed.
    fn row(&self, key: &Key) -> Option<Option<Vec<u8>>> {
        self.iter().find_map(|generation| generation.rows.get(key)).map(|waiting| waiting.row.clone())
    }

    /// The first key above this one that waits, also one whose row was removed.
    fn next(&self, key: &Key) -> Option<Key> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.iter()
            .filter_map(|generation| generation.rows.range::<Key, _>((Excluded(key), Unbounded)).next())
            .map(|(key, _)| key)
            .min()
            .cloned()
    }

    /// The rows that wait with keys above `after` and up to `up_to`, the lowest `limit` of them, lowest first.
    fn rows_between(&self, after: &Key, up_to: &Key, limit: usize) -> Vec<(Key, Option<Vec<u8>>)> {
        use std::ops::Bound::{Excluded, Included};
        if after >= up_to {
            return Vec::new();
        }
        let between = (Excluded(after), Included(up_to));
        let mut rows: Vec<_> =
            self.iter().flat_map(|generation| generation.rows.range::<Key, _>(between).take(limit)).collect();
        // The newest of a key stays in front of what it takes the place of.
        rows.sort_by_key(|(key, _)| *key);
        rows.dedup_by_key(|(key, _)| *key);
        // Of what lies above these, some generation may have more than it was asked for.
        rows.truncate(limit);
        rows.into_iter().map(|(key, waiting)| (key.clone(), waiting.row.clone())).collect()
    }
}

/// What the writer, the carrier and the readers share.
#[derive(Default)]
pub(super) struct Shared {
    generations: RwLock<Generations>,
    /// What the carrier is told, and what it tells.
    signals: Mutex<Signals>,
    changed: Condvar,
    /// How many transactions are durable and shown to readers.
    pub(super) synced: AtomicU64,
    /// How many generations are in the file and wait no longer. It is counted with the generations locked.
    pub(super) carried: AtomicU64,
    /// How often the carrier has asked the engine for a new look at the file.
    pub(super) looks_asked_for: AtomicU64,
}

#[derive(Default)]
pub(super) struct Signals {
    /// The engine is closing: carry over everything and end.
    pub(super) closing: bool,
    /// Why nothing can be carried over any more.
    pub(super) broken: Option<StoreError>,
}

impl Shared {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Generations> {
        // A thread that panicked here left whole rows: each is put in one step.
        self.generations.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Generations> {
        self.generations.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn signals(&self) -> MutexGuard<'_, Signals> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody that something has changed.
    pub(super) fn notify(&self) {
        // Whoever is about to wait holds the lock, and so does not miss it.
        drop(self.signals());
        self.changed.notify_all();
    }

    /// Waits until something changes, or for this long.
    pub(super) fn wait<'s>(
        &self,
        signals: MutexGuard<'s, Signals>,
        at_most: std::time::Duration,
    ) -> MutexGuard<'s, Signals> {
        self.changed.wait_timeout(signals, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The database file with what waits in front of it.
pub(super) struct Overlay<'v, V: View> {
    pub(super) file: &'v mut V,
    pub(super) waiting: Source<'v>,
}

/// Where the waiting rows are looked up.
pub(super) enum Source<'v> {
    /// As they are at each look.
    Now(&'v Shared),
    /// As the writer sees them: what is not durable yet, newest last; the present ones as they are at each look; those
    /// being carried over as they were when its transaction began.
    Writing(&'v Shared, &'v VecDeque<Unsynced>, Option<&'v Generation>),
    /// As they were at one moment.
    Snapshot(Generations),
}

/// What waits at a key.
pub(super) enum WaitingAt {
    /// Its row; `None` where it was removed.
    Row(Option<Vec<u8>>),
    /// No row of it; the first key above that waits.
    Below(Option<Key>),
}

impl Source<'_> {
    pub(super) fn at(&self, key: &Key) -> WaitingAt {
        self.with(|rows| rows.row(key).map_or_else(|| WaitingAt::Below(rows.next(key)), WaitingAt::Row))
    }

    fn with<T>(&self, look: impl FnOnce(NewestFirst<'_>) -> T) -> T {
        match self {
            Self::Now(shared) => look(shared.read().newest_first()),
            Self::Writing(shared, unsynced, before) => {
                let generations = shared.read();
                let unsynced = unsynced.iter().rev().map(|one| one.rows.as_ref());
                look(NewestFirst(unsynced.chain([&generations.present]).chain(*before).collect()))
            }
            Self::Snapshot(generations) => look(generations.newest_first()),
        }
    }
}

/// In each of these, what waits is looked up first: a row that is carried over in between is then found in the file.
impl<V: View> View for Overlay<'_, V> {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let waiting: Vec<_> = self.waiting.with(|rows| keys.iter().map(|key| rows.row(key)).collect());
        let looked_up = keys.iter().zip(&waiting).filter(|(_, waiting)| waiting.is_none());
        let in_file: Vec<_> = looked_up.map(|(key, _)| key.clone()).collect();
        let mut found = self.file.read(&in_file)?.into_iter();
        Ok(waiting.into_iter().map(|row| row.unwrap_or_else(|| found.next().flatten())).collect())
    }

    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        let mut ids = BTreeSet::new();
        self.waiting.with(|rows| {
            rows.iter().for_each(|generation| generation.list_into(list, owner, before, limit, &mut ids));
        });
        ids.extend(self.file.list(list, owner, before, limit)?);
        Ok(ids.into_iter().rev().take(limit).collect())
    }

    fn scan(
        &mut self,
        table: Numbered,
        mut after: u64,
        up_to: u64,
        limit: usize,
    ) -> Result<Vec<NumberedRow>, StoreError> {
        loop {
            let (from, to) = (Key::Number(table, after), Key::Number(table, up_to));
            let waiting = self.waiting.with(|rows| rows.rows_between(&from, &to, limit));
            let waiting = waiting.into_iter().filter_map(|(key, row)| match key {
                Key::Number(_, number) => Some((number, row)),
                Key::Name(..) => None,
            });
            match merged(self.file.scan(table, after, up_to, limit)?, waiting.collect(), limit) {
                Merged::Rows(rows) => return Ok(rows),
                Merged::OnlyRemovedUpTo(number) => after = number,
            }
        }
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        let mut after = after.to_vec();
        loop {
            // No name is as long as this.
            let (from, to) = (Key::Name(table, after.as_slice().into()), Key::Name(table, [0xFF; 256][..].into()));
            let waiting = self.waiting.with(|rows| rows.rows_between(&from, &to, limit));
            let waiting = waiting.into_iter().filter_map(|(key, row)| match key {
                Key::Name(_, name) => Some((name.into_vec(), row)),
                Key::Number(..) => None,
            });
            match merged(self.file.scan_names(table, &after, limit)?, waiting.collect(), limit) {
                Merged::Rows(rows) => return Ok(rows),
                Merged::OnlyRemovedUpTo(name) => after = name,
            }
        }
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        self.file.self_check()
    }
}

/// One stretch of a table, from the file and from what waits.
enum Merged<K> {
    /// The rows; none where the table is at its end.
    Rows(Vec<(K, Vec<u8>)>),
    /// Everything up to this key has been removed, and more may follow.
    OnlyRemovedUpTo(K),
}

/// Rows of the file and rows that wait, the latter in the place of the former. Where either part was cut short at
/// `limit`, nothing is told of what lies beyond its end: the other part does not know it.
fn merged<K: Ord + Clone>(file: Vec<(K, Vec<u8>)>, waiting: Vec<(K, Option<Vec<u8>>)>, limit: usize) -> Merged<K> {
    let file_end = (file.len() >= limit).then(|| file.last().map(|(key, _)| key.clone())).flatten();
    let waiting_end = (waiting.len() >= limit).then(|| waiting.last().map(|(key, _)| key.clone())).flatten();
    let end = [file_end, waiting_end].into_iter().flatten().min();
    let mut rows = Vec::with_capacity(limit.min(file.len() + waiting.len()));
    let (mut file, mut waiting) = (file.into_iter().peekable(), waiting.into_iter().peekable());
    while rows.len() < limit {
        let in_file = file.peek().map(|(key, _)| key);
        let (key, row) = match waiting.next_if(|(key, _)| in_file.is_none_or(|in_file| key <= in_file)) {
            Some((key, row)) => {
                // What waits takes the place of the same row in the file.
                file.next_if(|(in_file, _)| *in_file == key);
                (key, row)
            }
            None => match file.next() {
                Some((key, row)) => (key, Some(row)),
                None => break,
            },
        };
        if end.as_ref().is_some_and(|end| key > *end) {
            break;
        }
        rows.extend(row.map(|row| (key, row)));
    }
    match end {
        Some(end) if rows.is_empty() => Merged::OnlyRemovedUpTo(end),
        _ => Merged::Rows(rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(merged: Merged<u64>) -> Result<Vec<u64>, u64> {
        match merged {
            Merged::Rows(rows) => Ok(rows.into_iter().map(|(key, _)| key).collect()),
            Merged::OnlyRemovedUpTo(key) => Err(key),
        }
    }

    #[test]
    fn what_waits_takes_the_place_of_what_is_in_the_file() {
        let file = |keys: &[u64]| keys.iter().map(|key| (*key, vec![0])).collect::<Vec<_>>();
        let waiting =
            |keys: &[(u64, bool)]| keys.iter().map(|(key, there)| (*key, there.then(|| vec![1]))).collect::<Vec<_>>();
        assert_eq!(rows(merged(file(&[1, 3]), waiting(&[(2, true), (3, false)]), 9)), Ok(vec![1, 2]));
        assert_eq!(rows(merged(file(&[]), waiting(&[]), 9)), Ok(vec![]));
        // The file may hold 4, 5 and more; what waits at 9 must not be told before them.
        assert_eq!(rows(merged(file(&[1, 3]), waiting(&[(9, true)]), 2)), Ok(vec![1, 3]));
        assert_eq!(rows(merged(file(&[1, 9]), waiting(&[(2, true), (3, true)]), 2)), Ok(vec![1, 2]));
        assert_eq!(rows(merged(file(&[1, 3]), waiting(&[(1, false), (3, false)]), 2)), Err(3));
        assert_eq!(rows(merged(file(&[1]), waiting(&[(1, false)]), 2)), Ok(vec![]));
    }

    /// Of two generations that each have more rows than were asked for, one reaches further than the other.
    #[test]
    fn nothing_is_told_of_rows_beyond_what_every_generation_has_told() {
        let waiting = |numbers: &[u64], row: Option<u8>| {
            let row = |number: &u64| {
                (Key::Number(Numbered::Payments, *number), Waiting { row: row.map(|byte| vec![byte]), is_new: false })
            };
            Generation { rows: numbers.iter().map(row).collect(), listed: BTreeMap::new() }
        };
        let removed = waiting(&[1, 2, 3, 4, 5], None);
        let present = waiting(&[1, 2, 6, 9], Some(1));
        let generations = NewestFirst([&removed, &present].into_iter().collect());
        let key = |number| Key::Number(Numbered::Payments, number);
        let told = |limit| {
            let rows = generations.rows_between(&key(0), &key(100), limit);
            rows.iter().map(|(key, row)| (key.place().1, row.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(told(3), [(1, false), (2, false), (3, false)], "4 and 5 are not told, and 6 is above them");
        assert_eq!(told(9), [(1, false), (2, false), (3, false), (4, false), (5, false), (6, true), (9, true)]);
    }

    /// As many transactions as may be ahead of the disk, each with a row of its own and one that all of them change.
    #[test]
    fn the_writer_sees_every_transaction_that_is_not_durable_the_newest_first() {
        let key = |number| Key::Number(Numbered::Payments, number);
        let change = |row: u8| Waiting { row: Some(vec![row]), is_new: false };
        let shared = Shared::default();
        shared.write().present.rows.insert(key(0), change(200));
        shared.write().present.rows.insert(key(100), change(200));
        let carried =
            Generation { rows: [(key(0), change(201)), (key(101), change(201))].into(), ..Default::default() };
        let mut unsynced = VecDeque::new();
        for number in 1..=UNSYNCED as u8 {
            let rows = [(key(0), change(number)), (key(u64::from(number)), change(number))].into();
            let rows = Arc::new(Generation { rows, ..Default::default() });
            unsynced.push_back(Unsynced { number: number.into(), from: 0, rows });
        }
        let seen = |number| match Source::Writing(&shared, &unsynced, Some(&carried)).at(&key(number)) {
            WaitingAt::Row(row) => row.map(|row| row[0]),
            WaitingAt::Below(_) => None,
        };
        assert_eq!(seen(0), Some(UNSYNCED as u8), "the newest of them all");
        for number in 1..=UNSYNCED as u8 {
            assert_eq!(seen(u64::from(number)), Some(number));
        }
        assert_eq!((seen(100), seen(101), seen(102)), (Some(200), Some(201), None));
    }
}
