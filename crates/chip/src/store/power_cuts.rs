//! The store beside a model of it, with power cut at every flash operation, and again while recovering.
//!
//! For each step of a random sequence the flash is copied and the step is run once for every operation it
//! takes, torn there. Then the store is opened, itself cut at every operation it takes. What is read must be
//! the state before the step or after it, and nothing of a superseded value may be left in flash.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::{KEYS, Key, Store, StoreError, Update};
use crate::virtual_chip::CutFlash;
use std::collections::HashMap;
use std::println;
use std::vec::Vec;

/// What a store is, without flash: the values by key.
type Model = HashMap<u8, Vec<u8>>;
type Flash = CutFlash<4, 48>;

struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Some bytes no other value has, so that finding them in flash means they were not wiped.
    fn value(&mut self) -> Vec<u8> {
        let len = match self.below(8) {
            0 => 0,
            1 => 9 + self.below(60),
            2 => 13,
            _ => 24,
        };
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A change of one to three keys.
fn draw_step(draw: &mut Draw) -> Vec<(u8, Option<Vec<u8>>)> {
    let mut step: Vec<(u8, Option<Vec<u8>>)> = Vec::new();
    for _ in 0..=draw.below(3) {
        let key = draw.below(5) as u8;
        if step.iter().all(|(other, _)| *other != key) {
            let put = draw.below(4) != 0;
            step.push((key, put.then(|| draw.value())));
        }
    }
    step
}

fn run(store: &mut Store<Flash>, step: &[(u8, Option<Vec<u8>>)]) -> Result<(), StoreError> {
    let updates: Vec<Update<'_>> = step
        .iter()
        .map(|(key, value)| match value {
            Some(value) => Update::Put(Key::new(*key), value),
            None => Update::Remove(Key::new(*key)),
        })
        .collect();
    store.transact(&updates)
}

fn after(model: &Model, step: &[(u8, Option<Vec<u8>>)]) -> Model {
    let mut model = model.clone();
    for (key, value) in step {
        match value {
            Some(value) => model.insert(*key, value.clone()),
            None => model.remove(key),
        };
    }
    model
}

fn contents(store: &mut Store<Flash>) -> Model {
    let mut model = Model::new();
    let mut buffer = [0; super::MAX_VALUE_BYTES];
    for number in 0..KEYS as u8 {
        if let Some(len) = store.get(Key::new(number), &mut buffer).unwrap() {
            model.insert(number, buffer[..len].to_vec());
        }
    }
    model
}

fn format(flash: Flash) -> Store<Flash> {
    Store::format(flash).map_err(|(error, _)| error).unwrap()
}

fn open(flash: Flash) -> Store<Flash> {
    Store::open(flash).map_err(|(error, _)| error).unwrap()
}

/// No value that `model` does not hold, of those in `once`, is anywhere in flash.
fn assert_wiped(flash: &Flash, once: &Model, model: &Model) {
    for (key, value) in once {
        if value.len() >= 9 && model.get(key) != Some(value) {
            assert!(!flash.contains(&value[..8]), "a superseded value is still in flash");
        }
    }
    assert_eq!(flash.broken_rule(), None);
}

/// Opens `flash` with power cut at every operation that takes, and checks each time what the next opening
/// finds. Returns what an undisturbed opening finds.
fn recover_with_cuts(flash: &Flash, old: &Model, new: &Model, seed: u64, cuts: &mut u64) -> Model {
    let mut store = open(flash.clone());
    let found = contents(&mut store);
    assert!(found == *old || found == *new, "neither the old state nor the new");
    let clean = store.into_flash();
    assert_wiped(&clean, old, &found);
    assert_wiped(&clean, new, &found);
    for at in 0.. {
        let mut cut = flash.clone();
        let before = cut.faults();
        cut.cut_after(at, seed ^ at);
        let mut flash = match Store::open(cut) {
            Ok(store) => {
                let flash = store.into_flash();
                if flash.faults() == before {
                    break;
                }
                flash
            }
            Err((StoreError::Flash, flash)) => flash,
            Err((error, _)) => panic!("{error:?}"),
        };
        *cuts += 1;
        flash.power_on();
        let mut store = open(flash);
        assert_eq!(contents(&mut store), found, "a second opening finds something else");
        assert_wiped(&store.into_flash(), old, &found);
    }
    found
}

fn cut_everywhere(seed: u64, steps: usize, cuts: &mut u64) {
    let mut draw = Draw(seed);
    let mut flash = format(Flash::new()).into_flash();
    let mut old = Model::new();
    for _ in 0..steps {
        let step = draw_step(&mut draw);
        let new = after(&old, &step);
        for at in 0.. {
            let mut store = open(flash.clone());
            let before = store.flash.faults();
            let tear = draw.next();
            store.flash.cut_after(at, tear);
            let done = run(&mut store, &step);
            let mut torn = store.into_flash();
            if torn.faults() == before {
                assert!(matches!(done, Ok(()) | Err(StoreError::Full)), "{done:?}");
                break;
            }
            assert_eq!(done, Err(StoreError::Flash));
            *cuts += 1;
            torn.power_on();
            recover_with_cuts(&torn, &old, &new, tear, cuts);
        }
        // The step for good: undisturbed, or cut somewhere and gone on from what is found.
        let mut store = open(flash);
        let disturbed = draw.below(3) == 0;
        if disturbed {
            store.flash.cut_after(draw.below(40), draw.next());
        }
        let done = run(&mut store, &step);
        let mut next = store.into_flash();
        next.power_on();
        let mut store = open(next);
        let found = contents(&mut store);
        match done {
            Ok(()) => assert_eq!(found, new),
            Err(StoreError::Full) => assert_eq!(found, old),
            Err(_) => assert!(disturbed && (found == old || found == new)),
        }
        flash = store.into_flash();
        assert_wiped(&flash, &old, &found);
        old = found;
    }
}

#[test]
fn a_cut_at_any_operation_leaves_the_old_state_or_the_new() {
    let mut cuts = 0;
    for seed in 0..6 {
        cut_everywhere(seed, 40, &mut cuts);
    }
    println!("power cuts made: {cuts}");
    assert!(cuts > 80_000);
}

#[test]
fn a_failed_operation_leaves_the_old_state_or_the_new_without_reopening() {
    let mut draw = Draw(77);
    let mut store = format(Flash::new());
    let mut old = Model::new();
    for _ in 0..3_000 {
        let step = draw_step(&mut draw);
        let new = after(&old, &step);
        store.flash.glitch_after(draw.below(60), draw.next());
        let done = run(&mut store, &step);
        store.flash.power_on();
        let found = contents(&mut store);
        match done {
            Ok(()) => assert_eq!(found, new),
            Err(StoreError::Full) => assert_eq!(found, old),
            Err(_) => assert!(found == old || found == new),
        }
        assert_wiped(&store.flash, &old, &found);
        old = found;
    }
    assert!(store.flash.faults() > 500);
}

#[test]
fn formatting_can_be_cut_anywhere_and_done_again() {
    for at in 0.. {
        let mut flash = Flash::new();
        flash.cut_after(at, at);
        let Err((_, mut flash)) = Store::format(flash) else {
            assert!(at > 5);
            break;
        };
        flash.power_on();
        if let Err((error, _)) = Store::open(flash.clone()) {
            assert_eq!(error, StoreError::NotFormatted);
        }
        let mut store = format(flash);
        run(&mut store, &[(1, Some(std::vec![7; 20]))]).unwrap();
    }
}

#[test]
fn damage_is_an_error_and_never_absence() {
    let mut store = format(Flash::new());
    let value = [0xA5; 24];
    run(&mut store, &[(3, Some(value.to_vec()))]).unwrap();
    let end = store.end;
    let flash = store.into_flash();
    let mut noticed = 0;
    for word in 3..end {
        for bit in 0..32 {
            let mut flash = flash.clone();
            flash.damage(word, 1 << bit);
            let mut buffer = [0; 64];
            match Store::open(flash) {
                Err((error, _)) => assert_eq!(error, StoreError::Corrupt),
                Ok(mut store) => match store.get(Key::new(3), &mut buffer) {
                    Ok(Some(24)) => assert_eq!(buffer[..24], value),
                    other => assert_eq!(other, Err(StoreError::Corrupt), "word {word} bit {bit}"),
                },
            }
            noticed += 1;
        }
    }
    assert_eq!(noticed, (end - 3) * 32);
}

#[test]
fn compaction_gives_damage_no_right_check() {
    let mut store = format(Flash::new());
    run(&mut store, &[(3, Some(std::vec![0x5A; 24]))]).unwrap();
    let payload = usize::from(store.places[3]) + 2;
    store.flash.damage(payload, 1);
    let mut failed = false;
    for count in 0..40_u8 {
        failed |= run(&mut store, &[(4, Some(std::vec![count; 20]))]).is_err();
    }
    assert!(failed);
    assert_eq!(store.get(Key::new(3), &mut [0; 64]), Err(StoreError::Corrupt));
}

#[test]
fn two_records_of_one_key_are_damage() {
    let mut store = format(Flash::new());
    run(&mut store, &[(3, Some(std::vec![1; 8]))]).unwrap();
    let end = store.append(store.end, &Update::Put(Key::new(3), &[2; 8]), true).unwrap();
    store.seal(end).unwrap();
    assert_eq!(Store::open(store.into_flash()).err().map(|(error, _)| error), Some(StoreError::Corrupt));
}

#[test]
fn a_full_store_refuses_and_keeps_what_it_has() {
    let mut store = format(Flash::new());
    let mut old = Model::new();
    for key in 0..8 {
        let step = [(key, Some(std::vec![key; 60]))];
        match run(&mut store, &step) {
            Ok(()) => old = after(&old, &step),
            Err(error) => assert_eq!(error, StoreError::Full),
        }
        assert_eq!(contents(&mut store), old);
    }
    assert_eq!(old.len(), 5);
    assert_eq!(run(&mut store, &[(0, None)]), Ok(()));
    assert_eq!(run(&mut store, &[(7, Some(std::vec![7; 60]))]), Ok(()));
}

#[test]
fn a_key_twice_or_a_value_too_long_is_refused() {
    let mut store = format(Flash::new());
    assert_eq!(run(&mut store, &[(1, None), (1, None)]), Err(StoreError::Invalid));
    let long = std::vec![0; super::MAX_VALUE_BYTES + 1];
    assert_eq!(run(&mut store, &[(1, Some(long))]), Err(StoreError::Invalid));
    assert_eq!(contents(&mut store), Model::new());
}

#[test]
fn ram_is_what_the_first_lines_say() {
    assert!(size_of::<Store<()>>() < 200, "{} bytes", size_of::<Store<()>>());
}

#[test]
fn wear_is_what_the_first_lines_say() {
    let mut store = Store::format(CutFlash::<4, 1024>::new()).map_err(|(error, _)| error).unwrap();
    let live = std::vec![0x11; 1000];
    store.transact(&[Update::Put(Key::new(1), &live)]).unwrap();
    let before = store.flash.most_erases();
    for count in 0..10_000_u32 {
        let mut counters = [0; 12];
        counters[..4].copy_from_slice(&count.to_le_bytes());
        store.transact(&[Update::Put(Key::new(2), &counters)]).unwrap();
    }
    let erases = store.flash.most_erases() - before;
    println!("10,000 updates of 12 bytes: {erases} erases of the page erased most");
    assert!((14..=18).contains(&erases), "{erases}");
}
