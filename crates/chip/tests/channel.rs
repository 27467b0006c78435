//! The secure channel as an attacker between cloud and chip sees it: nothing changed, repeated or out of order is
//! obeyed, and asking without keys costs the chip nothing.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use protocol::apdu::Command;
use protocol::applet::{Lifecycle, Order, StateChange, initialize_update, store_data};
use protocol::scp03::{KeySet, Level, host};
use support::{
    CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, HOST_CHALLENGE, TRANSPORT_KEY, TestChip, blank_flash, bound_flash, open, send,
    send_command, send_order, status,
};

const SUSPEND: Order<'static> = Order::SetState(StateChange::Suspend);

/// INITIALIZE UPDATE, EXTERNAL AUTHENTICATE and the wrapped command, as they would be recorded on the way.
fn script(chip: &mut TestChip, order: &Order<'_>) -> [Vec<u8>; 3] {
    let mut buffer = [0; 300];
    let start = initialize_update(CLOUD_KEY_VERSION, &HOST_CHALLENGE).encode(&mut buffer).unwrap().to_vec();
    let (answer, status) = send(chip, &start);
    assert_eq!(status, 0x9000);
    let keys = KeySet::from_bytes(CLOUD_KEY_VERSION, &CLOUD_KEY, &CLOUD_KEY, &CLOUD_KEY).unwrap();
    let mut session = host::Session::open(&keys, Level::Full, &HOST_CHALLENGE, &answer).unwrap();
    let authenticate = session.external_authenticate(&mut buffer).unwrap().to_vec();
    let mut template = [0; 64];
    let order = order.encode(&mut template).unwrap();
    let wrapped = session.wrap(&store_data(order), &mut buffer).unwrap().0.to_vec();
    [start, authenticate, wrapped]
}

#[test]
fn s16_and_keys_of_every_length_open_a_channel() {
    for key in [[0x5A; 16].as_slice(), &[0x5A; 24], &[0x5A; 32]] {
        for challenge in [HOST_CHALLENGE.as_slice(), &[0x77; 16]] {
            let mut chip = open(blank_flash());
            let mut cloud = Cloud::open_with(&mut chip, 0xFF, 0x33, &TRANSPORT_KEY, challenge).unwrap();
            assert_eq!(cloud.put_key(&mut chip, &TRANSPORT_KEY, 0xFF, 0x01, key), 0x9000);
            assert_eq!(
                Cloud::open(&mut chip, 0xFF, 0x33, &TRANSPORT_KEY).err(),
                Some(0x6A88),
                "replaced, not added to"
            );
            let mut cloud = Cloud::open_with(&mut chip, 0x01, 0x33, key, challenge).unwrap();
            assert_eq!(cloud.send_command(&mut chip, &Command::new(0x80, 0xCA, 0xDF, 0x23)).1, 0x9000);
        }
    }
}

#[test]
fn a_recorded_session_is_not_obeyed_again() {
    let mut chip = open(bound_flash());
    let [start, authenticate, wrapped] = script(&mut chip, &SUSPEND);
    assert_eq!(send(&mut chip, &authenticate).1, 0x9000);
    assert_eq!(send(&mut chip, &wrapped).1, 0x9000);
    assert_eq!(send(&mut chip, &wrapped).1, 0x6982, "the same command again");
    assert_eq!(send_order(&mut chip, &Order::SetState(StateChange::Resume)), 0x9000);

    let mut chip = open(chip.into_parts().0);
    assert_eq!(send(&mut chip, &start).1, 0x9000);
    assert_eq!(send(&mut chip, &authenticate).1, 0x6982);
    assert_eq!(send(&mut chip, &wrapped).1, 0x6982);
    assert_eq!(status(&mut chip).lifecycle, Lifecycle::Bound);
}

