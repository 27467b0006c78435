//! The engine for several servers on one PostgreSQL database (docs/decisions/0011).
//!
//! Nothing is locked while a batch is decided: rows are read as they are, and the transaction that writes says of each
//! row what it was when it was read. Where one has changed, nothing is written and the batch is decided anew. Servers
//! share no leader: each writes a partition of its own, which it holds by a lease (`lease.rs`).
//!
//! | file | holds |
//! |---|---|
//! | `url.rs` | where the database is, and that nothing crosses a network in the clear by accident |
//! | `hosts.rs` | which of several machines takes writes |
//! | `tls/` | what the database proves of itself, and what is shown to it |
//! | `schema.rs` | the tables |
//! | `statements.rs`, `pipeline.rs` | every statement, prepared when it is first needed; many of them in one round trip |
//! | `growth.rs` | when statements are planned anew |
//! | `link.rs` | one connection |
//! | `write.rs` | one transaction in one round trip, and mostly in one statement |
//! | `outcome.rs` | what became of a commit that was not answered |
//! | `lease.rs` | who holds which partition |
//! | `master_keys.rs` | that all servers have the same master keys |
//! | `citus.rs` | tables spread over the machines of a Citus cluster |
//! | `plans.rs` | on how many machines the cluster carries out each statement |
//! | `reader.rs` | the reading side |
//! | `copies.rs` | what PostgreSQL's own tools need to copy a database and to put a copy in its place |

mod citus;
mod copies;
mod growth;
mod hosts;
mod lease;
mod link;
mod master_keys;
mod outcome;
mod pipeline;
mod plans;
mod reader;
mod schema;
mod statements;
mod tls;
mod url;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_postgres::Error;

use crate::StoreError;
use crate::engine::{Engine, Lease, NamedRow, NumberedRow, Outcome, View, Writes};
use crate::homes::Homes;
use crate::key::{Key, List, Named, Numbered};
use citus::Layout;
pub use copies::{Moment, Target};
use growth::Growth;
use lease::{Held, LEASE_MS, RENEW_BELOW_MS};
use link::{Link, failed, is_lost};
pub use master_keys::{KeyCheck, agree_on_master_keys, lacked_master_key, master_key_versions};
pub use reader::PostgresReader;
pub use url::PostgresUrl;
use write::Ended;

/// How long a batch waits for a database that does not answer, before its commands are told to try again.
const RECONNECT_FOR: Duration = Duration::from_secs(2);
/// The pause between two tries to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long giving a partition back may take when a server ends.
const GIVE_BACK_FOR: Duration = Duration::from_secs(2);

/// The writing side: one connection, and one partition held.
pub struct PostgresEngine {
    on: Runner,
    url: PostgresUrl,
    layout: Layout,
    link: Option<Arc<Link>>,
    held: Held,
    growth: Growth,
}

