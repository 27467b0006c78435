//! The cloud's end: opens channels and gives orders, over `protocol`'s host side.

use super::{ANCHOR, send};
use chip::Chip;
use chip::hal::Platform;
use protocol::apdu::Command;
use protocol::applet::{
    FactoryData, Grant, InstallToken, MaskKeyUpdate, Order, Slot, SyncGrant, initialize_update, store_data,
};
use protocol::put_key;
use protocol::scp03::{KeySet, Level, host};

/// The GlobalPlatform test key.
pub const TRANSPORT_KEY: [u8; 16] = *b"@ABCDEFGHIJKLMNO";
/// The cloud's key, one for all three.
pub const CLOUD_KEY: [u8; 16] = [0xC1; 16];
pub const CLOUD_KEY_VERSION: u8 = 0x30;
pub const CHIP_ID: [u8; 16] = *b"chip-0000-000001";
pub const HOST_CHALLENGE: [u8; 8] = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];

/// An open channel.
pub struct Cloud {
    session: host::Session,
}

impl Cloud {
    pub fn open<P: Platform>(chip: &mut Chip<P>, version: u8, level: u8, key: &[u8]) -> Result<Self, u16> {
        Self::open_with(chip, version, level, key, &HOST_CHALLENGE)
    }

    pub fn open_with<P: Platform>(
        chip: &mut Chip<P>,
        version: u8,
        level: u8,
        key: &[u8],
        host_challenge: &[u8],
    ) -> Result<Self, u16> {
        let mut buffer = [0; 300];
        let command = initialize_update(version, host_challenge).encode(&mut buffer).unwrap();
        let (data, status) = send(chip, command);
        if status != 0x9000 {
            return Err(status);
        }
        let keys = KeySet::from_bytes(version, key, key, key).unwrap();
        let level = Level::from_byte(level).unwrap();
        let mut session =
            host::Session::open(&keys, level, host_challenge, &data).map_err(|error| error.status().to_u16())?;
        match send(chip, session.external_authenticate(&mut buffer).unwrap()).1 {
            0x9000 => Ok(Self { session }),
            status => Err(status),
        }
    }

    /// Wraps a plain command, sends it, unwraps the answer.
    pub fn send<P: Platform>(&mut self, chip: &mut Chip<P>, command: &[u8]) -> (Vec<u8>, u16) {
        self.try_send(chip, command).expect("the answer is authentic")
    }

    /// The cloud's end of a channel that somebody opened.
    pub fn of(session: host::Session) -> Self {
        Self { session }
    }

    /// A plain command as it goes over the wire; nothing where it is none, or has no room in the channel.
    pub fn wrap(&mut self, command: &[u8]) -> Option<(Vec<u8>, host::Ticket)> {
        let mut buffer = [0; 400];
        let (wrapped, ticket) = self.session.wrap(&Command::parse(command).ok()?, &mut buffer).ok()?;
        Some((wrapped.to_vec(), ticket))
    }

    /// What an answer says; nothing where it is not authentic.
    pub fn unwrap(&mut self, ticket: host::Ticket, data: &[u8], status: u16) -> Option<(Vec<u8>, u16)> {
        let mut answer = [data, &status.to_be_bytes()].concat();
        self.session.unwrap(ticket, &mut answer).ok().map(|answer| (answer.data.to_vec(), answer.status.to_u16()))
    }

    /// Like `send` for a command that may close the channel; nothing where the answer is not authentic.
    pub fn try_send<P: Platform>(&mut self, chip: &mut Chip<P>, command: &[u8]) -> Option<(Vec<u8>, u16)> {
        let (wrapped, ticket) = self.wrap(command)?;
        let (data, status) = send(chip, &wrapped);
        self.unwrap(ticket, &data, status)
    }

    pub fn send_command<P: Platform>(&mut self, chip: &mut Chip<P>, command: &Command<'_>) -> (Vec<u8>, u16) {
        let mut buffer = [0; 300];
        self.send(chip, command.encode(&mut buffer).unwrap())
    }

    pub fn order<P: Platform>(&mut self, chip: &mut Chip<P>, order: &Order<'_>) -> u16 {
        let mut buffer = [0; 255];
        self.send_command(chip, &store_data(order.encode(&mut buffer).unwrap())).1
    }

