//! Security domains: each slot with keys of its own is out of everybody else's reach.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use protocol::applet::{
    CodeLog, Lifecycle, MaskKeyUpdate, Order, PasscodeOrder, RemoveToken, SetRules, Slot, StateChange, SyncGrant,
    TokenStatuses, choose_slot,
};
use support::{
    ANCHOR, CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, Flash, TestChip, get_code, grant, install_order, open, ready_flash,
    send_command, status, token_id, token_keys,
};

/// The first key version of a slot's own.
const fn version(slot: u8) -> u8 {
    0x58 + 8 * slot
}

fn key(slot: u8) -> [u8; 16] {
    [0xD0 + slot; 16]
}

fn root(chip: &mut TestChip) -> Cloud {
    Cloud::open(chip, CLOUD_KEY_VERSION, 0x33, &CLOUD_KEY).unwrap()
}

fn of(chip: &mut TestChip, slot: u8) -> Cloud {
    Cloud::open(chip, version(slot), 0x33, &key(slot)).unwrap()
}

fn slot(number: u8) -> Slot {
    Slot::new(number).unwrap()
}

/// Slots 1 and 2 are domains with a token each; slot 3 holds a token of the root; slot 4 is free.
fn three_tokens() -> Flash {
    let mut chip = open(ready_flash());
    for number in 1..=2 {
        assert_eq!(root(&mut chip).put_key(&mut chip, &CLOUD_KEY, 0x00, version(number), &key(number)), 0x9000);
        let [pay, mask] = token_keys(number);
        let (id, mut domain) = (token_id(number), of(&mut chip, number));
        assert_eq!(domain.order(&mut chip, &install_order(number, &id, &pay, &mask)), 0x9000);
    }
    let [pay, mask] = token_keys(3);
    let (id, mut root) = (token_id(3), root(&mut chip));
    assert_eq!(root.order(&mut chip, &install_order(3, &id, &pay, &mask)), 0x9000);
    chip.into_parts().0
}

/// Slots whose tokens this channel is told of.
fn told(cloud: &mut Cloud, chip: &mut TestChip) -> Vec<u8> {
    let (data, status) = cloud.send(chip, &[0x80, 0xCA, 0xDF, 0x23]);
    assert_eq!(status, 0x9000);
    TokenStatuses::decode(&data).unwrap().map(|token| token.slot.number()).collect()
}

#[test]
fn each_channel_is_told_of_its_own_slots_only() {
    let mut chip = open(three_tokens());
    let mut channel = root(&mut chip);
    assert_eq!(told(&mut channel, &mut chip), [3]);
    for number in 1..=2 {
        let mut channel = of(&mut chip, number);
        assert_eq!(told(&mut channel, &mut chip), [number]);
    }
    // All of them pay.
    for number in 1..=3 {
        assert_eq!(send_command(&mut chip, &choose_slot(Some(slot(number)))).1, 0x9000);
        get_code(&mut chip, 3, ANCHOR).unwrap();
    }
    for number in 0..=3_u8 {
        for asked in 1..=4 {
            let mut channel = if matches!(number, 1 | 2) { of(&mut chip, number) } else { root(&mut chip) };
            let owner = if asked <= 2 { asked } else { 0 };
            let mine = owner == if number == 3 { 0 } else { number };
            let (data, status) = channel.send(&mut chip, &[0x80, 0xCA, 0xDF, 0x40 + asked]);
            let expected = if !mine {
                0x6982
            } else if asked == 4 {
                0x6A88
            } else {
                0x9000
            };
            assert_eq!(status, expected, "domain {number}, log of slot {asked}");
            if status == 0x9000 {
                assert_eq!(CodeLog::decode(slot(asked), &data).unwrap().codes().count(), 1);
            }
        }
    }
}

