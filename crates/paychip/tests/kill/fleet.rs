//! The servers under test with what they keep their data in, and how each is killed and comes back. Everything a server
//! writes to its log is kept, and shown where the campaign fails.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Doors;
use crate::formation::Formation;
use crate::support::citus::Cluster;
use crate::support::keeper::end_of;
use crate::support::postgres::Postgres;
use crate::support::standby::Pair;
use crate::support::{Cloud, program, with_keys_of};

/// How long a server that does not start is started again, as a service manager does: longer than its database takes.
const START_PATIENCE: Duration = Duration::from_secs(90);
/// The pause between two starts.
const START_PAUSE: Duration = Duration::from_millis(250);
/// How long tills may get no answer at all before the campaign fails: longer than one of them waits for its own.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(150);
/// The most answers between two kills, and the longest pause after them, milliseconds.
const MAX_ANSWERS: u64 = 60;
const MAX_PAUSE_MS: u64 = 60;
/// The longest that a worker stays away, milliseconds.
const MAX_AWAY_MS: u64 = 800;
/// One round in so many kills the database itself, where it is a program of its own.
const DATABASE_EVERY: u32 = 8;
/// The same where another machine takes over.
const TAKE_OVER_EVERY: u32 = 4;
/// One in so many servers is killed again before it has started, within so many milliseconds.
const STUMBLES_EVERY: u8 = 4;
const MAX_START_MS: u64 = 150;
/// How often a long campaign tells how far it is, rounds.
const TOLD_EVERY: u32 = 10;

/// Where the data is.
pub enum Engine {
    Sqlite,
    Postgres(Postgres),
    /// PostgreSQL on two machines: when the one that takes writes is killed, the other takes over.
    Pair(Pair),
    /// The same, and pg_auto_failover has the other take over.
    Formation(Formation),
    Citus(Cluster),
}

/// What a round kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Server(usize),
    /// All servers at once.
    Servers,
    Worker(usize),
    /// A worker, and a server while it is away.
    WorkerAndServer(usize, usize),
    /// PostgreSQL, or the coordinator of a cluster.
    Database,
}

/// How often each was killed.
#[derive(Debug, Default)]
pub struct Kills {
    pub servers: u32,
    /// Servers that were killed again while they started.
    pub starts: u32,
    pub workers: u32,
    pub databases: u32,
    /// How long it took until another node took writes, where nobody but pg_auto_failover had it do so.
    pub take_overs: Vec<Duration>,
}

/// The servers.
pub struct Fleet {
    engine: Engine,
    database: Option<String>,
    folder: tempfile::TempDir,
    servers: Vec<Option<Cloud>>,
}

