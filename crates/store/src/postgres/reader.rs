//! The reading side: a few connections that many readers share, driven by a thread of their own, so that whoever asks
//! only waits. An audit gets a connection to itself, and sees one moment.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::sync::Mutex;
use tokio_postgres::Error;

use super::citus::Layout;
use super::copies::Moment;
use super::link::{Link, failed, is_lost, reach, told};
use super::url::PostgresUrl;
use crate::StoreError;
use crate::engine::{NamedRow, NumberedRow, View};
use crate::homes::Homes;
use crate::key::{Key, List, Named, Numbered};
use crate::queries::{Reader, Work};

/// Connections that readers share.
const READERS: usize = 4;
/// What a transaction goes back to after a question that failed.
const MOMENT: &str = "moment";
/// The most lines a check of the database's own files comes to.
const MAX_LINES: usize = 100;

/// Reading connections to a database.
pub struct PostgresReader {
    // Gone only while this is dropped.
    runtime: Option<Runtime>,
    driver: Handle,
    pool: Arc<Pool>,
}

struct Pool {
    url: PostgresUrl,
    layout: Layout,
    /// The moment that snapshots are of; none for that at which they are taken.
    moment: Option<String>,
    links: Vec<Mutex<Option<Arc<Link>>>>,
    next: AtomicUsize,
}

impl Pool {
    /// A connection that works as far as is known; each in turn.
    async fn link(&self) -> Result<Arc<Link>, Error> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % READERS;
        let Some(slot) = self.links.get(turn) else { return self.open().await };
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| !link.client.is_closed()) {
            return Ok(Arc::clone(link));
        }
        *slot = None;
        Ok(Arc::clone(slot.insert(self.open().await?)))
    }

    async fn open(&self) -> Result<Arc<Link>, Error> {
        Link::telling(&self.url, &self.layout).await.map(Arc::new)
    }
}

impl PostgresReader {
    /// Reads a database that [`super::PostgresEngine::open`] has prepared. Its connections are opened when first needed.
    ///
    /// # Errors
    /// [`StoreError::Engine`] where no thread can be started; [`StoreError::Busy`] where the database cannot be reached.
    pub fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        Self::open_with(url, None)
    }

    /// The same, with snapshots of this moment, as long as that is there.
    ///
    /// # Errors
    /// Those of [`PostgresReader::open`].
    pub fn open_at(url: &PostgresUrl, moment: &Moment) -> Result<Self, StoreError> {
        Self::open_with(url, Some(moment.snapshot().to_owned()))
    }

    fn open_with(url: &PostgresUrl, moment: Option<String>) -> Result<Self, StoreError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("store-reader").enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Engine(error.to_string()))?;
        let theirs = url.clone();
        let layout = on_driver(runtime.handle(), async move { super::layout_of(&theirs).await })?;
        let links = (0..READERS).map(|_| Mutex::new(None)).collect();
        let pool = Arc::new(Pool { url: url.clone(), layout, moment, links, next: AtomicUsize::new(0) });
        Ok(Self { driver: runtime.handle().clone(), runtime: Some(runtime), pool })
    }
}

impl Drop for PostgresReader {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Without waiting, which an async function could not.
            runtime.shutdown_background();
        }
    }
}

impl Reader for PostgresReader {
    fn now(&self, work: Work<'_>) -> Result<(), StoreError> {
        work(&mut Reading { driver: &self.driver, pool: Arc::clone(&self.pool), only: None, scope: None })
    }

    fn snapshot(&self, work: Work<'_>) -> Result<(), StoreError> {
        self.at_one_moment(None, work)
    }

    fn homes(&self) -> Homes {
        self.pool.layout.homes()
    }

    fn cut(&self, home: u16, work: Work<'_>) -> Result<(), StoreError> {
        self.at_one_moment(self.pool.layout.is_spread().then_some(home), work)
    }
}

