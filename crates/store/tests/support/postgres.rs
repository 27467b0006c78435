//! A PostgreSQL server for tests: in a folder of its own, on a socket of its own, gone with the process that started it,
//! however that ends. The tests of other crates include this file as well.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long the keeper of a server may take to do as it is told.
pub const KEEPER_PATIENCE: Duration = Duration::from_secs(120);
/// How long `psql` waits for a server that takes its connection and says nothing.
pub const CONNECT_TIMEOUT_S: &str = "10";
/// How much of the server's log a failed test shows, bytes.
const SHOWN_LOG_LEN: usize = 6_000;

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
    keeper: Mutex<Keeper>,
    databases: AtomicU32,
}

struct Keeper {
    // Only held: it ends by itself when its input does.
    _child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Postgres {
    /// A server of this machine's PostgreSQL; `None`, said by name, where there is none.
    pub fn start() -> Option<Self> {
        let Some(bin) = programs() else {
            let why = "skipped: PostgreSQL is not installed (package postgresql)";
            assert!(std::env::var_os("PAYCHIP_REQUIRE_POSTGRES").is_none(), "{why}");
            println!("{why}");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("pg-").tempdir().unwrap().keep();
        let mut command = unprivileged(&folder);
        command.args(["sh", "-c", KEEPER]).env("BIN", &bin).env("HOME_DIR", &folder).env("LC_ALL", "C");
        let mut child =
            command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("no shell");
        let orders = child.stdin.take().unwrap();
        let answers = lines_of(child.stdout.take().unwrap());
        let keeper = Mutex::new(Keeper { _child: child, orders, answers });
        let server = Self { folder, bin, port: Mutex::new("5432".to_owned()), keeper, databases: AtomicU32::new(0) };
        server.hear("ready");
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
        self.order("crash");
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
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "paychip", "-d", database, "-c", sql]);
        command.env("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT_S).env("PGPORT", &*self.port.lock().unwrap());
        let output = command.arg("-h").arg(&self.folder).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Ends the server at once, as `pg_ctl stop -m immediate` does.
    pub fn crash(&self) {
        self.order("crash");
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.order("start");
        self.wait_until_up();
    }

    fn order(&self, order: &str) {
        writeln!(self.keeper.lock().unwrap().orders, "{order}").unwrap();
        self.hear("done");
    }

    fn hear(&self, expected: &str) {
        let line = self.keeper.lock().unwrap().answers.recv_timeout(KEEPER_PATIENCE);
        assert_eq!(line.as_deref(), Ok(expected), "PostgreSQL does not do as told:\n{}", self.end_of_log());
    }

    /// The last lines that the server wrote.
    pub fn end_of_log(&self) -> String {
        end_of(&self.folder.join("log"))
    }

    fn wait_until_up(&self) {
        let begun = Instant::now();
        while let Err(error) = self.try_sql("postgres", "SELECT 1") {
            assert!(begun.elapsed() < START_PATIENCE, "PostgreSQL does not answer: {error}\n{}", self.end_of_log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The last lines of a log; none where there is no such file.
pub fn end_of(log: &Path) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(SHOWN_LOG_LEN)..]).into_owned()
}

/// What a program prints, line by line, so that one that says nothing can be waited for with a bound.
pub fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (tell, lines) = channel();
    std::thread::spawn(move || {
        let mut read = BufReader::new(output).lines();
        while let Some(Ok(line)) = read.next() {
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The newest version's programs.
pub fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bins = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("postgres").exists());
    bins.max_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|version| version.parse::<u32>().ok())
    })
}

/// PostgreSQL refuses to run as root: then the folder is given to its own user, and what runs runs as that.
pub fn unprivileged(folder: &Path) -> Command {
    let id = |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("no user `postgres`")
    };
    if id(&["-u"]) != 0 {
        return Command::new("env");
    }
    let (user, group) = (id(&["-u", "postgres"]), id(&["-g", "postgres"]));
    std::os::unix::fs::chown(folder, Some(user), Some(group)).unwrap();
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).args(["--clear-groups", "--"]);
    command
}
