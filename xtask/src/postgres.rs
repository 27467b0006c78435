//! A PostgreSQL server for one run, in a temporary folder and under a user without rights, stopped when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{printed, program, run};

/// Where Debian and Ubuntu keep the servers, one folder a version.
const SERVERS: &str = "/usr/lib/postgresql";
/// Settings of the server measured, TPC-B's as ours: durable, what a small machine is given, and as `docs/operations.md` says.
const SETTINGS: &str = "-c fsync=on -c synchronous_commit=on -c full_page_writes=on -c shared_buffers=512MB \
    -c max_wal_size=4GB -c wal_compression=lz4 -c max_connections=300 -c listen_addresses=127.0.0.1";

/// A running server.
pub(crate) struct Postgres {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Postgres {
    /// Makes a server in this folder and starts it.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        let bin = newest()?;
        // What an earlier run that was killed has left.
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        drop(listener);
        let server = Self { bin, folder: folder.to_owned(), port };
        if is_root() {
            run(program("chown", &["postgres", &folder.to_string_lossy()]))?;
        }
        let data = folder.join("data");
        let data = data.to_string_lossy().into_owned();
        printed(server.as_server("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "--no-sync"]))?;
        let options = format!("{SETTINGS} -p {port} -k {}", folder.display());
        let log = folder.join("log");
        // It must not hold our output open: it stays when this command has ended.
        run(server
            .as_server("pg_ctl", &["-D", &data, "-w", "-s", "-l", &log.to_string_lossy(), "-o", &options, "start"]))?;
        Ok(server)
    }

    /// A program of the server, run by the user that may run one.
    fn as_server(&self, name: &str, arguments: &[&str]) -> Command {
        let path = self.bin.join(name);
        let path = path.to_string_lossy();
        let mut command = if is_root() {
            let mut command = program("setpriv", &["--reuid=postgres", "--regid=postgres", "--clear-groups", &path]);
            command.args(arguments);
            command
        } else {
            program(&path, arguments)
        };
        command.current_dir(&self.folder);
        command
    }

    /// The URL of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database.
    pub(crate) fn create(&self, database: &str) -> Result<(), String> {
        let port = self.port.to_string();
        run(self.as_server("createdb", &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", database]))
    }

    /// Lets what was done before come to its end, so that nothing measured next waits for it: a `database` that was filled is
    /// vacuumed, as pgbench does after it has filled its own, and what has been changed is written to its place on the disk.
    pub(crate) fn settle(&self, database: Option<&str>) -> Result<(), String> {
        if let Some(database) = database {
            self.sql(database, "VACUUM ANALYZE")?;
        }
        self.sql("postgres", "CHECKPOINT")
    }

    fn sql(&self, database: &str, statement: &str) -> Result<(), String> {
        let port = self.port.to_string();
        let connection = ["-q", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-c", statement, database];
        run(self.as_server("psql", &connection))
    }

    /// Removes a database, and with it the work of the server's own housekeeping on it.
    pub(crate) fn remove(&self, database: &str) -> Result<(), String> {
        let port = self.port.to_string();
        run(self.as_server("dropdb", &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", database]))
    }

    /// Transactions a second of pgbench's TPC-B, with this many clients.
    pub(crate) fn tpcb_per_second(&self, clients: usize, seconds: u64) -> Result<f64, String> {
        let (port, clients, seconds) = (self.port.to_string(), clients.to_string(), seconds.to_string());
        let connection = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        // As pgbench's manual asks for: with fewer branches than clients these would wait for one another's rows.
        let scale = ["-i", "-q", "-s", &clients, "tpcb"];
        printed(self.as_server("pgbench", &[&connection[..], &scale].concat()))?;
        self.settle(None)?;
        let measured = ["-c", &clients, "-j", "2", "-T", &seconds, "tpcb"];
        let told = printed(self.as_server("pgbench", &[&connection[..], &measured].concat()))?;
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        tps.ok_or_else(|| format!("pgbench did not tell its rate:\n{told}"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.folder.join("data");
        let stopped = run(self.as_server("pg_ctl", &["-D", &data.to_string_lossy(), "-m", "fast", "-s", "-w", "stop"]));
        if let Err(sentence) = stopped {
            println!("{sentence}");
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_root() -> bool {
    printed(program("id", &["-u"])).is_ok_and(|id| id.trim() == "0")
}

/// The newest version there is.
pub(crate) fn newest() -> Result<PathBuf, String> {
    let versions = std::fs::read_dir(SERVERS).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut known: Vec<(u32, PathBuf)> = versions
        .filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin"))))
        .filter(|(_, bin): &(u32, PathBuf)| bin.join("initdb").exists())
        .collect();
    known.sort();
    let newest = known.pop().map(|(_, bin)| bin);
    newest.ok_or_else(|| {
        format!("there is no PostgreSQL in {SERVERS}: on Debian and Ubuntu, `apt-get install postgresql`")
    })
}

/// Whether the newest version has the extension citus.
pub(crate) fn has_citus() -> bool {
    newest().is_ok_and(|bin| bin.parent().is_some_and(|server| server.join("lib/citus.so").exists()))
}