#[test]
fn a_script_that_was_not_delivered_can_be_delivered_after_a_reset() {
    let mut chip = open(bound_flash());
    let [start, authenticate, wrapped] = script(&mut chip, &SUSPEND);
    let mut chip = open(chip.into_parts().0);
    for command in [start, authenticate, wrapped] {
        assert_eq!(send(&mut chip, &command).1, 0x9000);
    }
    assert_eq!(status(&mut chip).lifecycle, Lifecycle::Suspended);
}

#[test]
fn a_changed_bit_closes_the_channel_and_changes_nothing() {
    let flash = bound_flash();
    let mut chip = open(flash.clone());
    let [_, _, wrapped] = script(&mut chip, &SUSPEND);
    // From P1 on: a changed class or instruction byte is another command, and answered as one.
    for bit in 16..wrapped.len() * 8 {
        let mut chip = open(flash.clone());
        let [_, authenticate, wrapped] = script(&mut chip, &SUSPEND);
        assert_eq!(send(&mut chip, &authenticate).1, 0x9000);
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let answered = send(&mut chip, &changed).1;
        assert!(matches!(answered, 0x6982 | 0x6700), "bit {bit}: {answered:04X}");
        if answered == 0x6982 {
            assert_eq!(send(&mut chip, &wrapped).1, 0x6982, "bit {bit}: the channel is closed");
        }
        assert_eq!(status(&mut chip).lifecycle, Lifecycle::Bound);
    }
}

#[test]
fn a_wrong_key_opens_nothing_and_one_try_is_all() {
    let mut chip = open(bound_flash());
    let [_, authenticate, wrapped] = script(&mut chip, &SUSPEND);
    let mut wrong = authenticate.clone();
    wrong[5] ^= 1;
    assert_eq!(send(&mut chip, &wrong).1, 0x6982);
    assert_eq!(send(&mut chip, &authenticate).1, 0x6985, "a new INITIALIZE UPDATE is needed");
    assert_eq!(send(&mut chip, &wrapped).1, 0x6982);
}

#[test]
fn selecting_resetting_and_beginning_anew_close_the_channel() {
    let closings: [fn(&mut TestChip); 4] = [
        |chip| assert_eq!(send_command(chip, &protocol::applet::select()).1, 0x9000),
        |chip| chip.reset(),
        |chip| assert_eq!(send_command(chip, &initialize_update(0x55, &HOST_CHALLENGE)).1, 0x6A88),
        |chip| assert_eq!(send_command(chip, &initialize_update(CLOUD_KEY_VERSION, &[9; 8])).1, 0x9000),
    ];
    for close in closings {
        let mut chip = open(bound_flash());
        let [_, authenticate, wrapped] = script(&mut chip, &SUSPEND);
        assert_eq!(send(&mut chip, &authenticate).1, 0x9000);
        close(&mut chip);
        assert_eq!(send(&mut chip, &wrapped).1, 0x6982);
    }
}

#[test]
fn a_channel_without_mac_proves_nothing_whatever_its_commands_claim() {
    let mut chip = open(bound_flash());
    Cloud::open(&mut chip, CLOUD_KEY_VERSION, 0x00, &CLOUD_KEY).unwrap();
    assert_eq!(send(&mut chip, &[0x84, 0xCA, 0x9F, 0x70]), (vec![0x9F, 0x70, 0x01, 0x07], 0x9000));
    assert_eq!(send(&mut chip, &[0x84, 0xCA, 0xDF, 0x23]).1, 0x6982);
    assert_eq!(send(&mut chip, &[0x84, 0xE2, 0x80, 0x00, 0x05, 0xE4, 0x03, 0xD3, 0x01, 0x0B]).1, 0x6982);
}

#[test]
fn asking_without_trying_writes_nothing() {
    let flash = bound_flash();
    let before = flash.operations();
    let mut chip = open(flash);
    for _ in 0..1_000 {
        assert_eq!(send_command(&mut chip, &initialize_update(CLOUD_KEY_VERSION, &HOST_CHALLENGE)).1, 0x9000);
    }
    assert_eq!(chip.into_parts().0.operations(), before);
}

