//! Which engine keeps the data: the file in the data folder, or a PostgreSQL database that several servers share.

use std::sync::Arc;
use std::time::Duration;

use platform::KeyVault;
use sha2::{Digest, Sha256};
use store::engine::Engine;
use store::postgres::{Heir, PostgresEngine, PostgresReader, PostgresUrl};
use store::sqlite::SqliteEngine;
use store::{Env, Failure, Queries, Store, commands};
use zeroize::Zeroizing;

use crate::data_dir::DataDir;
use crate::{StartError, entropy, vault};

/// Partitions of a PostgreSQL database that a server writes at the same time, each over a connection of its own.
const PARTITIONS: usize = 4;
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
    /// In a PostgreSQL database, by any number of servers with one master key.
    Postgres(PostgresUrl),
}

/// A database opened, and the vault whose keys it was made with.
pub(crate) struct Opened {
    pub(crate) engines: Vec<Box<dyn Engine>>,
    pub(crate) queries: Queries,
    pub(crate) vault: Arc<dyn KeyVault>,
}

impl Database {
    pub(crate) fn open(&self, folder: &mut DataDir) -> Result<Opened, StartError> {
        let (engines, queries, key): (Vec<Box<dyn Engine>>, _, _) = match self {
            Self::Sqlite => {
                folder.lock()?;
                let key = folder.master_key()?;
                let engine = SqliteEngine::open(&folder.database())?;
                let queries = Queries::new(Box::new(engine.reader(&folder.database())?));
                (vec![Box::new(engine)], queries, key)
            }
            Self::Postgres(url) => {
                let engine = PostgresEngine::open(url)?;
                if engine.has_master_key()? {
                    folder.must_hold_master_key()?;
                }
                let key = folder.master_key()?;
                engine.check_master_key(&check_value(&key))?;
                let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(engine)];
                for _ in 1..PARTITIONS {
                    engines.push(Box::new(PostgresEngine::open(url)?));
                }
                (engines, Queries::new(Box::new(PostgresReader::open(url)?)), key)
            }
        };
        Ok(Opened { engines, queries, vault: Arc::new(vault::SoftwareVault::new(key)) })
    }
}

/// A value by which servers find that they have the same master key, and from which nobody finds the key.
fn check_value(key: &Zeroizing<[u8; 32]>) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"paychip master key check value");
    hash.update(key.as_slice());
    let mut value = [0; 16];
    value.copy_from_slice(&hash.finalize()[..16]);
    value
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
