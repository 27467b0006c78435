//! The engine beside its carrier.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use super::*;
use crate::engine::RowWrite;

/// Between two transactions a whole generation may reach the file, and be in memory neither before nor after.
#[test]
fn what_was_carried_over_between_two_looks_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = SqliteEngine::open(&folder.path().join("paychip.db")).unwrap();
    // Of a table that the engine does not keep.
    let key = |number: usize| Key::Number(Numbered::Payments, number as u64);
    let row = |number| RowWrite { key: key(number), before: None, after: Some(vec![1]) };
    for numbers in [0..CARRIED_ROWS, CARRIED_ROWS..CARRIED_ROWS + 1] {
        engine.begin().unwrap();
        // The look is at the file as it was before both.
        assert_eq!(engine.read(&[key(CARRIED_ROWS + 1)]).unwrap(), [None]);
        let writes = Writes { rows: numbers.map(row).collect(), listed: Vec::new() };
        assert_eq!(engine.commit(writes), Outcome::Committed);
    }
    // Now at the file with a part of it, most likely.
    engine.begin().unwrap();
    assert_eq!(engine.read(&[key(0), key(CARRIED_ROWS + 1)]).unwrap(), [Some(vec![1]), None]);
    engine.roll_back().unwrap();
    while engine.shared.read().before.is_some() {
        std::thread::sleep(Duration::from_millis(5));
    }
    engine.begin().unwrap();
    assert_eq!(engine.read(&[key(0), key(CARRIED_ROWS - 1)]).unwrap(), [Some(vec![1]), Some(vec![1])]);
}

/// Only the writer hands over what waits, so it must not wait for that.
#[test]
fn a_store_that_was_held_back_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = SqliteEngine::open(&folder.path().join("paychip.db")).unwrap();
    let key = |number: usize| Key::Number(Numbered::Purses, number as u64);
    let row = |number| RowWrite { key: key(number), before: None, after: Some(vec![1]) };
    for numbers in [0..MAX_WAITING_ROWS, MAX_WAITING_ROWS..MAX_WAITING_ROWS + 1] {
        let writes = Writes { rows: numbers.map(row).collect(), listed: Vec::new() };
        engine.begin().unwrap();
        assert_eq!(engine.commit(writes), Outcome::Committed);
    }
    engine.begin().unwrap();
    let read = engine.read(&[key(0), key(MAX_WAITING_ROWS)]).unwrap();
    assert_eq!(read, [Some(vec![1]), Some(vec![1])]);
}