const GUESS: [u8; 21] = [0x84, 0x82, 0x33, 0x00, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// Asks until it is let through; gives how often it was held back.
fn ask_until_let_through(chip: &mut TestChip) -> u32 {
    for held_back in 0.. {
        match send_command(chip, &initialize_update(CLOUD_KEY_VERSION, &HOST_CHALLENGE)).1 {
            0x9000 => return held_back,
            status => assert_eq!(status, 0x9305),
        }
    }
    unreachable!()
}

#[test]
fn after_sixteen_wrong_tries_the_chip_holds_back_whatever_is_reset_and_writes_no_more() {
    let mut flash = bound_flash();
    let mut chip = open(flash.clone());
    for _ in 0..16 {
        assert_eq!(ask_until_let_through(&mut chip), 0);
        assert_eq!(send(&mut chip, &GUESS).1, 0x6982);
        // Power off and on wins nothing back.
        chip = open(chip.into_parts().0);
    }
    flash = chip.into_parts().0;
    let written = flash.operations();
    chip = open(flash);
    for round in 0..50 {
        assert_eq!(ask_until_let_through(&mut chip), 32, "round {round}");
        assert_eq!(send(&mut chip, &GUESS).1, 0x6982);
        if round % 2 == 0 {
            chip = open(chip.into_parts().0);
        }
    }
    flash = chip.into_parts().0;
    assert_eq!(flash.operations(), written, "who has no keys can't wear the flash out");

    // The cloud is let in after the same toll, and then everything is as it was.
    chip = open(flash);
    assert_eq!(ask_until_let_through(&mut chip), 32);
    chip.reset();
    assert_eq!(ask_until_let_through(&mut chip), 32, "and a challenge that was let through is used up");
    for _ in 0..32 {
        assert_eq!(send_command(&mut chip, &initialize_update(CLOUD_KEY_VERSION, &HOST_CHALLENGE)).1, 0x9305);
    }
    Cloud::open(&mut chip, CLOUD_KEY_VERSION, 0x33, &CLOUD_KEY).unwrap();
    for _ in 0..16 {
        assert_eq!(ask_until_let_through(&mut chip), 0);
        assert_eq!(send(&mut chip, &GUESS).1, 0x6982);
    }
    assert_eq!(ask_until_let_through(&mut chip), 32);
}

#[test]
fn no_wrong_try_is_hidden_by_a_cut() {
    let mut flash = bound_flash();
    let mut answered = 0;
    for at in 0..400_u64 {
        flash.cut_after(at % 23, at);
        match support::try_open(flash) {
            Ok(mut chip) => {
                let asked = send_command(&mut chip, &initialize_update(CLOUD_KEY_VERSION, &HOST_CHALLENGE)).1;
                let guessed = send(&mut chip, &GUESS).1;
                answered += u32::from(asked == 0x9000 && guessed == 0x6982);
                flash = chip.into_parts().0;
            }
            Err((_, torn)) => flash = torn,
        }
        flash.power_on();
    }
    assert!(answered <= 16, "{answered} guesses were answered");
}

#[test]
fn the_sequence_counter_is_raised_before_a_session_opens_whatever_is_cut() {
    let flash = bound_flash();
    for at in 0.. {
        let mut chip = open(flash.clone());
        let [start, authenticate, _] = script(&mut chip, &SUSPEND);
        let mut world = chip.into_parts().0;
        let before = world.faults();
        world.cut_after(at, at);
        let mut chip = open(world);
        send(&mut chip, &start);
        let answered = send(&mut chip, &authenticate).1;
        let mut world = chip.into_parts().0;
        if world.faults() == before {
            assert_eq!(answered, 0x9000);
            assert!(at > 3);
            break;
        }
        assert_eq!(answered, 0x6F00, "no session opens when the counter may not have been raised");
        world.power_on();
    }
}
