//! What the cloud can do for and about the passcode, how long a session lasts, and the log of what it was used for.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use chip::Chip;
use chip::hal::Platform;
use protocol::applet::{
    CodeLog, DataObject, Lifecycle, Order, Passcode, PasscodeOrder, PasscodeState, SetRules, Slot, TimedPasscode,
    self_test,
};
use std::cell::Cell;
use support::{
    ANCHOR, CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, Flash, SeededRng, TestChip, bound_flash, get_code, install,
    install_order, lock, open, send, send_command, send_order, set_passcode, status, sync, token_keys, verify,
};

fn rules(passcode_required: bool, session_seconds: u32) -> Order<'static> {
    Order::SetRules(SetRules { slot: Slot::FIRST, passcode_required, session_seconds })
}

fn verify_at(chip: &mut TestChip, passcode: &[u8], unix_seconds: u64) -> u16 {
    let timed = TimedPasscode { passcode: Passcode::new(passcode).unwrap(), unix_seconds };
    send(chip, timed.encode(&mut [0; 32]).unwrap()).1
}

#[test]
fn a_blocked_passcode_is_unblocked_or_cleared_by_the_cloud() {
    let mut chip = open(bound_flash());
    assert_eq!(send_order(&mut chip, &Order::Passcode(PasscodeOrder::Unblock)), 0x6A88);
    assert_eq!(send_order(&mut chip, &Order::Passcode(PasscodeOrder::Clear)), 0x9000, "nothing is nothing to clear");
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    for _ in 0..5 {
        verify(&mut chip, b"9999");
    }
    assert_eq!(verify(&mut chip, b"1234"), 0x6983);
    assert_eq!(send_order(&mut chip, &Order::Passcode(PasscodeOrder::Unblock)), 0x9000);
    assert_eq!(status(&mut chip).tries_left, 5);
    assert_eq!(verify(&mut chip, b"1234"), 0x9000);
    assert_eq!(send_order(&mut chip, &Order::Passcode(PasscodeOrder::Clear)), 0x9000);
    assert_eq!(status(&mut chip).passcode, PasscodeState::None);
    assert!(!get_code(&mut chip, 1, ANCHOR).unwrap().verified, "the session went with it");
    assert_eq!(set_passcode(&mut chip, b"5678"), 0x9000);
}

#[test]
fn a_token_may_ask_for_a_passcode_to_exist() {
    let mut chip = open(bound_flash());
    assert_eq!(send_order(&mut chip, &rules(true, 3_600)), 0x9000);
    assert_eq!(get_code(&mut chip, 1, ANCHOR).unwrap_err(), 0x9306);
    assert_eq!(status(&mut chip).codes_left, Some(500), "a refusal costs nothing");
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    assert!(!get_code(&mut chip, 1, ANCHOR).unwrap().verified);
    let mut chip = open(chip.into_parts().0);
    assert_eq!(send_order(&mut chip, &Order::Passcode(PasscodeOrder::Clear)), 0x9000);
    assert_eq!(get_code(&mut chip, 1, ANCHOR).unwrap_err(), 0x9306);
    assert_eq!(send_order(&mut chip, &rules(false, 3_600)), 0x9000);
    get_code(&mut chip, 1, ANCHOR).unwrap();
    assert_eq!(
        send_order(
            &mut chip,
            &Order::SetRules(SetRules { slot: Slot::new(2).unwrap(), passcode_required: true, session_seconds: 1 })
        ),
        0x6A88
    );
}

#[test]
fn a_new_owners_token_takes_the_former_owners_passcode_with_it() {
    let [pay_key, mask_key] = token_keys(1);
    let of_another = install_order(1, &[0x77; 16], &pay_key, &mask_key);
    let owned = || {
        let mut chip = open(bound_flash());
        assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
        assert_eq!(verify(&mut chip, b"1234"), 0x9000);
        chip
    };
    // Given again because its answer was lost, an installation changes nothing of this.
    let mut chip = owned();
    assert_eq!(install(&mut chip, 1), 0x9000);
    assert!(get_code(&mut chip, 1, ANCHOR).unwrap().verified);
    // Beside a token of the same owner, another may come and go.
    assert_eq!(install(&mut chip, 2), 0x9000);
    assert_eq!(send_order(&mut chip, &of_another), 0x9000);
    assert_eq!(status(&mut chip).passcode, PasscodeState::Open);
    // Alone, it is a new owner's: the passcode, a blocked one too, and the session it had opened are gone.
    for blocked in [false, true] {
        let mut chip = owned();
        if blocked {
            for _ in 0..5 {
                verify(&mut chip, b"9999");
            }
        }
        assert_eq!(send_order(&mut chip, &of_another), 0x9000);
        assert_eq!(status(&mut chip).passcode, PasscodeState::None);
        assert!(!get_code(&mut chip, 1, ANCHOR).unwrap().verified);
        assert_ne!(verify(&mut chip, b"1234"), 0x9000);
        assert_eq!(set_passcode(&mut chip, b"5678"), 0x9000);
        assert_eq!(verify(&mut chip, b"5678"), 0x9000);
    }
}

