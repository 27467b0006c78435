//! PostgreSQL finds rows by their keys, however small a table was when its statements were planned, looks at no row beyond
//! the end of a stretch, and is asked for the rows of several tables at once. What it did is in its own statistics.

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
use platform::{AccountId, Change, KeyHash, MerchantId};
use store::Batch;
use store::engine::{Engine, Outcome, RowWrite, View, Writes};
use store::key::{Key, Numbered};
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

fn open(home: &Home) -> PostgresEngine {
    let Home::Postgres(url, _) = home else { panic!("a database of PostgreSQL") };
    PostgresEngine::open(&url.parse().unwrap()).unwrap()
}

/// An engine on a database that PostgreSQL knows to have one merchant.
fn with_one_merchant(home: &Home) -> PostgresEngine {
    let Home::Postgres(url, server) = home else { panic!("a database of PostgreSQL") };
    let mut engine = open(home);
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

#[test]
fn rows_of_several_tables_are_one_question() {
    let Some(home) = Home::postgres() else { return };
    drop(with_one_merchant(&home));
    let before = transactions(&home);
    let mut engine = open(&home);
    let merchant = merchant(1);
    let keys = [
        Key::merchant(merchant.id),
        Key::api_key(merchant.api_key),
        Key::account(AccountId([3; 16])),
        Key::partition(0),
        Key::merchant(MerchantId([9; 16])),
    ];
    for _ in 0..TIMES {
        let found = engine.read(&keys).unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, true, false]);
    }
    drop(engine);
    let committed = transactions(&home) - before;
    // Some more are of opening, and of asking for this.
    assert!((TIMES..TIMES + 40).contains(&committed), "{committed} transactions for {TIMES} questions");
}

/// Sets of tables that rows are read from, and written to, together: more than there are kept statements for.
#[test]
fn whatever_tables_come_together_all_of_it_is_read_and_written() {
    let Some(home) = Home::postgres() else { return };
    drop(with_one_merchant(&home));
    let before = transactions(&home);
    let mut engine = open(&home);
    let tables = [
        Numbered::Accounts,
        Numbered::Purses,
        Numbered::Tokens,
        Numbered::Bindings,
        Numbered::Payments,
        Numbered::Refunds,
        Numbered::Events,
        Numbered::RuleSets,
        Numbered::Syncs,
    ];
    let sets = 1_u64..1 << tables.len();
    for set in sets.clone() {
        let of_set = tables.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
        let keys: Vec<Key> = of_set.map(|(_, table)| Key::Number(*table, set)).collect();
        assert!(engine.read(&keys).unwrap().iter().all(Option::is_none), "{set}");
        let own = Key::partition(engine.partition());
        let held = engine.read(core::slice::from_ref(&own)).unwrap().pop().flatten();
        let rows = keys.iter().map(|key| RowWrite { key: key.clone(), before: None, after: Some(b"there".to_vec()) });
        let kept = RowWrite { key: own, before: held.clone(), after: held };
        let writes = Writes { rows: rows.chain([kept]).collect(), listed: Vec::new() };
        assert_eq!(engine.commit(writes), Outcome::Committed, "{set}");
        let found = engine.read(&keys).unwrap();
        assert!(found.iter().all(|row| row.as_deref() == Some(&b"there"[..])), "{set}: {found:?}");
    }
    drop(engine);
    let (committed, sets) = (transactions(&home) - before, sets.end - 1);
    // Two questions and a transaction each; and some more questions of those for which no statement is kept.
    assert!(committed > 8 * sets, "{committed} transactions for {sets} sets");
}

/// Transactions that were committed in this database, once all sessions have told of theirs: when they end.
fn transactions(home: &Home) -> u64 {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let begun = Instant::now();
    while home.sql(others).unwrap().trim() != "0" {
        assert!(begun.elapsed() < PATIENCE, "sessions do not end");
        std::thread::sleep(Duration::from_millis(100));
    }
    let committed = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    home.sql(committed).unwrap().trim().parse().unwrap()
}
