//! Whatever byte of a database is altered, the audit finds it, on every engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use platform::payments::MerchantNumber;
use platform::payments::refund::RefundRequest;
use platform::tokens::TokenAction;
use platform::{Caller, RefundId};
use store::commands::{Paid, PostClearing, RefundPayment};
use support::{Home, NOW_MS, SHOP, World, act, code};

on_every_engine! {
    one_altered_byte_of_the_journal_is_named,
    an_altered_byte_in_any_row_of_any_table_is_found,
}

async fn one_altered_byte_of_the_journal_is_named(home: Home) {
    let world = World::with_money(home, 10_000).await;
    for order in 0..3 {
        world.pay(&format!("o-{order}"), &code(0, order), 100).await.unwrap();
    }
    world.assert_sound();
    let world = World::open(world.close());
    let (alter, unlock) = match &world.home {
        Home::Sqlite(_) => (
            "UPDATE journal SET row = CAST(substr(row, 1, 50) || x'55' || substr(row, 52) AS BLOB) WHERE key = 3",
            "DROP TRIGGER journal_is_final",
        ),
        Home::Postgres(..) | Home::Citus(..) => {
            ("UPDATE journal SET row = set_byte(row, 50, 85) WHERE key = 3", "ALTER TABLE journal DISABLE TRIGGER ALL")
        }
    };
    world.home.sql(alter).expect_err("the journal is final");
    world.home.sql(&format!("{unlock}; {alter};")).unwrap();
    let audit = world.queries.audit().unwrap();
    assert_eq!(audit.broken_record(), Some(3), "{:?}", audit.findings);
}

async fn an_altered_byte_in_any_row_of_any_table_is_found(home: Home) {
    use store::key::{Named, Numbered};
    let world = World::with_money(home, 10_000).await;
    let Paid::Payment(paid) = world.pay("o-1", &code(0, 0), 1_000).await.unwrap() else { panic!("told to wait") };
    let number = MerchantNumber::parse("r-1", "refund").unwrap();
    let request = RefundRequest { id: RefundId([1; 16]), number, amount_minor: 400, now_ms: NOW_MS };
    world.store.execute(RefundPayment { merchant: SHOP, payment: paid.id, request }).await.unwrap();
    world.store.execute(act(Caller::Operator, TokenAction::Freeze)).await.unwrap();
    world.store.execute(PostClearing { now_ms: NOW_MS, random: [1; 10] }).await.unwrap();
    world.assert_sound();
    let world = World::open(world.close());
    let tables = Numbered::ALL.iter().map(|table| table.name()).chain(Named::ALL.iter().map(|table| table.name()));
    let mut altered = 0;
    for table in tables {
        let length = keep(&world.home, table);
        // Every byte in the file; in the database, where each look costs more, a good part of them.
        let step = if matches!(world.home, Home::Sqlite(_)) { 1 } else { 7 };
        for at in (0..length).step_by(step) {
            alter(&world.home, table, at);
            let audit = world.queries.audit().unwrap();
            assert!(!audit.findings.is_empty(), "{table}, byte {at}");
            altered += 1;
            restore(&world.home, table);
        }
        world.assert_sound();
    }
    assert!(altered > 100, "{altered}");
}

/// Keeps what is in a table, and says how many bytes its first row has.
fn keep(home: &Home, table: &str) -> usize {
    let copy = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
    match home {
        Home::Sqlite(folder) => {
            home.sql(&format!(
                "DROP TRIGGER IF EXISTS journal_is_final; DROP TRIGGER IF EXISTS journal_is_kept; {copy}"
            ))
            .unwrap();
            let file = rusqlite::Connection::open(folder.path().join("paychip.db")).unwrap();
            let length = format!("SELECT length(row) FROM {table} LIMIT 1");
            file.query_row(&length, [], |row| row.get(0)).unwrap_or(0)
        }
        Home::Postgres(..) | Home::Citus(..) => {
            let copied = format!("ALTER TABLE journal DISABLE TRIGGER ALL; {copy}");
            home.sql(&format!("{copied}; SELECT length(row) FROM {table} LIMIT 1")).unwrap().parse().unwrap_or(0)
        }
    }
}

/// Changes one byte of every row of a table.
fn alter(home: &Home, table: &str, at: usize) {
    let altered = match home {
        Home::Sqlite(_) => {
            let at = at + 1;
            format!(
                "CAST(substr(row, 1, {at} - 1) || CASE substr(row, {at}, 1) WHEN x'55' THEN x'54' ELSE x'55' END || substr(row, {at} + 1) AS BLOB)"
            )
        }
        Home::Postgres(..) | Home::Citus(..) => format!("set_byte(row, {at}, get_byte(row, {at}) # 1)"),
    };
    home.sql(&format!("UPDATE {table} SET row = {altered} WHERE length(row) > {at}")).unwrap();
}

/// Puts the table back as it was.
fn restore(home: &Home, table: &str) {
    home.sql(&format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}")).unwrap();
}