impl PostgresEngine {
    /// Opens the database, making its tables where there are none, and takes a partition.
    ///
    /// # Errors
    /// [`StoreError::Engine`], also where the schema is of a newer program; [`StoreError::Busy`] where the database
    /// cannot be reached.
    pub fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        Self::open_home(url, 0)
    }

    /// The same with a partition that books the rows of this home.
    ///
    /// # Errors
    /// Those of [`PostgresEngine::open`].
    pub fn open_home(url: &PostgresUrl, home: u16) -> Result<Self, StoreError> {
        let holder = random_holder()?;
        let on = Runner::new()?;
        let (layout, link, held) = on.wait(async {
            let layout = make_schema(url).await?;
            let link = Link::writing(url, &layout, Some(home)).await.map_err(failed)?;
            let held = lease::take_any(&link, home, holder).await?;
            Ok::<_, StoreError>((layout, link, held))
        })?;
        tracing::info!(partition = held.partition, "this server writes a partition of the database");
        if url.trusts_anyone() {
            tracing::warn!(
                "whoever is between this server and the database can pose as it: say sslmode=verify-full, or \
                 channel_binding=require with a password"
            );
        }
        Ok(Self::holding(held, link, on, url.clone(), layout))
    }

    fn holding(held: Held, link: Link, on: Runner, url: PostgresUrl, layout: Layout) -> Self {
        Self { on, url, layout, link: Some(Arc::new(link)), held, growth: Growth::default() }
    }

    /// An engine for each home, where rows have several; else this many, which write side by side.
    ///
    /// # Errors
    /// Those of [`PostgresEngine::open`].
    pub fn open_all(url: &PostgresUrl, side_by_side: usize) -> Result<Vec<Self>, StoreError> {
        let first = Self::open(url)?;
        let homes = first.layout.homes();
        let others =
            if homes.is_one() { vec![0; side_by_side.saturating_sub(1)] } else { homes.all().skip(1).collect() };
        let mut all = vec![first];
        for home in others {
            all.push(Self::open_home(url, home)?);
        }
        Ok(all)
    }

    /// The connection; a lost one is opened anew, trying for this long.
    fn link(&mut self, patience: Duration) -> Result<Arc<Link>, StoreError> {
        if let Some(link) = self.link.as_ref().filter(|link| !link.client.is_closed()) {
            return Ok(Arc::clone(link));
        }
        self.link = None;
        let begun = Instant::now();
        loop {
            let home = self.layout.homes().of_partition(self.held.partition);
            match self.on.wait(Link::writing(&self.url, &self.layout, Some(home))) {
                Ok(link) => return Ok(Arc::clone(self.link.insert(Arc::new(link)))),
                Err(error) if begun.elapsed() >= patience => return Err(failed(error)),
                Err(_) => std::thread::sleep(RECONNECT_PAUSE),
            }
        }
    }

    /// The answer to a question over the connection.
    fn answer<T>(&mut self, answer: Result<T, Error>) -> Result<T, StoreError> {
        answer.map_err(|error| {
            if is_lost(&error) {
                // Not asked again over a connection to a database that is no longer the one that takes writes.
                self.link = None;
            }
            failed(error)
        })
    }

    /// Whether the partition is still this server's: what its last write left is what is there.
    fn is_still_held(&mut self) -> Result<bool, StoreError> {
        let link = self.link(RECONNECT_FOR)?;
        let now = self.on.wait(link.answered(lease::row_now(&link, self.held.partition)));
        Ok(self.answer(now)?.as_deref() == Some(&self.held.row[..]))
    }

    /// The row of this partition that these writes leave.
    fn row_after(&self, writes: &Writes) -> Option<Vec<u8>> {
        let own = Key::partition(self.held.partition);
        writes.rows.iter().find(|row| row.key == own).and_then(|row| row.after.clone())
    }

    fn lost_lease(&self) -> StoreError {
        let partition = self.held.partition;
        StoreError::Engine(format!("another server has taken partition {partition}, for this one was away too long"))
    }
}

impl View for PostgresEngine {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        // Nobody else writes this server's partition: its row is known. Were it not, the write would say so.
        let own = Key::partition(self.held.partition);
        if keys == [own.clone()] {
            return Ok(vec![Some(self.held.row.clone())]);
        }
        let link = self.link(RECONNECT_FOR)?;
        let rows = self.on.wait(link.answered(link.read(keys)));
        self.answer(rows)
    }

    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        let link = self.link(RECONNECT_FOR)?;
        let ids = self.on.wait(link.answered(link.list(list, owner, before, limit)));
        self.answer(ids)
    }

    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError> {
        let link = self.link(RECONNECT_FOR)?;
        let rows = self.on.wait(link.answered(link.scan(table, after, up_to, limit)));
        self.answer(rows)
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        let link = self.link(RECONNECT_FOR)?;
        let rows = self.on.wait(link.answered(link.scan_names(table, after, limit)));
        self.answer(rows)
    }

    fn homes(&self) -> Homes {
        self.layout.homes()
    }

    fn scope(&self) -> Option<u16> {
        Some(self.layout.homes().of_partition(self.held.partition))
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        let url = self.url.clone();
        self.on.wait(reader::check_indexes(&url))
    }
}

