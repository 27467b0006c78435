//! The stage of the demonstration: a real server, a wearer, a shop, a watch, all in a folder of their own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use server::{Config, Server};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::TOP_UP_MINOR;
use crate::api::{Api, number};
use crate::books;
use crate::fault::Fault;
use crate::output::Output;
use crate::pos;
use crate::profile::{Party, Place};
use crate::serve::{platform_settings, start_fault};
use crate::watch::{self, Watch, factory, folder::WatchFolder};

/// The passcode Li Wei chose.
pub(super) const PASSCODE: &str = "246802";
/// How long a posting may take before something is wrong.
const POSTING_PATIENCE: Duration = Duration::from_secs(5);

/// Tells the story, one numbered step a line, and where in the code to look.
pub(super) struct Narrator {
    output: Output,
    steps: u32,
}

impl Narrator {
    pub(super) fn new(output: Output) -> Self {
        Self { output, steps: 0 }
    }

    pub(super) fn step(&mut self, what: &str, code: &str) {
        self.steps += 1;
        self.output.note(&format!("{:>2}. {what}\n      ↳ {code}", self.steps));
    }

    pub(super) fn block(&self, lines: &str) {
        self.output.note(&format!("{lines}\n"));
    }
}

/// Everything the demonstration plays with.
pub(super) struct Stage {
    pub(super) operator: Api,
    pub(super) wearer: Party,
    pub(super) shop: Party,
    pub(super) pictures: PathBuf,
    place: Place,
    server: RunningServer,
    // Last, so that it is removed after everything that uses it.
    folder: TempDir,
}

struct RunningServer {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<std::io::Result<()>>,
}

impl Stage {
    /// Starts the cloud on a free port with a new database.
    pub(super) fn set(pictures: &Path) -> Result<Self, Fault> {
        let folder = tempfile::tempdir().map_err(|error| Fault::new("folder", error.to_string()))?;
        let data = folder.path().to_owned();
        let (server, url, operator_key) = start_server(&data)?;
        let nobody =
            || Party { name: String::new(), id: String::new(), currency: "CNY".to_owned(), key: String::new() };
        Ok(Self {
            operator: Api::new(url.clone(), operator_key),
            wearer: nobody(),
            shop: nobody(),
            pictures: pictures.to_owned(),
            place: Place { data, server: Some(url) },
            server,
            folder,
        })
    }

    /// Opens Li Wei's account, fills it, and takes the Tea House on.
    pub(super) fn cast(&mut self) -> Result<(), Fault> {
        (self.wearer, _) = books::open_account(&self.operator, "Li Wei", "CNY")?;
        books::top_up(&self.operator, &self.wearer, TOP_UP_MINOR, "first")?;
        (self.shop, _) = books::take_on_merchant(&self.operator, "Tea House", "CNY")?;
        Ok(())
    }

    pub(super) fn wallet(&self) -> Result<Api, Fault> {
        self.place.as_party(&self.wearer)
    }

    pub(super) fn till(&self) -> Result<Api, Fault> {
        self.place.as_party(&self.shop)
    }

    pub(super) fn make_watch(&self) -> Result<String, Fault> {
        let mut chip = WatchFolder::named(&self.place, "watch")?.create()?;
        Ok(factory::personalise(&mut chip, &self.operator, &[])?.chip_id)
    }

    pub(super) fn watch(&self) -> Result<Watch, Fault> {
        watch::open(&WatchFolder::named(&self.place, "watch")?)
    }

    /// A copy of the watch's chip, taken now.
    pub(super) fn clone_watch(&self) -> Result<WatchFolder, Fault> {
        let copy = WatchFolder::named(&self.place, "clone")?;
        WatchFolder::named(&self.place, "watch")?.copy_to(&copy)?;
        Ok(copy)
    }

    pub(super) fn charge(&self, order: &str, code: &str, minor: u64) -> Result<Value, Fault> {
        pos::charge(&self.till()?, &self.shop, order, code, minor)
    }

    /// Waits until the shop's money has left clearing.
    pub(super) fn wait_for_posting(&self) -> Result<(), Fault> {
        let deadline = Instant::now() + POSTING_PATIENCE;
        while number(&self.till()?.get("/v1/merchants/me")?, "pending")? != 0 {
            if Instant::now() > deadline {
                return Err(Fault::new("posting_late", "the payment was not posted to the shop"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Stops the server and removes the folder.
    pub(super) fn strike(self) -> Result<(), Fault> {
        let failed = |error: &dyn core::fmt::Display| Fault::internal(format!("the server did not stop well: {error}"));
        // A receiver that is gone means the server has ended by itself; joining tells why.
        let _ = self.server.stop.send(());
        let ended = self.server.thread.join().map_err(|_| failed(&"it panicked"))?;
        ended.map_err(|error| failed(&error))?;
        self.folder.close().map_err(|error| Fault::new("folder", error.to_string()))
    }
}

fn start_server(data: &Path) -> Result<(RunningServer, String, String), Fault> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Fault::internal(error.to_string()))?;
    let config = Config {
        data_dir: data.to_owned(),
        database: server::Database::Sqlite,
        listen: ([127, 0, 0, 1], 0).into(),
        plain_http: false,
        settings: platform_settings(),
        keys: Default::default(),
        tls: None,
        connections: Default::default(),
    };
    let server = runtime.block_on(Server::bind(config)).map_err(|error| start_fault(&error))?;
    let (url, operator_key) = (format!("http://{}", server.address()), server.operator_key().to_owned());
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        runtime.block_on(server.run(async {
            // The sender's end is also a reason to stop.
            let _ = stopped.await;
        }))
    });
    Ok((RunningServer { stop, thread }, url, operator_key))
}