impl PostgresReader {
    /// One transaction, all of whose statements see one moment. On a cluster that holds of the machine a home is on: the
    /// coordinator carries the isolation level there.
    fn at_one_moment(&self, scope: Option<u16>, work: Work<'_>) -> Result<(), StoreError> {
        let pool = Arc::clone(&self.pool);
        let link = wait(&self.driver, async move {
            let link = Link::reading(&pool.url, &pool.layout, scope).await?;
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            let begin = match &pool.moment {
                None => begin.to_owned(),
                // A name that the database gave: digits, letters and hyphens.
                Some(moment) => format!("{begin}; SET TRANSACTION SNAPSHOT '{moment}'"),
            };
            link.client.batch_execute(&begin).await?;
            if scope.is_none() {
                // The moment is that of the first question.
                link.client.batch_execute(&format!("SELECT 1; SAVEPOINT {MOMENT}")).await?;
            }
            Ok(Arc::new(link))
        })?;
        work(&mut Reading { driver: &self.driver, pool: Arc::clone(&self.pool), only: Some(link), scope })
    }
}

/// What one reader sees.
struct Reading<'r> {
    driver: &'r Handle,
    pool: Arc<Pool>,
    /// The connection of a snapshot.
    only: Option<Arc<Link>>,
    /// The home it sees.
    scope: Option<u16>,
}

impl Reading<'_> {
    /// Asks; once more over another connection where one was lost, for a question changes nothing.
    fn ask<T, A, F>(&self, question: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        A: Fn(Arc<Link>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let (only, pool) = (self.only.clone(), Arc::clone(&self.pool));
        wait(self.driver, async move {
            if let Some(link) = only {
                let answer = question(Arc::clone(&link)).await;
                // A row that cannot be read does not keep the others of this moment from being read.
                if answer.as_ref().is_err_and(|error| !is_lost(error)) {
                    // Where that fails, so does the next question.
                    let _ = link.client.batch_execute(&format!("ROLLBACK TO {MOMENT}")).await;
                }
                return answer;
            }
            let ask = async || {
                let link = pool.link().await?;
                link.answered(question(Arc::clone(&link))).await
            };
            match ask().await {
                Err(error) if is_lost(&error) => ask().await,
                answer => answer,
            }
        })
    }
}

impl View for Reading<'_> {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let keys: Arc<[Key]> = keys.into();
        self.ask(move |link| {
            let keys = Arc::clone(&keys);
            async move { link.read(&keys).await }
        })
    }

    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        let owner: Arc<[u8]> = owner.into();
        self.ask(move |link| {
            let owner = Arc::clone(&owner);
            async move { link.list(list, &owner, before, limit).await }
        })
    }

    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError> {
        self.ask(move |link| async move { link.scan(table, after, up_to, limit).await })
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        let after: Arc<[u8]> = after.into();
        self.ask(move |link| {
            let after = Arc::clone(&after);
            async move { link.scan_names(table, &after, limit).await }
        })
    }

    fn homes(&self) -> Homes {
        self.pool.layout.homes()
    }

    fn scope(&self) -> Option<u16> {
        self.scope
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        let url = self.pool.url.clone();
        on_driver(self.driver, async move { check_indexes(&url).await })
    }
}

fn wait<T: Send + 'static>(
    driver: &Handle,
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, StoreError> {
    on_driver(driver, async move { future.await.map_err(failed) })
}

/// Runs a future on the driver's thread and waits for what it comes to.
fn on_driver<T: Send + 'static>(
    driver: &Handle,
    future: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = mpsc::sync_channel(1);
    driver.spawn(async move {
        // Nobody waits any more: then nobody is told.
        let _ = reply.send(future.await);
    });
    let receive = || answer.recv().unwrap_or(Err(StoreError::Stopped));
    // A handler's thread says that it waits, so that others take over what else it would run.
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(receive),
        _ => receive(),
    }
}

/// The database's own check of the indexes of every table, where its operator has added `amcheck`.
pub(super) async fn check_indexes(url: &PostgresUrl) -> Result<Vec<String>, StoreError> {
    let (client, driver) = reach(url).await?;
    let installed = client.query_opt("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'", &[]).await;
    let mut lines = Vec::new();
    if installed.map_err(failed)?.is_some() {
        let indexes = "SELECT indexrelid::regclass::text, indexrelid FROM pg_index \
                       JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'paychip'::regnamespace";
        for row in client.query(indexes, &[]).await.map_err(failed)? {
            let (name, index): (String, u32) = (row.get(0), row.get(1));
            let checked = client.query("SELECT bt_index_check($1::oid::regclass, true)", &[&index]).await;
            if let Err(error) = checked {
                lines.push(format!("{name}: {}", told(&error)));
            }
            if lines.len() >= MAX_LINES {
                break;
            }
        }
    }
    driver.abort();
    Ok(lines)
}
