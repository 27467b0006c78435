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

/// Names in every order, of a few owners, asked for and added at random, with the carrier beside: against a plain set.
#[test]
fn a_name_that_was_added_is_never_taken_for_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("paychip.db");
    let mut engine = SqliteEngine::open(&path).unwrap();
    let mut there = std::collections::BTreeSet::new();
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut known, mut asked) = (0, 0);
    for round in 0..4_000_u64 {
        let table = if random(3) == 0 { Named::RefundNumbers } else { Named::Orders };
        let name = |owner: u64, number: u64| {
            Key::Name(table, crate::key::name(&[&owner.to_be_bytes(), format!("{number:04}").as_bytes()]))
        };
        // Counted up, drawn at random, and again what was there.
        let keys: Vec<Key> = (0..4)
            .map(|_| name([3, 4, u64::MAX][random(3) as usize], if random(2) == 0 { round } else { random(4_000) }))
            .collect();
        engine.begin().unwrap();
        for key in &keys {
            asked += 1;
            known += usize::from(engine.gaps.hold(key));
            assert_eq!(engine.read(core::slice::from_ref(key)).unwrap()[0].is_some(), there.contains(key), "{key:?}");
        }
        let new: std::collections::BTreeSet<&Key> = keys.iter().filter(|key| !there.contains(*key)).collect();
        let row = |key: &&Key| RowWrite { key: (*key).clone(), before: None, after: Some(vec![1]) };
        let writes = Writes { rows: new.iter().map(row).collect(), listed: Vec::new() };
        // Every third is given up, and its names stay free.
        if random(3) == 0 {
            engine.roll_back().unwrap();
            continue;
        }
        assert_eq!(engine.commit(writes), Outcome::Committed);
        let new: Vec<Key> = new.into_iter().cloned().collect();
        there.extend(new);
        if round % 500 == 0 {
            engine.turn().unwrap();
        }
        if round == 2_000 {
            drop(engine);
            engine = SqliteEngine::open(&path).unwrap();
        }
    }
    assert!(known * 4 > asked, "of {asked} looks {known} needed no look at the file");
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

/// What is kept was looked at as it came, and is not looked at again: a row that somebody has altered must not be kept so.
#[test]
fn a_kept_row_with_a_wrong_seal_is_corrupt_at_every_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("paychip.db");
    let keys = [7, 8].map(|number| Key::Number(Numbered::Purses, number));
    let mut engine = SqliteEngine::open(&path).unwrap();
    engine.begin().unwrap();
    let row = |key: &Key| {
        let after = Some(crate::rows::codec::seal(key, vec![1, 2, 3]));
        RowWrite { key: key.clone(), before: None, after }
    };
    let writes = Writes { rows: keys.iter().map(row).collect(), listed: Vec::new() };
    assert_eq!(engine.commit(writes), Outcome::Committed);
    drop(engine);
    let altered = "UPDATE purses SET row = CAST(x'010204' || substr(row, 4) AS BLOB) WHERE key = 8";
    assert_eq!(Connection::open(&path).unwrap().execute(altered, []).unwrap(), 1);

    let mut engine = SqliteEngine::open(&path).unwrap();
    for look in 0..3 {
        engine.begin().unwrap();
        let mut tables = crate::Tables::open(&mut engine).unwrap();
        assert_eq!(tables.fields(&keys[0]).unwrap(), Some(&[1, 2, 3][..]), "{look}");
        assert_eq!(tables.fields(&keys[1]), Err(StoreError::Corrupt("purses")), "{look}");
        drop(tables);
        assert_eq!(keys.each_ref().map(|key| engine.has_checked(key)), [true, false], "{look}");
        engine.roll_back().unwrap();
    }
}

