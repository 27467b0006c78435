//! Whatever byte of a database is altered, the audit finds it, on every engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use platform::payments::refund::RefundRequest;
use platform::payments::{MerchantNumber, Payment};
use platform::tokens::TokenAction;
use platform::{Caller, RefundId};
use store::Finding;
use store::commands::{Paid, PostClearing, RefundPayment, SetRules};
use store::key::List;
use support::{Home, NOW_MS, SHOP, World, act, code};

/// Orders of a world whose journal is altered.
const ORDERS: u8 = 8;
/// Alterations of a journal by SQL, and of a file, in a short run.
const ROUNDS: u32 = 60;
/// Bits drawn at most until one is found whose alteration is none of the other entries.
const DRAWS: u32 = 100;
/// Bytes of a page of the database file.
const PAGE: usize = 2_048;

on_every_engine! {
    one_altered_byte_of_the_journal_is_named,
    whatever_is_done_to_a_record_the_audit_names_it,
    an_altered_byte_in_any_row_of_any_table_is_found,
    an_altered_entry_of_any_list_is_found,
}

fn rounds() -> u32 {
    if std::env::var_os("PAYCHIP_LONG").is_some() { 20 * ROUNDS } else { ROUNDS }
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
        Home::Postgres(..) | Home::Citus(..) | Home::Pair(..) => {
            ("UPDATE journal SET row = set_byte(row, 50, 85) WHERE key = 3", "ALTER TABLE journal DISABLE TRIGGER ALL")
        }
    };
    world.home.sql(alter).expect_err("the journal is final");
    world.home.sql(&format!("{unlock}; {alter};")).unwrap();
    let audit = world.queries.audit().unwrap();
    assert_eq!(audit.broken_record(), Some(3), "{:?}", audit.findings);
}

/// A world with some payments, everything in its tables, and the journal no longer kept from being changed.
async fn with_payments(home: Home) -> (World, Payment) {
    let world = World::with_money(home, 10_000).await;
    let mut paid = Vec::new();
    for order in 0..ORDERS {
        let code = code(i64::from(order / 4), order % 4);
        paid.push(support::payment(world.pay(&format!("o-{order}"), &code, 100).await.unwrap()));
    }
    world.assert_sound();
    let world = World::open(world.close());
    let unlock = match &world.home {
        Home::Sqlite(_) => "DROP TRIGGER journal_is_final; DROP TRIGGER journal_is_kept",
        _ => "ALTER TABLE journal DISABLE TRIGGER ALL",
    };
    world.home.sql(unlock).unwrap();
    (world, paid.remove(0))
}

async fn whatever_is_done_to_a_record_the_audit_names_it(home: Home) {
    let (world, _) = with_payments(home).await;
    world.home.sql("CREATE TABLE kept_journal AS SELECT * FROM journal").unwrap();
    // The top-up comes first.
    let records = u64::from(ORDERS) + 1;
    for round in 0..rounds() {
        let record = fastrand::u64(1..=records);
        let (what, named) = match round % 6 {
            0 => (format!("DELETE FROM journal WHERE key = {record}"), record),
            1 => (format!("UPDATE journal SET key = {} WHERE key = {record}", records + 5), record),
            2 => {
                // Two change places: the first of them is where the chain breaks.
                let other = fastrand::u64(1..=records);
                let of = |key: u64| format!("(SELECT row FROM kept_journal WHERE key = {key})");
                let change = |key, from| format!("UPDATE journal SET row = {} WHERE key = {key}", of(from));
                if other == record {
                    continue;
                }
                (format!("{}; {}", change(record, other), change(other, record)), record.min(other))
            }
            _ => {
                let row = hex_of(&world.home, &format!("row FROM journal WHERE key = {record}"));
                let altered = literal(&world.home, &with_another_bit(&row));
                (format!("UPDATE journal SET row = {altered} WHERE key = {record}"), record)
            }
        };
        world.home.sql(&what).unwrap();
        let audit = world.queries.audit().unwrap();
        assert_eq!(audit.broken_record(), Some(named), "{what}: {:?}", audit.findings);
        restore(&world.home, "journal");
    }
    world.assert_sound();
}

async fn an_altered_entry_of_any_list_is_found(home: Home) {
    let (world, paid) = with_payments(home).await;
    world.store.execute(support::refund(1, paid.id, "r-1", 40)).await.unwrap();
    world.store.execute(act(Caller::Operator, TokenAction::Freeze)).await.unwrap();
    let rules = support::env().rules.get().as_ref().clone();
    world.store.execute(SetRules { rules, after: None, why: String::new(), now_ms: NOW_MS }).await.unwrap();
    let world = World::open(world.close());
    world.assert_sound();
    let mut altered = 0;
    for list in List::ALL.iter().map(|list| list.name()) {
        world.home.sql(&format!("CREATE TABLE kept_{list} AS SELECT * FROM {list}")).unwrap();
        for column in ["owner", "id"] {
            let entry = hex_of(&world.home, &format!("{column} FROM {list} ORDER BY owner, id"));
            // The list of the risk rules has no owner.
            if entry.is_empty() {
                continue;
            }
            alter_entries(&world.home, list, column, &entry);
            let audit = world.queries.audit().unwrap();
            let is_named = |finding: &Finding| matches!(finding, Finding::List { list: named, .. } if *named == list);
            assert!(audit.findings.iter().any(is_named), "{column} of {list}: {:?}", audit.findings);
            altered += 1;
            restore(&world.home, list);
            world.assert_sound();
        }
    }
    assert_eq!(altered, 2 * List::ALL.len() - 1);
}

