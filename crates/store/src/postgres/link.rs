//! One connection: its session set up so that a commit is durable, and what is asked over it.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Connection, Error, NoTls, Row, Socket, Statement};

use super::citus::Layout;
use super::pipeline::in_order;
use super::statements::{Ids, Place, Rows, Statements, Table, What, Whole};
use super::url::PostgresUrl;
use crate::StoreError;
use crate::engine::{NamedRow, NumberedRow};
use crate::homes::Homes;
use crate::key::{Key, List, Named, Numbered};

/// What holds for every session.
///
/// Rows are found by their keys and in the order of the keys, whatever the planner believes of a table that was empty a
/// moment ago; in that order two servers never wait for each other in a circle. The time-outs end what a server that
/// hangs has begun, so that nobody waits for its locks for ever.
const SESSION: &str = "SET jit = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
     SET enable_hashjoin = off; SET enable_mergejoin = off;
     SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning;
     SET statement_timeout = '20s'; SET idle_in_transaction_session_timeout = '20s'";

/// What holds for a session whose tables are spread: a statement about one home is planned once, one about all of them
/// each time, for only then it is known where to ask.
const SPREAD: &str = "SET plan_cache_mode = auto";

/// What holds for a session that only reads: an audit takes its time.
const READING: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";

/// How long an answer may take before the connection counts as lost: longer than the time-outs above. A machine whose disk
/// answers nobody, or that is frozen, keeps its connections open and ends no statement of its own.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Ends when all that this session could see at its beginning is where a commit has to be before it is answered. After
/// a crash PostgreSQL shows transactions that were on its own disk and that no standby has: they were never answered, and
/// are gone should the standby take over now. Nothing is told of them until it has them.
const SETTLE: &str = "BEGIN; SET LOCAL synchronous_commit = on;
     SELECT pg_logical_emit_message(true, 'paychip', ''); COMMIT";

/// What Citus says, as an internal error, where PostgreSQL itself would end the session with a fatal one: its postmaster was
/// killed while it waited for a worker. The text is the only mark of it, and in no language but this.
const POSTMASTER_GONE: &str = "postmaster was shut down";

/// What is asked for of one table: keys, and the place of each among all that are asked for.
enum Wanted<'k> {
    Numbers(Vec<i64>, HashMap<i64, usize>),
    Names(Vec<&'k [u8]>, HashMap<&'k [u8], usize>),
}

impl<'k> Wanted<'k> {
    /// Nothing yet, of keys like this one.
    fn new(key: &Key) -> Self {
        match key {
            Key::Number(..) => Self::Numbers(Vec::new(), HashMap::new()),
            Key::Name(..) => Self::Names(Vec::new(), HashMap::new()),
        }
    }

    fn push(&mut self, key: &'k Key, slot: usize) {
        match (self, key) {
            (Self::Numbers(keys, slots), Key::Number(_, number)) => {
                keys.push(number.cast_signed());
                slots.insert(number.cast_signed(), slot);
            }
            (Self::Names(keys, slots), Key::Name(_, name)) => {
                keys.push(name);
                slots.insert(name, slot);
            }
            // The keys of one table are all of one kind.
            _ => {}
        }
    }

    fn keys(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Numbers(keys, _) => keys,
            Self::Names(keys, _) => keys,
        }
    }

    /// Where a row goes, by the column that has its key.
    fn slot(&self, row: &Row) -> Result<Option<usize>, Error> {
        Ok(match self {
            Self::Numbers(_, slots) => slots.get(&row.try_get::<_, i64>(1)?),
            Self::Names(_, slots) => slots.get(row.try_get::<_, &[u8]>(2)?),
        }
        .copied())
    }
}

/// A connection, and the statements prepared on it.
pub(super) struct Link {
    pub(super) client: Client,
    statements: Statements,
    layout: Layout,
    /// The home that scans go over, and that events of this connection are written in; nothing for all there are.
    scope: Option<u16>,
    clock: Clock,
    driver: JoinHandle<()>,
}

/// The database's time, counted on from when it was asked for.
#[derive(Debug, Clone, Copy)]
struct Clock {
    database_ms: u64,
    asked: Instant,
}

impl Drop for Link {
    fn drop(&mut self) {
        // The socket closes with it.
        self.driver.abort();
    }
}

/// Opens a connection without statements; it is driven for as long as its task lives. There is no other way to the
/// database than this one.
async fn connect(url: &PostgresUrl) -> Result<(Client, JoinHandle<()>), Error> {
    let to = async |config: Config| match url.tls() {
        None => {
            let (client, connection) = config.connect(NoTls).await?;
            Ok((client, drive(connection)))
        }
        Some(tls) => {
            let (client, connection) = config.connect(tls.clone()).await?;
            Ok((client, drive(connection)))
        }
    };
    url.hosts().first(to).await
}

/// The answer over the connection that is driven there, or that it is lost.
async fn answered<T>(driver: &JoinHandle<()>, answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    if let Ok(answer) = tokio::time::timeout(ANSWER_WAIT, &mut answer).await {
        return answer;
    }
    tracing::warn!("the database has said nothing for {ANSWER_WAIT:?}: the connection is given up");
    // Then every statement that waits over it ends with an error, as where a network has ended it.
    driver.abort();
    answer.await
}