/// A row that commands will ask for is looked up ahead, with the one it leads to; and is not what the engine reads once it was
/// changed, neither while the change waits nor when it is in the file.
#[test]
fn rows_looked_up_ahead_are_found_and_never_older_than_the_last_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = SqliteEngine::open(&folder.path().join("paychip.db")).unwrap();
    let ahead = engine.ahead().unwrap();
    // Of a table that the engine does not keep.
    let key = Key::Number(Numbered::Payments, 7);
    let write = |engine: &mut SqliteEngine, before: Option<u8>, after: u8| {
        let row = RowWrite { key: key.clone(), before: before.map(|byte| vec![byte]), after: Some(vec![after]) };
        engine.begin().unwrap();
        assert_eq!(engine.commit(Writes { rows: vec![row], listed: Vec::new() }), Outcome::Committed);
    };
    let carry_over = |engine: &mut SqliteEngine| {
        engine.turn().unwrap();
        while engine.shared.read().before.is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let expect = |engine: &mut SqliteEngine| {
        ahead.expect(key.clone());
        for _ in 0..1_000 {
            std::thread::sleep(Duration::from_millis(1));
            engine.begin().unwrap();
            if engine.found.holds(&key) {
                return;
            }
        }
        panic!("nothing was found ahead");
    };
    let read = |engine: &mut SqliteEngine| engine.read(core::slice::from_ref(&key)).unwrap().pop().flatten();
    write(&mut engine, None, 1);
    carry_over(&mut engine);
    expect(&mut engine);
    assert_eq!(read(&mut engine), Some(vec![1]));
    assert!(!engine.found.holds(&key), "it was what was read");
    expect(&mut engine);
    write(&mut engine, Some(1), 2);
    engine.begin().unwrap();
    assert_eq!(read(&mut engine), Some(vec![2]), "what waits is newer");
    assert!(engine.found.holds(&key));
    carry_over(&mut engine);
    engine.begin().unwrap();
    assert_eq!(read(&mut engine), Some(vec![2]), "what was carried over is newer");
}

/// Whoever asks for a token asks for its wearer's purse next.
#[test]
fn a_token_looked_up_ahead_brings_its_purse() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("paychip.db");
    let account = platform::AccountId([9; 16]);
    let purse = Key::purse(account);
    let format = paycode::CodeFormat::DEFAULT;
    let token = Key::token_number(&format, paycode::TokenIndex::new(5).unwrap());
    let fields = [&[1][..], &[7; 16], &account.0].concat();
    let row = |key: &Key, fields: Vec<u8>| RowWrite {
        key: key.clone(),
        before: None,
        after: Some(crate::rows::codec::seal(key, fields)),
    };
    let mut engine = SqliteEngine::open(&path).unwrap();
    engine.begin().unwrap();
    let rows = vec![row(&purse, vec![1, 2, 3]), row(&token, fields)];
    assert_eq!(engine.commit(Writes { rows, listed: Vec::new() }), Outcome::Committed);
    drop(engine);
    let mut engine = SqliteEngine::open(&path).unwrap();
    engine.ahead().unwrap().expect(token.clone());
    for _ in 0..1_000 {
        std::thread::sleep(Duration::from_millis(1));
        engine.begin().unwrap();
        if engine.found.holds(&purse) {
            break;
        }
    }
    assert!(engine.found.holds(&token) && engine.found.holds(&purse));
}

/// Rows in any order, changed, removed, looked up ahead and carried over at random, with carrier and seekers beside: against a
/// plain map.
#[test]
fn whatever_was_looked_up_ahead_a_row_is_what_was_written_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = SqliteEngine::open(&folder.path().join("paychip.db")).unwrap();
    let ahead = engine.ahead().unwrap();
    let mut there = std::collections::BTreeMap::<u64, Vec<u8>>::new();
    let mut seed = 11_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    // Of a table that the engine does not keep.
    let key = |number| Key::Number(Numbered::Payments, number);
    let mut found_ahead = 0;
    for round in 0..6_000_u64 {
        for _ in 0..random(4) {
            ahead.expect(key(random(300)));
        }
        engine.begin().unwrap();
        for number in [random(300), random(300), random(300)] {
            found_ahead += usize::from(engine.found.holds(&key(number)));
            let row = engine.read(&[key(number)]).unwrap().pop().flatten();
            assert_eq!(row.as_ref(), there.get(&number), "{number} in round {round}");
        }
        let number = random(300);
        let before = there.get(&number).cloned();
        let after = (random(5) > 0).then(|| round.to_be_bytes().to_vec());
        if before.is_none() && after.is_none() || random(6) == 0 {
            engine.roll_back().unwrap();
            continue;
        }
        match &after {
            Some(row) => there.insert(number, row.clone()),
            None => there.remove(&number),
        };
        let rows = vec![RowWrite { key: key(number), before, after }];
        assert_eq!(engine.commit(Writes { rows, listed: Vec::new() }), Outcome::Committed);
        if random(8) == 0 {
            engine.turn().unwrap();
        }
    }
    assert!(found_ahead > 500 && engine.shared.carried.load(Ordering::Relaxed) > 50, "{found_ahead}");
}
