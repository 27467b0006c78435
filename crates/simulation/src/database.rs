//! The disk of the simulation: rows in memory behind the store's own engine trait, and every way a commit goes wrong.
//!
//! Two kinds, as the real engines are. *Shared*: several servers on one database, where a commit compares what each
//! written row was when the decision was made. *Pipelined*: one server, whose next transaction is decided on rows that
//! are not durable yet; a crash takes all of those away, and what stands on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::engine::{Done, Engine, NamedRow, NumberedRow, Outcome, View, Writes};
use store::key::{Key, List, Named, Numbered};
use store::{Reader, StoreError, Work};

/// Every row and every list.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    rows: BTreeMap<Key, Vec<u8>>,
    listed: BTreeSet<(List, Vec<u8>, [u8; 16])>,
}

impl Rows {
    /// Whether every row that is to be written is still what the decision stands on.
    fn fits(&self, writes: &Writes) -> bool {
        writes.rows.iter().all(|row| self.rows.get(&row.key) == row.before.as_ref())
    }

    fn apply(&mut self, writes: &Writes) {
        for row in &writes.rows {
            match &row.after {
                Some(after) => drop(self.rows.insert(row.key.clone(), after.clone())),
                None => drop(self.rows.remove(&row.key)),
            }
        }
        self.listed.extend(writes.listed.iter().cloned());
    }
}

/// What is durable, and what has become so since it was last asked.
#[derive(Default)]
pub(crate) struct Database {
    durable: Rows,
    committed: Vec<Writes>,
}

impl Database {
    /// Commits where nothing the writes stand on has changed.
    pub(crate) fn commit(&mut self, writes: Writes) -> Outcome {
        if !self.durable.fits(&writes) {
            return Outcome::Conflict;
        }
        self.keep(writes);
        Outcome::Committed
    }

    fn keep(&mut self, writes: Writes) {
        self.durable.apply(&writes);
        self.committed.push(writes);
    }
}

/// The database, for its servers and for who checks it. One thread uses it; the lock is what the traits ask for.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Database>>);

impl Disk {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Database> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transactions that have become durable since the last call, in their order.
    pub(crate) fn take_committed(&self) -> Vec<Writes> {
        core::mem::take(&mut self.lock().committed)
    }
}

impl Reader for Disk {
    fn now(&self, work: Work<'_>) -> Result<(), StoreError> {
        work(&mut Looking(&self.lock().durable))
    }

    fn snapshot(&self, work: Work<'_>) -> Result<(), StoreError> {
        self.now(work)
    }
}

/// A look at rows.
struct Looking<'r>(&'r Rows);

impl View for Looking<'_> {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        Ok(keys.iter().map(|key| self.0.rows.get(key).cloned()).collect())
    }

    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        let from = (list, owner.to_vec(), [0; 16]);
        let to = (list, owner.to_vec(), before);
        Ok(self.0.listed.range(from..to).rev().take(limit).map(|(_, _, id)| *id).collect())
    }

    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError> {
        if after >= up_to {
            return Ok(Vec::new());
        }
        let range = (Bound::Excluded(Key::Number(table, after)), Bound::Included(Key::Number(table, up_to)));
        let numbered = self.0.rows.range(range).filter_map(|(key, row)| match key {
            Key::Number(_, number) => Some((*number, row.clone())),
            Key::Name(..) => None,
        });
        Ok(numbered.take(limit).collect())
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        let range = (Bound::Excluded(Key::Name(table, after.into())), Bound::Unbounded);
        let named = self.0.rows.range(range).map_while(|(key, row)| match key {
            Key::Name(of, name) if *of == table => Some((name.to_vec(), row.clone())),
            _ => None,
        });
        Ok(named.take(limit).collect())
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

/// What becomes of the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    /// It is written, unless another was faster.
    #[default]
    Written,
    /// There is no room: nothing is written.
    DiskFull,
    /// The connection is lost, after it was written.
    LostAfter,
    /// The connection is lost, before it was written.
    LostBefore,
    /// The connection is lost, and it is written later, if it still can be.
    LostAndLate,
}

/// Which way an engine works.
pub(crate) enum Way {
    /// Others write the same rows.
    Shared,
    /// Nobody else does: what this engine sees, and what of it is not durable yet.
    Pipelined(Rows, VecDeque<(Writes, Done)>),
}

/// A server's hold on the disk. Dropped at a crash, and what was not durable with it.
pub(crate) struct SimulatedEngine {
    disk: Disk,
    partition: u32,
    way: Way,
    /// What becomes of the next commit.
    pub(crate) fate: Fate,
    /// What was lost on its way and may still arrive.
    pub(crate) late: Option<Writes>,
    /// Reads that succeed before one fails.
    pub(crate) reads_left: Option<u32>,
    /// How many have failed.
    pub(crate) failed_reads: u64,
    /// Whether every read after the first that fails does so as well, and rolling back too.
    pub(crate) connection_breaks: bool,
}

impl SimulatedEngine {
    pub(crate) fn shared(disk: &Disk, partition: u32) -> Self {
        Self::new(disk, partition, Way::Shared)
    }

    pub(crate) fn pipelined(disk: &Disk) -> Self {
        let seen = disk.lock().durable.clone();
        Self::new(disk, 0, Way::Pipelined(seen, VecDeque::new()))
    }

    fn new(disk: &Disk, partition: u32, way: Way) -> Self {
        Self {
            disk: disk.clone(),
            partition,
            way,
            fate: Fate::default(),
            late: None,
            reads_left: None,
            failed_reads: 0,
            connection_breaks: false,
        }
    }

    /// How many transactions are not durable yet.
    pub(crate) fn unsynced(&self) -> usize {
        match &self.way {
            Way::Shared => 0,
            Way::Pipelined(_, unsynced) => unsynced.len(),
        }
    }

