//! A database that goes away while it is audited.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use super::*;
use crate::engine::{Engine as _, NamedRow, NumberedRow};
use crate::sqlite::SqliteEngine;

/// Answers so many questions, and is out of reach then.
struct Leaving<'a> {
    view: &'a mut dyn View,
    left: usize,
}

impl Leaving<'_> {
    fn there(&mut self) -> Result<&mut dyn View, StoreError> {
        self.left = self.left.checked_sub(1).ok_or(StoreError::Busy)?;
        Ok(&mut *self.view)
    }
}

impl View for Leaving<'_> {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.there()?.read(keys)
    }

    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        self.there()?.list(list, owner, before, limit)
    }

    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError> {
        self.there()?.scan(table, after, up_to, limit)
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        self.there()?.scan_names(table, after, limit)
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        self.there()?.self_check()
    }
}

#[test]
fn a_database_that_goes_away_says_nothing_of_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = SqliteEngine::open(&folder.path().join("paychip.db")).unwrap();
    engine.begin().unwrap();
    // With an event its partition says where its journal ends, which is then looked at.
    let mut tables = crate::Tables::open(&mut engine).unwrap();
    let (subject, name, actor) = ("a subject".to_owned(), "a_name".to_owned(), "somebody".to_owned());
    tables.add_event(&crate::EventLine { at_ms: 1, subject, name, actor, why: String::new() });
    let writes = tables.into_writes().unwrap();
    assert_eq!(engine.commit(writes), crate::engine::Outcome::Committed);
    let mut ended = false;
    for left in 0..500 {
        let mut audit = Audit::default();
        let told = Auditor::new(&mut Leaving { view: &mut engine, left }, &mut audit, true).run();
        assert_eq!(audit.findings, [], "after {left} questions");
        ended = told.is_ok();
        if ended {
            break;
        }
        assert_eq!(told, Err(StoreError::Busy), "after {left} questions");
    }
    assert!(ended, "it has more questions than that");
}

#[test]
fn a_purse_that_tells_another_token_than_its_row_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = SqliteEngine::open(&folder.path().join("paychip.db")).unwrap();
    let account = platform::accounts::Account {
        id: rows::example_token(3).account,
        name: "Li".to_owned(),
        currency: Currency::CNY,
        wallet_key: platform::KeyHash([1; 32]),
        created_ms: 0,
    };
    let token = rows::example_token(3);
    engine.begin().unwrap();
    let mut tables = crate::Tables::open(&mut engine).unwrap();
    let rows = [platform::Change::PutAccount(account), platform::Change::PutToken(token.clone())];
    tables.apply_all(&rows).unwrap();
    let writes = tables.into_writes().unwrap();
    assert_eq!(engine.commit(writes), crate::engine::Outcome::Committed);
    let findings = |engine: &mut SqliteEngine| {
        let mut audit = Audit::default();
        Auditor::new(engine, &mut audit, true).run().unwrap();
        audit.findings
    };
    assert_eq!(findings(&mut engine), []);

    engine.begin().unwrap();
    let mut tables = crate::Tables::open(&mut engine).unwrap();
    let other = platform::tokens::Token { pay_key_version: 7, ..token.clone() };
    tables.change_purse(token.account, |purse| purse.put_spend(rows::Spend::of(&other))).unwrap();
    let writes = tables.into_writes().unwrap();
    assert_eq!(engine.commit(writes), crate::engine::Outcome::Committed);
    let key = token.id.number().to_string();
    assert_eq!(findings(&mut engine), [Finding::Row { table: "tokens", key }]);
}
