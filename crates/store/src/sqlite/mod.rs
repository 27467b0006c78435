//! The embedded engine: a log that every transaction is appended and synced to, and a SQLite file behind it.
//!
//! A transaction that is reported as committed survives a power cut. Its rows wait in memory, where every reader looks
//! first, until the carrier has written them into the file, thousands of transactions together and in the order of the
//! file's trees: a page that many of them change is then written once (docs/decisions/0012).

mod ahead;
mod batch;
mod carrier;
mod file;
mod gaps;
mod kept;
mod log;
mod look;
mod packed;
mod pending;
mod reader;
mod record;
mod schema;
mod schema_1;
mod seekers;
mod syncer;
#[cfg(test)]
mod tests;
mod view;
mod write;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SendError, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::StoreError;
use crate::engine::{Ahead, Done, Engine, NamedRow, NumberedRow, Outcome, View, Writes};
use crate::key::{Key, List, Named, Numbered};
use ahead::FoundAhead;
use file::{DatabaseFile, NotCarried};
use gaps::Gaps;
use kept::Kept;
use log::Log;
use look::Look;
use pending::{Generation, Overlay, Shared, Source, UNSYNCED, Unsynced, WaitingAt};
pub use reader::SqliteReader;
use reader::{READER_CACHE_KIB, open_reader};
use seekers::Seekers;
use syncer::Appended;
use view::Beside;

/// Prepared statements kept a connection.
const STATEMENTS: usize = 128;
/// How long a connection waits for another's lock before it reports an error.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Bytes of pages the writing connection keeps in memory, in KiB (negative: SQLite's way to say so).
const WRITER_CACHE_KIB: i64 = -131_072;
/// The same for the connection that decisions read over.
const ENGINE_CACHE_KIB: i64 = -65_536;
/// Rows that wait before they are carried over. The more, the more of them change the same page of the file, which is then
/// written once for all.
const CARRIED_ROWS: usize = 200_000;
/// Rows that may wait; at this many the writer is held back.
const MAX_WAITING_ROWS: usize = 2 * CARRIED_ROWS;
/// How long the writer is held back at a time, and how often, before it says that it is busy.
const HOLD: Duration = Duration::from_millis(100);
const MAX_HOLDS: usize = 100;
/// One file has one writer, and one partition.
const PARTITION: u32 = 0;

/// The engine: a log that is synced with every transaction, and the database file behind it.
pub struct SqliteEngine {
    log: Log,
    /// Reads the file; what waits in front of it is looked up first.
    look: Look,
    seekers: Seekers,
    found: FoundAhead,
    kept: Kept,
    gaps: Gaps,
    /// What was appended to the log and is not known to be durable, oldest first, each under its number.
    unsynced: VecDeque<Unsynced>,
    appended: u64,
    /// To the syncer; closed first when the engine is dropped.
    to_sync: Option<SyncSender<Appended>>,
    shared: Arc<Shared>,
    syncer: Option<JoinHandle<()>>,
    carrier: Option<JoinHandle<()>>,
}

