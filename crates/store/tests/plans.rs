//! PostgreSQL finds rows by their keys, however small a table was when its statements were planned, and looks at no row beyond
//! the end of a stretch. What it looked at is in its own statistics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::time::{Duration, Instant};

use platform::merchants::Merchant;
use platform::{Change, KeyHash, MerchantId};
use store::Batch;
use store::engine::{Engine, Outcome, View};
use store::key::Numbered;
use store::postgres::PostgresEngine;
use support::{Home, Put, env, shop};

/// Merchants there are in the end.
const MANY: u64 = 3_000;
/// How often one of them is changed, and how often a stretch is read.
const TIMES: u64 = 200;
/// Entries of the index that may be looked at for each change, those of rows that are gone among them: far fewer than there
/// are rows.
const PER_CHANGE: u64 = 50;
/// How long the statistics of a session that has ended may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// Rows added to the table of merchants, and entries looked at in its index.
const STATISTICS: &str = "SELECT n_tup_ins, idx_tup_read FROM pg_stat_user_tables AS t \
    JOIN pg_stat_user_indexes AS i USING (relid) WHERE t.relname = 'merchants' AND i.indexrelname = 'merchants_pkey'";

fn merchant(number: u64) -> Merchant {
    let id = MerchantId((u128::from(number) + (7 << 64)).to_be_bytes());
    let mut key = [1; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    Merchant { id, api_key: KeyHash(key), ..shop() }
}

fn put(engine: &mut PostgresEngine, merchants: impl Iterator<Item = Merchant>) {
    let mut batch = Batch::default();
    batch.push(Put(merchants.map(Change::PutMerchant).collect()), |answer| answer.unwrap());
    let writes = batch.decide(engine, &env()).unwrap();
    let outcome = engine.commit(writes);
    assert_eq!(outcome, Outcome::Committed);
    batch.end(&outcome);
}

/// An engine on a database that PostgreSQL knows to have one merchant.
fn with_one_merchant(home: &Home) -> PostgresEngine {
    let Home::Postgres(url, server) = home else { panic!("a database of PostgreSQL") };
    let mut engine = PostgresEngine::open(&url.parse().unwrap()).unwrap();
    put(&mut engine, std::iter::once(merchant(1)));
    server.sql(url.rsplit('/').next().unwrap(), "VACUUM ANALYZE");
    engine
}

/// Entries of the merchants' index that were looked at, once the session that did so has told: when it ends.
fn looked_at(home: &Home, engine: PostgresEngine) -> u64 {
    drop(engine);
    let begun = Instant::now();
    loop {
        let told = home.sql(STATISTICS).unwrap();
        let (inserted, read) = told.trim().split_once('|').unwrap();
        if inserted.parse::<u64>().unwrap() >= MANY {
            return read.parse().unwrap();
        }
        assert!(begun.elapsed() < PATIENCE, "{told}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn rows_are_changed_by_their_keys_in_a_table_that_had_one_when_that_was_planned() {
    let Some(home) = Home::postgres() else { return };
    let mut engine = with_one_merchant(&home);
    put(&mut engine, std::iter::once(Merchant { suspended_ms: Some(0), ..merchant(1) }));
    for first in (2..=MANY).step_by(100) {
        put(&mut engine, (first..(first + 100).min(MANY + 1)).map(merchant));
    }
    for time in 1..=TIMES {
        put(&mut engine, std::iter::once(Merchant { suspended_ms: Some(time), ..merchant(1) }));
    }
    let read = looked_at(&home, engine);
    assert!(read <= TIMES * PER_CHANGE, "{read} entries for {TIMES} changes");
}

#[test]
fn a_stretch_with_fewer_rows_than_are_asked_for_is_not_looked_for_to_the_end_of_the_table() {
    let Some(home) = Home::postgres() else { return };
    let mut engine = with_one_merchant(&home);
    for first in (2..=MANY).step_by(100) {
        put(&mut engine, (first..(first + 100).min(MANY + 1)).map(merchant));
    }
    for _ in 0..TIMES {
        let rows = engine.scan(Numbered::Merchants, 10, 15, 100).unwrap();
        assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [11, 12, 13, 14, 15]);
    }
    let read = looked_at(&home, engine);
    assert!(read <= TIMES * PER_CHANGE, "{read} entries for {TIMES} stretches of 5 rows");
}
