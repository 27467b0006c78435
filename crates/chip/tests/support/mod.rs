//! What the chip's tests share: a chip in flash that can lose power, the cloud's end of its channel, and a view of
//! everything the chip tells.
#![allow(dead_code, unreachable_pub)]

mod cloud;

pub use cloud::*;

use chip::hal::{Platform, Rng, RngError};
use chip::virtual_chip::CutFlash;
use chip::{Chip, MAX_RESPONSE_BYTES, OpenError};
use protocol::apdu::Command;
use protocol::applet::{
    ChipStatus, CodeForm, CodeRequest, DataObject, Lifecycle, Passcode, PasscodeChange, PasscodeState, PaymentCode,
    Slot, TokenStatus, TokenStatuses, decode_chip_id, decode_lifecycle, lock as lock_command, verify as verify_command,
};

/// Small pages, so that the store compacts often: 4 pages of 1 KiB.
pub type Flash = CutFlash<4, 256>;

/// The time of every first sync, in Unix seconds: the beginning of a time step.
pub const ANCHOR: u64 = 1_800_000_000;

/// The same numbers each time.
#[derive(Clone, Copy, Debug)]
pub struct SeededRng(pub u8);

impl Rng for SeededRng {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(5).wrapping_add(17);
            *byte = self.0;
        }
        Ok(())
    }
}

/// A chip for tests.
pub enum TestPlatform {}

impl Platform for TestPlatform {
    type Flash = Flash;
    type Rng = SeededRng;
}

pub type TestChip = Chip<TestPlatform>;

pub fn blank_flash() -> Flash {
    Chip::<TestPlatform>::create(Flash::new(), SeededRng(1)).map_err(|(error, _)| error).unwrap().into_parts().0
}

pub fn ready_flash() -> Flash {
    let mut chip = open(blank_flash());
    assert_eq!(put_cloud_keys(&mut chip), 0x9000);
    assert_eq!(factory_data(&mut chip), 0x9000);
    chip.into_parts().0
}

/// Bound with token 1.
pub fn bound_flash() -> Flash {
    let mut chip = open(ready_flash());
    assert_eq!(install(&mut chip, 1), 0x9000);
    chip.into_parts().0
}

pub fn open(flash: Flash) -> TestChip {
    try_open(flash).map_err(|(error, _)| error).unwrap()
}

pub fn try_open(flash: Flash) -> Result<TestChip, (OpenError, Flash)> {
    Chip::open(flash, SeededRng(7))
}

/// Sends one command; gives data and status word.
pub fn send<P: Platform>(chip: &mut Chip<P>, command: &[u8]) -> (Vec<u8>, u16) {
    let mut response = [0; MAX_RESPONSE_BYTES];
    let len = chip.process(command, &mut response);
    let (data, status) = response[..len].split_last_chunk::<2>().expect("every command has a status word");
    (data.to_vec(), u16::from_be_bytes(*status))
}

pub fn send_command<P: Platform>(chip: &mut Chip<P>, command: &Command<'_>) -> (Vec<u8>, u16) {
    let mut buffer = [0; 300];
    let bytes = command.encode(&mut buffer).unwrap().to_vec();
    send(chip, &bytes)
}

pub fn verify<P: Platform>(chip: &mut Chip<P>, passcode: &[u8]) -> u16 {
    send_command(chip, &verify_command(Some(Passcode::new(passcode).unwrap()))).1
}

pub fn lock<P: Platform>(chip: &mut Chip<P>) {
    assert_eq!(send_command(chip, &lock_command()).1, 0x9000);
}

pub fn set_passcode<P: Platform>(chip: &mut Chip<P>, new: &[u8]) -> u16 {
    let change = PasscodeChange::First { new: Passcode::new(new).unwrap() };
    send(chip, change.encode(&mut [0; 32]).unwrap()).1
}

pub fn change_passcode<P: Platform>(chip: &mut Chip<P>, old: &[u8], new: &[u8]) -> u16 {
    let change = PasscodeChange::Replace { old: Passcode::new(old).unwrap(), new: Passcode::new(new).unwrap() };
    send(chip, change.encode(&mut [0; 32]).unwrap()).1
}

/// A payment code as the wearable sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    pub digits: String,
    pub emv: String,
    pub stamp: (u32, u8),
    /// From the EMV payload; 0 without one.
    pub transaction_counter: u32,
    pub codes_left: u16,
    pub verified: bool,
    pub valid_until: u64,
}