impl SqliteEngine {
    /// Opens the database, creating or migrating it, and carries over what a crash left in the log.
    ///
    /// # Errors
    /// [`StoreError::Engine`], also when the file belongs to another program, or was written by a newer version of
    /// this one; [`StoreError::Corrupt`] where the log is damaged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if schema::is_of_release_0_1_0(path)? {
            schema_1::migrate(path)?;
        }
        let mut file = DatabaseFile::open(path)?;
        let last = recover(path, &mut file)?;
        let log = Log::begin(path, last + 1)?;
        let look = Look::open(path)?;
        let shared = Arc::new(Shared::default());
        let (tell, found) = FoundAhead::new();
        let seekers = Seekers::open(path, &shared, &tell)?;
        let (database, theirs) = (path.to_owned(), Arc::clone(&shared));
        let carrier = std::thread::Builder::new()
            .name("store-carrier".to_owned())
            .spawn(move || carrier::carry_over(file, database, theirs))
            .map_err(|error| StoreError::Engine(error.to_string()))?;
        let (to_sync, appended) = sync_channel(syncer::MAX_WAITING);
        let theirs = Arc::clone(&shared);
        let syncer = std::thread::Builder::new()
            .name("store-syncer".to_owned())
            .spawn(move || syncer::sync(&appended, &theirs))
            .map_err(|error| StoreError::Engine(error.to_string()))?;
        Ok(Self {
            log,
            look,
            seekers,
            found,
            kept: Kept::default(),
            gaps: Gaps::default(),
            unsynced: VecDeque::new(),
            appended: 0,
            to_sync: Some(to_sync),
            shared,
            syncer: Some(syncer),
            carrier: Some(carrier),
        })
    }

    /// Hands the present generation to the carrier, where that has none; a log segment ends with it.
    fn turn(&mut self) -> Result<(), StoreError> {
        if self.shared.read().before.is_some() {
            return Ok(());
        }
        let ended = self.log.number();
        self.log.turn()?;
        let mut generations = self.shared.write();
        let generation = core::mem::take(&mut generations.present);
        generations.before = Some((Arc::new(generation), ended));
        drop(generations);
        self.shared.notify();
        Ok(())
    }

    /// Begins a new segment of the log where the present generation is full and the carrier has none. What was appended
    /// is waited for: a generation is whole segments.
    fn turn_if_full(&mut self) -> Outcome {
        let generations = self.shared.read();
        let is_due = generations.present.rows.len() >= CARRIED_ROWS && generations.before.is_none();
        drop(generations);
        if !is_due {
            return Outcome::Committed;
        }
        let synced = self.commit_nothing();
        self.forget_synced();
        if synced == Outcome::Committed
            && let Err(error) = self.turn()
        {
            // The old segment goes on; it is only longer than it need be.
            tracing::warn!(%error, "no new segment of the log could be begun");
        }
        synced
    }

    fn forget_synced(&mut self) {
        let synced = self.shared.synced.load(Ordering::Acquire);
        while self.unsynced.front().is_some_and(|oldest| oldest.number <= synced) {
            self.unsynced.pop_front();
        }
    }

    /// Waits until everything appended is durable.
    fn commit_nothing(&mut self) -> Outcome {
        let (tell, told) = channel();
        self.hand_over(None, Box::new(move |outcome| drop(tell.send(outcome))));
        told.recv().unwrap_or(Outcome::Unknown(StoreError::Stopped))
    }

    fn hand_over(&mut self, rows: Option<Arc<Generation>>, done: Done) {
        let transaction = Appended { number: self.appended, file: self.log.file(), rows, done };
        let handed = match &self.to_sync {
            Some(to_sync) => to_sync.send(transaction),
            None => Err(SendError(transaction)),
        };
        if let Err(SendError(transaction)) = handed {
            (transaction.done)(Outcome::Unknown(StoreError::Stopped));
        }
    }

    /// Makes room for what is written next: hands over what the carrier can take, and waits while too much waits.
    fn make_room(&mut self) -> Outcome {
        for _ in 0..MAX_HOLDS {
            // Also while this waits: nobody else hands anything over.
            let turned = self.turn_if_full();
            if turned != Outcome::Committed || self.shared.read().present.rows.len() < MAX_WAITING_ROWS {
                return turned;
            }
            let signals = self.shared.signals();
            if let Some(error) = &signals.broken {
                return Outcome::Unknown(error.clone());
            }
            drop(self.shared.wait(signals, HOLD));
        }
        Outcome::RolledBack(StoreError::Busy)
    }
}

impl Drop for SqliteEngine {
    fn drop(&mut self) {
        self.to_sync = None;
        if let Some(syncer) = self.syncer.take() {
            let _ = syncer.join();
        }
        // First what the carrier has, then the rest.
        for _ in 0..MAX_HOLDS {
            let signals = self.shared.signals();
            if signals.broken.is_some() || self.shared.read().before.is_none() {
                break;
            }
            drop(self.shared.wait(signals, HOLD));
        }
        if let Err(error) = self.turn() {
            tracing::warn!(%error, "the log is carried over at the next start");
        }
        // The last connection to close tidies up after SQLite, and one that only reads can't: these go first.
        self.seekers.close();
        self.look.close();
        self.shared.signals().closing = true;
        self.shared.notify();
        if let Some(carrier) = self.carrier.take() {
            // A carrier that panicked has told so itself; the next start carries over what it left.
            let _ = carrier.join();
        }
        self.log.close();
    }
}

/// Carries over whatever the log holds; gives the number of its last segment.
fn recover(path: &Path, file: &mut DatabaseFile) -> Result<u64, StoreError> {
    let carried = file.carried()?;
    let numbers = log::segments(path)?;
    let last = numbers.last().copied().unwrap_or(0).max(carried);
    for number in numbers {
        if number > carried {
            let mut generation = Generation::default();
            for writes in log::read_segment(path, number, number == last)? {
                generation.take_in(writes);
            }
            file.carry(&generation, number, |_| ()).map_err(|not| match not {
                NotCarried::TryAgain(error) | NotCarried::Broken(error) => error,
            })?;
        }
        log::remove(path, number)?;
    }
    Ok(last)
}

/// Copies a database as it is at one moment, while an engine may be working on it, into one file that must not be there.
///
/// # Errors
/// [`StoreError`]; a copy that was begun is then left for who wants to look at it.
pub fn backup(database: &Path, to: &Path) -> Result<(), StoreError> {
    if to.exists() {
        return Err(StoreError::Engine(format!("{} is there already", to.display())));
    }
    if !database.exists() {
        return Err(StoreError::Engine(format!("there is no database at {}", database.display())));
    }
    // First the log, then the file: what is carried over in between is in both, and then left out of the log.
    log::link_segments(database, to)?;
    let reading = open_reader(database, READER_CACHE_KIB)?;
    reading.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    drop(reading);
    // Opening the copy carries the log over into it.
    SqliteEngine::open(to).map(drop)
}

