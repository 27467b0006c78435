//! Which engine keeps the data: the file in the data folder, or a PostgreSQL database that several servers share.

use std::sync::Arc;
use std::time::Duration;

use store::engine::Engine;
use store::postgres::{self, Heir, PostgresEngine, PostgresReader, PostgresUrl};
use store::sqlite::SqliteEngine;
use store::{Env, Failure, Queries, Store, StoreError, commands};

use crate::data_dir::DataDir;
use crate::vault::{KeyRing, KeysAt, MasterKey, MasterKeyState, MasterVault};
use crate::{Keys, StartError, entropy};

/// Partitions of a PostgreSQL database that a server writes at the same time, each over a connection of its own: one
/// decides while the other waits. More would make each batch smaller, and what is done once a batch is most of the cost.
const PARTITIONS: usize = 2;
/// How often a server looks for partitions whose server is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// The most postings of such a partition in one go; what is left then is found by the next look.
const MAX_POSTINGS: usize = 64;

/// Where the data is kept.
#[derive(Debug, Clone, Default)]
pub enum Database {
    /// In a file in the data folder, by one server.
    #[default]
    Sqlite,
    /// In a PostgreSQL database, by any number of servers with the same master keys.
    Postgres(PostgresUrl),
}

/// A database opened, and the vault whose keys it was made with.
pub(crate) struct Opened {
    pub(crate) engines: Vec<Box<dyn Engine>>,
    pub(crate) queries: Queries,
    pub(crate) vault: Arc<MasterVault>,
    pub(crate) keys_at: KeysAt,
}

impl Database {
    pub(crate) fn open(&self, folder: &mut DataDir, keys: &Keys) -> Result<Opened, StartError> {
        let (engines, queries, (ring, keys_at)): (Vec<Box<dyn Engine>>, _, _) = match self {
            Self::Sqlite => {
                folder.lock()?;
                let ring = folder.master_keys(keys, folder.database().exists())?;
                let engine = SqliteEngine::open(&folder.database())?;
                let queries = Queries::new(Box::new(engine.reader(&folder.database())?));
                (vec![Box::new(engine)], queries, ring)
            }
            Self::Postgres(url) => {
                let is_used = !postgres::master_key_versions(url)?.is_empty();
                let ring = folder.master_keys(keys, is_used)?;
                self.agree_on(&ring.0)?;
                let engines = PostgresEngine::open_all(url, PARTITIONS)?.into_iter();
                let engines = engines.map(|engine| Box::new(engine) as _).collect();
                (engines, Queries::new(Box::new(PostgresReader::open(url)?)), ring)
            }
        };
        Ok(Opened { engines, queries, vault: Arc::new(MasterVault::new(ring)), keys_at })
    }

    /// That the other servers of this database mean the same keys by the same versions.
    pub(crate) fn agree_on(&self, ring: &KeyRing) -> Result<(), StoreError> {
        match self {
            Self::Sqlite => Ok(()),
            Self::Postgres(url) => {
                let of = |key: &MasterKey| (key.version, key.check_value());
                let is_next = |key: &&MasterKey| key.state == MasterKeyState::Next;
                let used: Vec<_> = ring.keys().iter().filter(|key| !is_next(key)).map(of).collect();
                postgres::agree_on_master_keys(url, &used, ring.keys().iter().find(is_next).map(of))
            }
        }
    }

    /// What other servers of this database use and this ring lacks; none where it lacks nothing.
    pub(crate) fn lacked_by(&self, ring: &KeyRing) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite => Ok(None),
            Self::Postgres(url) => {
                let own: Vec<_> = ring.keys().iter().map(|key| (key.version, key.check_value())).collect();
                postgres::lacked_master_key(url, &own)
            }
        }
    }
}

/// Posts what is in the partitions of servers that are gone, again and again: their merchants wait for it, and no one
/// else writes there. Ends where there is no such thing as another server.
pub(crate) async fn post_for_the_gone(database: Database, env: Env) {
    let Database::Postgres(url) = database else { return };
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut heir = match tokio::task::spawn_blocking(move || Heir::new(&url)).await {
        Ok(Ok(heir)) => heir,
        _ => return tracing::error!("nobody looks for partitions whose server is gone"),
    };
    loop {
        ticks.tick().await;
        // Looking and taking wait for the database, and so does a writer for its end: away from the handlers' threads.
        let env = env.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let posted = post_all(&mut heir, &env);
            (heir, posted)
        });
        let Ok((back, posted)) = looked.await else { return };
        heir = back;
        if let Err(error) = posted {
            tracing::warn!(?error, "partitions whose server is gone wait for the next look");
        }
    }
}

fn post_all(heir: &mut Heir, env: &Env) -> Result<(), Failure> {
    heir.look()?;
    while let Some(engine) = heir.take()? {
        let (store, writer) = Store::start(Box::new(engine), env.clone())?;
        let posted = tokio::runtime::Handle::current().block_on(post(&store));
        drop(store);
        // The writer gives the partition back as it ends; one that panicked has told so itself.
        let _ = writer.join();
        posted?;
    }
    Ok(())
}

async fn post(store: &Store) -> Result<(), Failure> {
    for _ in 0..MAX_POSTINGS {
        let Ok(random) = entropy::random() else { break };
        let posting = commands::PostClearing { now_ms: entropy::now_ms(), random };
        if store.execute(posting).await? == 0 {
            break;
        }
    }
    Ok(())
}
