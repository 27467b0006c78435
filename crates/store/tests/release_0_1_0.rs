//! A database of release 0.1.0, made by that release, is carried over with everything in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use ledger::Currency;
use ledger::posting::{payable, wallet};
use platform::payments::{MerchantNumber, PaymentState};
use platform::{AccountId, MerchantId};
use store::sqlite::SqliteEngine;
use store::{Page, Queries, StoreError};

const ACCOUNT: AccountId = AccountId(*b"\x01\xa2\x10\xbd\x34\x20\x58\x6c\xc6\x8d\x1f\xc1\x71\xb7\x89\x27");
const SHOP: MerchantId = MerchantId(*b"\x01\xa2\x10\xbd\x34\x37\x94\x84\xd3\x49\x90\x90\x0d\xf3\xe3\x95");

fn old_database(folder: &Path) -> PathBuf {
    let path = folder.join("paychip.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.pragma_update(None, "journal_mode", "WAL").unwrap();
    old.execute_batch(include_str!("schemas/1-release-0.1.0.sql")).unwrap();
    old.pragma_update(None, "application_id", 0x5043_4850).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    path
}

fn order(queries: &Queries, number: &str) -> platform::payments::Payment {
    queries.payment_by_order(SHOP, &MerchantNumber::parse(number, "order").unwrap()).unwrap().unwrap()
}

#[test]
fn everything_is_there_and_the_books_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = old_database(folder.path());
    for _ in 0..2 {
        let engine = SqliteEngine::open(&path).unwrap();
        let queries = Queries::new(Box::new(engine.reader(&path).unwrap()));
        let audit = queries.audit().unwrap();
        assert_eq!((audit.findings, audit.records), (vec![], 8));
        assert_eq!(queries.balance(&wallet(ACCOUNT.0, Currency::CNY)).unwrap(), 9_700);
        assert_eq!(queries.balance(&payable(SHOP.0, Currency::CNY)).unwrap(), 300);
        assert_eq!(order(&queries, "o-1").state, PaymentState::Succeeded);
        assert_eq!(order(&queries, "o-2").refunded_minor, 100);
        assert_eq!(
            (order(&queries, "o-3").state, order(&queries, "o-3").refunded_minor),
            (PaymentState::Cancelled, 350)
        );
        assert_eq!(order(&queries, "never").amount, None);
        assert!(matches!(order(&queries, "bad").state, PaymentState::Failed(_)));
        assert_eq!(queries.payments_of(SHOP, None, 100).unwrap().len(), 5);
        assert_eq!(queries.refunds_of(order(&queries, "o-2").id).unwrap().len(), 1);
        let [token] = queries.tokens_of(ACCOUNT).unwrap().try_into().unwrap();
        assert!(token.last_stamp.is_some(), "what was spent stays spent");
        assert_eq!(queries.events_of(&token.id.to_string()).unwrap()[0].name, "bound");
        let book = queries.book(&wallet(ACCOUNT.0, Currency::CNY), Page { before: None, limit: 100 }).unwrap();
        assert_eq!(
            book.iter().map(|line| line.balance_minor).collect::<Vec<_>>(),
            [9_700, 9_350, 9_250, 9_600, 9_850, 10_000]
        );
    }
    assert!(folder.path().join("paychip.db.0.1.0").exists(), "the old file is kept");
}

#[test]
fn an_altered_one_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = old_database(folder.path());
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch("DROP TRIGGER legs_are_final; UPDATE legs SET minor = 151 WHERE sequence = 2").unwrap();
    drop(old);
    assert_eq!(SqliteEngine::open(&path).err(), Some(StoreError::Corrupt("journal")));
    let still: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM legs", [], |row| row.get(0))
        .unwrap();
    assert_eq!(still, 16);
    assert!(!folder.path().join("paychip.db.0.1.0").exists());
}
