//! A PostgreSQL server for tests: in a folder of its own, on a socket of its own, gone with the process that started it,
//! however that ends. The tests of other crates include this file as well.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::keeper::{Keeper, programs_or_skip, psql};

/// How long a server may take to start.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Starts the server, does as it is told, and ends it when nobody is left to tell it anything.
const KEEPER: &str = r#"
start() { "$BIN/postgres" -D "$HOME_DIR/data" >>"$HOME_DIR/log" 2>&1 & server=$!; }
end() { kill -QUIT "$server"; wait "$server"; }
"$BIN/initdb" -D "$HOME_DIR/data" -U paychip --auth=trust --no-sync --no-instructions >"$HOME_DIR/log" 2>&1 || exit 1
cat >>"$HOME_DIR/data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$HOME_DIR'
max_connections = 200
EOF
start
echo ready
while read -r order; do
    case $order in crash) end ;; start) start ;; esac
    echo done
done
end
rm -rf "$HOME_DIR"
"#;

/// A running server.
pub struct Postgres {
    folder: PathBuf,
    bin: PathBuf,
    /// The number in the name of its socket.
    port: Mutex<String>,
    keeper: Keeper,
    databases: AtomicU32,
}

impl Postgres {
    /// A server of this machine's PostgreSQL; `None`, said by name, where there is none.
    pub fn start() -> Option<Self> {
        let bin = programs_or_skip()?;
        let folder = tempfile::Builder::new().prefix("pg-").tempdir().unwrap().keep();
        let keeper = Keeper::start(&folder, KEEPER, &[("BIN", bin.to_str().unwrap())]);
        keeper.ready();
        let server = Self { folder, bin, port: Mutex::new("5432".to_owned()), keeper, databases: AtomicU32::new(0) };
        server.wait_until_up();
        Some(server)
    }

    /// A database of its own for a test: the URL.
    pub fn new_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Where a database is.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.to_str().unwrap().replace('/', "%2F");
        format!("postgres://paychip@{folder}/{database}")
    }

    /// The server's own files.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts the server again after its settings were changed to this port.
    pub fn moves_to(&self, port: &str) {
        self.keeper.order("crash");
        port.clone_into(&mut self.port.lock().unwrap());
        self.start_again();
    }

    /// Where the server listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Runs SQL in a database and returns what it prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL that may fail.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let port = self.port.lock().unwrap();
        psql(&self.bin, &["-h", self.folder.to_str().unwrap(), "-p", &port], "paychip", database, sql)
    }

    /// Ends the server at once, as `pg_ctl stop -m immediate` does.
    pub fn crash(&self) {
        self.keeper.order("crash");
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.keeper.order("start");
        self.wait_until_up();
    }

    /// The last lines that the server wrote.
    pub fn end_of_log(&self) -> String {
        self.keeper.end_of_log()
    }

    fn wait_until_up(&self) {
        let begun = Instant::now();
        while let Err(error) = self.try_sql("postgres", "SELECT 1") {
            assert!(begun.elapsed() < START_PATIENCE, "PostgreSQL does not answer: {error}\n{}", self.end_of_log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
