//! HTTP over the platform: the API, the relay of bindings, the key vault, and the time and randomness of the real
//! world.
//!
//! [`Server::bind`] opens a data folder and a port; [`Server::run`] serves until told to stop, then finishes what
//! was accepted.

mod api;
mod app;
mod auth;
mod body;
mod data_dir;
mod database;
mod door;
mod entropy;
mod error;
mod housekeeping;
mod known;
mod owners;
mod rules;
mod vault;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use platform::KeyHash;
use store::{Env, Queries, Store, StoreError};
use tokio::net::TcpListener;

pub use app::openapi_json;
pub use auth::{MERCHANT_KEY, OPERATOR_KEY, WALLET_KEY};
pub use body::MAX_BODY_BYTES;
pub use data_dir::{DATABASE_FILE, MASTER_KEY_FILE, OPERATOR_KEY_FILE};
pub use database::Database;
pub use door::{Connections, TlsFault, TlsFiles};
pub use platform::{CodeSettings, Limits, Settings};
pub use vault::{
    IMPORTED_FILE, KeysAt, MasterKeyState, MasterKeyView, Passphrase, SEALED_FILE, StoredVault, TOKEN_FILE,
    TokenAccess, TokenFault, TokenUri, VaultFault,
};

/// How to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of keys, and of the database where it is a file; created when absent.
    pub data_dir: PathBuf,
    /// Where the data is kept.
    pub database: Database,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Serve plain HTTP on other addresses than loopback, because something in front ends TLS.
    pub plain_http: bool,
    /// Certificate and key, where TLS ends here.
    pub tls: Option<TlsFiles>,
    /// How many connections there may be.
    pub connections: Connections,
    /// The operator's choices.
    pub settings: Settings,
    /// How the key vault is opened.
    pub keys: Keys,
}

/// How the key vault is opened.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Other people's money is at stake: a key that lies in the open is refused.
    pub production: bool,
    /// The passphrase of a sealed vault.
    pub passphrase: Option<Passphrase>,
    /// The PKCS#11 token that has the keys.
    pub token: Option<TokenAccess>,
}

/// Why the server could not start.
#[derive(Debug)]
pub enum StartError {
    /// A file or folder of the data folder could not be read or written.
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key vault does not answer.
    Vault,
    /// The key vault cannot be opened.
    Keys(VaultFault),
    /// The database could not be opened.
    Store(StoreError),
    /// The port could not be opened.
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// Keys and money would cross the network in the clear.
    PlainHttp(SocketAddr),
    /// TLS cannot be spoken.
    Tls(TlsFault),
}

impl core::fmt::Display for StartError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Data { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Vault => f.write_str("the key vault did not answer"),
            Self::Keys(fault) => write!(f, "{fault}"),
            Self::Store(error) => write!(f, "{error}"),
            Self::Listen { address, reason } => write!(f, "cannot listen on {address}: {reason}"),
            Self::PlainHttp(address) => write!(
                f,
                "{address} is not a loopback address and this server speaks plain HTTP; give it --tls-cert and --tls-key, or put a TLS proxy in front and say --plain-http"
            ),
            Self::Tls(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<VaultFault> for StartError {
    fn from(fault: VaultFault) -> Self {
        Self::Keys(fault)
    }
}

/// What every handler may use. Cloned several times for each request, by all threads: behind one count, not one for each
/// part.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

impl core::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts of an [`App`].
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) queries: Arc<Queries>,
    pub(crate) env: Env,
    pub(crate) known: Arc<known::KnownMerchants>,
    pub(crate) operator_key: KeyHash,
}

/// The data a server works on, opened: what decides and what reads, without any HTTP.
pub struct Data {
    /// Where commands go.
    pub store: Store,
    /// Where reads go.
    pub queries: Queries,
    /// Keys and choices.
    pub env: Env,
    vault: Arc<vault::MasterVault>,
    keys_at: KeysAt,
    operator_key: String,
    // Dropped after the handle to the store, which it waits for.
    writing: Writing,
}

/// The store's writer, and the folder that no second server may work in meanwhile: whoever lets go of this waits until
/// the writer has ended, and the folder is free only then. The writer ends when the last handle to the store is gone.
struct Writing {
    writer: Option<JoinHandle<()>>,
    // Freed after `drop` has waited.
    _folder: data_dir::DataDir,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has told so itself.
            let _ = writer.join();
        }
    }
}

