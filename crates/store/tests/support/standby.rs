//! Two PostgreSQL servers for tests, one the synchronous standby of the other: what one acknowledges both have on disk. The
//! one that takes writes may be killed and the other promoted, again and again; both are gone with the process that started
//! them, however that ends. The tests of other crates include this file as well.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::keeper::{Keeper, free_ports, programs_or_skip, psql};

/// How long a server may take to start, to be promoted, or to catch up.
const PATIENCE: Duration = Duration::from_secs(60);
const NODES: usize = 2;

/// Starts the servers, does as it is told, and ends them when nobody is left to tell it anything.
const KEEPER: &str = r#"
exec 2>>"$HOME_DIR/log"
port() { echo $PORTS | cut -d' ' -f$(($1 + 1)); }
start() { "$BIN/postgres" -D "$HOME_DIR/n$1" -p $(port $1) >>"$HOME_DIR/log" 2>&1 & eval "server$1=$!"; }
# A process that nobody has asked for its end yet is a zombie, which holds nothing.
lives() { case "$(ps -o stat= -p "$1")" in ''|Z*) return 1 ;; esac; }
all_of() { eval "pid=\$server$1"; children=$(ps -o pid= --ppid "$pid"); }
kill_at_once() {
    all_of $1
    kill -STOP "$pid"; kill -KILL $pid $children; wait "$pid"
    tries=0
    for child in $children; do
        while lives "$child" && [ $tries -lt 3000 ]; do tries=$((tries + 1)); sleep 0.02; done
    done
}
copy() {
    rm -rf "$HOME_DIR/n$1"
    "$BIN/pg_basebackup" -h "$HOME_DIR" -p $(port $((1 - $1))) -U paychip -D "$HOME_DIR/n$1" -R -X stream --checkpoint=fast --no-sync
}
"$BIN/initdb" -D "$HOME_DIR/n0" -U paychip --auth=trust --no-sync --no-instructions >>"$HOME_DIR/log" 2>&1 || exit 1
cat >>"$HOME_DIR/n0/postgresql.conf" <<EOF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$HOME_DIR'
max_connections = 200
shared_buffers = '64MB'
wal_retrieve_retry_interval = '200ms'
EOF
start 0
echo ready
while read -r order node; do
    case $order in
        kill) kill_at_once $node ;;
        start) start $node ;;
        copy) copy $node; start $node ;;
        freeze) all_of $node; kill -STOP $pid $children ;;
        thaw) all_of $node; kill -CONT $pid $children ;;
    esac
    echo done
done
for node in 0 1; do all_of $node; kill -CONT $pid $children; kill -QUIT $pid; done
wait
rm -rf "$HOME_DIR"
"#;

/// The two servers.
pub struct Pair {
    folder: PathBuf,
    bin: PathBuf,
    ports: Vec<u16>,
    /// Which of them takes writes.
    primary: AtomicUsize,
    keeper: Keeper,
    databases: AtomicU32,
}

impl Pair {
    /// Two servers of this machine's PostgreSQL; `None`, said by name, where there is none.
    pub fn start() -> Option<Self> {
        let bin = programs_or_skip()?;
        let folder = tempfile::Builder::new().prefix("pair-").tempdir().unwrap().keep();
        let (ports, listed) = free_ports(NODES);
        let keeper = Keeper::start(&folder, KEEPER, &[("BIN", bin.to_str().unwrap()), ("PORTS", &listed)]);
        keeper.ready();
        let (primary, databases) = (AtomicUsize::new(0), AtomicU32::new(0));
        let pair = Self { folder, bin, ports, primary, keeper, databases };
        pair.wait_until("SELECT 1", "1");
        pair.bring_back_the_other();
        Some(pair)
    }

    /// An empty database of its own: the URL, which names both servers.
    pub fn new_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        let [one, two] = [self.ports[0], self.ports[1]];
        format!("postgres://paychip@127.0.0.1:{one},127.0.0.1:{two}/{name}?target_session_attrs=read-write")
    }

    /// Runs SQL at the server that takes writes and returns what it prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let (folder, port) = (self.folder.to_str().unwrap(), self.ports[self.primary()].to_string());
        psql(&self.bin, &["-h", folder, "-p", &port], "paychip", database, sql)
    }

    /// Kills the server that takes writes with SIGKILL, all its processes at once, and has the other one take over.
    pub fn fail_over(&self) {
        self.kill_primary();
        self.promote_the_other();
    }

    /// Kills the server that takes writes.
    pub fn kill_primary(&self) {
        self.order("kill", self.primary());
    }

    /// Starts it again where nobody has taken over.
    pub fn start_primary_again(&self) {
        self.order("start", self.primary());
        self.wait_until("SELECT 1", "1");
    }

    /// Has the standby take writes from now on, which then waits for nobody else's disk.
    pub fn promote_the_other(&self) {
        self.primary.store(self.standby(), Ordering::Release);
        self.wait_until("SELECT pg_promote(true, 60)", "t");
        self.wait_for_standbys("");
    }

    /// Makes the server that does not take writes a copy of the one that does, which waits for it from then on.
    pub fn bring_back_the_other(&self) {
        self.order("copy", self.standby());
        self.wait_until("SELECT state FROM pg_stat_replication", "streaming");
        self.wait_for_standbys("*");
        self.wait_until("SELECT sync_state FROM pg_stat_replication", "sync");
    }

    fn wait_for_standbys(&self, names: &str) {
        self.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// Stops the standby as a machine is that hangs: its connections stay, and it says nothing.
    pub fn freeze_standby(&self) {
        self.order("freeze", self.standby());
    }

    /// Stops the server that takes writes in the same way.
    pub fn freeze_primary(&self) {
        self.order("freeze", self.primary());
    }

    /// Lets the standby go on.
    pub fn thaw_standby(&self) {
        self.order("thaw", self.standby());
    }

    fn primary(&self) -> usize {
        self.primary.load(Ordering::Acquire)
    }

    fn standby(&self) -> usize {
        1 - self.primary()
    }

    fn order(&self, order: &str, node: usize) {
        self.keeper.order(&format!("{order} {node}"));
    }

    /// The last lines that the servers wrote.
    pub fn end_of_log(&self) -> String {
        self.keeper.end_of_log()
    }

    fn wait_until(&self, sql: &str, expected: &str) {
        let begun = Instant::now();
        loop {
            let told = self.try_sql("postgres", sql);
            if told.as_deref() == Ok(expected) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{sql}: {told:?}\n{}", self.end_of_log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