impl Engine for PostgresEngine {
    fn partition(&self) -> u32 {
        self.held.partition
    }

    fn lease(&self) -> Lease {
        let Some(link) = &self.link else { return Lease { holder: self.held.holder, ..Lease::default() } };
        let now_ms = link.now_ms();
        let held_until_ms = self.held.state().map_or(0, |state| state.held_until_ms);
        let is_due = held_until_ms < now_ms + RENEW_BELOW_MS;
        Lease { holder: self.held.holder, held_until_ms: now_ms + LEASE_MS, is_due }
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        let link = self.link(RECONNECT_FOR)?;
        if self.growth.has_doubled() {
            let planned = self.on.wait(link.answered(link.plan_anew()));
            self.answer(planned)?;
            self.growth.planned();
        }
        Ok(())
    }

    fn commit(&mut self, writes: Writes) -> Outcome {
        // What it stands on has been committed: each transaction is waited for.
        if writes.is_empty() {
            return Outcome::Committed;
        }
        // Nothing has been sent: a connection that is lost here has lost nothing.
        let link = match self.link(RECONNECT_FOR) {
            Ok(link) => link,
            Err(error) => return Outcome::RolledBack(error),
        };
        let Some(after) = self.row_after(&writes) else {
            return Outcome::RolledBack(StoreError::Corrupt("partitions"));
        };
        let outcome = match self.on.wait(link.answered(link.commit(&writes))) {
            Ended::As(Outcome::Conflict) => self.why_conflict(),
            Ended::As(outcome) => outcome,
            Ended::Unheard => return self.find_out(after),
        };
        if outcome == Outcome::Committed {
            self.held.row = after;
            self.growth.note(&writes);
        }
        outcome
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        // Nothing is begun in the database before the commit.
        Ok(())
    }
}

impl PostgresEngine {
    /// A row was changed by somebody else; where it is the partition's own, this server must not go on.
    fn why_conflict(&mut self) -> Outcome {
        match self.is_still_held() {
            Ok(true) => Outcome::Conflict,
            Ok(false) => Outcome::Unknown(self.lost_lease()),
            Err(error) => Outcome::RolledBack(error),
        }
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        let Some(link) = self.link.take().filter(|link| !link.client.is_closed()) else { return };
        let given_back =
            self.on.wait(async { tokio::time::timeout(GIVE_BACK_FOR, lease::give_back(&link, &self.held)).await });
        if !matches!(given_back, Ok(Ok(()))) {
            tracing::warn!("the partition was not given back; it is free when its lease has run out");
        }
        self.on.wait(async { drop(link) });
    }
}

/// Makes the tables of a new database.
///
/// # Errors
/// Those of [`PostgresEngine::open`].
pub fn init(url: &PostgresUrl) -> Result<(), StoreError> {
    Runner::new()?.wait(make_schema(url)).map(drop)
}

/// Makes the tables of a new database and spreads them over the machines of its Citus cluster.
///
/// # Errors
/// Those of [`PostgresEngine::open`], and where the database is not one of a cluster or has tables already.
pub fn init_citus(url: &PostgresUrl, homes: Homes) -> Result<(), StoreError> {
    Runner::new()?.wait(async {
        let (mut client, driver) = link::reach(url).await?;
        let made = citus::init(&mut client, homes).await;
        driver.abort();
        made
    })
}

/// Every statement of the hot path, on every home of a cluster, with the number of tasks in the cluster's plan of it: one,
/// where it goes to one shard alone.
///
/// # Errors
/// Those of [`PostgresEngine::open`].
pub fn plans(url: &PostgresUrl) -> Result<Vec<(String, u64)>, StoreError> {
    Runner::new()?.wait(plans::of_hot_statements(url))
}