    /// The oldest transaction that is not durable yet becomes so, and its callers are told, unless the power is cut
    /// just then.
    pub(crate) fn sync_one(&mut self, told: bool) {
        let Way::Pipelined(_, unsynced) = &mut self.way else { return };
        let Some((writes, done)) = unsynced.pop_front() else { return };
        self.disk.lock().keep(writes);
        if told {
            done(Outcome::Committed);
        }
    }

    /// The disk reports an error while it syncs: some of what was not durable may be so all the same.
    pub(crate) fn sync_fails(&mut self, landed: usize) {
        let Way::Pipelined(_, unsynced) = &mut self.way else { return };
        for (number, (writes, done)) in unsynced.drain(..).enumerate() {
            if number < landed {
                self.disk.lock().keep(writes);
            }
            done(Outcome::Unknown(StoreError::Engine("the disk reports an error".to_owned())));
        }
    }

    fn look<T>(&mut self, work: impl FnOnce(&mut Looking<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.reads_left {
            Some(0) => {
                self.failed_reads += 1;
                if !self.connection_breaks {
                    // It passes: who asks again is answered.
                    self.reads_left = None;
                }
                return Err(StoreError::Engine("the connection was lost".to_owned()));
            }
            Some(left) => self.reads_left = Some(left - 1),
            None => {}
        }
        match &self.way {
            Way::Shared => work(&mut Looking(&self.disk.lock().durable)),
            Way::Pipelined(seen, _) => work(&mut Looking(seen)),
        }
    }
}

impl View for SimulatedEngine {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.look(|rows| rows.read(keys))
    }

    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        self.look(|rows| rows.list(list, owner, before, limit))
    }

    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError> {
        self.look(|rows| rows.scan(table, after, up_to, limit))
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        self.look(|rows| rows.scan_names(table, after, limit))
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        self.look(|rows| rows.self_check())
    }
}

impl Engine for SimulatedEngine {
    fn partition(&self) -> u32 {
        self.partition
    }

    fn may_conflict(&self) -> bool {
        matches!(self.way, Way::Shared)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.look(|_| Ok(()))
    }

    fn commit(&mut self, writes: Writes) -> Outcome {
        let lost = || Outcome::Unknown(StoreError::Engine("the connection was lost".to_owned()));
        match core::mem::take(&mut self.fate) {
            Fate::Written => self.disk.lock().commit(writes),
            Fate::DiskFull if writes.is_empty() => Outcome::Committed,
            Fate::DiskFull => Outcome::RolledBack(StoreError::Engine("the disk is full".to_owned())),
            Fate::LostBefore => lost(),
            Fate::LostAfter => {
                self.disk.lock().commit(writes);
                lost()
            }
            Fate::LostAndLate => {
                self.late = Some(writes);
                lost()
            }
        }
    }

    fn commit_later(&mut self, writes: Writes, done: Done) {
        let fate = self.fate;
        match &mut self.way {
            Way::Shared => done(self.commit(writes)),
            Way::Pipelined(..) if fate == Fate::DiskFull && !writes.is_empty() => done(self.commit(writes)),
            Way::Pipelined(seen, unsynced) => {
                self.fate = Fate::default();
                seen.apply(&writes);
                unsynced.push_back((writes, done));
            }
        }
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        if self.connection_breaks { Err(StoreError::Stopped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use store::engine::RowWrite;

    use super::*;

    fn writes(before: Option<u8>, after: u8) -> Writes {
        let key = Key::Number(Numbered::Purses, 1);
        let row = RowWrite { key, before: before.map(|byte| vec![byte]), after: Some(vec![after]) };
        Writes { rows: vec![row], listed: Vec::new() }
    }

    fn row(view: &mut dyn View) -> Option<Vec<u8>> {
        view.read(&[Key::Number(Numbered::Purses, 1)]).unwrap().pop().flatten()
    }

    #[test]
    fn of_two_servers_that_decide_on_one_row_the_slower_decides_anew() {
        let disk = Disk::default();
        let (mut one, mut two) = (SimulatedEngine::shared(&disk, 0), SimulatedEngine::shared(&disk, 1));
        assert_eq!(one.commit(writes(None, 1)), Outcome::Committed);
        assert_eq!(two.commit(writes(None, 2)), Outcome::Conflict);
        assert_eq!(two.commit(writes(Some(1), 2)), Outcome::Committed);
        assert_eq!(row(&mut one), Some(vec![2]));
    }

    #[test]
    fn a_crash_takes_what_was_not_durable_and_what_stands_on_it() {
        let disk = Disk::default();
        let mut engine = SimulatedEngine::pipelined(&disk);
        for (before, after) in [(None, 1), (Some(1), 2), (Some(2), 3)] {
            engine.commit_later(writes(before, after), Box::new(|_| {}));
        }
        engine.sync_one(true);
        assert_eq!(row(&mut engine), Some(vec![3]));
        drop(engine);
        assert_eq!(row(&mut SimulatedEngine::pipelined(&disk)), Some(vec![1]));
    }

    #[test]
    fn a_commit_that_lost_its_connection_is_written_or_not_and_nobody_is_told() {
        for (fate, there) in [(Fate::LostBefore, false), (Fate::LostAfter, true), (Fate::LostAndLate, false)] {
            let disk = Disk::default();
            let mut engine = SimulatedEngine::shared(&disk, 0);
            engine.fate = fate;
            assert!(matches!(engine.commit(writes(None, 1)), Outcome::Unknown(_)));
            assert_eq!(row(&mut engine).is_some(), there, "{fate:?}");
            assert_eq!(engine.late.is_some(), fate == Fate::LostAndLate);
        }
    }
}
