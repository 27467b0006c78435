//! What every kind of database server for tests stands on: a shell that starts and ends its processes as it is told, and ends
//! them when nobody is left to tell it anything; and `psql`. The tests of other crates include this file as well.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long a keeper may take to do as it is told.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long `psql` waits for a server that takes its connection and says nothing.
const CONNECT_TIMEOUT_S: &str = "10";
/// How much of the servers' log a failed test shows, bytes.
const SHOWN_LOG_LEN: usize = 6_000;

/// A shell that runs a script of orders, in a folder that is removed by it, and logs to `log` there.
pub struct Keeper {
    log: PathBuf,
    line: Mutex<Line>,
}

struct Line {
    // Only held: it ends by itself when its input does.
    _child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Keeper {
    /// Starts it as a user who may run PostgreSQL; the script finds the folder as `HOME_DIR`, and what is `set` beside it.
    pub fn start(folder: &Path, script: &str, set: &[(&str, &str)]) -> Self {
        let mut command = unprivileged(folder);
        command.args(["sh", "-c", script]).env("HOME_DIR", folder).env("HOME", folder).env("LC_ALL", "C");
        command.envs(set.iter().copied()).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("no shell");
        let orders = child.stdin.take().unwrap();
        let answers = lines_of(child.stdout.take().unwrap());
        Self { log: folder.join("log"), line: Mutex::new(Line { _child: child, orders, answers }) }
    }

    /// What it says first, once everything runs.
    pub fn ready(&self) -> String {
        let line = self.line.lock().unwrap().answers.recv_timeout(PATIENCE);
        line.unwrap_or_else(|_| panic!("the servers do not start:\n{}", self.end_of_log()))
    }

    /// Has it carry out an order, and waits until that is done.
    pub fn order(&self, order: &str) {
        let mut line = self.line.lock().unwrap();
        writeln!(line.orders, "{order}").unwrap();
        let told = line.answers.recv_timeout(PATIENCE);
        assert_eq!(told.as_deref(), Ok("done"), "the servers do not do as told: {order}\n{}", self.end_of_log());
    }

    /// The last lines that the servers wrote.
    pub fn end_of_log(&self) -> String {
        end_of(&self.log)
    }
}

/// What `psql` prints of this SQL, or says against it; `at` says where the server is.
pub fn psql(bin: &Path, at: &[&str], user: &str, database: &str, sql: &str) -> Result<String, String> {
    let mut command = Command::new(bin.join("psql"));
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database, "-c", sql]).args(at);
    let output = command.env("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT_S).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Ports that nobody listens at, and the same as a script takes them.
pub fn free_ports(count: usize) -> (Vec<u16>, String) {
    // All held at the same time, so that they differ.
    let free: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = free.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    let listed = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
    (ports, listed)
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
fn unprivileged(folder: &Path) -> Command {
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

/// The newest version's programs; nothing, said by name, where there are none.
pub fn programs_or_skip() -> Option<PathBuf> {
    let bin = programs();
    if bin.is_none() {
        let why = "skipped: PostgreSQL is not installed (package postgresql)";
        assert!(std::env::var_os("PAYCHIP_REQUIRE_POSTGRES").is_none(), "{why}");
        println!("{why}");
    }
    bin
}
