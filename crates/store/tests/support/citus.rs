//! A Citus cluster for tests: a coordinator and two workers on this machine, each a server of its own that may be killed;
//! gone with the process that started them, however that ends. The tests of other crates include this file as well.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::keeper::{Keeper, free_ports, programs, psql};

/// How long a server may take to start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// The coordinator comes first.
const NODES: usize = 3;

/// Starts the servers, does as it is told, and ends them when nobody is left to tell it anything.
const KEEPER: &str = r#"
exec 2>>"$HOME_DIR/log"
port() { echo $PORTS | cut -d' ' -f$(($1 + 1)); }
start() { "$BIN/postgres" -D "$HOME_DIR/n$1" >>"$HOME_DIR/log" 2>&1 & eval "server$1=$!"; }
# A process that nobody has asked for its end yet is a zombie, which holds nothing.
lives() { case "$(ps -o stat= -p "$1")" in ''|Z*) return 1 ;; esac; }
kill_at_once() {
    eval "pid=\$server$1"
    kill -STOP "$pid"; children=$(ps -o pid= --ppid "$pid"); kill -KILL $pid $children; wait "$pid"
    # One that waits for the disk dies when the disk has answered. As long as it lives it holds the memory and the port
    # of the server that is gone, and no new one starts.
    tries=0
    for child in $children; do
        while lives "$child" && [ $tries -lt 3000 ]; do tries=$((tries + 1)); sleep 0.02; done
    done
}
for node in 0 1 2; do
    "$BIN/initdb" -D "$HOME_DIR/n$node" -U paychip --auth=trust --no-sync --no-instructions >>"$HOME_DIR/log" 2>&1 || exit 1
    cat >>"$HOME_DIR/n$node/postgresql.conf" <<EOF
listen_addresses = '127.0.0.1'
port = $(port $node)
unix_socket_directories = '$HOME_DIR'
shared_preload_libraries = 'citus'
max_connections = 200
shared_buffers = '64MB'
citus.recover_2pc_interval = '2s'
citus.node_connection_timeout = '5s'
citus.node_conninfo = 'sslmode=disable'
EOF
    start $node
done
echo ready
while read -r order node; do
    case $order in kill) kill_at_once $node ;; start) start $node ;; esac
    echo done
done
for node in 0 1 2; do eval "kill -QUIT \$server$node"; done
wait
rm -rf "$HOME_DIR"
"#;

/// A running cluster.
pub struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    ports: Vec<u16>,
    keeper: Keeper,
    databases: AtomicU32,
    /// Nodes are added to one database at a time.
    adding: Mutex<()>,
}

/// Whether this machine's PostgreSQL has Citus.
fn has_citus(bin: &Path) -> bool {
    let version = bin.parent().and_then(Path::file_name).unwrap_or_default();
    let beside = bin.parent().map(|server| server.join("lib/citus.so"));
    let shared = Path::new("/usr/share/postgresql").join(version).join("extension/citus.control");
    beside.is_some_and(|library| library.exists()) && shared.exists()
}

impl Cluster {
    /// A cluster of this machine's PostgreSQL; `None`, said by name, where Citus is not installed.
    pub fn start() -> Option<Self> {
        let Some(bin) = programs().filter(|bin| has_citus(bin)) else {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let why = format!("skipped: {test}: the extension citus is not installed");
            assert!(std::env::var_os("PAYCHIP_REQUIRE_CITUS").is_none(), "{why}");
            println!("{why}");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("citus-").tempdir().unwrap().keep();
        let (ports, listed) = free_ports(NODES);
        let keeper = Keeper::start(&folder, KEEPER, &[("BIN", bin.to_str().unwrap()), ("PORTS", &listed)]);
        keeper.ready();
        let (databases, adding) = (AtomicU32::new(0), Mutex::new(()));
        let cluster = Self { folder, bin, ports, keeper, databases, adding };
        (0..NODES).for_each(|node| cluster.wait_until_up(node));
        Some(cluster)
    }

    /// An empty database of its own on the whole cluster: the URL.
    pub fn new_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let _one = self.adding.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for node in 0..NODES {
            self.sql(node, "postgres", &format!("CREATE DATABASE {name}"));
            self.sql(node, &name, "CREATE EXTENSION citus");
        }
        self.sql(0, &name, &format!("SELECT citus_set_coordinator_host('127.0.0.1', {})", self.ports[0]));
        for port in &self.ports[1..] {
            self.sql(0, &name, &format!("SELECT citus_add_node('127.0.0.1', {port})"));
        }
        self.url(&name)
    }

    /// Where a database is: at the coordinator.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://paychip@127.0.0.1:{}/{database}", self.ports[0])
    }

    /// Where the coordinator listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.ports[0]))
    }

    /// Runs SQL at a node and returns what it prints.
    pub fn sql(&self, node: usize, database: &str, sql: &str) -> String {
        self.try_sql(node, database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL that may fail.
    pub fn try_sql(&self, node: usize, database: &str, sql: &str) -> Result<String, String> {
        let (folder, port) = (self.folder.to_str().unwrap(), self.ports[node].to_string());
        psql(&self.bin, &["-h", folder, "-p", &port], "paychip", database, sql)
    }

    /// Kills a node with SIGKILL, all its processes at once, as a power cut does.
    pub fn kill(&self, node: usize) {
        self.keeper.order(&format!("kill {node}"));
    }

    /// Starts it again.
    pub fn start_again(&self, node: usize) {
        self.keeper.order(&format!("start {node}"));
        self.wait_until_up(node);
    }

    /// The last lines that the servers wrote.
    pub fn end_of_log(&self) -> String {
        self.keeper.end_of_log()
    }

    fn wait_until_up(&self, node: usize) {
        let begun = Instant::now();
        while let Err(error) = self.try_sql(node, "postgres", "SELECT 1") {
            assert!(begun.elapsed() < START_PATIENCE, "node {node} does not answer: {error}\n{}", self.end_of_log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
