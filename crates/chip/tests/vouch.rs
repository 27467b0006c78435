//! VOUCH: the chip says that whoever rules a slot wrote something the device can read, and says it of nothing else.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use protocol::apdu::Command;
use protocol::applet::{Order, Slot, StateChange, initialize_update, vouch};
use protocol::scp03::{KeySet, Level, host};
use support::{
    CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, HOST_CHALLENGE, bound_flash, open, ready_flash, send, send_command,
    send_order, view,
};

const NOTICE: &[u8] = b"paid 12.00 at Tea House";

fn vouched(level: u8, command: &Command<'_>) -> u16 {
    let mut chip = open(bound_flash());
    let mut cloud = Cloud::open(&mut chip, CLOUD_KEY_VERSION, level, &CLOUD_KEY).unwrap();
    cloud.send_command(&mut chip, command).1
}

#[test]
fn the_chip_vouches_for_what_can_be_read_and_is_authentic_and_for_nothing_else() {
    let command = vouch(Slot::FIRST, NOTICE);
    for (level, expected) in
        [(0x01, 0x9000), (0x11, 0x9000), (0x00, 0x6982), (0x03, 0x6982), (0x13, 0x6982), (0x33, 0x6982)]
    {
        assert_eq!(vouched(level, &command), expected, "{level:02X}");
    }
    for (p1, p2, expected) in [(1, 1, 0x6A86), (0, 0, 0x6A88), (0, 5, 0x6A88), (0, 2, 0x6A88)] {
        assert_eq!(vouched(0x11, &Command::new(0x80, 0x4A, p1, p2).with_data(NOTICE)), expected, "{p1} {p2}");
    }
    let mut chip = open(bound_flash());
    assert_eq!(send_command(&mut chip, &command).1, 0x6982, "in the clear");
    assert_eq!(send(&mut chip, &[0x84, 0x4A, 0x00, 0x01, 0x09, 1, 2, 3, 4, 5, 6, 7, 8, 9]).1, 0x6982, "no channel");
    assert_eq!(send(&mut chip, &[0x00, 0x4A, 0x00, 0x01]).1, 0x6E00);
}

#[test]
fn it_follows_the_life_and_changes_nothing() {
    let mut chip = open(ready_flash());
    let mut cloud = Cloud::open(&mut chip, CLOUD_KEY_VERSION, 0x11, &CLOUD_KEY).unwrap();
    assert_eq!(cloud.send_command(&mut chip, &vouch(Slot::FIRST, NOTICE)).1, 0x6985, "there is no token");
    let mut chip = open(bound_flash());
    for state in [StateChange::Resume, StateChange::Suspend] {
        send_order(&mut chip, &Order::SetState(state));
        let before = view(&mut chip);
        let mut cloud = Cloud::open(&mut chip, CLOUD_KEY_VERSION, 0x11, &CLOUD_KEY).unwrap();
        assert_eq!(cloud.send_command(&mut chip, &vouch(Slot::FIRST, NOTICE)).1, 0x9000);
        assert!(view(&mut chip) == before);
    }
}

#[test]
fn no_altered_bit_and_no_second_time_is_vouched_for() {
    let keys = KeySet::from_bytes(CLOUD_KEY_VERSION, &CLOUD_KEY, &CLOUD_KEY, &CLOUD_KEY).unwrap();
    let mut recorded = Vec::new();
    let bits = (5 + NOTICE.len() + 8) * 8;
    for altered in (0..bits).map(Some).chain([None]) {
        let mut chip = open(bound_flash());
        let mut buffer = [0; 300];
        let start = initialize_update(CLOUD_KEY_VERSION, &HOST_CHALLENGE).encode(&mut buffer).unwrap().to_vec();
        let (answer, _) = send(&mut chip, &start);
        let mut session = host::Session::open(&keys, Level::CMacRMac, &HOST_CHALLENGE, &answer).unwrap();
        let authenticate = session.external_authenticate(&mut buffer).unwrap().to_vec();
        let mut wrapped = session.wrap(&vouch(Slot::FIRST, NOTICE), &mut buffer).unwrap().0.to_vec();
        assert_eq!(send(&mut chip, &authenticate).1, 0x9000);
        match altered {
            Some(bit) => {
                wrapped[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(send(&mut chip, &wrapped).1, 0x9000, "bit {bit}");
            }
            None => {
                assert_eq!(send(&mut chip, &wrapped).1, 0x9000);
                assert_eq!(send(&mut chip, &wrapped).1, 0x6982, "the same again");
                recorded = vec![start, authenticate, wrapped];
                let answers: Vec<u16> = recorded.iter().map(|command| send(&mut chip, command).1).collect();
                assert_ne!(answers[2], 0x9000, "the whole session again");
            }
        }
    }
    assert_eq!(recorded.len(), 3);
}