/// Changes one bit of what the entries of a list that have `entry` in a column have there. Where that would be another entry's
/// name, the database refuses, and another bit is drawn.
fn alter_entries(home: &Home, list: &str, column: &str, entry: &[u8]) {
    for _ in 0..DRAWS {
        let (before, after) = (literal(home, entry), literal(home, &with_another_bit(entry)));
        match home.sql(&format!("UPDATE {list} SET {column} = {after} WHERE {column} = {before}")) {
            Ok(_) => return,
            Err(refused) => {
                assert!(refused.to_lowercase().contains("unique constraint"), "{column} of {list}: {refused}")
            }
        }
    }
    panic!("{column} of {list}: each of {DRAWS} alterations is another entry");
}

/// The bytes with one bit changed anywhere.
fn with_another_bit(bytes: &[u8]) -> Vec<u8> {
    let (mut other, at) = (bytes.to_vec(), fastrand::usize(..bytes.len()));
    other[at] ^= 1 << fastrand::u8(..8);
    other
}

/// Bytes as SQL writes them.
fn literal(home: &Home, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if matches!(home, Home::Sqlite(_)) { format!("x'{hex}'") } else { format!("decode('{hex}', 'hex')") }
}

/// The bytes that a question `column FROM ...` comes to first.
fn hex_of(home: &Home, question: &str) -> Vec<u8> {
    let (column, rest) = question.split_once(' ').unwrap();
    match home {
        Home::Sqlite(folder) => {
            let file = rusqlite::Connection::open(folder.path().join("paychip.db")).unwrap();
            file.query_row(&format!("SELECT {question} LIMIT 1"), [], |row| row.get(0)).unwrap()
        }
        _ => {
            let hex = home.sql(&format!("SELECT encode({column}, 'hex') {rest} LIMIT 1")).unwrap();
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(byte).collect()
        }
    }
}

/// Where the cells of a page of a table are, and the number of each one's row (*SQLite, Database File Format*, 1.6).
fn cells(page: &[u8]) -> Vec<(usize, u64)> {
    let of = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    // Leaves alone: what is above them only leads there.
    let count = if page[0] == 0x0D { of(3) } else { 0 };
    let cell = |number: usize| {
        let start = of(8 + 2 * number);
        let (_, number_at) = varint(page, start);
        (start, varint(page, number_at).0)
    };
    (0..count).map(cell).collect()
}

/// A number of one to nine bytes, and where it ends. Those here are small.
fn varint(page: &[u8], mut at: usize) -> (u64, usize) {
    let mut number = 0;
    loop {
        number = number << 7 | u64::from(page[at] & 0x7F);
        at += 1;
        if page[at - 1] < 0x80 {
            return (number, at);
        }
    }
}

/// Not only what a record says: also the bytes by which SQLite finds it, its length and kind among them.
#[tokio::test(flavor = "multi_thread")]
async fn whichever_byte_of_a_record_is_altered_in_the_file_itself_the_audit_names_it() {
    let (world, _) = with_payments(Home::sqlite()).await;
    let sound = world.close();
    let Home::Sqlite(folder) = &sound else { panic!() };
    let path = folder.path().join("paychip.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut of_journal = file.prepare("SELECT pageno FROM dbstat WHERE name = 'journal'").unwrap();
    let pages: Vec<usize> = of_journal.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    drop(of_journal);
    drop(file);
    let whole = std::fs::read(&path).unwrap();
    let mut heads = 0;
    for round in 0..rounds() {
        let (start, number) = loop {
            let start = (pages[fastrand::usize(..pages.len())] - 1) * PAGE;
            let found = cells(&whole[start..start + PAGE]);
            if let Some((cell, number)) = fastrand::choice(found) {
                break (start + cell, number);
            }
        };
        // Its length in two bytes, then behind its number, which says which record it is, what kinds of columns it has; or
        // anything of what it says.
        let at =
            start + if round % 3 == 0 { [0, 1, 3, 4, 5, 6][fastrand::usize(..6)] } else { fastrand::usize(7..100) };
        heads += u32::from(round % 3 == 0);
        let mut altered = whole.clone();
        let bit = fastrand::u8(..8);
        altered[at] ^= 1 << bit;
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join("paychip.db"), &altered).unwrap();
        let home = Home::Sqlite(copy);
        let (_engines, queries) = home.open();
        let audit = queries.audit().unwrap();
        let what = format!("byte {} of record {number}, {:02x} and not {:02x}", at - start, altered[at], whole[at]);
        // What kind the first column has says nothing: it is the number, which SQLite reads where it stands in front. Written
        // as the constant 0 in place of NULL, neither of which has a byte, the record is the same.
        let expected = if (at - start, bit) == (4, 3) { None } else { Some(number) };
        assert_eq!(audit.broken_record(), expected, "{what}: {:?}", audit.findings);
        assert_eq!(expected.is_none(), records(&home) == records(&sound), "{what}");
    }
    assert!(heads > 0);
}

/// The journal's records, each with its number; none where SQLite cannot read them all.
fn records(home: &Home) -> Option<Vec<(i64, Vec<u8>)>> {
    let Home::Sqlite(folder) = home else { panic!() };
    let file = rusqlite::Connection::open(folder.path().join("paychip.db")).unwrap();
    let mut all = file.prepare("SELECT key, row FROM journal ORDER BY key").unwrap();
    all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().ok()
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
        Home::Postgres(..) | Home::Citus(..) | Home::Pair(..) => {
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
        Home::Postgres(..) | Home::Citus(..) | Home::Pair(..) => {
            format!("set_byte(row, {at}, get_byte(row, {at}) # 1)")
        }
    };
    home.sql(&format!("UPDATE {table} SET row = {altered} WHERE length(row) > {at}")).unwrap();
}

/// Puts the table back as it was.
fn restore(home: &Home, table: &str) {
    home.sql(&format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}")).unwrap();
}
