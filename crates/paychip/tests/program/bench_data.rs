//! What the benchmark pays with: made by the rules, in any database, and gone on with where it is.

use std::collections::HashSet;
use std::path::Path;

use crate::support::postgres::Postgres;
use crate::support::program;
use paychip::bench::codes::Supply;
use paychip::bench::seed::fill_in;
use serde_json::Value;
use server::Database;

/// More than one command makes.
const MANY: u64 = 2_300;

fn is_gone_on_with(database: &Database, folder: &Path, audit: impl Fn() -> Value) {
    let mut records = 0;
    for (tokens, made) in [(70, 70), (70, 0), (71, 1), (MANY, MANY - 71), (500, 0)] {
        assert_eq!(fill_in(folder, database, tokens, 3).unwrap().made, made, "{tokens}");
        let audit = audit();
        records += made;
        // Money came into each wallet by an entry.
        assert_eq!((&audit["sound"], audit["records"].as_u64()), (&true.into(), Some(records)), "{audit}");
    }
}

fn audit(folder: &Path, more: &[&str]) -> Value {
    let mut command = program();
    command.args(["--json", "--data"]).arg(folder).args(["audit", "verify"]).args(more);
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

#[test]
fn tokens_of_the_benchmark_are_made_once_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    is_gone_on_with(&Database::Sqlite, folder.path(), || audit(folder.path(), &[]));
}

#[test]
fn a_run_uses_no_code_that_the_run_before_has_used() {
    const TOKENS: u64 = 70;
    let folder = tempfile::tempdir().unwrap();
    let codes = || {
        let keys = fill_in(folder.path(), &Database::Sqlite, TOKENS, 3).unwrap().keys;
        let supply = Supply::new(keys, TOKENS, 3).kept_in(folder.path());
        supply.payments(100).iter().map(|payment| payment.code).collect::<HashSet<_>>()
    };
    let (before, after) = (codes(), codes());
    assert!(before.len() > 90 && after.len() > 90 && before.is_disjoint(&after), "{before:?} {after:?}");
}

#[test]
fn a_database_is_filled_and_nothing_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let fill = |tokens: &str| -> Value {
        let mut command = program();
        command.args(["--json", "--data"]).arg(folder.path()).args(["bench", "--only-fill", "--tokens", tokens]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    for (tokens, made) in [("70", 70), ("71", 1)] {
        let filled = fill(tokens);
        assert_eq!((&filled["tokens_made"], &filled["payments_per_s"]), (&made.into(), &Value::Null), "{filled}");
    }
    // One entry in the journal for each wallet's money, and none for a payment.
    assert_eq!(audit(folder.path(), &[])["records"], 71);
    assert!(!folder.path().join("bench.used").exists());
}

#[test]
fn tokens_of_the_benchmark_are_made_once_in_postgresql() {
    let Some(server) = Postgres::start() else { return };
    let (url, folder) = (server.new_database(), tempfile::tempdir().unwrap());
    let database = Database::Postgres(url.parse().unwrap());
    is_gone_on_with(&database, folder.path(), || audit(folder.path(), &["--database", &url]));
}
