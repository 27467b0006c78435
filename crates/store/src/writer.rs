//! Group commit: one thread owns the engine, takes of the commands that wait as many as the engine says, runs them in one
//! transaction and answers all of them after that transaction is durable. One transaction has up to [`MAX_BATCH`] commands.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::engine::{Ahead, Engine, MAX_BATCH, Outcome, Writes};
use crate::homes::Homes;
use crate::key::Key;
use crate::{Command, Env, Failure, StoreError, Tables, soon};

/// The most commands waiting; one more is refused with [`StoreError::Busy`].
pub const QUEUE_LEN: usize = 4_096;
/// How often a batch is decided anew because another server changed a row in between. Of two batches in each other's
/// way one always comes through, so this many losses in a row mean that something else is wrong.
const MAX_CONFLICTS: usize = 64;

/// A command on its way through the writer, its type hidden.
trait Job: Send {
    /// What the command will read.
    fn wants(&self, tables: &Tables<'_>, env: &Env) -> Result<Vec<Key>, StoreError>;
    /// Runs the command and keeps its answer. One that fails is undone alone: nobody else's payment goes down with it.
    fn run(&mut self, tables: &mut Tables<'_>, env: &Env);
    /// Whether the command was refused, or failed.
    fn has_failed(&self) -> bool;
    /// Sends the answer, once the transaction has ended as `committed` says.
    fn deliver(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Pending<C: Command, R> {
    command: C,
    answer: Option<Result<C::Answer, Failure>>,
    reply: R,
}

impl<C: Command, R: FnOnce(Result<C::Answer, Failure>) + Send> Job for Pending<C, R> {
    fn wants(&self, tables: &Tables<'_>, env: &Env) -> Result<Vec<Key>, StoreError> {
        self.command.wants(tables, env)
    }

    fn run(&mut self, tables: &mut Tables<'_>, env: &Env) {
        let answer = self.command.run(tables, env);
        if let Err(failure) = &answer {
            if let Failure::Store(error) = failure {
                tracing::error!(%error, "a command failed and was undone");
            }
            tables.undo_command();
        }
        tables.keep_command();
        self.answer = Some(answer);
    }

    fn has_failed(&self) -> bool {
        matches!(self.answer, Some(Err(_)))
    }

    fn deliver(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match committed {
            Err(error) => Err(Failure::Store(error)),
            Ok(()) => self.answer.unwrap_or(Err(Failure::Store(StoreError::Stopped))),
        };
        (self.reply)(answer);
    }
}

/// Commands that are decided together and written in one transaction. The writer's thread carries them through; so can
/// whoever owns time and disk itself, which is what the simulation does.
#[derive(Default)]
pub struct Batch {
    jobs: Vec<Box<dyn Job>>,
    conflicts: usize,
}

impl Batch {
    /// Adds a command; `reply` gets its answer when the batch has ended.
    pub fn push<C: Command>(&mut self, command: C, reply: impl FnOnce(Result<C::Answer, Failure>) + Send + 'static) {
        self.jobs.push(Box::new(Pending { command, answer: None, reply }));
    }

    /// Runs every command on what is stored. What comes back is what is to be written, or how the batch has ended without
    /// it.
    ///
    /// # Errors
    /// The outcome: [`Outcome::RolledBack`], [`Outcome::Unknown`] where even that failed, or [`Outcome::Conflict`] where
    /// other servers were faster again and again.
    pub fn decide(&mut self, engine: &mut dyn Engine, env: &Env) -> Result<Writes, Outcome> {
        loop {
            match self.decide_once(engine, env)? {
                Some(writes) => return Ok(writes),
                None if self.lost() => {}
                None => return Err(Outcome::Conflict),
            }
        }
    }

    /// The same; nothing where a refusal stands on rows that were not there at the same time.
    fn decide_once(&mut self, engine: &mut dyn Engine, env: &Env) -> Result<Option<Writes>, Outcome> {
        engine.begin().map_err(Outcome::RolledBack)?;
        let may_conflict = engine.may_conflict();
        let decided = Tables::open(engine).and_then(|mut tables| {
            tables.read_ahead(|known| {
                self.jobs.iter().try_fold(Vec::new(), |mut keys, job| {
                    keys.extend(job.wants(known, env)?);
                    Ok(keys)
                })
            })?;
            self.jobs.iter_mut().for_each(|job| job.run(&mut tables, env));
            // Rows are read one after the other, and others write in between. What is written says of each row what it was;
            // a refusal writes nothing, so it is asked here whether all that it may stand on is still there.
            let has_failed = self.jobs.iter().any(|job| job.has_failed());
            if may_conflict && has_failed && !tables.still_stands()? {
                return Ok(None);
            }
            tables.into_writes().map(Some)
        });
        match decided {
            Ok(Some(writes)) => Ok(Some(writes)),
            Ok(None) => engine.roll_back().map_err(Outcome::Unknown).map(|()| None),
            Err(error) => Err(engine.roll_back().map_or_else(Outcome::Unknown, |()| Outcome::RolledBack(error))),
        }
    }

    /// Another server was faster: whether the batch is to be decided anew.
    pub fn lost(&mut self) -> bool {
        self.conflicts += 1;
        self.conflicts < MAX_CONFLICTS
    }

    /// Answers every command, now that the transaction has ended so.
    pub fn end(self, outcome: &Outcome) {
        let commands = self.jobs.len();
        let committed = match outcome {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => {
                tracing::error!(commands, "other servers were always faster: a batch was given up");
                Err(StoreError::Busy)
            }
            Outcome::RolledBack(error) => {
                tracing::error!(%error, commands, "a transaction was rolled back");
                Err(error.clone())
            }
            Outcome::Unknown(error) => {
                tracing::error!(%error, commands, "a commit failed: the store stops");
                Err(StoreError::Stopped)
            }
        };
        for job in self.jobs {
            job.deliver(committed.clone());
        }
    }
}

/// The handle to the writers. Cheap to clone; they stop when the last handle is gone.
#[derive(Clone)]
pub struct Store {
    lanes: Arc<[Lane]>,
    homes: Homes,
    turn: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

/// The way to one writer.
#[derive(Clone)]
struct Lane {
    /// The home that it writes.
    home: u16,
    partition: u32,
    jobs: SyncSender<Box<dyn Job>>,
    ahead: Option<Arc<dyn Ahead>>,
}

impl Store {
    /// Starts the writer on an engine. The join handle ends after the last [`Store`] is dropped and everything
    /// accepted has been answered.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when no thread can be started.
    pub fn start(engine: Box<dyn Engine>, env: Env) -> Result<(Self, JoinHandle<()>), StoreError> {
        Self::start_all(vec![engine], env)
    }

    /// Starts a writer on each of several engines that write partitions of one database: while one waits for the
    /// network or a disk, another decides. Where one stops, all do.
    ///
    /// # Errors
    /// Those of [`Store::start`].
    pub fn start_all(engines: Vec<Box<dyn Engine>>, env: Env) -> Result<(Self, JoinHandle<()>), StoreError> {
        let stopped = Arc::new(AtomicBool::new(false));
        let (mut lanes, mut writers) = (Vec::new(), Vec::new());
        let homes = engines.first().map_or(Homes::ONE, |engine| engine.homes());
        for engine in engines {
            let (sender, jobs) = sync_channel(QUEUE_LEN);
            let lane = Lane { home: engine.home(), partition: engine.partition(), jobs: sender, ahead: engine.ahead() };
            let (env, stopped) = (env.clone(), Arc::clone(&stopped));
            let writer = spawn("store-writer", move || write_loop(engine, &env, &jobs, &stopped))?;
            lanes.push(lane);
            writers.push(writer);
        }
        let all = spawn("store-writers", move || {
            for writer in writers {
                // One that panicked has told so itself, and its mark has stopped the others.
                let _ = writer.join();
            }
        })?;
        Ok((Self { lanes: lanes.into(), homes, turn: Arc::default(), stopped }, all))
    }

    /// Each writer by itself, for what is to be done in every partition.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        let one = |lane: &Lane| Self { lanes: Arc::new([lane.clone()]), ..self.clone() };
        self.lanes.iter().map(one).collect::<Vec<_>>().into_iter()
    }

    /// The partitions that this handle's writers write.
    pub fn partitions(&self) -> impl Iterator<Item = u32> {
        self.lanes.iter().map(|lane| lane.partition)
    }

    /// How many homes the rows have.
    pub fn homes(&self) -> Homes {
        self.homes
    }

    /// The homes that this handle reaches.
    pub fn reached(&self) -> Vec<u16> {
        self.lanes.iter().map(|lane| lane.home).collect()
    }

    /// Runs a command; the answer comes after it is durable.
    ///
    /// # Errors
    /// [`Failure::Refused`] by a rule; [`Failure::Store`] with [`StoreError::Busy`] when too many wait.
    pub async fn execute<C: Command>(&self, command: C) -> Result<C::Answer, Failure> {
        if !self.homes.is_one() {
            // In a box, so that the future for one home stays small.
            return Box::pin(command.carry_out(self)).await;
        }
        let turn = if C::IS_SPREAD { self.turn.fetch_add(1, Ordering::Relaxed) % self.lanes.len().max(1) } else { 0 };
        self.run(self.lanes.get(turn), command).await
    }

    /// Runs a command on the writer of a home.
    ///
    /// # Errors
    /// Those of [`Store::execute`]; [`StoreError::Stopped`] also where this handle does not reach that home.
    pub async fn in_home<C: Command>(&self, home: u16, command: C) -> Result<C::Answer, Failure> {
        self.run(self.lanes.iter().find(|lane| lane.home == home), command).await
    }

    async fn run<C: Command>(&self, lane: Option<&Lane>, command: C) -> Result<C::Answer, Failure> {
        let lane = lane.ok_or(StoreError::Stopped)?;
        if let Some(ahead) = lane.ahead.as_ref().filter(|ahead| ahead.is_worth_it()) {
            command.expects().into_iter().for_each(|key| ahead.expect(key));
        }
        let (reply, answer) = oneshot::channel();
        // A caller that went away gets its answer by asking again with the same number.
        let job = Pending { command, answer: None, reply: move |answer| drop(reply.send(answer)) };
        lane.jobs.try_send(Box::new(job)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Stopped,
        })?;
        answer.await.unwrap_or(Err(Failure::Store(StoreError::Stopped)))
    }

    /// Whether the writer still takes commands.
    pub fn is_running(&self) -> bool {
        !self.stopped.load(Ordering::Acquire)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work).map_err(|error| StoreError::Engine(error.to_string()))
}

/// Says that the writer has stopped, however it ends.
struct StopMark<'a>(&'a AtomicBool);

impl Drop for StopMark<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn write_loop(mut engine: Box<dyn Engine>, env: &Env, jobs: &Receiver<Box<dyn Job>>, stopped: &Arc<AtomicBool>) {
    let _mark = StopMark(stopped);
    // A database across a network makes the writer wait for it, and its own processes want the processors meanwhile.
    let recv = if engine.may_conflict() { Receiver::recv } else { soon::recv };
    // Taken from the queue and not decided yet, as many as one batch may have.
    let mut waiting = VecDeque::new();
    while let Some(first) = waiting.pop_front().or_else(|| recv(jobs).ok()) {
        let mut batch = Batch { jobs: vec![first], conflicts: 0 };
        // After a failed commit nothing is known of what the disk holds: never acknowledge on top of it.
        if stopped.load(Ordering::Acquire) {
            return batch.end(&Outcome::Unknown(StoreError::Stopped));
        }
        waiting.extend(jobs.try_iter().take((MAX_BATCH - 1).saturating_sub(waiting.len())));
        let more = engine.most_at_once(1 + waiting.len()).saturating_sub(1);
        batch.jobs.extend(waiting.drain(..more.min(waiting.len())));
        transact(engine.as_mut(), env, batch, stopped);
    }
}

/// Decides the batch on what is stored and writes it; decides anew where another server was faster.
fn transact(engine: &mut dyn Engine, env: &Env, mut batch: Batch, stopped: &Arc<AtomicBool>) {
    loop {
        let writes = match batch.decide(engine, env) {
            Ok(writes) => writes,
            Err(outcome) => return end(batch, &outcome, stopped),
        };
        if !engine.may_conflict() {
            let stopped = Arc::clone(stopped);
            return engine.commit_later(writes, Box::new(move |outcome| end(batch, &outcome, &stopped)));
        }
        let outcome = engine.commit(writes);
        if outcome != Outcome::Conflict || !batch.lost() {
            return end(batch, &outcome, stopped);
        }
    }
}

/// Stops the store where nothing is known of what the disk holds, and tells what became of the batch.
fn end(batch: Batch, outcome: &Outcome, stopped: &AtomicBool) {
    if matches!(outcome, Outcome::Unknown(_)) {
        stopped.store(true, Ordering::Release);
    }
    batch.end(outcome);
}
