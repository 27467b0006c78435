//! Whatever is sent: always a status word, never a panic, and never more than the sender's rights.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "apdus/entry.rs"]
mod entry;
#[path = "../../../fuzz/inputs.rs"]
mod inputs;
mod support;

use inputs::{Budget, Inputs};
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
        prop_assert_eq!(after.granted, before.granted);
        prop_assert_eq!(after.public, before.public);
        // Codes are made, and none is won back; a passcode is the wearer's to set.
        prop_assert!(after.status.codes_left <= before.status.codes_left);
        prop_assert_eq!(after.status.label, before.status.label);
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

/// Runs inputs as long as the budget lasts.
fn campaign(budget: &Budget) -> entry::Seen {
    let stages = entry::stages();
    let mut seen = entry::Seen::default();
    let mut inputs = Inputs::new("chip_commands", budget.seed);
    while budget.lasts(seen.commands) {
        let showed_more = inputs.run_next(|input| seen.add(entry::run(&stages, input)));
        inputs.keep_last_if(showed_more);
    }
    tell(&seen, inputs.sequences());
    seen
}

fn tell(seen: &entry::Seen, sequences: u64) {
    let hex = |byte: &u8| format!("{byte:02X}");
    println!("{} commands in {sequences} sequences, {} of them through a channel", seen.commands, seen.secured);
    println!("{} channels opened, {} losses of power", seen.channels, seen.power_losses);
    let statuses: Vec<_> = seen.statuses.iter().map(|(status, count)| format!("{status:04X} ({count})")).collect();
    println!("{} status words: {}", statuses.len(), statuses.join(" "));
    println!("{} stages of life: {}", seen.stages.len(), seen.stages.iter().map(hex).collect::<Vec<_>>().join(" "));
    let ways: Vec<_> = seen.ways.iter().map(|((a, b), count)| format!("{a:02X}-{b:02X} ({count})")).collect();
    println!("{} ways between them: {}", ways.len(), ways.join(" "));
    println!("{} kinds of answer (instruction, order, stage, status)", seen.features.len());
}

/// Thirty thousand commands, or ten million with `PAYCHIP_LONG=1`.
#[test]
fn a_chip_under_any_sequence_of_commands_lives_only_the_lives_it_may() {
    let commands = if std::env::var("PAYCHIP_LONG").is_ok_and(|long| long == "1") { 10_000_000 } else { 30_000 };
    let seen = campaign(&Budget::of(commands));
    // What it is worth: every stage of life, every way between them, and nearly every answer were reached.
    assert_eq!(seen.stages.len(), 5);
    assert!(seen.ways.len() >= 8 && seen.statuses.len() >= 20, "little was reached");
}

/// `cargo xtask fuzz`: as many commands, or as long, as it says.
#[test]
#[ignore = "run by `cargo xtask fuzz`"]
fn the_campaign() {
    let budget = Budget::from_environment();
    let seen = campaign(&budget);
    budget.tell(seen.commands);
}