#[test]
fn no_order_of_a_domain_reaches_another_slot_or_the_chip() {
    let flash = three_tokens();
    let [pay, mask] = token_keys(4);
    let id = token_id(4);
    for number in 0..=2_u8 {
        for target in 1..=4_u8 {
            let owner = if target <= 2 { target } else { 0 };
            let s = slot(target);
            let update = MaskKeyUpdate { key: &[7; 16], version: 9 };
            let orders = [
                ("install", install_order(target, &id, &pay, &mask)),
                ("sync", Order::Sync(SyncGrant { slot: s, grant: grant(), mask_key: Some(update) })),
                ("rules", Order::SetRules(SetRules { slot: s, passcode_required: true, session_seconds: 1 })),
                ("remove", Order::RemoveToken(RemoveToken { slot: s })),
            ];
            for (what, order) in orders {
                let mut chip = open(flash.clone());
                let before = support::view(&mut chip);
                let mut channel = if number == 0 { root(&mut chip) } else { of(&mut chip, number) };
                let answered = channel.order(&mut chip, &order);
                let allowed = owner == number || (number == 0 && what == "remove");
                let expected = match (allowed, what, target) {
                    (false, ..) => 0x6982,
                    (true, "install", _) => 0x9000,
                    (true, _, 4) => 0x6A88,
                    (true, ..) => 0x9000,
                };
                assert_eq!(answered, expected, "domain {number}: {what} slot {target}");
                if !allowed {
                    assert_eq!(support::view(&mut chip), before, "domain {number}: {what} slot {target}");
                    let mut own = if owner == 0 { root(&mut chip) } else { of(&mut chip, owner) };
                    assert!(told(&mut own, &mut chip).contains(&target) || target == 4);
                }
            }
        }
        if number > 0 {
            for order in [
                Order::SetState(StateChange::Suspend),
                Order::SetState(StateChange::Terminate),
                Order::Passcode(PasscodeOrder::Clear),
            ] {
                let mut chip = open(flash.clone());
                assert_eq!(of(&mut chip, number).order(&mut chip, &order), 0x6982);
                assert_eq!(status(&mut chip).lifecycle, Lifecycle::Bound);
            }
        }
    }
}

#[test]
fn keys_are_put_and_rotated_by_their_own_domain_and_made_by_the_root_in_an_empty_slot_only() {
    let flash = three_tokens();
    let put = |number: u8, replaces: u8, new: u8| {
        let mut chip = open(flash.clone());
        let (mut channel, dek) =
            if number == 0 { (root(&mut chip), CLOUD_KEY) } else { (of(&mut chip, number), key(number)) };
        let answered = channel.put_key(&mut chip, &dek, replaces, new, &[0xEE; 16]);
        let opens = Cloud::open(&mut chip, new, 0x33, &[0xEE; 16]).is_ok();
        assert_eq!(opens, answered == 0x9000, "{number} {replaces:02X} {new:02X}");
        answered
    };
    // The root: its own, a new domain in the free slot, and nothing else.
    assert_eq!(put(0, CLOUD_KEY_VERSION, 0x31), 0x9000);
    assert_eq!(put(0, 0x00, version(4)), 0x9000);
    assert_eq!(put(0, 0x00, version(3)), 0x6985, "a token is in it");
    assert_eq!(put(0, 0x00, version(1) + 1), 0x6982, "it is a domain already");
    assert_eq!(put(0, version(1), version(1) + 1), 0x6982);
    assert_eq!(put(0, version(1), 0x31), 0x6A88, "another's keys are not the root's to replace");
    assert_eq!(put(0, 0x55, version(4)), 0x6A88);
    // A domain: its own.
    assert_eq!(put(1, version(1), version(1) + 7), 0x9000);
    assert_eq!(put(1, version(1), version(1)), 0x9000);
    assert_eq!(put(1, 0x00, version(1) + 1), 0x6A88);
    for (replaces, new) in [(version(2), version(2)), (version(1), version(2)), (0x00, version(4)), (version(1), 0x31)]
    {
        assert_eq!(put(1, replaces, new), 0x6982, "{replaces:02X} {new:02X}");
    }
}