/// The next code of the default slot; `form` as in P1.
pub fn get_code<P: Platform>(chip: &mut Chip<P>, form: u8, unix_seconds: u64) -> Result<Code, u16> {
    let request = CodeRequest { form: CodeForm::from_byte(form).unwrap(), slot: None, unix_seconds };
    let (data, status) = send(chip, request.encode(&mut [0; 32]).unwrap());
    if status != 0x9000 {
        assert!(data.is_empty());
        return Err(status);
    }
    let code = PaymentCode::decode(&data).unwrap();
    let emv = code.emv.unwrap_or_default();
    let mut buffer = [0; paycode::emv::MAX_PAYLOAD_BYTES];
    let transaction_counter = match emv {
        "" => 0,
        text => paycode::emv::Payment::parse(text, &mut buffer).unwrap().transaction_counter(),
    };
    Ok(Code {
        digits: code.digits.unwrap_or_default().to_string(),
        emv: emv.to_string(),
        stamp: (code.stamp.step(), code.stamp.sequence()),
        transaction_counter,
        codes_left: code.codes_left,
        verified: code.verified,
        valid_until: code.valid_until_unix_seconds,
    })
}

/// The public status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub lifecycle: Lifecycle,
    pub passcode: PasscodeState,
    pub tries_left: u8,
    pub default_slot: Option<Slot>,
    pub label: Option<String>,
    pub codes_left: Option<u16>,
}

pub fn status<P: Platform>(chip: &mut Chip<P>) -> Status {
    let (data, status) = send_command(chip, &DataObject::Status.command());
    assert_eq!(status, 0x9000);
    let found = ChipStatus::decode(&data).unwrap();
    Status {
        lifecycle: found.lifecycle,
        passcode: found.passcode,
        tries_left: found.tries_left,
        default_slot: found.default_slot,
        label: found.account_label.map(str::to_string),
        codes_left: found.codes_left,
    }
}

pub fn tries_left<P: Platform>(chip: &mut Chip<P>) -> u8 {
    status(chip).tries_left
}

/// Everything the chip tells, to its owner, to the cloud, and by which keys it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub lifecycle: Lifecycle,
    pub chip_id: Option<Vec<u8>>,
    pub status: Status,
    /// Versions of the key sets that open a channel, with the keys they should be.
    pub key_versions: Vec<u8>,
    /// Slot, token id, transaction counter, last stamp, codes left, anchor.
    pub tokens: Vec<String>,
    /// Of each of them what only the cloud gives: slot, token id, anchor.
    pub granted: Vec<(Slot, [u8; 16], u64)>,
    /// Key information, public device key, certificate chain: as they are answered.
    pub public: Vec<(Vec<u8>, u16)>,
}

/// Looks at a chip and leaves it as it was but for the sequence counter of the channel.
pub fn view<P: Platform>(chip: &mut Chip<P>) -> View {
    chip.reset();
    let (data, answered) = send_command(chip, &DataObject::Lifecycle.command());
    assert_eq!(answered, 0x9000);
    let lifecycle = decode_lifecycle(&data).unwrap();
    let (data, answered) = send_command(chip, &DataObject::ChipId.command());
    let chip_id = (answered == 0x9000).then(|| decode_chip_id(&data).unwrap().to_vec());
    let mut key_versions = Vec::new();
    let (mut tokens, mut granted) = (Vec::new(), Vec::new());
    for (version, key) in [(0xFF, TRANSPORT_KEY), (CLOUD_KEY_VERSION, CLOUD_KEY)] {
        if let Ok(mut cloud) = Cloud::open(chip, version, 0x33, &key) {
            key_versions.push(version);
            let (data, answered) = cloud.send(chip, &[0x80, 0xCA, 0xDF, 0x23]);
            assert_eq!(answered, 0x9000);
            tokens = TokenStatuses::decode(&data).unwrap().map(|token| format!("{token:?}")).collect();
            let grant = |token: TokenStatus<'_>| (token.slot, *token.token_id, token.time_anchor_unix_seconds);
            granted = TokenStatuses::decode(&data).unwrap().map(grant).collect();
        }
    }
    chip.reset();
    let public = [[0x00, 0xE0], [0xDF, 0x24], [0xDF, 0x30], [0xDF, 0x31]];
    let public = public.map(|[p1, p2]| send(chip, &[0x00, 0xCA, p1, p2])).to_vec();
    View { lifecycle, chip_id, status: status(chip), key_versions, tokens, granted, public }
}

/// A chip with flash as large as a chip maker gives: 4 pages of 4 KiB.
pub enum RoomyPlatform {}

impl Platform for RoomyPlatform {
    type Flash = CutFlash<4, 1024>;
    type Rng = SeededRng;
}

/// A blank chip with room for everything a chip can hold.
pub fn roomy_blank() -> Chip<RoomyPlatform> {
    Chip::create(CutFlash::new(), SeededRng(1)).map_err(|(error, _)| error).unwrap()
}