    /// PUT KEY of one key for all three.
    pub fn put_key<P: Platform>(
        &mut self,
        chip: &mut Chip<P>,
        dek: &[u8],
        replaces: u8,
        version: u8,
        key: &[u8],
    ) -> u16 {
        let dek = KeySet::from_bytes(1, dek, dek, dek).unwrap();
        let keys = KeySet::from_bytes(version, key, key, key).unwrap();
        let mut data = [0; put_key::MAX_DATA_BYTES];
        let data = put_key::build(dek.dek(), &keys, &mut data).unwrap();
        let (answer, status) = self.send_command(chip, &put_key::command(replaces, data));
        if status == 0x9000 {
            put_key::check_answer(&keys, &answer).unwrap();
        }
        status
    }
}

/// Opens the cloud's channel and gives one order; the status of whatever failed first.
pub fn send_order<P: Platform>(chip: &mut Chip<P>, order: &Order<'_>) -> u16 {
    match Cloud::open(chip, CLOUD_KEY_VERSION, 0x33, &CLOUD_KEY) {
        Ok(mut cloud) => cloud.order(chip, order),
        Err(status) => status,
    }
}

/// Puts the cloud's keys: from the transport keys on a blank chip, else over themselves.
pub fn put_cloud_keys<P: Platform>(chip: &mut Chip<P>) -> u16 {
    let (version, key, replaces) = match Cloud::open(chip, 0xFF, 0x33, &TRANSPORT_KEY) {
        Err(0x6A88) => (CLOUD_KEY_VERSION, CLOUD_KEY, CLOUD_KEY_VERSION),
        _ => (0xFF, TRANSPORT_KEY, 0x00),
    };
    match Cloud::open(chip, version, 0x33, &key) {
        Ok(mut cloud) => cloud.put_key(chip, &key, replaces, CLOUD_KEY_VERSION, &CLOUD_KEY),
        Err(status) => status,
    }
}

pub fn factory_data<P: Platform>(chip: &mut Chip<P>) -> u16 {
    send_order(chip, &Order::FactoryData(FactoryData { chip_id: &CHIP_ID }))
}

/// Pay key and mask key of the test token in this slot.
pub fn token_keys(slot: u8) -> [Vec<u8>; 2] {
    [(0..32).map(|i| 0x80 ^ slot ^ i).collect(), (0..16).map(|i| 0x40 ^ slot ^ (i * 3)).collect()]
}

pub fn token_id(slot: u8) -> [u8; 16] {
    [0xA0 + slot; 16]
}

pub fn token_index(slot: u8) -> u64 {
    100_000_000 + u64::from(slot)
}

pub fn grant() -> Grant {
    Grant { time_anchor_unix_seconds: ANCHOR, offline_allowance_seconds: 14 * 24 * 3600, code_budget: 500 }
}

pub fn install<P: Platform>(chip: &mut Chip<P>, slot: u8) -> u16 {
    install_as(chip, slot, 1, "71", 20)
}

pub fn install_as<P: Platform>(chip: &mut Chip<P>, slot: u8, suite: u8, prefix: &str, total_digits: u8) -> u16 {
    let [pay_key, mask_key] = token_keys(slot);
    let order = Order::InstallToken(InstallToken {
        slot: Slot::new(slot).unwrap(),
        token_id: &token_id(slot),
        prefix,
        total_digits,
        suite,
        token_index: token_index(slot),
        pay_key: pay_key.as_slice().try_into().unwrap(),
        pay_key_version: 1,
        mask_key: mask_key.as_slice().try_into().unwrap(),
        mask_key_version: 1,
        account_label: "li***@example.com",
        grant: grant(),
    });
    send_order(chip, &order)
}

/// The order that installs a token with these keys.
pub fn install_order<'a>(slot: u8, token_id: &'a [u8; 16], pay_key: &'a [u8], mask_key: &'a [u8]) -> Order<'a> {
    Order::InstallToken(InstallToken {
        slot: Slot::new(slot).unwrap(),
        token_id,
        prefix: "71",
        total_digits: 20,
        suite: 1,
        token_index: token_index(slot),
        pay_key: pay_key.try_into().unwrap(),
        pay_key_version: 1,
        mask_key: mask_key.try_into().unwrap(),
        mask_key_version: 1,
        account_label: "li***@example.com",
        grant: grant(),
    })
}

pub fn sync<P: Platform>(chip: &mut Chip<P>, slot: u8, mask_key: Option<[u8; 16]>) -> u16 {
    let mask_key = mask_key.as_ref().map(|key| MaskKeyUpdate { key, version: 2 });
    let slot = Slot::new(slot).unwrap();
    send_order(chip, &Order::Sync(SyncGrant { slot, grant: grant(), mask_key }))
}