fn drive<T: TlsStream + Unpin + Send + 'static>(connection: Connection<Socket, T>) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = %told(&error), "a connection to the database ended");
        }
    })
}

/// The same for whoever asks once and is told why it cannot be.
pub(super) async fn reach(url: &PostgresUrl) -> Result<(Client, JoinHandle<()>), StoreError> {
    connect(url).await.map_err(|error| StoreError::Unreachable(told(&error)))
}

impl Link {
    /// A connection for the engine.
    pub(super) async fn writing(url: &PostgresUrl, layout: &Layout, scope: Option<u16>) -> Result<Self, Error> {
        let link = Self::open(url, layout, scope).await?;
        link.answered(make_durable(&link.client)).await?;
        link.settle().await?;
        Ok(link)
    }

    /// A connection that reads what is told to others.
    pub(super) async fn telling(url: &PostgresUrl, layout: &Layout) -> Result<Self, Error> {
        let link = Self::reading(url, layout, None).await?;
        link.settle().await?;
        Ok(link)
    }

    async fn settle(&self) -> Result<(), Error> {
        self.answered(self.client.batch_execute(SETTLE)).await
    }

    /// Has each statement planned anew when it is used next, on the size that its tables have then.
    pub(super) async fn plan_anew(&self) -> Result<(), Error> {
        self.client.batch_execute("DISCARD PLANS").await
    }

    /// An answer over this connection. One that does not come ends the connection.
    pub(super) async fn answered<T>(&self, answer: impl Future<Output = T>) -> T {
        answered(&self.driver, answer).await
    }

    /// A connection that only reads, for as long as it takes: an audit.
    pub(super) async fn reading(url: &PostgresUrl, layout: &Layout, scope: Option<u16>) -> Result<Self, Error> {
        let link = Self::open(url, layout, scope).await?;
        link.client.batch_execute(READING).await?;
        Ok(link)
    }

    async fn open(url: &PostgresUrl, layout: &Layout, scope: Option<u16>) -> Result<Self, Error> {
        let (client, driver) = connect(url).await?;
        let begun = async {
            client.batch_execute(SESSION).await?;
            if layout.is_spread() {
                client.batch_execute(SPREAD).await?;
            }
            let asked = Instant::now();
            let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
            let database_ms: i64 = client.query_one(now, &[]).await?.get(0);
            Ok::<_, Error>(Clock { database_ms: database_ms.cast_unsigned(), asked })
        };
        let clock = answered(&driver, begun).await?;
        let layout = layout.clone();
        Ok(Self { client, statements: Statements::default(), layout, scope, clock, driver })
    }

