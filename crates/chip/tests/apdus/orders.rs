//! Commands that are right, for somebody who holds the keys; and the same with something wrong in them.

use super::input::Input;
use crate::support::{ANCHOR, CHIP_ID, token_id, token_index, token_keys};
use protocol::apdu::Command;
use protocol::applet::{
    AID, CertificatePart, FactoryData, Grant, InstallToken, MaskKeyUpdate, Order, PasscodeOrder, RemoveToken, SetRules,
    Slot, StateChange, StoreCertificate, SyncGrant, store_data,
};
use protocol::put_key;
use protocol::scp03::KeySet;

/// Versions that key sets get: two of the root's, two of each slot's, and some that no set may have.
pub(crate) const VERSIONS: [u8; 14] =
    [0x30, 0x31, 0x60, 0x61, 0x68, 0x69, 0x70, 0x71, 0x78, 0x7F, 0x30, 0x68, 0x80, 0xFF];

/// The passcode the wearer chooses, and another.
pub(crate) const PASSCODES: [&[u8]; 2] = [b"2468", b"13579"];

fn plain(command: &Command<'_>) -> Vec<u8> {
    command.encode(&mut [0; 300]).map(<[u8]>::to_vec).unwrap_or_default()
}

fn slot(input: &mut Input<'_>) -> Slot {
    Slot::new(1 + input.byte() % 4).unwrap()
}

fn grant(input: &mut Input<'_>) -> Grant {
    Grant {
        time_anchor_unix_seconds: ANCHOR + u64::from(input.byte()) * 600,
        offline_allowance_seconds: input.one_of(&[1_209_600, 0, 60, u32::MAX]),
        code_budget: input.one_of(&[500, 3, 0, u16::MAX]),
    }
}

fn install(input: &mut Input<'_>) -> Vec<u8> {
    let slot = slot(input);
    let whose = if input.once_in(8) { 1 + input.byte() % 4 } else { slot.number() };
    let ([pay_key, mask_key], mut id) = (token_keys(whose), token_id(whose));
    // A second token of the same keys, which is another token.
    id[15] ^= u8::from(input.once_in(8));
    let (prefix, total_digits, suite) = input.one_of(&[("71", 20, 1), ("71", 20, 1), ("88", 22, 2), ("7", 18, 1)]);
    let order = InstallToken {
        slot,
        token_id: &id,
        prefix,
        total_digits,
        suite,
        token_index: token_index(whose),
        pay_key: pay_key.as_slice().try_into().unwrap(),
        pay_key_version: 1,
        mask_key: mask_key.as_slice().try_into().unwrap(),
        mask_key_version: 1,
        account_label: input.one_of(&["li***@example.com", "李", "x"]),
        grant: grant(input),
    };
    encoded(&Order::InstallToken(order))
}

fn encoded(order: &Order<'_>) -> Vec<u8> {
    order.encode(&mut [0; 255]).map(|bytes| plain(&store_data(bytes))).unwrap_or_default()
}

fn put_keys(input: &mut Input<'_>, channel: &KeySet, key_of: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    let version = input.one_of(&VERSIONS);
    let replaces = input.one_of(&[0x00, channel.version(), channel.version(), 0xFF, version]);
    let key = key_of(version);
    let Ok(keys) = KeySet::from_bytes(version, &key, &key, &key) else { return Vec::new() };
    let mut data = [0; put_key::MAX_DATA_BYTES];
    put_key::build(channel.dek(), &keys, &mut data)
        .map(|data| plain(&put_key::command(replaces, data)))
        .unwrap_or_default()
}

fn state(input: &mut Input<'_>) -> StateChange {
    match input.byte() {
        // The end of a life is the end of what there is to find in it.
        0xF8.. => StateChange::Terminate,
        byte if byte % 2 == 0 => StateChange::Suspend,
        _ => StateChange::Resume,
    }
}

