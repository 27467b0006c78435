//! `cargo xtask bench platform`: durable payments a second over HTTP, beside what the same server answers to an empty
//! request and what PostgreSQL's own benchmark makes on this machine, for both engines and several sizes of database.
//!
//! Everything is measured in one run, one thing after the other. A run that was not clean is thrown away and made again.
//!
//! A client waits for its answer before it pays again, so with few of them the rate is one of latency: with 64 a processor has
//! nothing to do now and then, however many wait. So there are two numbers of them, for TPC-B too.

use std::path::Path;

use serde_json::{Value, json};

use crate::page;
use crate::postgres::Postgres;
use crate::process::{cargo, printed, program, run, target};

/// Connections that pay at the same time, and clients of TPC-B.
const FULL_CLIENTS: [usize; 2] = [64, 256];
const QUICK_CLIENTS: [usize; 1] = [64];
/// Sizes of the database, in tokens.
const FULL: [u64; 3] = [10_000, 1_000_000, 10_000_000];
const QUICK: [u64; 1] = [50_000];
/// Seconds measured of each run.
const FULL_S: u64 = 10;
const QUICK_S: u64 = 4;
/// How often a run that was not clean is made again.
const MAX_TRIES: u32 = 2;

/// What is measured, and where it is written.
#[derive(Default)]
pub(crate) struct Options<'a> {
    /// One size, for a short time; the page stays as it is.
    pub(crate) is_quick: bool,
    /// Sizes of the database, in tokens; the usual ones where none is named.
    pub(crate) tokens: Vec<u64>,
    /// A file for the numbers.
    pub(crate) json: Option<&'a str>,
}

/// Measures, prints, writes the table and the JSON if wanted.
pub(crate) fn measure(options: &Options<'_>) -> Result<(), String> {
    let is_quick = options.is_quick;
    // The quick run ends within three minutes, which the other build alone may take.
    let profile = if is_quick { "release" } else { "dist" };
    run(cargo(&["build", "--profile", profile, "--locked", "--quiet", "--package", "paychip"]))?;
    let paychip = target().join(profile).join("paychip");
    let folder = target().join("bench-platform");
    let seconds = if is_quick { QUICK_S } else { FULL_S };
    let usual: &[u64] = if is_quick { &QUICK } else { &FULL };
    let clients: &[usize] = if is_quick { &QUICK_CLIENTS } else { &FULL_CLIENTS };
    let sizes: &[u64] = if options.tokens.is_empty() { usual } else { &options.tokens };
    let postgres = Postgres::start(&folder.join("postgres"))?;
    let mut tpcb = Vec::new();
    for clients in clients.iter().copied() {
        postgres.create("tpcb")?;
        let per_s = postgres.tpcb_per_second(clients, seconds)?.round();
        println!("TPC-B: {per_s} transactions/s with {clients} clients");
        postgres.remove("tpcb")?;
        tpcb.push((clients, per_s));
    }
    let mut rows = Vec::new();
    for tokens in sizes {
        for engine in ["sqlite", "postgres"] {
            let data = folder.join("data");
            let _ = std::fs::remove_dir_all(&data);
            let database = format!("tokens_{tokens}");
            let url = if engine == "postgres" {
                postgres.create(&database)?;
                Some(postgres.url(&database))
            } else {
                None
            };
            let bench = Bench { paychip: &paychip, data: &data, tokens: *tokens, database: url.as_deref() };
            let filled = bench.told(&["--only-fill"])?;
            for (clients, tpcb_per_s) in &tpcb {
                postgres.settle(url.as_ref().map(|_| database.as_str()))?;
                let mut row = bench.clean_run(*clients, seconds)?;
                if let Some(row) = row.as_object_mut() {
                    row.insert("tpcb_per_s".to_owned(), json!(tpcb_per_s));
                    row.insert("engine".to_owned(), json!(engine));
                    row.insert("tokens_made_per_s".to_owned(), json!(number(&filled, "tokens_made_per_s")));
                }
                println!("{}", line(&row));
                rows.push(row);
            }
            if url.is_some() {
                postgres.remove(&database)?;
            }
        }
    }
    drop(postgres);
    let _ = std::fs::remove_dir_all(folder.join("data"));
    if let Some(path) = options.json {
        std::fs::write(path, format!("{:#}\n", json!(rows))).map_err(|error| format!("{path}: {error}"))?;
    }
    if is_quick { Ok(()) } else { page::write("cargo xtask bench platform", &table(&rows)) }
}

