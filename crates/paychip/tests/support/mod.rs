//! The real program as its users start it: a cloud in a folder of its own, and commands beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use paychip::api::Api;
use serde_json::Value;

/// The program under test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paychip"));
    // Nothing of the tester's own play may leak in.
    for name in ["PAYCHIP_DATA", "PAYCHIP_SERVER", "PAYCHIP_OPERATOR_KEY", "PAYCHIP_LOG", "PAYCHIP_DATABASE"] {
        command.env_remove(name);
    }
    command
}

/// A running cloud. Dropping it kills it.
pub struct Cloud {
    child: Child,
    pub url: String,
    pub data: PathBuf,
}

impl Cloud {
    /// Starts a cloud on a free port over this data folder.
    pub fn start(data: &Path) -> Self {
        let mut child = program()
            .args(["--json", "--data"])
            .arg(data)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("PAYCHIP_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).expect("the cloud did not say where it is");
        let url = answer["url"].as_str().unwrap().to_owned();
        Self { child, url, data: data.to_owned() }
    }

    /// Ends it as a power cut would: SIGKILL, at once.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn operator(&self) -> Api {
        let key = std::fs::read_to_string(self.data.join("operator.key")).unwrap();
        Api::new(self.url.clone(), key.trim().to_owned())
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

/// The larger budgets of a long campaign.
pub fn is_long() -> bool {
    std::env::var_os("PAYCHIP_LONG").is_some()
}
