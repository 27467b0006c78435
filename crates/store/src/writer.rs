//! Group commit: one thread owns the engine, takes every command that waits, runs them in one transaction and
//! answers all of them after that transaction is durable. One sync of the disk serves up to [`MAX_BATCH`] commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::sqlite::{Outcome, SqliteEngine};
use crate::{Command, Env, Failure, StoreError, Tables};

/// The most commands in one transaction.
pub const MAX_BATCH: usize = 256;
/// The most commands waiting; one more is refused with [`StoreError::Busy`].
pub const QUEUE_LEN: usize = 4_096;

/// A command on its way through the writer, its type hidden.
trait Job: Send {
    /// Runs the command and keeps its answer. A command that fails is undone alone: nobody else's payment goes
    /// down with it. An error here gives the whole transaction up.
    fn run(&mut self, tables: &mut dyn Tables, env: &Env) -> Result<(), StoreError>;
    /// Sends the answer, once the transaction has ended as `committed` says.
    fn deliver(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Pending<C: Command> {
    command: Option<C>,
    answer: Option<Result<C::Answer, Failure>>,
    reply: oneshot::Sender<Result<C::Answer, Failure>>,
}

impl<C: Command> Job for Pending<C> {
    fn run(&mut self, tables: &mut dyn Tables, env: &Env) -> Result<(), StoreError> {
        let Some(command) = self.command.take() else { return Ok(()) };
        tables.begin_command()?;
        let answer = command.run(tables, env);
        if let Err(Failure::Store(error)) = &answer {
            tracing::error!(%error, "a command failed and was undone");
            tables.undo_command()?;
        } else {
            tables.keep_command()?;
        }
        self.answer = Some(answer);
        Ok(())
    }

    fn deliver(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match committed {
            Err(error) => Err(Failure::Store(error)),
            Ok(()) => self.answer.unwrap_or(Err(Failure::Store(StoreError::Stopped))),
        };
        // A caller that went away gets its answer by asking again with the same number.
        let _ = self.reply.send(answer);
    }
}

/// The handle to the writer. Cheap to clone; the writer stops when the last handle is gone.
#[derive(Clone)]
pub struct Store {
    queue: SyncSender<Box<dyn Job>>,
    stopped: Arc<AtomicBool>,
}

impl Store {
    /// Starts the writer on an engine. The join handle ends after the last [`Store`] is dropped and everything
    /// accepted has been answered.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when no thread can be started.
    pub fn start(engine: SqliteEngine, env: Env) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (queue, jobs) = sync_channel(QUEUE_LEN);
        let stopped = Arc::new(AtomicBool::new(false));
        let store = Self { queue, stopped: Arc::clone(&stopped) };
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_loop(engine, &env, &jobs, &stopped))
            .map_err(|error| StoreError::Engine(error.to_string()))?;
        Ok((store, writer))
    }

    /// Runs a command; the answer comes after it is durable.
    ///
    /// # Errors
    /// [`Failure::Refused`] by a rule; [`Failure::Store`] with [`StoreError::Busy`] when too many wait.
    pub async fn execute<C: Command>(&self, command: C) -> Result<C::Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        let job = Pending { command: Some(command), answer: None, reply };
        self.queue.try_send(Box::new(job)).map_err(|error| match error {
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

/// Says that the writer has stopped, however it ends.
struct StopMark<'a>(&'a AtomicBool);

impl Drop for StopMark<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn write_loop(mut engine: SqliteEngine, env: &Env, jobs: &Receiver<Box<dyn Job>>, stopped: &AtomicBool) {
    let _mark = StopMark(stopped);
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(MAX_BATCH - 1));
        let outcome = engine.transaction(|tables| batch.iter_mut().try_for_each(|job| job.run(tables, env)));
        let committed = match &outcome {
            Outcome::Committed => Ok(()),
            Outcome::RolledBack(error) => {
                tracing::error!(%error, commands = batch.len(), "a transaction was rolled back");
                Err(error.clone())
            }
            Outcome::Unknown(error) => {
                tracing::error!(%error, commands = batch.len(), "a commit failed: the store stops");
                Err(StoreError::Stopped)
            }
        };
        for job in batch {
            job.deliver(committed.clone());
        }
        // After a failed commit nothing is known of what the disk holds: never acknowledge on top of it.
        if matches!(outcome, Outcome::Unknown(_)) {
            return;
        }
    }
}
