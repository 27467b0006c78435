//! Two PostgreSQL servers and the monitor of pg_auto_failover, with the settings that docs/operations.md gives: nobody here
//! promotes anything. All of them are gone with the process that started them, however that ends.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::keeper::{Keeper, free_ports, programs, psql};

/// How long the monitor may take to see that a node is gone, or back.
const PATIENCE: Duration = Duration::from_secs(120);
const PROGRAM: &str = "pg_autoctl";
/// The monitor comes first.
const NODES: usize = 3;

/// Starts the nodes, does as it is told, and ends them when nobody is left to tell it anything.
const KEEPER: &str = r#"
exec 2>>"$HOME_DIR/log"
mkdir -p "$HOME_DIR/run" && export XDG_RUNTIME_DIR="$HOME_DIR/run"
me=$(id -un)
port() { echo $PORTS | cut -d' ' -f$(($1 + 1)); }
run() { pg_autoctl run --pgdata "$HOME_DIR/n$1" >>"$HOME_DIR/log" 2>&1 & eval "node$1=$!"; }
tree() { echo $1; for child in $(ps -o pid= --ppid $1); do tree $child; done; }
kill_at_once() { eval "pid=\$node$1"; all=$(tree $pid); kill -STOP $all; kill -KILL $all; wait $pid; }
monitor() { psql -X -q -A -t -h 127.0.0.1 -p $(port 0) -U "$me" -d pg_auto_failover -c "$1"; }
common="--hostname 127.0.0.1 --auth trust --no-ssl"
pg_autoctl create monitor --pgdata "$HOME_DIR/n0" --pgport $(port 0) $common >>"$HOME_DIR/log" 2>&1 || exit 1
run 0
tries=0
until monitor 'SELECT 1' >/dev/null; do tries=$((tries + 1)); [ $tries -lt 300 ] || exit 1; sleep 0.2; done
for setting in $SETTINGS; do monitor "ALTER SYSTEM SET pgautofailover.${setting%%=*} = ${setting##*=}"; done
monitor 'SELECT pg_reload_conf()' >/dev/null
for node in 1 2; do
    pg_autoctl create postgres --pgdata "$HOME_DIR/n$node" --pgport $(port $node) --name n$node --username paychip $common \
        --monitor "postgres://autoctl_node@127.0.0.1:$(port 0)/pg_auto_failover" >>"$HOME_DIR/log" 2>&1 || exit 1
    run $node
done
echo "$me"
while read -r order node; do
    case $order in kill) kill_at_once $node ;; run) run $node ;; esac
    echo done
done
for node in 0 1 2; do kill_at_once $node; done
rm -rf "$HOME_DIR"
"#;

/// What docs/operations.md has set at the monitor.
const SETTINGS: &str = "health_check_period=1000 health_check_timeout=1000 health_check_retry_delay=500 \
     health_check_max_retries=1 node_considered_unhealthy_timeout=3000 primary_demote_timeout=1000";

/// The monitor and its two nodes.
pub struct Formation {
    bin: PathBuf,
    ports: Vec<u16>,
    /// The database user who may do everything.
    me: String,
    keeper: Keeper,
    /// The node that was killed, if one is.
    gone: Mutex<Option<usize>>,
}

impl Formation {
    /// A formation of this machine's programs; `None`, said by name, where pg_auto_failover is not installed.
    pub fn start() -> Option<Self> {
        let has = |folder: PathBuf| folder.join(PROGRAM).exists();
        let is_there = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(has);
        let extension = |bin: &Path| bin.parent().is_some_and(|server| server.join("lib/pgautofailover.so").exists());
        let Some(bin) = programs().filter(|bin| is_there && extension(bin)) else {
            println!(
                "skipped: pg_auto_failover is not installed (packages pg-auto-failover-cli, postgresql-15-auto-failover)"
            );
            return None;
        };
        let folder = tempfile::Builder::new().prefix("formation-").tempdir().unwrap().keep();
        let (ports, listed) = free_ports(NODES);
        let path = std::env::join_paths([bin.as_path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        let set = [("PORTS", &*listed), ("SETTINGS", SETTINGS), ("PATH", path.to_str().unwrap())];
        let keeper = Keeper::start(&folder, KEEPER, &set);
        let me = keeper.ready();
        let formation = Self { bin, ports, me, keeper, gone: Mutex::new(None) };
        formation.wait_until_both_serve();
        Some(formation)
    }

    /// An empty database: the URL, which names both nodes.
    pub fn new_database(&self) -> String {
        let primary = self.primary().expect("a node takes writes");
        self.sql(primary, "postgres", "CREATE DATABASE pay OWNER paychip").unwrap();
        format!("postgres://paychip@127.0.0.1:{},127.0.0.1:{}/pay", self.ports[1], self.ports[2])
    }

    /// Kills the node that takes writes, all its processes at once, and waits until the other does. How long that took.
    pub fn fail_over(&self) -> Duration {
        let primary = self.primary().expect("a node takes writes");
        *self.gone.lock().unwrap() = Some(primary);
        self.order("kill", primary);
        let begun = Instant::now();
        self.wait_until("the other node takes writes", || {
            let other = 3 - primary;
            self.sql(other, "postgres", "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool")
                == Ok("f".to_owned())
        });
        begun.elapsed()
    }

    /// Starts the node that was killed, and waits until it is the other's standby.
    pub fn bring_back(&self) {
        let Some(gone) = self.gone.lock().unwrap().take() else { return };
        self.order("run", gone);
        self.wait_until_both_serve();
    }

    fn wait_until_both_serve(&self) {
        let states = "SELECT string_agg(reportedstate::text, ' ' ORDER BY reportedstate) FROM pgautofailover.node";
        self.wait_until("one node is the primary and one its standby", || {
            self.sql(0, "pg_auto_failover", states) == Ok("primary secondary".to_owned())
        });
    }

    fn primary(&self) -> Option<usize> {
        let named =
            "SELECT nodename FROM pgautofailover.node WHERE reportedstate IN ('primary', 'wait_primary', 'single')";
        self.sql(0, "pg_auto_failover", named).ok()?.strip_prefix('n')?.parse().ok()
    }

    fn sql(&self, node: usize, database: &str, sql: &str) -> Result<String, String> {
        psql(&self.bin, &["-h", "127.0.0.1", "-p", &self.ports[node].to_string()], &self.me, database, sql)
    }

    fn order(&self, order: &str, node: usize) {
        self.keeper.order(&format!("{order} {node}"));
    }

    fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", self.end_of_log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The last lines that the nodes wrote.
    pub fn end_of_log(&self) -> String {
        self.keeper.end_of_log()
    }
}
