//! A database of an earlier schema is opened: what it lacks is made, and what it holds is kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; one that needs what is missing says so"
)]

mod support;

use platform::payments::PaymentState;
use store::StoreError;
use support::{Home, World, code, index, payment};

/// Tables that came after schema 2 of the file, schema 1 of PostgreSQL.
const LATER: &[&str] = &[
    "makers",
    "chip_models",
    "device_models",
    "revocation_lists",
    "batches",
    "shipments",
    "shipment_numbers",
    "syncs",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_schema_before_makers_is_opened_and_goes_on() {
    for (home, version) in
        [(Some(Home::sqlite()), UNDER_NAMES), (Home::postgres(), "UPDATE schema_version SET version = 1")]
    {
        let Some(home) = home else { continue };
        let home = World::open(home).close();
        let drops: String = LATER.iter().map(|table| format!("DROP TABLE {table}; ")).collect();
        home.sql(&format!("{drops} {version}")).unwrap();
        let world = World::open(home);
        world.assert_sound();
        assert!(world.queries.makers("").unwrap().is_empty());
        // Once more: what is there is left alone.
        World::open(world.close()).assert_sound();
    }
}

/// A file of schema 2. Until schema 9 its tokens were under their names: the code format, and the index.
const UNDER_NAMES: &str = "
    ALTER TABLE token_numbers RENAME TO packed;
    CREATE TABLE token_numbers (key BLOB PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO token_numbers SELECT unhex('1402' || hex('71') || printf('%016X', key % 10000000000)), row FROM packed;
    DROP TABLE packed;
    PRAGMA user_version = 2";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_were_under_names_go_on_paying() {
    let world = World::with_money(Home::sqlite(), 10_000).await;
    payment(world.pay("before", &code(0, 0), 100).await.unwrap());
    let home = world.close();
    home.sql(UNDER_NAMES).unwrap();
    let world = World::open(home);
    world.assert_sound();
    assert_eq!(payment(world.pay("after", &code(0, 1), 200).await.unwrap()).state, PaymentState::Succeeded);
    assert_eq!(world.balance(), 9_700);
    // One that is no token's name was written by nobody.
    let home = world.close();
    home.sql(UNDER_NAMES).unwrap();
    home.sql("UPDATE token_numbers SET key = x'14'").unwrap();
    let Home::Sqlite(folder) = &home else { panic!() };
    let opened = store::sqlite::SqliteEngine::open(&folder.path().join("paychip.db")).map(drop);
    assert_eq!(opened, Err(StoreError::Corrupt("token_numbers")));
    // It is as it was: with the name in its place again it opens.
    home.sql(&format!("UPDATE token_numbers SET key = unhex('14023731{:016X}')", index().get())).unwrap();
    let world = World::open(home);
    world.assert_sound();
    assert_eq!(payment(world.pay("mended", &code(0, 2), 300).await.unwrap()).state, PaymentState::Succeeded);
}

#[test]
fn the_one_master_key_of_an_earlier_schema_is_version_1() {
    use store::postgres::{agree_on_master_keys, master_key_versions};
    let Some(home) = Home::postgres() else { return };
    let Home::Postgres(url, _) = &home else { panic!() };
    let url = url.parse().unwrap();
    assert!(master_key_versions(&url).unwrap().is_empty());
    home.sql(
        "DROP TABLE master_keys; INSERT INTO master_key VALUES (true, '\\x01010101010101010101010101010101');
         UPDATE schema_version SET version = 2",
    )
    .unwrap();
    assert_eq!(master_key_versions(&url).unwrap(), [1]);
    agree_on_master_keys(&url, &[(1, [1; 16])], None).unwrap();
    agree_on_master_keys(&url, &[(1, [2; 16])], None).unwrap_err();
}
