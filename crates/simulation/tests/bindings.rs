//! Bindings with real chips, the real SDK and an attacker in the phone: whatever happens, nobody is half bound.

use simulation::bindings::{
    Counts, each_message_of_a_sync_under_each_attack, each_message_under_each_attack, simulate_bindings,
};

/// Worlds of an ordinary run, and of one with a large budget (`PAYCHIP_LONG=1`): a hundred thousand bindings.
const WORLDS: u64 = 20;
const MANY_WORLDS: u64 = 3_400;
/// Of the attacks on single bytes and lengths, every so many-th in an ordinary run.
const STRIDE: usize = 9;

fn is_long() -> bool {
    std::env::var_os("PAYCHIP_LONG").is_some()
}

#[test]
fn the_same_seed_binds_exactly_the_same_and_another_does_not() {
    let (one, two) = (simulate_bindings(3, false), simulate_bindings(3, true));
    assert_eq!((one.steps, one.counts, &one.trace_hash), (two.steps, two.counts, &two.trace_hash));
    assert!(!two.trace.is_empty());
    assert_ne!(one.trace_hash, simulate_bindings(4, false).trace_hash);
}

#[test]
fn no_chip_has_two_owners_and_none_is_half_bound_whatever_goes_wrong() {
    let worlds = if is_long() { MANY_WORLDS } else { WORLDS };
    let mut all = Counts::default();
    for seed in 1..=worlds {
        let report = simulate_bindings(seed, false);
        assert_eq!(report.violation, None, "seed {seed}, step {}", report.steps);
        all.add(&report.counts);
    }
    assert!(all.done > 10 * worlds && all.failed > worlds && all.refused > worlds, "{all:?}");
    for (times, what) in [
        (all.attacks, "attack"),
        (all.frames, "lost frame"),
        (all.lost, "lost request"),
        (all.repeated, "repeated request"),
        (all.power_cuts, "power cut"),
        (all.silences, "silent chip"),
        (all.reboots, "reboot"),
        (all.codes, "code"),
        (all.synced, "sync that was done"),
        (all.told, "result on a screen"),
    ] {
        assert!(times > worlds, "hardly a {what}: {all:?}");
    }
}

#[test]
fn each_message_of_a_binding_under_each_attack_ends_it_bound_or_failed() {
    let stride = if is_long() { 1 } else { STRIDE };
    let all = each_message_under_each_attack(1, stride);
    assert_eq!(all.violation, None, "{all:?}");
    assert_eq!(all.messages, 5, "offer and confirmation aside: two scripts, their results, the last word");
    assert_eq!(all.cases, all.bound + all.failed);
    assert!(all.bound > 100 && all.failed > 10, "{all:?}");
}

#[test]
fn each_message_of_a_sync_under_each_attack_leaves_a_screen_that_tells_the_truth() {
    let stride = if is_long() { 1 } else { 3 * STRIDE };
    let all = each_message_of_a_sync_under_each_attack(1, stride);
    assert_eq!(all.violation, None, "{all:?}");
    assert_eq!(all.messages, 9, "four scripts, their results, the last word");
    assert_eq!(all.cases, all.bound + all.failed);
    assert!(all.bound > 50, "{all:?}");
}
