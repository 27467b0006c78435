//! What an engine does: read rows by key, many at once, and write a batch of them, all or none, so that they survive a
//! power cut. SQLite and PostgreSQL stand behind this trait; it knows neither payments nor money.

use std::sync::Arc;

use crate::StoreError;
use crate::homes::Homes;
use crate::key::{Key, List, Named, Numbered};

/// The most commands in one transaction.
pub const MAX_BATCH: usize = 512;

/// A row under a number, as it is kept.
pub type NumberedRow = (u64, Vec<u8>);
/// A row under a name, as it is kept.
pub type NamedRow = (Vec<u8>, Vec<u8>);

/// Reading an engine's rows, seals and all.
pub trait View {
    /// The rows under these keys, in their order; `None` where there is none.
    ///
    /// # Errors
    /// Those of the engine, here and below.
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// The newest ids of a list below `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// Those of the engine.
    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError>;

    /// The rows with numbers above `after` and up to `up_to`, lowest first, at most `limit`.
    ///
    /// # Errors
    /// Those of the engine.
    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError>;

    /// The rows with names above `after`, lowest first, at most `limit`.
    ///
    /// # Errors
    /// Those of the engine.
    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError>;

    /// How many homes the database's rows have.
    fn homes(&self) -> Homes {
        Homes::ONE
    }

    /// The one home whose rows scans go over; nothing where they go over all there are.
    fn scope(&self) -> Option<u16> {
        None
    }

    /// Whether scans go over the row under this key.
    fn reaches(&self, key: &Key) -> bool {
        self.scope().is_none() || self.homes().of(key) == self.scope()
    }

    /// The engine's own check of its files, where it has one: what it found wrong, at most a hundred lines.
    ///
    /// # Errors
    /// Those of the engine.
    fn self_check(&mut self) -> Result<Vec<String>, StoreError>;
}

/// The writing side of an engine. One transaction at a time.
pub trait Engine: View + Send {
    /// The partition this engine writes: nobody else writes it meanwhile.
    fn partition(&self) -> u32;

    /// The home whose rows this engine's partition books.
    fn home(&self) -> u16 {
        self.homes().of_partition(self.partition())
    }

    /// Under what the partition is held from the next transaction on. An engine that is alone with its database holds
    /// its partition for ever.
    fn lease(&self) -> Lease {
        Lease::default()
    }

    /// Whether others write the same rows: then each transaction is waited for, since it may have to be decided anew.
    fn may_conflict(&self) -> bool {
        true
    }

    /// Whether the row that it has just given for this key is known to have the right seal: it has been looked at before, or was
    /// made here. Then it is not looked at again.
    fn has_checked(&self, _key: &Key) -> bool {
        false
    }

    /// How many of the commands that wait, at most [`MAX_BATCH`] of them, are best decided in the next transaction.
    fn most_at_once(&mut self, waiting: usize) -> usize {
        waiting
    }

    /// Who is told which rows commands on their way here will ask for, where that can be of use.
    fn ahead(&self) -> Option<Arc<dyn Ahead>> {
        None
    }

    /// Begins a transaction: what is read from here on is what the writes will stand on.
    ///
    /// # Errors
    /// Those of the engine; then nothing has begun.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Writes everything and makes it durable, or nothing. Where there is nothing to write, it is committed when all it
    /// stands on is.
    fn commit(&mut self, writes: Writes) -> Outcome;

    /// The same, but the engine may go on to the next transaction before this one is durable, and tells `done` when it
    /// is. The next transaction stands on this one: where this one comes to [`Outcome::Unknown`], so do all after it.
    fn commit_later(&mut self, writes: Writes, done: Done) {
        done(self.commit(writes));
    }

    /// Ends the transaction without writing.
    ///
    /// # Errors
    /// Those of the engine; then it must not be used any more.
    fn roll_back(&mut self) -> Result<(), StoreError>;
}

/// Looks up rows that will be asked for soon.
pub trait Ahead: Send + Sync {
    /// Whether an engine of this kind waits for its disk now: where it does not, looking ahead is only more work.
    fn is_worth_it(&self) -> bool;

    /// The row under this key will be asked for, and what it leads to. Where that is more than can be looked up, nothing comes of it.
    fn expect(&self, key: Key);
}

/// Who holds a partition, and until when: written with every transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// The random number of one run of one server.
    pub holder: [u8; 16],
    /// Unix milliseconds by the database's clock; another may take the partition after that.
    pub held_until_ms: u64,
    /// Whether it has to be written soon, even where nothing else has.
    pub is_due: bool,
}

/// Who is told how a transaction ended. Called once.
pub type Done = Box<dyn FnOnce(Outcome) + Send>;

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Committed,
    /// Another server changed a row in between: nothing was written; read again and decide again.
    Conflict,
    /// It changed nothing.
    RolledBack(StoreError),
    /// The commit itself failed: what the disk holds is unknown until the database is opened again.
    Unknown(StoreError),
}

/// One row to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowWrite {
    /// Where.
    pub key: Key,
    /// The row the decision stands on; `None` where there must be none yet.
    pub before: Option<Vec<u8>>,
    /// The row from now on; `None` where there is none any more.
    pub after: Option<Vec<u8>>,
}

impl Writes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.listed.is_empty()
    }
}

/// Everything a transaction writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writes {
    /// Rows, each key once, in the order of their keys.
    pub rows: Vec<RowWrite>,
    /// New ids in lists: which list, whose, which id.
    pub listed: Vec<(List, Vec<u8>, [u8; 16])>,
}
