//! `paychip bench`: how many durable payments a second this machine makes over HTTP, beside what the same server answers
//! to an empty POST. The server is a process of its own; the load comes from this one.
//!
//! Every payment is of a fresh valid code. One merchant in a hundred takes half of the payments. What the first seconds
//! do is not measured, and a run in which anything but a payment was answered is thrown away.

pub mod codes;
mod load;
pub mod seed;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use server::Database;

use crate::cli::{Bench, DatabaseUrl};
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;
use load::{Load, Measured};

/// Merchants that are paid.
const MERCHANTS: u64 = 1_000;
/// What is not measured at the beginning of a run.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the empty handler is measured.
const EMPTY: Duration = Duration::from_secs(3);

pub(crate) fn run(place: &Place, bench: &Bench, output: Output) -> Result<(), Fault> {
    let database = bench.database.database()?;
    let seed::Filled { keys, made, took } = seed::fill_in(&place.data, &database, bench.tokens, MERCHANTS)?;
    let made_per_s = (made as f64 / took.as_secs_f64()).round();
    if bench.only_fill {
        let filled = json!({ "tokens": bench.tokens, "tokens_made": made, "tokens_made_per_s": made_per_s });
        output.answer(&format!("{} tokens, {made} of them new: {made_per_s:.0}/s", bench.tokens), &filled);
        return Ok(());
    }
    let checks_per_s = codes::checks_per_second(&keys);
    let server = ServerProcess::start(place, &bench.database)?;
    let measured = Duration::from_secs(bench.seconds);
    let load = Load { address: server.address.clone(), clients: bench.clients, warm_up: WARM_UP };

    let (empty, empty_cpu_us) = server.with_cpu(|| load.empty(EMPTY))?;
    let supply = codes::Supply::new(keys, bench.tokens, MERCHANTS).kept_in(&place.data);
    let (peak, peak_cpu_us) = server.with_cpu(|| load.payments(&supply, measured, None))?;
    let half = load.payments(&supply, measured, Some(peak.per_second / 2.0))?;
    let rss_mib = server.rss_mib();
    drop(server);

    let engine = match database {
        Database::Sqlite => "sqlite",
        Database::Postgres(_) => "postgres",
    };
    let row = json!({
        "engine": engine, "tokens": bench.tokens, "clients": bench.clients,
        "payments_per_s": peak.per_second.round(), "empty_per_s": empty.per_second.round(),
        "p50_ms": peak.percentile_ms(50.0), "p99_ms": peak.percentile_ms(99.0), "p999_ms": peak.percentile_ms(99.9),
        "p99_half_load_ms": half.percentile_ms(99.0), "code_checks_per_s": checks_per_s.right.round(),
        "wrong_code_checks_per_s": checks_per_s.wrong.round(), "rss_mib": rss_mib,
        "server_cpu_us_per_payment": peak_cpu_us, "server_cpu_us_per_empty": empty_cpu_us,
    });
    output.answer(&lines(&row, &peak, &empty), &row);
    Ok(())
}

fn lines(row: &serde_json::Value, peak: &Measured, empty: &Measured) -> String {
    let share = peak.per_second * 100.0 / empty.per_second.max(1.0);
    format!("{:.0} payments/s, {share:.0} % of the empty handler's {:.0}/s\n{row:#}", peak.per_second, empty.per_second)
}

/// A server on a free port, ended when this is dropped.
struct ServerProcess {
    child: Child,
    address: String,
}

impl ServerProcess {
    fn start(place: &Place, database: &DatabaseUrl) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::new("server", error.to_string());
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("--data").arg(&place.data).args(["--json", "serve", "--listen", "127.0.0.1:0"]);
        // All the load comes from one address.
        command.args(["--max-connections-per-peer", "4096"]);
        if let Some(url) = database.text() {
            // Not as an argument, which every user of the machine may read.
            command.env("PAYCHIP_DATABASE", url);
        }
        let mut child = command.stdout(Stdio::piped()).env("PAYCHIP_LOG", "warn").spawn().map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let said: Option<serde_json::Value> = serde_json::from_str(&line).ok();
        let url = said.and_then(|said| Some(said.get("url")?.as_str()?.to_owned()));
        match url.as_deref().and_then(|url| url.strip_prefix("http://")) {
            Some(address) => Ok(Self { address: address.to_owned(), child }),
            None => {
                let _ = child.kill();
                Err(Fault::new("server", "the server did not say where it listens".to_owned()))
            }
        }
    }

    /// Puts a load on, and tells the processor time the server took for each request of it, microseconds: a number that
    /// others who use the machine meanwhile hardly change.
    fn with_cpu(&self, load: impl FnOnce() -> Result<Measured, Fault>) -> Result<(Measured, f64), Fault> {
        let before = self.cpu_us();
        let measured = load()?;
        let each = (self.cpu_us() - before) / (measured.answered.max(1) as f64);
        Ok((measured, (each * 10.0).round() / 10.0))
    }

    /// Processor time of all its threads, microseconds; 0 where the system does not tell.
    fn cpu_us(&self) -> f64 {
        /// Linux tells this time in hundredths of a second.
        const US_PER_TICK: f64 = 10_000.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name of the program, in brackets, may hold spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
        ticks.sum::<f64>() * US_PER_TICK
    }

    /// The most memory it has held, MiB; 0 where the system does not tell.
    fn rss_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        kib.unwrap_or(0_u64) / 1_024
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