impl SqliteEngine {
    fn view<T>(&mut self, look: impl FnOnce(&mut dyn View) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let (file, before) = self.look.at(&self.shared)?;
        let mut file = view::Reading(file, Some(Beside { found: &mut self.found, seekers: &self.seekers }));
        let waiting = Source::Writing(&self.shared, &self.unsynced, before);
        look(&mut Overlay { file: &mut file, waiting })
    }

    /// Rows that are neither kept nor known to be absent.
    fn look_up(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.view(|view| view.read(keys))?;
        for (key, row) in keys.iter().zip(&rows) {
            self.kept.keep_read(key, row.as_deref());
        }
        Ok(rows)
    }

    /// The row under a name; where there is none, how far there is none above it is remembered.
    fn look_around(&mut self, key: &Key, table: Named, name: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let (file, before) = self.look.at(&self.shared)?;
        let waiting = Source::Writing(&self.shared, &self.unsynced, before);
        let next_waiting = match waiting.at(key) {
            WaitingAt::Row(row) => return Ok(row),
            WaitingAt::Below(next) => next,
        };
        let (row, next) = view::seek(file, table, name)?;
        if let (None, Some(end)) = (&row, gaps::end_of_owner(key)) {
            let nearest = [next_waiting, next].into_iter().flatten().fold(end, Key::min);
            self.gaps.learn(key, nearest);
        }
        Ok(row)
    }
}

impl View for SqliteEngine {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let (mut rows, mut places, mut asked) = (Vec::with_capacity(keys.len()), Vec::new(), Vec::new());
        for (place, key) in keys.iter().enumerate() {
            rows.push(match (self.kept.row(key), key) {
                (Some(row), _) => row,
                (None, _) if self.gaps.hold(key) => None,
                (None, Key::Name(table, name)) if gaps::are_kept(*table) => self.look_around(key, *table, name)?,
                (None, _) => {
                    places.push(place);
                    asked.push(key.clone());
                    None
                }
            });
        }
        for (place, row) in places.into_iter().zip(self.look_up(&asked)?) {
            rows[place] = row;
        }
        Ok(rows)
    }

    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        self.view(|view| view.list(list, owner, before, limit))
    }

    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError> {
        self.view(|view| view.scan(table, after, up_to, limit))
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        self.view(|view| view.scan_names(table, after, limit))
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        self.view(|view| view.self_check())
    }
}

impl Engine for SqliteEngine {
    fn partition(&self) -> u32 {
        PARTITION
    }

    fn may_conflict(&self) -> bool {
        false
    }

    fn has_checked(&self, key: &Key) -> bool {
        self.kept.holds(key)
    }

    fn ahead(&self) -> Option<Arc<dyn Ahead>> {
        Some(self.seekers.ahead())
    }

    fn most_at_once(&mut self, waiting: usize) -> usize {
        self.forget_synced();
        batch::most_at_once(waiting, self.unsynced.len())
    }

    /// Nobody else writes: what is read stays as it is until this engine changes it.
    fn begin(&mut self) -> Result<(), StoreError> {
        self.forget_synced();
        if self.unsynced.len() > UNSYNCED {
            // No more are looked at than this.
            self.commit_nothing();
            self.forget_synced();
            if self.unsynced.len() > UNSYNCED {
                return Err(StoreError::Stopped);
            }
        }
        self.look.begin(&self.shared)?;
        self.found.begin(self.look.carried());
        Ok(())
    }

    fn commit(&mut self, writes: Writes) -> Outcome {
        let (tell, told) = channel();
        self.commit_later(writes, Box::new(move |outcome| drop(tell.send(outcome))));
        told.recv().unwrap_or(Outcome::Unknown(StoreError::Stopped))
    }

    fn commit_later(&mut self, writes: Writes, done: Done) {
        self.look.end();
        if writes.is_empty() {
            return self.hand_over(None, done);
        }
        let room = self.make_room();
        if room != Outcome::Committed {
            return done(room);
        }
        // Before the oldest that is not known to be durable, everything is.
        let from = self.log.length();
        let durable = self.unsynced.front().map_or(from, |oldest| oldest.from);
        let appended = self.log.append(&writes, durable);
        if appended != Outcome::Committed {
            return done(appended);
        }
        for write in &writes.rows {
            self.kept.keep(&write.key, write.after.as_deref());
            if matches!(write.key, Key::Name(table, _) if gaps::are_kept(table)) {
                self.gaps.fill(&write.key);
            }
        }
        self.appended += 1;
        let mut rows = Generation::default();
        rows.take_in(writes);
        let rows = Arc::new(rows);
        self.unsynced.push_back(Unsynced { number: self.appended, from, rows: Arc::clone(&rows) });
        self.hand_over(Some(rows), done);
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        self.look.end();
        Ok(())
    }
}

fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(LOCK_WAIT)?;
    Ok(())
}
