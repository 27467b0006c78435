//! Whatever is sent: always a status word, never a panic, and never more than the sender's rights.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "apdus/entry.rs"]
mod entry;
mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::applet::Lifecycle;
use support::{CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, bound_flash, open, send, status, view};

/// Commands that are nearly right, so that they get past the first checks.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let class = prop::sample::select(vec![0x00_u8, 0x80, 0x84, 0x04]);
    let instruction = prop::sample::select(vec![0xA4_u8, 0x50, 0x82, 0xD8, 0xE2, 0xCA, 0x20, 0x24, 0x30, 0x40]);
    let p1 = prop::sample::select(vec![0x00_u8, 0x01, 0x02, 0x03, 0x04, 0x33, 0x80, 0x9F, 0xDF, 0xFF]);
    let p2 = prop::sample::select(vec![0x00_u8, 0x01, 0x04, 0x20, 0x22, 0x23, 0x70, 0x81]);
    let data = prop_oneof![vec(any::<u8>(), 0..=40), vec(b'0'..=b'9', 4..=16), vec(any::<u8>(), 0..=255)];
    (class, instruction, p1, p2, data).prop_map(|(class, instruction, p1, p2, data)| {
        let mut command = vec![class, instruction, p1, p2];
        if !data.is_empty() {
            command.push(data.len() as u8);
            command.extend(data);
        }
        command
    })
}

/// Templates of orders, nearly right.
fn nearly_an_order() -> impl Strategy<Value = Vec<u8>> {
    let object =
        (prop::sample::select((0xC0_u8..=0xCB).chain(0xD0..=0xD3).collect::<Vec<_>>()), vec(any::<u8>(), 0..=33));
    (0xE0_u8..=0xE5, vec(object, 0..=6)).prop_map(|(template, objects)| {
        let mut inner = Vec::new();
        for (tag, value) in objects {
            inner.extend([tag, value.len() as u8]);
            inner.extend(value);
        }
        inner.truncate(120);
        let mut order = vec![template, inner.len() as u8];
        order.extend(inner);
        order
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_get_a_status_word(commands in vec(vec(any::<u8>(), 0..=320), 1..20)) {
        let mut chip = open(bound_flash());
        for command in commands {
            send(&mut chip, &command);
        }
    }

    #[test]
    fn without_the_keys_nothing_of_the_clouds_changes(commands in vec(nearly_right(), 1..40)) {
        let mut chip = open(bound_flash());
        let before = view(&mut chip);
        chip.reset();
        for command in &commands {
            send(&mut chip, command);
        }
        let after = view(&mut chip);
        prop_assert_eq!(after.lifecycle, Lifecycle::Bound);
        prop_assert_eq!(after.chip_id, before.chip_id);
        prop_assert_eq!(after.key_versions, before.key_versions);
        prop_assert_eq!(after.tokens.len(), before.tokens.len());
    }

    #[test]
    fn any_order_gets_a_status_word(orders in vec(nearly_an_order(), 1..10)) {
        let mut chip = open(bound_flash());
        let mut cloud = Cloud::open(&mut chip, CLOUD_KEY_VERSION, 0x33, &CLOUD_KEY).unwrap();
        for order in orders {
            let mut command = vec![0x80, 0xE2, 0x80, 0x00, order.len() as u8];
            command.extend(order);
            let (_, answered) = cloud.send(&mut chip, &command);
            prop_assert_ne!(answered, 0x6F00);
        }
        status(&mut chip);
    }

    #[test]
    fn a_response_buffer_of_any_size_is_kept_to(command in nearly_right(), size in 0_usize..300) {
        let mut chip = open(bound_flash());
        let mut response = vec![0; size];
        let len = chip.process(&command, &mut response);
        prop_assert!(len <= size && (len >= 2 || size < 2));
    }
}

/// Orders that are right, to get a chip somewhere: each as the input of the entry has it.
fn seeds() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/chip_commands");
    let mut seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    seeds.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Random sequences, and seeds with bytes changed: ten thousand commands, or ten million with `PAYCHIP_LONG=1`.
#[test]
fn a_chip_under_any_sequence_of_commands_lives_only_the_lives_it_may() {
    let stages = [support::blank_flash(), support::ready_flash(), bound_flash()];
    let wanted = if std::env::var("PAYCHIP_LONG").is_ok_and(|long| long == "1") { 10_000_000 } else { 10_000 };
    let seeds = seeds();
    let mut commands: u64 = seeds.iter().map(|seed| entry::run(&stages, seed)).sum();
    let mut draw = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (draw >> 33) as usize
    };
    while commands < wanted {
        let mut input = if next() % 2 == 0 {
            (0..next() % 2_000).map(|_| next() as u8).collect()
        } else {
            let mut seed = seeds[next() % seeds.len()].clone();
            seed.extend_from_slice(&seeds[next() % seeds.len()][1..]);
            seed
        };
        for _ in 0..next() % 8 {
            let at = next() % input.len().max(1);
            if let Some(byte) = input.get_mut(at) {
                *byte = next() as u8;
            }
        }
        commands += entry::run(&stages, &input);
    }
    println!("{commands} commands");
}