/// `paychip bench` on one database.
struct Bench<'a> {
    paychip: &'a Path,
    data: &'a Path,
    tokens: u64,
    /// The URL of a PostgreSQL database; a file in the data folder where there is none.
    database: Option<&'a str>,
}

impl Bench<'_> {
    /// What it tells.
    fn told(&self, more: &[&str]) -> Result<Value, String> {
        let mut command = program(&self.paychip.to_string_lossy(), &["--json", "--data"]);
        command.arg(self.data).args(["bench", "--tokens", &self.tokens.to_string()]).args(more);
        if let Some(url) = self.database {
            command.args(["--database", url]);
        }
        let told = printed(command)?;
        serde_json::from_str(&told).map_err(|error| format!("{error}: {told}"))
    }

    /// What it tells of a run in which nothing but payments were answered.
    fn clean_run(&self, clients: usize, seconds: u64) -> Result<Value, String> {
        let mut last = String::new();
        for _ in 0..MAX_TRIES {
            match self.told(&["--clients", &clients.to_string(), "--seconds", &seconds.to_string()]) {
                Ok(row) => return Ok(row),
                Err(sentence) => last = sentence,
            }
        }
        Err(last)
    }
}

fn number(row: &Value, name: &str) -> f64 {
    row.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

fn line(row: &Value) -> String {
    let (payments, empty, tpcb) =
        (number(row, "payments_per_s"), number(row, "empty_per_s"), number(row, "tpcb_per_s"));
    format!(
        "{} with {} tokens, {} clients: {payments} payments/s = {:.0} % of the empty handler, {:.1} × TPC-B; p99 {} ms, at half load {} ms",
        row.get("engine").and_then(Value::as_str).unwrap_or("?"),
        number(row, "tokens"),
        number(row, "clients"),
        payments * 100.0 / empty.max(1.0),
        payments / tpcb.max(1.0),
        number(row, "p99_ms"),
        number(row, "p99_half_load_ms"),
    )
}

/// The machine and the table, for the page.
fn table(rows: &[Value]) -> String {
    let mut text = format!("{}\n\n", machine());
    text.push_str("| engine | tokens | clients | payments/s | of empty | × TPC-B | p50 ms | p99 ms | p99.9 ms | p99 ms at half load | MiB |\n");
    text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for row in rows {
        let (payments, empty, tpcb) =
            (number(row, "payments_per_s"), number(row, "empty_per_s"), number(row, "tpcb_per_s"));
        text.push_str(&format!(
            "| {} | {} | {} | {} | {:.0} % | {:.1} | {} | {} | {} | {} | {} |\n",
            row.get("engine").and_then(Value::as_str).unwrap_or("?"),
            page::grouped(number(row, "tokens") as u64),
            number(row, "clients"),
            page::grouped(payments as u64),
            payments * 100.0 / empty.max(1.0),
            payments / tpcb.max(1.0),
            number(row, "p50_ms"),
            number(row, "p99_ms"),
            number(row, "p999_ms"),
            number(row, "p99_half_load_ms"),
            number(row, "rss_mib"),
        ));
    }
    if let Some(row) = rows.first() {
        let (right, wrong) =
            (number(row, "code_checks_per_s").max(1.0), number(row, "wrong_code_checks_per_s").max(1.0));
        text.push_str(&format!(
            "\nA code is checked in {:.1} µs on one core, the whole window included; a wrong one takes {:.1} times as long.\n",
            1_000_000.0 / right,
            right / wrong
        ));
    }
    text
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let field =
        |name: &str| cpu.lines().find_map(|line| line.strip_prefix(name)?.split_once(": ").map(|(_, v)| v.to_owned()));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores of {}, Linux {}, load generator on the same machine.",
        field("model name").unwrap_or_else(|| "an unnamed processor".to_owned()),
        kernel.trim()
    )
}