    /// The database's time, Unix milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.clock.asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.clock.database_ms.saturating_add(passed)
    }

    /// Where a row is.
    pub(super) fn place(&self, key: &Key) -> Place {
        self.layout.place_of(key)
    }

    /// The column and the value that say where a row is, for statements that are written out: `home = 7 AND `.
    pub(super) fn condition(&self, key: &Key) -> String {
        match self.place(key) {
            Place::Whole => String::new(),
            Place::Home(home) => format!("home = {home} AND "),
        }
    }

    /// The column and the value for a row that is added by a statement that is written out: `home, ` and `7, `.
    pub(super) fn column(&self, key: &Key) -> (&'static str, String) {
        match self.place(key) {
            Place::Whole => ("", String::new()),
            Place::Home(home) => ("home, ", format!("{home}, ")),
        }
    }

    pub(super) fn homes(&self) -> Homes {
        self.layout.homes()
    }

    /// Whether tables are spread over machines.
    pub(super) fn is_spread(&self) -> bool {
        self.layout.is_spread()
    }

    /// Where scans of a table go.
    fn scanned(&self, table: Table) -> Place {
        match table {
            Table::Names(table) if self.layout.homes().is_everywhere(table) => Place::Whole,
            _ => self.layout.place(self.scope),
        }
    }

    /// Where a list is; of one that every home has a part of, the part of the home that this connection looks at.
    pub(super) fn list_place(&self, list: List, owner: &[u8]) -> Place {
        self.layout.place(self.layout.homes().of_list(list, owner).or(self.scope))
    }

    /// The rows under these keys, in their order, in one round trip: by one statement, or where tables are spread by one for
    /// each home; where too many such statements are kept, by one for each table.
    pub(super) async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut wanted: BTreeMap<Place, BTreeMap<Table, Wanted<'_>>> = BTreeMap::new();
        for (slot, key) in keys.iter().enumerate() {
            let there = wanted.entry(self.place(key)).or_default();
            there.entry(Table::of(key)).or_insert_with(|| Wanted::new(key)).push(key, slot);
        }
        let mut questions: Vec<(Whole, Vec<&Wanted<'_>>)> = Vec::with_capacity(wanted.len());
        for (place, tables) in &wanted {
            let together = Whole::Select(*place, tables.keys().copied().collect());
            if self.statements.may_join(&together) {
                questions.push((together, tables.values().collect()));
            } else {
                questions.extend(tables.iter().map(|(table, keys)| (Whole::Select(*place, vec![*table]), vec![keys])));
            }
        }
        let asked = questions.into_iter().map(|(select, tables)| async move {
            let params: Vec<_> = tables.iter().map(|wanted| wanted.keys()).collect();
            let rows = self.client.query(&self.statement(select).await?, &params).await?;
            Ok::<_, Error>((tables, rows))
        });
        let mut found = vec![None; keys.len()];
        for answer in in_order(asked).await {
            let (tables, rows) = answer?;
            for row in rows {
                let of: i32 = row.try_get(0)?;
                let Some(wanted) = usize::try_from(of).ok().and_then(|of| tables.get(of)) else { continue };
                if let Some(place) = wanted.slot(&row)?.and_then(|slot| found.get_mut(slot)) {
                    *place = Some(row.try_get(3)?);
                }
            }
        }
        Ok(found)
    }

    /// Whether all of this may be one statement.
    pub(super) fn may_join(&self, whole: &Whole) -> bool {
        self.statements.may_join(whole)
    }

    /// A statement, prepared.
    pub(super) async fn statement(&self, whole: impl Into<Whole>) -> Result<Statement, Error> {
        self.statements.get(&self.client, whole).await
    }

    pub(super) async fn list(
        &self,
        list: List,
        owner: &[u8],
        before: [u8; 16],
        limit: usize,
    ) -> Result<Vec<[u8; 16]>, Error> {
        let params: [&(dyn ToSql + Sync); 3] = [&owner, &&before[..], &count(limit)];
        let at = self.list_place(list, owner);
        let select = self.statement(What::Ids(Ids::Select, list, at, 0)).await?;
        let rows = self.client.query(&select, &params).await?;
        // An id of another length would be somebody's handiwork; the audit finds it by what it leads to.
        let ids: Result<Vec<&[u8]>, Error> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(ids?.into_iter().filter_map(|id| id.try_into().ok()).collect())
    }

    pub(super) async fn scan(
        &self,
        table: Numbered,
        after: u64,
        up_to: u64,
        limit: usize,
    ) -> Result<Vec<NumberedRow>, Error> {
        let params: [&(dyn ToSql + Sync); 3] = [&after.cast_signed(), &up_to.cast_signed(), &count(limit)];
        let table = Table::Numbers(table);
        let scan = self.statement(What::Rows(Rows::Scan, table, self.scanned(table), 0)).await?;
        let rows = self.client.query(&scan, &params).await?;
        rows.iter().map(|row| Ok((row.try_get::<_, i64>(0)?.cast_unsigned(), row.try_get(1)?))).collect()
    }

    pub(super) async fn scan_names(&self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, Error> {
        let params: [&(dyn ToSql + Sync); 2] = [&after, &count(limit)];
        let table = Table::Names(table);
        let scan = self.statement(What::Rows(Rows::Scan, table, self.scanned(table), 0)).await?;
        let rows = self.client.query(&scan, &params).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A commit that is answered is on the disk, here and where the cluster says so; whoever has switched that off for the
/// role or the database is overruled, and told where it cannot be.
async fn make_durable(client: &Client) -> Result<(), Error> {
    let setting = async |name: &str| -> Result<String, Error> {
        Ok(client.query_one("SELECT current_setting($1)", &[&name]).await?.get(0))
    };
    // `remote_apply` waits for more than `on`, every other value for less.
    if setting("synchronous_commit").await? != "remote_apply" {
        client.batch_execute("SET synchronous_commit = on").await?;
    }
    for name in ["fsync", "full_page_writes"] {
        if setting(name).await? != "on" {
            tracing::warn!(
                setting = name,
                "the database does NOT survive a power cut: switch this on before any money is in it"
            );
        }
    }
    Ok(())
}

/// Whether an error says that the connection is gone, or that this database takes no writes any more: nothing more can
/// be asked over it.
pub(super) fn is_lost(error: &Error) -> bool {
    let Some(told) = error.as_db_error() else { return true };
    let ends_session = matches!(told.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
        || (*told.code() == SqlState::INTERNAL_ERROR && told.message().starts_with(POSTMASTER_GONE));
    ends_session || *told.code() == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// An error as the store tells it. One of the connection is not the command's fault: it may be tried again.
pub(super) fn failed(error: Error) -> StoreError {
    if is_lost(&error) {
        tracing::warn!(error = %told(&error), "the database cannot be reached");
        return StoreError::Busy;
    }
    if error.code().is_some_and(is_of_another_machine) {
        tracing::warn!(error = %told(&error), "a machine of the database cannot be reached");
        return StoreError::Busy;
    }
    StoreError::Engine(told(&error))
}

/// Whether the database that was asked could not ask another machine of its cluster.
fn is_of_another_machine(code: &SqlState) -> bool {
    // Connection exceptions, and those of a server that ends or begins.
    ["08", "57P"].iter().any(|class| code.code().starts_with(class))
}

/// An error with its cause; never with the values of rows.
pub(super) fn told(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(told), _) => format!("{} ({})", told.message(), told.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}