impl Fleet {
    /// Starts servers on a new database.
    pub fn start(engine: Engine, servers: usize) -> Self {
        let database = match &engine {
            Engine::Sqlite => None,
            Engine::Postgres(server) => Some(server.new_database()),
            Engine::Pair(pair) => Some(pair.new_database()),
            Engine::Formation(formation) => Some(formation.new_database()),
            Engine::Citus(cluster) => Some(cluster.new_database()),
        };
        if let (Engine::Citus(_), Some(url)) = (&engine, &database) {
            let made = program().args(["db", "init", "--citus", url]).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Self { engine, database, folder, servers: Vec::new() };
        for number in 0..servers {
            fleet.servers.push(None);
            std::fs::create_dir(fleet.data(number)).unwrap();
            if number > 0 {
                with_keys_of(&fleet.data(0), &fleet.data(number));
            }
            fleet.raise(number);
        }
        fleet
    }

    pub fn first(&self) -> &Cloud {
        self.servers.iter().flatten().next().unwrap()
    }

    /// Every server that runs.
    pub fn each(&self) -> impl Iterator<Item = &Cloud> {
        self.servers.iter().flatten()
    }

    pub fn tell(&self, doors: &Doors) {
        for (number, server) in self.servers.iter().enumerate() {
            doors.set(number, server.as_ref().map(|server| server.url.clone()));
        }
    }

    fn data(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("server-{number}"))
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("server-{number}.log"))
    }

    /// The command that starts a server.
    fn command(&self, number: usize) -> Command {
        let log = File::options().create(true).append(true).open(self.log(number)).unwrap();
        let mut command = program();
        command
            .arg("--json")
            .env("PAYCHIP_LOG", "info")
            .envs(self.database.iter().map(|url| ("PAYCHIP_DATABASE", url)));
        command.stderr(log);
        command
    }

    /// Starts a server and kills it at once: what it does to recover is cut off as well.
    fn kill_while_it_starts(&self, number: usize) {
        let mut command = self.command(number);
        command.arg("--data").arg(self.data(number)).args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null());
        let mut server = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(fastrand::u64(..MAX_START_MS)));
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Starts a server, again and again as long as it ends because its database is not there.
    fn raise(&mut self, number: usize) {
        let begun = Instant::now();
        loop {
            match Cloud::try_start(&self.data(number), &mut self.command(number)) {
                Ok(cloud) => {
                    self.servers[number] = Some(cloud);
                    return;
                }
                Err(why) => assert!(begun.elapsed() < START_PATIENCE, "server {number} does not start: {why}"),
            }
            std::thread::sleep(START_PAUSE);
        }
    }

    fn kill_server(&mut self, number: usize, doors: &Doors) {
        doors.set(number, None);
        if let Some(server) = self.servers[number].take() {
            server.kill();
        }
    }

    /// Kills something again and again, each time after some answers.
    pub fn kill(&mut self, rounds: u32, doors: &Doors) -> Kills {
        let (mut kills, begun) = (Kills::default(), Instant::now());
        for round in 1..=rounds {
            wait_for_answers(fastrand::u64(1..=MAX_ANSWERS), doors);
            std::thread::sleep(Duration::from_millis(fastrand::u64(..MAX_PAUSE_MS)));
            let victim = self.victim(round);
            self.kill_and_raise(victim, doors, &mut kills);
            if round.is_multiple_of(TOLD_EVERY) {
                println!("{round} rounds in {:?}: {kills:?}; {}", begun.elapsed(), doors.summary());
            }
        }
        kills
    }

    fn victim(&self, round: u32) -> Victim {
        let server = fastrand::usize(..self.servers.len());
        match self.engine {
            Engine::Sqlite => Victim::Server(server),
            Engine::Pair(_) | Engine::Formation(_) if round.is_multiple_of(TAKE_OVER_EVERY) => Victim::Database,
            _ if round.is_multiple_of(DATABASE_EVERY) => Victim::Database,
            Engine::Citus(_) => self.victim_of_cluster(server),
            _ if fastrand::u8(..5) == 0 => Victim::Servers,
            _ => Victim::Server(server),
        }
    }

    fn victim_of_cluster(&self, server: usize) -> Victim {
        match fastrand::u8(..8) {
            0 => Victim::Servers,
            1..4 => Victim::Server(server),
            4..6 => Victim::Worker(fastrand::usize(1..=2)),
            _ => Victim::WorkerAndServer(fastrand::usize(1..=2), server),
        }
    }

    fn kill_and_raise(&mut self, victim: Victim, doors: &Doors, kills: &mut Kills) {
        let away = || std::thread::sleep(Duration::from_millis(fastrand::u64(..MAX_AWAY_MS)));
        let node = match victim {
            Victim::Server(_) | Victim::Servers => None,
            Victim::Worker(node) | Victim::WorkerAndServer(node, _) => {
                kills.workers += 1;
                Some(node)
            }
            Victim::Database => {
                kills.databases += 1;
                Some(0)
            }
        };
        match (&self.engine, node) {
            (Engine::Citus(cluster), Some(node)) => cluster.kill(node),
            (Engine::Postgres(server), Some(_)) => server.crash(),
            (Engine::Pair(pair), Some(_)) => pair.fail_over(),
            (Engine::Formation(formation), Some(_)) => kills.take_overs.push(formation.fail_over()),
            _ => {}
        }
        let servers = match victim {
            Victim::Server(server) | Victim::WorkerAndServer(_, server) => server..server + 1,
            Victim::Servers => 0..self.servers.len(),
            Victim::Worker(_) | Victim::Database => 0..0,
        };
        for server in servers {
            kills.servers += 1;
            self.kill_server(server, doors);
            if fastrand::u8(..STUMBLES_EVERY) == 0 {
                kills.starts += 1;
                self.kill_while_it_starts(server);
            }
        }
        if let Some(node) = node {
            away();
            match &self.engine {
                Engine::Citus(cluster) => cluster.start_again(node),
                Engine::Postgres(server) => server.start_again(),
                Engine::Pair(pair) => pair.bring_back_the_other(),
                Engine::Formation(formation) => formation.bring_back(),
                Engine::Sqlite => {}
            }
        }
        // A server that could not go on without its database has ended by itself.
        for number in 0..self.servers.len() {
            if self.servers[number].as_mut().is_none_or(|server| server.has_ended()) {
                self.kill_server(number, doors);
                self.raise(number);
            }
        }
        self.tell(doors);
    }

    /// Kills every server, for good.
    pub fn end(&mut self, doors: &Doors) {
        (0..self.servers.len()).for_each(|number| self.kill_server(number, doors));
    }

    /// What the command that asks no server says of the books.
    pub fn verify(&self) -> Value {
        let mut command = program();
        command.args(["--json", "--data"]).arg(self.data(0)).args(["audit", "verify"]);
        command.args(self.database.iter().flat_map(|url| ["--database", url]));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The last lines of every log.
    pub fn logs(&self) -> String {
        let mut shown = String::new();
        for number in 0..self.servers.len() {
            shown += &format!("--- server {number} ---\n{}\n", end_of(&self.log(number)));
        }
        match &self.engine {
            Engine::Sqlite => {}
            Engine::Postgres(server) => shown += &format!("--- PostgreSQL ---\n{}\n", server.end_of_log()),
            Engine::Pair(pair) => shown += &format!("--- both PostgreSQLs ---\n{}\n", pair.end_of_log()),
            Engine::Formation(formation) => shown += &format!("--- the formation ---\n{}\n", formation.end_of_log()),
            Engine::Citus(cluster) => shown += &format!("--- the cluster ---\n{}\n", cluster.end_of_log()),
        }
        shown
    }
}

/// Until tills have got so many answers more.
fn wait_for_answers(more: u64, doors: &Doors) {
    let (begun, from) = (Instant::now(), doors.answers());
    while doors.answers() < from + more {
        assert!(!doors.is_lost.load(Ordering::Acquire), "given up: a till has failed");
        assert!(begun.elapsed() < PROGRESS_PATIENCE, "not {more} answers in {PROGRESS_PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
