//! The real program as its users start it: a cloud in a folder of its own, and commands beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use paychip::api::Api;
use paychip::profile::Place;
use paychip::watch::folder::WatchFolder;
use paychip::watch::{Watch, bind, factory, open};
use serde_json::Value;

#[path = "../../../store/tests/support/citus.rs"]
pub mod citus;
#[path = "../../../store/tests/support/keeper.rs"]
pub mod keeper;
#[path = "../../../store/tests/support/postgres.rs"]
pub mod postgres;
pub mod softhsm;
#[path = "../../../store/tests/support/standby.rs"]
pub mod standby;
#[path = "../../../store/tests/support/tls.rs"]
pub mod tls;

pub mod masters;
pub mod play;
pub mod recorder;
pub mod secrets;

/// Codes a watch makes without waiting: four in this half minute, four in the next, which the cloud takes as well.
pub const CODES_A_WATCH: usize = 8;
pub const STEP_S: u64 = 30;

/// How long a server may take until it says where it is.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a server that was asked to end may take to answer what it has begun.
const ENDING_PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paychip"));
    // Nothing of the tester's own play may leak in.
    for name in [
        "PAYCHIP_DATA",
        "PAYCHIP_SERVER",
        "PAYCHIP_OPERATOR_KEY",
        "PAYCHIP_LOG",
        "PAYCHIP_DATABASE",
        "PAYCHIP_PASSPHRASE_FILE",
        "PAYCHIP_PASSPHRASE_FD",
        "PAYCHIP_PRODUCTION",
        "PAYCHIP_UNCERTIFIED_CHIPS",
        "PAYCHIP_VAULT",
        "PAYCHIP_PIN_FILE",
        "PAYCHIP_PIN",
    ] {
        command.env_remove(name);
    }
    command
}

/// Gives a second server's data folder the keys of the first's.
pub fn with_keys_of(first: &Path, second: &Path) {
    for file in ["master.key", "operator.key"] {
        std::fs::copy(first.join(file), second.join(file)).unwrap();
    }
}

/// A running cloud. Dropping it kills it.
pub struct Cloud {
    child: Child,
    pub url: String,
    pub data: PathBuf,
    /// Its data folder, where that goes with it.
    folder: Option<tempfile::TempDir>,
}

impl Cloud {
    /// Starts a cloud whose data goes with it.
    pub fn alone() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut cloud = Self::start(folder.path());
        cloud.folder = Some(folder);
        cloud
    }

    /// Starts a cloud on a free port over this data folder.
    pub fn start(data: &Path) -> Self {
        Self::spawn(data, program().arg("--json"))
    }

    /// Starts a server of a cloud whose data is in this database.
    pub fn start_on(data: &Path, database: &str) -> Self {
        Self::spawn(data, program().arg("--json").env("PAYCHIP_DATABASE", database))
    }

    /// Starts two servers of a cloud whose data is in this database; what else they keep goes with each.
    pub fn pair_on(database: &str) -> [Self; 2] {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut first = Self::start_on(folders[0].path(), database);
        with_keys_of(folders[0].path(), folders[1].path());
        let mut second = Self::start_on(folders[1].path(), database);
        [first.folder, second.folder] = folders.map(Some);
        [first, second]
    }

    /// Starts a cloud in production whose keys are sealed under the passphrase in this file; it takes chips that no maker
    /// has shipped all the same.
    pub fn start_sealed(data: &Path, passphrase: &Path) -> Self {
        Self::spawn(
            data,
            program()
                .arg("--json")
                .env("PAYCHIP_PASSPHRASE_FILE", passphrase)
                .env("PAYCHIP_PRODUCTION", "true")
                .env("PAYCHIP_UNCERTIFIED_CHIPS", "true"),
        )
    }

    /// Starts a cloud with these arguments more.
    pub fn start_with(data: &Path, arguments: &[&str]) -> Self {
        let mut command = program();
        command.arg("--json");
        Self::spawn_with(data, &mut command, arguments)
    }

    /// Starts a cloud with this command, which says more by its environment.
    pub fn start_as(data: &Path, program: &mut Command) -> Self {
        Self::spawn(data, program.arg("--json"))
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn spawn(data: &Path, program: &mut Command) -> Self {
        Self::spawn_with(data, program, &[])
    }

    fn spawn_with(data: &Path, program: &mut Command, arguments: &[&str]) -> Self {
        Self::try_spawn(data, program, arguments).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts a cloud with this command; one that ends instead, or says nothing, is gone again.
    pub fn try_start(data: &Path, program: &mut Command) -> Result<Self, String> {
        Self::try_spawn(data, program, &[])
    }

    fn try_spawn(data: &Path, program: &mut Command, arguments: &[&str]) -> Result<Self, String> {
        // Whoever wants to hear more has said so.
        if !program.get_envs().any(|(name, value)| name == "PAYCHIP_LOG" && value.is_some()) {
            program.env("PAYCHIP_LOG", "error");
        }
        let mut child = program
            .arg("--data")
            .arg(data)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = keeper::lines_of(child.stdout.take().unwrap()).recv_timeout(START_PATIENCE).unwrap_or_default();
        let mut cloud = Self { child, url: String::new(), data: data.to_owned(), folder: None };
        let url = serde_json::from_str::<Value>(&line).ok().and_then(|answer| Some(answer["url"].as_str()?.to_owned()));
        cloud.url =
            url.ok_or_else(|| format!("the cloud did not say where it is within {START_PATIENCE:?}: {line:?}"))?;
        Ok(cloud)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it as a power cut would: SIGKILL, at once.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < ENDING_PATIENCE, "asked to end, the server goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn operator(&self) -> Api {
        Api::new(self.url.clone(), operator_key(self))
    }

    /// Runs a command against this cloud and returns what it printed as JSON.
    pub fn run(&self, arguments: &[&str]) -> Result<Value, Value> {
        let output = self.run_raw(arguments);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if output.status.success() {
            return Ok(serde_json::from_str(&text(&output.stdout)).unwrap());
        }
        let last = text(&output.stderr);
        Err(serde_json::from_str(last.trim()).unwrap_or_else(|_| panic!("not JSON: {last}")))
    }

    pub fn run_raw(&self, arguments: &[&str]) -> Output {
        program().args(["--json", "--data"]).arg(&self.data).args(arguments).output().unwrap()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // It may have been killed on purpose already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The operator's key of a cloud.
pub fn operator_key(cloud: &Cloud) -> String {
    std::fs::read_to_string(cloud.data.join("operator.key")).unwrap().trim().to_owned()
}

/// The larger budgets of a long campaign.
pub fn is_long() -> bool {
    std::env::var_os("PAYCHIP_LONG").is_some()
}

/// A watch of its own for every eight payments.
pub fn watches(cloud: &Cloud, wallet: &Api, payments: usize) -> Vec<Watch> {
    watches_named(cloud, wallet, "w", payments)
}

/// The same, their folders' names beginning with this.
pub fn watches_named(cloud: &Cloud, wallet: &Api, name: &str, payments: usize) -> Vec<Watch> {
    let place = Place { data: cloud.data.clone(), server: Some(cloud.url.clone()) };
    let bound = |number: usize| {
        let folder = WatchFolder::named(&place, &format!("{name}{number}")).unwrap();
        let mut chip = folder.create().unwrap();
        factory::personalise(&mut chip, &cloud.operator(), &[]).unwrap();
        drop(chip);
        let mut watch = open(&folder).unwrap();
        bind::bind(&mut watch, wallet, |_| ()).unwrap();
        watch
    };
    (0..payments.div_ceil(CODES_A_WATCH)).map(bound).collect()
}
