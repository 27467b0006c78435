//! Power is cut at every flash operation of everything that changes the chip, torn in seeded ways. What is found
//! afterwards is the state before or the state after; no code is ever made twice; no passcode try is won back.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use chip::hal::Rng;
use protocol::applet::{Order, PasscodeState, RemoveToken, Slot, StateChange};
use std::collections::HashSet;
use support::{
    ANCHOR, CLOUD_KEY, Code, Flash, SeededRng, TestChip, blank_flash, bound_flash, change_passcode, factory_data,
    get_code, install, open, put_cloud_keys, ready_flash, send_order, set_passcode, status, sync, tries_left, try_open,
    verify, view,
};

/// One change, with whatever has to come before it in the same session.
type Step = fn(&mut TestChip) -> u16;

/// Runs `steps` from `flash` with a cut at every operation. After a cut in step k the chip is as before step k or
/// as after it. Gives the number of cuts.
fn cut_everywhere(what: &str, flash: &Flash, steps: &[Step]) -> u64 {
    let mut chip = open(flash.clone());
    let mut states = vec![view(&mut chip)];
    for step in steps {
        assert_eq!(step(&mut chip), 0x9000, "{what}");
        chip.reset();
        states.push(view(&mut chip));
    }
    let mut cuts = 0;
    for at in 0.. {
        for seed in 0..3 {
            if !cut_once(what, flash, steps, &states, at, seed) {
                println!("{what}: {cuts} power cuts");
                assert!(cuts > 0);
                return cuts;
            }
            cuts += 1;
        }
    }
    cuts
}

/// Says whether there was anything left to cut at operation `at`.
fn cut_once(what: &str, flash: &Flash, steps: &[Step], states: &[support::View], at: u64, seed: u64) -> bool {
    let mut flash = flash.clone();
    let before = flash.faults();
    flash.cut_after(at, seed << 32 | at);
    let mut chip = open(flash);
    let mut done = 0;
    for step in steps {
        if step(&mut chip) != 0x9000 {
            break;
        }
        chip.reset();
        done += 1;
    }
    let mut flash = chip.into_parts().0;
    if flash.faults() == before {
        return false;
    }
    flash.power_on();
    let found = view(&mut open(flash));
    let allowed = &states[done..states.len().min(done + 2)];
    assert!(allowed.contains(&found), "{what}: cut at {at} in step {done} left {found:#?}");
    true
}

#[test]
fn a_cut_anywhere_leaves_the_state_before_or_after() {
    let mut cuts = 0;
    cuts += cut_everywhere("factory", &blank_flash(), &[put_cloud_keys, factory_data]);
    let ready = ready_flash();
    cuts += cut_everywhere("install", &ready, &[|chip| install(chip, 1), |chip| install(chip, 2)]);
    let bound = bound_flash();
    cuts += cut_everywhere("replace", &bound, &[|chip| install(chip, 1)]);
    cuts += cut_everywhere("sync", &bound, &[|chip| sync(chip, 1, None), |chip| sync(chip, 1, Some([9; 16]))]);
    cuts += cut_everywhere(
        "remove",
        &bound,
        &[|chip| send_order(chip, &Order::RemoveToken(RemoveToken { slot: Slot::FIRST }))],
    );
    cuts += cut_everywhere(
        "states",
        &bound,
        &[
            |chip| send_order(chip, &Order::SetState(StateChange::Suspend)),
            |chip| send_order(chip, &Order::SetState(StateChange::Resume)),
            |chip| send_order(chip, &Order::SetState(StateChange::Terminate)),
        ],
    );
    cuts += cut_everywhere("rotate keys", &bound, &[put_cloud_keys]);
    cuts += cut_everywhere("passcode", &bound, &[|chip| set_passcode(chip, b"1234")]);
    println!("power cuts made: {cuts}");
    assert!(cuts > 1_000);
}