#[test]
fn the_root_deletes_what_it_cannot_read_and_nothing_of_it_is_left() {
    let mut chip = open(three_tokens());
    let [pay, mask] = token_keys(1);
    assert_eq!(root(&mut chip).order(&mut chip, &Order::RemoveToken(RemoveToken { slot: slot(1) })), 0x9000);
    assert_eq!(Cloud::open(&mut chip, version(1), 0x33, &key(1)).err(), Some(0x6A88));
    let flash = chip.into_parts().0;
    assert!(!flash.contains(&pay) && !flash.contains(&mask) && !flash.contains(&key(1)));
    assert!(flash.contains(&key(2)));

    // A domain made again with the same keys takes no recorded session: its counter has gone on.
    let mut chip = open(flash);
    assert_eq!(root(&mut chip).put_key(&mut chip, &CLOUD_KEY, 0x00, version(1), &key(1)), 0x9000);
    let (data, status) = send_command(&mut chip, &protocol::applet::initialize_update(version(1), &[0; 8]));
    assert_eq!((status, &data[data.len() - 3..]), (0x9000, &[0, 0, 1][..]));
    // An empty domain goes too.
    assert_eq!(root(&mut chip).order(&mut chip, &Order::RemoveToken(RemoveToken { slot: slot(1) })), 0x9000);
    assert_eq!(Cloud::open(&mut chip, version(1), 0x33, &key(1)).err(), Some(0x6A88));
}

#[test]
fn a_domain_that_removes_its_token_stays_a_domain() {
    let mut chip = open(three_tokens());
    assert_eq!(of(&mut chip, 2).order(&mut chip, &Order::RemoveToken(RemoveToken { slot: slot(2) })), 0x9000);
    let [pay, mask] = token_keys(2);
    let id = token_id(2);
    assert_eq!(root(&mut chip).order(&mut chip, &install_order(2, &id, &pay, &mask)), 0x6982);
    assert_eq!(of(&mut chip, 2).order(&mut chip, &install_order(2, &id, &pay, &mask)), 0x9000);
}

#[test]
fn each_domain_counts_its_own_sessions_and_wrong_tries() {
    let mut chip = open(three_tokens());
    for _ in 0..16 {
        assert_eq!(send_command(&mut chip, &protocol::applet::initialize_update(version(1), &[0; 8])).1, 0x9000);
        let guess = [0x84, 0x82, 0x33, 0x00, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        assert_eq!(support::send(&mut chip, &guess).1, 0x6982);
    }
    assert_eq!(Cloud::open(&mut chip, version(1), 0x33, &key(1)).err(), Some(0x9305));
    of(&mut chip, 2);
    root(&mut chip);
}

#[test]
fn key_information_names_every_key_set_and_no_key() {
    let mut chip = open(three_tokens());
    let (data, status) = support::send(&mut chip, &[0x80, 0xCA, 0x00, 0xE0, 0x00]);
    assert_eq!(status, 0x9000);
    let mut expected = vec![0xE0, 54];
    for version in [CLOUD_KEY_VERSION, version(1), version(2)] {
        for number in 1..=3 {
            expected.extend([0xC0, 4, number, version, 0x88, 16]);
        }
    }
    assert_eq!(data, expected);
}

#[test]
fn the_chosen_slot_pays_until_its_token_goes() {
    let mut chip = open(three_tokens());
    assert_eq!(status(&mut chip).default_slot, Some(slot(1)));
    assert_eq!(send_command(&mut chip, &choose_slot(Some(slot(4)))).1, 0x6A88);
    assert_eq!(send_command(&mut chip, &choose_slot(Some(slot(3)))).1, 0x9000);
    let mut chip = open(chip.into_parts().0);
    assert_eq!(status(&mut chip).default_slot, Some(slot(3)));
    assert_eq!(root(&mut chip).order(&mut chip, &Order::RemoveToken(RemoveToken { slot: slot(3) })), 0x9000);
    assert_eq!(status(&mut chip).default_slot, Some(slot(1)));
    let [pay, mask] = token_keys(3);
    let id = token_id(3);
    assert_eq!(root(&mut chip).order(&mut chip, &install_order(3, &id, &pay, &mask)), 0x9000);
    assert_eq!(status(&mut chip).default_slot, Some(slot(1)), "a new token there was not chosen");
    assert_eq!(send_command(&mut chip, &choose_slot(Some(slot(2)))).1, 0x9000);
    assert_eq!(send_command(&mut chip, &choose_slot(None)).1, 0x9000);
    assert_eq!(status(&mut chip).default_slot, Some(slot(1)));
}