/// A command for the channel with this key set, as whoever holds the keys gives it.
pub(crate) fn right(input: &mut Input<'_>, channel: &KeySet, key_of: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    match input.byte() % 16 {
        0..=2 => install(input),
        3 => {
            let update = MaskKeyUpdate { key: &[0x5B; 16], version: 2 };
            let mask_key = input.once_in(3).then_some(update);
            encoded(&Order::Sync(SyncGrant { slot: slot(input), grant: grant(input), mask_key }))
        }
        4 => encoded(&Order::RemoveToken(RemoveToken { slot: slot(input) })),
        5 | 6 => encoded(&Order::SetState(state(input))),
        7 => encoded(&Order::Passcode(input.one_of(&[PasscodeOrder::Unblock, PasscodeOrder::Clear]))),
        8 => encoded(&Order::SetRules(SetRules {
            slot: slot(input),
            passcode_required: input.once_in(2),
            session_seconds: input.one_of(&[0, 60, 3_600, u32::MAX]),
        })),
        9 => {
            let part = CertificatePart::new(input.byte() % 10).unwrap();
            let bytes = &[0xCE; 200][..usize::from(200 - input.byte() % 200)];
            encoded(&Order::StoreCertificate(StoreCertificate { part, bytes }))
        }
        10 => vec![0x80, 0x46, 0x00, input.one_of(&[0x01, 0x02, 0x00]), 0x00],
        11 => encoded(&Order::FactoryData(FactoryData { chip_id: &CHIP_ID })),
        12 | 13 => put_keys(input, channel, key_of),
        _ => read(input),
    }
}

/// GET DATA of an object there is.
pub(crate) fn read(input: &mut Input<'_>) -> Vec<u8> {
    let [p1, p2] = input
        .one_of(&[
            0xDF23_u16, 0xDF23, 0xDF41, 0xDF42, 0xDF43, 0xDF44, 0x00E0, 0xDF20, 0xDF21, 0xDF24, 0xDF30, 0xDF31, 0xDF39,
            0x9F70, 0xDF22, 0xDF40,
        ])
        .to_be_bytes();
    vec![0x80, 0xCA, p1, p2, 0x00]
}

/// A command of the wearer.
pub(crate) fn of_the_wearer(input: &mut Input<'_>) -> Vec<u8> {
    let passcode = input.one_of(&[PASSCODES[0], PASSCODES[0], PASSCODES[1], b"0000"]);
    let padded = |passcode: &[u8]| [passcode, &[0xFF; 8][passcode.len()..]].concat();
    let with = |header: [u8; 4], data: &[u8]| [&header[..], &[data.len() as u8], data].concat();
    match input.byte() % 9 {
        0 => with([0x00, 0x24, 0x01, 0x81], passcode),
        1 => with([0x00, 0x24, 0x00, 0x81], &[padded(passcode), PASSCODES[0].to_vec()].concat()),
        2 | 3 => with([0x00, 0x20, 0x00, 0x81], passcode),
        4 => {
            let time = ANCHOR + u64::from(input.byte()) * 30;
            with([0x00, 0x20, 0x01, 0x81], &[padded(passcode), time.to_be_bytes().to_vec()].concat())
        }
        5 => vec![0x80, 0x30, 0x00, 0x00],
        6 => vec![0x80, 0x48, 0x00, input.byte() % 6],
        7 => with([0x00, 0xA4, 0x04, 0x00], &AID[..AID.len() - usize::from(input.once_in(4))]),
        // Signing takes as long as a thousand other commands: now and then is enough.
        _ if input.once_in(16) => with([0x80, 0x42, 0x00, 0x00], &[7; 16]),
        _ => vec![0x00, 0x20, 0x00, 0x81],
    }
}

/// GET PAYMENT CODE; time goes on with `count`, mostly: four codes and more in a step.
pub(crate) fn code(input: &mut Input<'_>, count: u64) -> Vec<u8> {
    let time = match input.byte() {
        0..8 => u64::from_be_bytes([input.byte(), 0, 0, 0, input.byte(), 0, 0, 0]),
        8..16 => ANCHOR + u64::from(input.byte()) * 7_000,
        byte => ANCHOR + count / 8 * 30 + u64::from(byte % 30),
    };
    let mut command = vec![0x80, 0x40, 1 + input.byte() % 3, input.one_of(&[0, 0, 1, 2, 3, 4, 5]), 8];
    command.extend(time.to_be_bytes());
    command
}

/// The same with something wrong: a byte changed, cut short, or grown.
pub(crate) fn spoil(input: &mut Input<'_>, command: &mut Vec<u8>) {
    for _ in 0..=input.byte() % 3 {
        let at = usize::from(input.byte()) % command.len().max(1);
        match input.byte() % 6 {
            0 => command.truncate(at.max(4)),
            1 => command.insert(at.min(command.len()), input.byte()),
            2 if at >= 4 => {
                command.remove(at);
            }
            _ => {
                if let Some(byte) = command.get_mut(at) {
                    *byte ^= 1 << (input.byte() % 8);
                }
            }
        }
    }
    // Mostly the length of the data is then made right, so that more than the parser looks at it.
    if command.len() > 5 && !input.once_in(4) {
        command.truncate(5 + 239);
        command[4] = (command.len() - 5) as u8;
    }
}