#[test]
fn a_failed_operation_is_6f00_and_leaves_the_state_before_or_after_without_a_reset() {
    let flash = bound_flash();
    let mut chip = open(flash.clone());
    let old = view(&mut chip);
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    let new = view(&mut chip);
    let mut failures = 0;
    for at in 0.. {
        let mut flash = flash.clone();
        let before = flash.faults();
        flash.glitch_after(at, at);
        let mut chip = open(flash);
        let status = set_passcode(&mut chip, b"1234");
        if status == 0x9000 {
            let mut flash = chip.into_parts().0;
            assert_eq!(flash.faults(), before);
            flash.power_on();
            assert_eq!(view(&mut open(flash)), new);
            break;
        }
        assert_eq!(status, 0x6F00);
        failures += 1;
        let found = view(&mut chip);
        assert!(found == old || found == new);
    }
    assert!(failures > 10);
}

#[test]
fn no_stamp_no_counter_and_no_code_comes_twice_whatever_is_cut() {
    let mut flash = bound_flash();
    let (mut stamps, mut counters, mut digits) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut cuts = 0;
    let mut take = |code: Code| {
        assert!(stamps.insert(code.stamp), "a stamp came twice");
        assert!(digits.insert(code.digits), "a code came twice");
        assert!(counters.insert(code.transaction_counter), "a transaction counter came twice");
    };
    for round in 0..40_u64 {
        let now = ANCHOR + round * 30;
        // Every operation of one code, each time from the same flash: what leaves the chip in a world that is cut
        // is checked against what leaves it afterwards in that same world.
        for at in 0.. {
            let mut world = flash.clone();
            let before = world.faults();
            world.cut_after(at, round << 32 | at);
            let mut chip = open(world);
            let first = get_code(&mut chip, 3, now);
            let mut world = chip.into_parts().0;
            if world.faults() == before {
                take(first.unwrap());
                flash = world;
                break;
            }
            cuts += 1;
            world.power_on();
            let mut chip = open(world);
            let second = get_code(&mut chip, 3, now).unwrap();
            // The cut command answered with no code at all.
            assert_eq!(first.unwrap_err(), 0x6F00);
            assert!(second.stamp.1 <= 1, "a cut costs one sequence number at most");
        }
    }
    println!("power cuts made: {cuts}");
    assert!(cuts > 300);
}

#[test]
fn a_life_of_cuts_makes_every_code_once() {
    let mut flash = bound_flash();
    let mut last = (0, 0, 0);
    let mut made = 0;
    let mut draw = 12_345_u64;
    for round in 0..3_000_u64 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if round % 400 == 0 {
            let mut chip = open(flash);
            assert_eq!(sync(&mut chip, 1, None), 0x9000);
            flash = chip.into_parts().0;
        }
        // Mostly within a code, now and then far enough off to let a compaction through.
        let bound = if draw & 0x4000_0000 == 0 { 15 } else { 1_023 };
        flash.cut_after((draw >> 33) & bound, draw);
        let answered = match try_open(flash) {
            Ok(mut chip) => {
                let answered = get_code(&mut chip, 3, ANCHOR + round * 11);
                flash = chip.into_parts().0;
                answered
            }
            Err((_, torn)) => {
                flash = torn;
                Err(0x6F00)
            }
        };
        flash.power_on();
        match answered {
            Ok(code) => {
                let this = (code.transaction_counter, code.stamp.0, code.stamp.1);
                assert!(this.0 > last.0 && (this.1, this.2) > (last.1, last.2), "{this:?} after {last:?}");
                last = this;
                made += 1;
            }
            Err(status) => assert!(matches!(status, 0x6F00 | 0x9304), "{status:04X}"),
        }
    }
    println!("{made} codes made in a life with {} power cuts", flash.faults());
    assert!(made > 1_000 && flash.faults() > 500);
}

