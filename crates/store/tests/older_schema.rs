//! A database of an earlier schema is opened: what it lacks is made, and what it holds is kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; one that needs what is missing says so"
)]

mod support;

use support::{Home, World};

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
        [(Some(Home::sqlite()), "PRAGMA user_version = 2"), (Home::postgres(), "UPDATE schema_version SET version = 1")]
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