async fn make_schema(url: &PostgresUrl) -> Result<Layout, StoreError> {
    let (mut client, driver) = link::reach(url).await?;
    let made = async {
        schema::migrate(&mut client, schema::Whose::Servers).await?;
        citus::layout(&client).await
    };
    let made = made.await;
    driver.abort();
    made
}

/// Finds partitions that nobody holds while merchants wait for what is in them, and opens them to be posted.
pub struct Heir {
    on: Runner,
    url: PostgresUrl,
    layout: Layout,
    link: Option<Arc<Link>>,
    watch: lease::Watch,
    /// What the last look found.
    found: Vec<lease::Found>,
}

impl Heir {
    /// Looks at this database.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn new(url: &PostgresUrl) -> Result<Self, StoreError> {
        let watch = lease::Watch::default();
        let on = Runner::new()?;
        let layout = on.wait(layout_of(url))?;
        Ok(Self { on, url: url.clone(), layout, link: None, watch, found: Vec::new() })
    }

    /// One look at all partitions, some seconds after the one before. Those that were alone both times may be taken.
    ///
    /// # Errors
    /// Those of [`PostgresEngine::open`].
    pub fn look(&mut self) -> Result<(), StoreError> {
        self.found.clear();
        let known = self.link.take().filter(|link| !link.client.is_closed());
        let (link, found) = self.on.wait(async {
            let link = match known {
                Some(link) => link,
                None => Arc::new(Link::writing(&self.url, &self.layout, None).await.map_err(failed)?),
            };
            let found = self.watch.look(&link).await?;
            Ok::<_, StoreError>((link, found))
        })?;
        self.link = Some(link);
        self.found = found;
        Ok(())
    }

    /// Takes one of the partitions that the last look found; none where there is none left. The caller posts its
    /// clearing and drops it.
    ///
    /// # Errors
    /// Those of [`PostgresEngine::open`].
    pub fn take(&mut self) -> Result<Option<PostgresEngine>, StoreError> {
        while let Some(found) = self.found.pop() {
            let holder = random_holder()?;
            // The engine gets a runtime of its own, for it lives elsewhere than this.
            let on = Runner::new()?;
            let taken = on.wait(async {
                let home = self.layout.homes().of_partition(found.partition());
                let link = Link::writing(&self.url, &self.layout, Some(home)).await?;
                let held = lease::take(&link, &found, holder).await?;
                Ok::<_, Error>(held.map(|held| (link, held)))
            });
            // Where another server was faster there may be more.
            if let Some((link, held)) = taken.map_err(failed)? {
                let partition = held.partition;
                tracing::info!(partition, "a partition that nobody held is taken, to post what is in it");
                let (url, layout) = (self.url.clone(), self.layout.clone());
                return Ok(Some(PostgresEngine::holding(held, link, on, url, layout)));
            }
        }
        Ok(None)
    }
}

/// How a database is laid out that has been prepared.
async fn layout_of(url: &PostgresUrl) -> Result<Layout, StoreError> {
    let (client, driver) = link::reach(url).await?;
    let layout = citus::layout(&client).await;
    driver.abort();
    layout
}

fn random_holder() -> Result<[u8; 16], StoreError> {
    let mut holder = [0; 16];
    getrandom::fill(&mut holder).map_err(|error| StoreError::Engine(error.to_string()))?;
    Ok(holder)
}

/// Runs futures from a thread that waits for them. Connections make progress while something is waited for.
struct Runner {
    runtime: Option<Runtime>,
}

impl Runner {
    fn new() -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Engine(error.to_string()))?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// The future's result.
    fn wait<F: Future<Output: Send> + Send>(&self, future: F) -> F::Output {
        let run = || match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("the runtime is there until the drop"),
        };
        // A thread that drives another runtime may not drive this one: a server opens its data from an async function.
        if Handle::try_current().is_err() {
            return run();
        }
        std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Without waiting, which an async function could not.
            runtime.shutdown_background();
        }
    }
}