#[test]
fn no_try_is_won_back_by_a_cut() {
    let mut chip = open(bound_flash());
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    let flash = chip.into_parts().0;
    let mut cuts = 0;
    for left in (1..=5_u8).rev() {
        // One wrong try fewer each time around.
        let mut chip = open(flash.clone());
        for _ in left..5 {
            verify(&mut chip, b"9999");
        }
        let flash = chip.into_parts().0;
        for (passcode, right) in [(b"9999", false), (b"1234", true)] {
            for at in 0.. {
                let mut world = flash.clone();
                let before = world.faults();
                world.cut_after(at, at);
                let mut chip = open(world);
                let answered = verify(&mut chip, passcode);
                let mut world = chip.into_parts().0;
                if world.faults() == before {
                    break;
                }
                cuts += 1;
                assert_eq!(answered, 0x6F00, "nothing is learned from a try that was cut");
                world.power_on();
                let mut chip = open(world);
                let found = tries_left(&mut chip);
                assert!(found == left || found == left - 1 || (right && found == 5), "{left} tries became {found}");
                assert_ne!(status(&mut chip).passcode, PasscodeState::Open);
            }
        }
    }
    println!("power cuts made: {cuts}");
    assert!(cuts > 100);
}

#[test]
fn five_answers_are_all_a_thief_gets_however_he_pulls_the_power() {
    let mut chip = open(bound_flash());
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    let mut flash = chip.into_parts().0;
    let mut answers = 0;
    let mut draw = 99_u64;
    for _ in 0..2_000 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        flash.cut_after(draw >> 33 & 15, draw);
        match try_open(flash) {
            Ok(mut chip) => {
                // A wrong try is answered 63Cx, the fifth of them 6983; once blocked nothing is compared.
                let blocked = tries_left(&mut chip) == 0;
                let answered = verify(&mut chip, b"9999");
                answers += u32::from(!blocked && answered != 0x6F00);
                flash = chip.into_parts().0;
            }
            Err((_, torn)) => flash = torn,
        }
        flash.power_on();
    }
    let mut chip = open(flash);
    assert_eq!(verify(&mut chip, b"1234"), 0x6983, "blocked, even for the right passcode");
    assert!(answers <= 5, "{answers} answers");
}

#[test]
fn a_change_of_passcode_leaves_one_that_works() {
    let mut chip = open(bound_flash());
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    let flash = chip.into_parts().0;
    let (mut old, mut new) = (0, 0);
    for at in 0.. {
        let mut world = flash.clone();
        let before = world.faults();
        world.cut_after(at, at);
        let mut chip = open(world);
        let answered = change_passcode(&mut chip, b"1234", b"567890");
        let mut world = chip.into_parts().0;
        if world.faults() == before {
            assert_eq!(answered, 0x9000);
            break;
        }
        assert_eq!(answered, 0x6F00);
        world.power_on();
        let mut chip = open(world);
        let tries = tries_left(&mut chip);
        assert!(tries == 5 || tries == 4, "a change pays a try like any other");
        match (verify(&mut chip, b"1234"), verify(&mut chip, b"567890")) {
            (0x9000, 0x63C4) => old += 1,
            (_, 0x9000) => new += 1,
            other => panic!("{other:04X?}"),
        }
    }
    assert!(old > 10 && new > 10, "{old} {new}");
}

#[test]
fn the_passcode_is_in_flash_as_a_salted_hash_only() {
    let mut salt = [0; 16];
    SeededRng(7).fill(&mut salt).unwrap();
    let mut chip = open(bound_flash());
    assert_eq!(set_passcode(&mut chip, b"83650271"), 0x9000);
    let flash = chip.into_parts().0;
    assert!(flash.contains(&salt), "the salt is what the random source gave");
    assert!(!flash.contains(b"8365"));
}

#[test]
fn removed_keys_are_gone_from_flash() {
    let mut chip = open(bound_flash());
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    let flash = chip.into_parts().0;
    let [pay_key, mask_key] = support::token_keys(1);
    assert!(flash.contains(&pay_key) && flash.contains(&mask_key) && flash.contains(&CLOUD_KEY));
    assert!(!flash.contains(&support::TRANSPORT_KEY), "the transport keys went with the factory");

    let mut chip = open(flash);
    assert_eq!(send_order(&mut chip, &Order::RemoveToken(RemoveToken { slot: Slot::FIRST })), 0x9000);
    let flash = chip.into_parts().0;
    assert!(!flash.contains(&pay_key) && !flash.contains(&mask_key));

    let mut chip = open(flash);
    assert_eq!(send_order(&mut chip, &Order::SetState(StateChange::Terminate)), 0x9000);
    assert!(!chip.into_parts().0.contains(&CLOUD_KEY));
}