impl Data {
    /// Opens the data folder and its database, making what is absent.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(folder: &Path, database: &Database, settings: Settings, keys: &Keys) -> Result<Self, StartError> {
        let mut folder = data_dir::DataDir::open(folder)?;
        let database::Opened { engines, queries, vault, keys_at } = database.open(&mut folder, keys)?;
        let operator_key = folder.operator_key()?;
        let env = Env::new(vault.clone(), Arc::new(settings)).map_err(|_| StartError::Vault)?;
        rules::load(&queries, &env)?;
        let (store, writer) = Store::start_all(engines, env.clone())?;
        let writing = Writing { writer: Some(writer), _folder: folder };
        Ok(Self { store, queries, env, vault, keys_at, operator_key, writing })
    }

    /// Opens a data folder that has a database already.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open_existing(folder: &Path, keys: &Keys) -> Result<Self, StartError> {
        let database = folder.join(DATABASE_FILE);
        if !database.exists() {
            return Err(StartError::Data { path: database, reason: "there is no database".to_owned() });
        }
        Self::open(folder, &Database::Sqlite, Settings::default(), keys)
    }

    /// Puts a copy of a database into a data folder that has none.
    ///
    /// # Errors
    /// [`StartError`]; nothing is written over.
    pub fn restore(folder: &Path, copy: &Path) -> Result<(), StartError> {
        let mut folder = data_dir::DataDir::open(folder)?;
        folder.lock()?;
        folder.restore(copy)
    }

    /// Answers what was accepted and closes the database.
    pub fn close(self) {
        drop(self.store);
        drop(self.writing);
    }
}

/// A server with its data open and its port bound.
pub struct Server {
    app: App,
    listener: TcpListener,
    address: SocketAddr,
    operator_key: String,
    database: Database,
    folder: PathBuf,
    keys: Keys,
    vault: Arc<vault::MasterVault>,
    keys_at: KeysAt,
    tls: Option<Arc<door::Tls>>,
    connections: Connections,
    // Dropped after the handle to the store, which it waits for.
    writing: Writing,
}

impl Server {
    /// Opens the data folder and the port.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let tls = config.tls.map(door::Tls::open).transpose().map_err(StartError::Tls)?.map(Arc::new);
        if tls.is_none() && !config.listen.ip().is_loopback() && !config.plain_http {
            return Err(StartError::PlainHttp(config.listen));
        }
        let listen_error =
            |error: std::io::Error| StartError::Listen { address: config.listen, reason: error.to_string() };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let Data { store, queries, env, vault, keys_at, operator_key, writing } =
            Data::open(&config.data_dir, &config.database, config.settings, &config.keys)?;
        let operator_key_hash = KeyHash::of(&operator_key);
        let (queries, known) = (Arc::new(queries), Arc::new(known::KnownMerchants::default()));
        let app = App(Arc::new(Parts { store, queries, env, known, operator_key: operator_key_hash }));
        let (folder, database, keys) = (config.data_dir, config.database, config.keys);
        let connections = config.connections;
        Ok(Self {
            app,
            listener,
            address,
            operator_key,
            database,
            folder,
            keys,
            vault,
            keys_at,
            tls,
            connections,
            writing,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether TLS ends here.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where the master keys are.
    pub fn keys_at(&self) -> KeysAt {
        self.keys_at
    }

    /// The operator's key, as text.
    pub fn operator_key(&self) -> &str {
        &self.operator_key
    }

    /// Serves until `stop` completes; then answers what was accepted and closes the store.
    ///
    /// # Errors
    /// That the store has stopped: after a failed write it acknowledges
    /// nothing any more, and a restart finds out what the disk holds.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let housekeeper = tokio::spawn(housekeeping::run(self.app.store.clone(), Arc::clone(&self.app.queries)));
        owners::learn_beside(Arc::clone(&self.app.queries), self.app.env.clone());
        let watcher = tokio::spawn(rules::watch(Arc::clone(&self.app.queries), self.app.env.clone()));
        let (at, database) = (self.keys_at, self.database.clone());
        let follower =
            (at != KeysAt::Open).then(|| tokio::spawn(vault::follow(self.folder, at, self.keys, database, self.vault)));
        let heir = tokio::spawn(database::post_for_the_gone(self.database, self.app.env.clone()));
        let renewer = self.tls.clone().map(|tls| tokio::spawn(tls.follow()));
        let router = app::router(self.app);
        // Joining must not block the runtime's threads. The writer ends when the last handle to it is gone, or when
        // it can acknowledge nothing any more; the server must not outlive it.
        let writing = self.writing;
        let mut writer_end = tokio::task::spawn_blocking(move || drop(writing));
        let served = tokio::select! {
            () = door::serve(self.listener, self.tls.clone(), self.connections, router, stop) => Ok(()),
            _ = &mut writer_end => return Err(std::io::Error::other("the store has stopped; see the log")),
        };
        heir.abort();
        watcher.abort();
        for task in [follower, renewer].into_iter().flatten() {
            task.abort();
        }
        housekeeper.abort();
        // Aborting drops the housekeeper's handle to the store.
        let _ = housekeeper.await;
        let _ = writer_end.await;
        served
    }
}