#[test]
fn verified_codes_of_one_session_lie_in_one_window_of_time() {
    let mut chip = open(bound_flash());
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    assert_eq!(send_order(&mut chip, &rules(false, 600)), 0x9000);
    // The window begins with VERIFY.
    assert_eq!(verify_at(&mut chip, b"1234", ANCHOR + 300), 0x9000);
    assert!(!get_code(&mut chip, 1, ANCHOR + 239).unwrap().verified, "before it");
    assert!(get_code(&mut chip, 1, ANCHOR + 300).unwrap().verified);
    assert!(get_code(&mut chip, 1, ANCHOR + 900).unwrap().verified);
    assert!(!get_code(&mut chip, 1, ANCHOR + 901).unwrap().verified, "after it");
    // Without a time it begins with the first code.
    assert_eq!(verify(&mut chip, b"1234"), 0x9000);
    assert!(get_code(&mut chip, 1, ANCHOR + 9_000).unwrap().verified);
    assert!(get_code(&mut chip, 1, ANCHOR + 9_600).unwrap().verified);
    assert!(!get_code(&mut chip, 1, ANCHOR + 9_601).unwrap().verified);
    // A refused code begins nothing.
    assert_eq!(verify(&mut chip, b"1234"), 0x9000);
    assert_eq!(get_code(&mut chip, 1, ANCHOR).unwrap_err(), 0x9301);
    assert!(get_code(&mut chip, 1, ANCHOR + 20_000).unwrap().verified);
    // LOCK and reset end it whatever the time.
    lock(&mut chip);
    assert!(!get_code(&mut chip, 1, ANCHOR + 20_000).unwrap().verified);
    assert_eq!(verify_at(&mut chip, b"1234", ANCHOR + 20_000), 0x9000);
    chip.reset();
    assert!(!get_code(&mut chip, 1, ANCHOR + 20_000).unwrap().verified);
    // A wrong passcode with a time costs a try like any other.
    assert_eq!(verify_at(&mut chip, b"9999", ANCHOR), 0x63C4);
    for malformed in [
        &b"\x00\x20\x01\x81\x041234"[..],
        b"\x00\x20\x01\x81\x101234\xFF\xFF1\xFF\0\0\0\0\x6B\x49\xD2\0",
        b"\x00\x20\x01\x81\x101234\xFF\xFF\xFF\xFF\xFF\0\0\0\x6B\x49\xD2\0",
    ] {
        assert_eq!(send(&mut chip, malformed).1, 0x6A80);
    }
    assert_eq!(status(&mut chip).tries_left, 4);
}

#[test]
fn the_log_tells_the_last_codes_to_whoever_issued_the_token() {
    let mut chip = open(bound_flash());
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    let mut made = Vec::new();
    for count in 1..=100_u32 {
        if count % 3 == 0 {
            assert_eq!(verify(&mut chip, b"1234"), 0x9000);
        } else {
            lock(&mut chip);
        }
        let code = get_code(&mut chip, 1, ANCHOR + u64::from(count) * 20).unwrap();
        made.push((count, code.stamp, code.verified));
        if count == 50 {
            assert_eq!(install(&mut chip, 1), 0x9000, "installed over itself it stays");
        }
        if matches!(count, 1 | 2 | 7 | 8 | 9 | 31 | 32 | 33 | 40 | 41 | 60 | 79 | 80 | 81 | 100) {
            let mut cloud = Cloud::open(&mut chip, CLOUD_KEY_VERSION, 0x33, &CLOUD_KEY).unwrap();
            let (data, status) = cloud.send_command(&mut chip, &DataObject::CodeLog(Slot::FIRST).command());
            assert_eq!(status, 0x9000);
            let log = CodeLog::decode(Slot::FIRST, &data).unwrap();
            let found: Vec<_> = log
                .codes()
                .map(|(counter, code)| (counter, (code.stamp.step(), code.stamp.sequence()), code.verified))
                .collect();
            let expected: Vec<_> = made.iter().rev().take(32).copied().collect();
            assert_eq!(found, expected, "after {count}");
        }
    }
    assert_eq!(send_command(&mut chip, &DataObject::CodeLog(Slot::FIRST).command()).1, 0x6982, "in the clear");
    assert_eq!(sync(&mut chip, 1, None), 0x9000);
}

thread_local! {
    static TRIPPED: Cell<bool> = const { Cell::new(false) };
}

/// A chip with a tamper sensor.
enum Sensing {}

impl Platform for Sensing {
    type Flash = Flash;
    type Rng = SeededRng;

    fn is_tampered_with() -> bool {
        TRIPPED.get()
    }
}

#[test]
fn a_tripped_sensor_ends_the_chips_life_at_the_next_command_and_at_power_up() {
    let [pay_key, mask_key] = support::token_keys(1);
    let ends: [fn(Chip<Sensing>) -> Chip<Sensing>; 2] =
        [|chip| chip, |chip| Chip::open(chip.into_parts().0, SeededRng(1)).map_err(|(error, _)| error).unwrap()];
    for end in ends {
        TRIPPED.set(false);
        let mut chip = Chip::<Sensing>::open(bound_flash(), SeededRng(1)).map_err(|(error, _)| error).unwrap();
        get_code(&mut chip, 1, ANCHOR).unwrap();
        TRIPPED.set(true);
        let mut chip = end(chip);
        assert_eq!(get_code(&mut chip, 1, ANCHOR).unwrap_err(), 0x6985);
        TRIPPED.set(false);
        assert_eq!(status(&mut chip).lifecycle, Lifecycle::Terminated);
        let flash = chip.into_parts().0;
        assert!(!flash.contains(&pay_key) && !flash.contains(&mask_key) && !flash.contains(&CLOUD_KEY));
    }
}

#[test]
fn the_self_test_passes_in_every_stage_of_life() {
    for flash in [support::blank_flash(), support::ready_flash(), bound_flash()] {
        assert_eq!(send_command(&mut open(flash), &self_test()).1, 0x9000);
    }
}
