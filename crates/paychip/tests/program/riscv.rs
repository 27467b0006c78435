//! The RISC-V image of the chip, in QEMU: it answers every command-response script, makes the codes the chip in this
//! process makes, pays, and survives having its power cut. `cargo xtask firmware` builds the image and runs this; by
//! itself, name the image in `PAYCHIP_IMAGE` (one with both suites), or nothing is tested here.

use std::path::{Path, PathBuf};

use crate::script;
use crate::support::{Cloud, is_long};
use chip::virtual_chip::VirtualChip;
use paychip::chip::qemu::{Options, QemuChip};
use paychip::chip::{Card, send};
use protocol::apdu::Command;
use protocol::applet::{
    self, CodeForm, CodeRequest, FactoryData, Grant, InstallToken, Order, Passcode, PasscodeChange, PaymentCode, Slot,
};
use protocol::put_key;
use protocol::scp03::{KeySet, Level, host};

const TEST_KEY: [u8; 16] = *b"@ABCDEFGHIJKLMNO";
const CLOUD_KEY: [u8; 16] = [0xC1; 16];
const CLOUD_KEY_VERSION: u8 = 0x30;
const CHIP_ID: [u8; 16] = *b"chip-0000-000001";
const ANCHOR_S: u64 = 1_800_000_000;
const STEP_S: u64 = 30;
const CODES_A_STEP: u64 = 4;
const LAZY: Options = Options { counted: false, lazy_flash: true };

fn image(variable: &str) -> Option<PathBuf> {
    let image = std::env::var_os(variable).map(PathBuf::from);
    if image.is_none() {
        println!("skipped: {variable} names no image; `cargo xtask firmware` makes one and runs this");
    }
    image
}

/// A chip in QEMU that scripts are run against.
struct Emulated<'a> {
    image: &'a Path,
    flash: PathBuf,
    chip: Option<QemuChip>,
}

impl<'a> Emulated<'a> {
    fn blank(image: &'a Path, folder: &Path) -> Self {
        let flash = folder.join("chip.flash");
        let chip = QemuChip::create(image, &flash, LAZY).unwrap();
        Self { image, flash, chip: Some(chip) }
    }
}

impl script::Target for Emulated<'_> {
    fn exchange(&mut self, command: &[u8]) -> Vec<u8> {
        let mut answer = [0; 300];
        let length = self.chip.as_mut().unwrap().exchange(command, &mut answer).unwrap();
        answer[..length].to_vec()
    }

    fn reset(&mut self) {
        self.chip.as_mut().unwrap().reset().unwrap();
    }

    fn power_cycle(&mut self) {
        // The old emulator has to let go of the flash first.
        self.chip = None;
        self.chip = Some(QemuChip::open(self.image, &self.flash, LAZY).unwrap());
    }
}

#[test]
fn every_script_runs_as_written() {
    let Some(image) = image("PAYCHIP_IMAGE") else { return };
    for (name, text) in script::all() {
        let folder = tempfile::tempdir().unwrap();
        script::run(&name, &text, &mut Emulated::blank(&image, folder.path()));
    }
}

/// The cloud's end of a channel.
struct Channel(host::Session);

impl Channel {
    fn open(card: &mut dyn Card, version: u8, key: &[u8]) -> Self {
        let keys = KeySet::from_bytes(version, key, key, key).unwrap();
        let opening = plain(card, &applet::initialize_update(version, &[7; 8]));
        let mut session = host::Session::open(&keys, Level::Full, &[7; 8], &opening).unwrap();
        let reply = send(card, session.external_authenticate(&mut [0; 64]).unwrap()).unwrap();
        reply.accepted("EXTERNAL AUTHENTICATE").unwrap();
        Self(session)
    }

    fn send(&mut self, card: &mut dyn Card, command: &Command<'_>) -> Vec<u8> {
        let (mut buffer, mut answer) = ([0; 300], [0; 300]);
        let (wrapped, ticket) = self.0.wrap(command, &mut buffer).unwrap();
        let length = card.exchange(wrapped, &mut answer).unwrap();
        let answer = self.0.unwrap(ticket, &mut answer[..length]).unwrap();
        assert!(answer.status.is_ok(), "{}", answer.status);
        answer.data.to_vec()
    }

    fn order(&mut self, card: &mut dyn Card, order: &Order<'_>) {
        self.send(card, &applet::store_data(order.encode(&mut [0; 255]).unwrap()));
    }
}

fn plain(card: &mut dyn Card, command: &Command<'_>) -> Vec<u8> {
    send(card, command.encode(&mut [0; 300]).unwrap()).unwrap().accepted("a command").unwrap()
}

fn put_key(card: &mut dyn Card, channel: &mut Channel) {
    let birth = KeySet::from_bytes(0xFF, &TEST_KEY, &TEST_KEY, &TEST_KEY).unwrap();
    let own = KeySet::from_bytes(CLOUD_KEY_VERSION, &CLOUD_KEY, &CLOUD_KEY, &CLOUD_KEY).unwrap();
    let mut data = [0; put_key::MAX_DATA_BYTES];
    let data = put_key::build(birth.dek(), &own, &mut data).unwrap();
    channel.send(card, &put_key::command(0, data));
}

fn personalise(card: &mut dyn Card) {
    let mut channel = Channel::open(card, 0xFF, &TEST_KEY);
    put_key(card, &mut channel);
    channel.order(card, &Order::FactoryData(FactoryData { chip_id: &CHIP_ID }));
}

fn install(card: &mut dyn Card, channel: &mut Channel, slot: u8, suite: u8, code_budget: u16) {
    let grant = Grant { time_anchor_unix_seconds: ANCHOR_S, offline_allowance_seconds: 1_209_600, code_budget };
    let order = Order::InstallToken(InstallToken {
        slot: Slot::new(slot).unwrap(),
        token_id: &[slot; 16],
        prefix: "71",
        total_digits: 20,
        suite,
        token_index: 1_234_567 + u64::from(slot),
        pay_key: &[0x50 + slot; 32],
        pay_key_version: 1,
        mask_key: &[0x4D + slot; 16],
        mask_key_version: 1,
        account_label: "li***@example.com",
        grant,
    });
    channel.order(card, &order);
}

/// A bound chip with a token of each suite that is wanted, in slots 1, 2 ….
fn bind(card: &mut dyn Card, suites: &[u8], code_budget: u16) {
    personalise(card);
    let mut channel = Channel::open(card, CLOUD_KEY_VERSION, &CLOUD_KEY);
    for (slot, suite) in (1..).zip(suites) {
        install(card, &mut channel, slot, *suite, code_budget);
    }
}

fn code(card: &mut dyn Card, slot: u8, form: u8, unix_seconds: u64) -> Vec<u8> {
    let form = CodeForm::from_byte(form).unwrap();
    let request = CodeRequest { form, slot: Slot::new(slot), unix_seconds };
    let reply = send(card, request.encode(&mut [0; 32]).unwrap()).unwrap().accepted("GET PAYMENT CODE").unwrap();
    PaymentCode::decode(&reply).unwrap();
    reply
}

#[test]
fn it_makes_the_codes_the_native_chip_makes() {
    let Some(image) = image("PAYCHIP_IMAGE") else { return };
    let wanted: u64 = if is_long() { 1_000 } else { 100 };
    let folder = tempfile::tempdir().unwrap();
    let flash = folder.path().join("qemu.flash");
    let mut native = VirtualChip::create(folder.path().join("native.flash")).unwrap();
    let mut emulated = QemuChip::create(&image, &flash, LAZY).unwrap();
    for card in [&mut native as &mut dyn Card, &mut emulated] {
        bind(card, &[1, 2], 1_000);
    }
    for number in 0..wanted {
        if number == wanted / 2 {
            drop(emulated);
            emulated = QemuChip::open(&image, &flash, LAZY).unwrap();
        }
        let now = ANCHOR_S + number / CODES_A_STEP * STEP_S;
        for slot in [1, 2] {
            let form = 1 + (number % 3) as u8;
            assert_eq!(
                code(&mut emulated, slot, form, now),
                code(&mut native, slot, form, now),
                "code {number} of slot {slot}"
            );
        }
    }
    println!("{} codes, each as the native chip makes it", 2 * wanted);
}

#[test]
fn its_power_is_cut_at_any_moment_and_no_code_is_made_twice() {
    let Some(image) = image("PAYCHIP_IMAGE") else { return };
    let cuts = if is_long() { 100 } else { 8 };
    let folder = tempfile::tempdir().unwrap();
    let flash = folder.path().join("qemu.flash");
    let mut chip = QemuChip::create(&image, &flash, LAZY).unwrap();
    bind(&mut chip, &[1], 60_000);
    let mut stamps = std::collections::BTreeSet::new();
    let mut clock = ANCHOR_S;
    for cut in 0..cuts {
        let killer = chip.killer();
        let cutting = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(2 + cut * 7 % 60));
            killer.kill();
        });
        loop {
            clock += 8;
            let request = CodeRequest { form: CodeForm::Digits, slot: None, unix_seconds: clock };
            let mut answer = [0; 300];
            let Ok(length) = chip.exchange(request.encode(&mut [0; 32]).unwrap(), &mut answer) else { break };
            if let Some(data) = answer[..length].strip_suffix(&[0x90, 0x00]) {
                let made = PaymentCode::decode(data).unwrap();
                assert!(stamps.insert((made.stamp.step(), made.stamp.sequence())), "a code made twice");
            } else {
                assert_eq!(answer[..length], [0x93, 0x04], "the only refusal is that this half minute is used up");
            }
        }
        cutting.join().unwrap();
        drop(chip);
        chip = QemuChip::open(&image, &flash, LAZY).unwrap();
    }
    println!("{} codes over {cuts} power cuts", stamps.len());
}

#[test]
fn a_watch_with_it_is_bound_and_pays() {
    let Some(image) = image("PAYCHIP_IMAGE") else { return };
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let png = folder.path().join("code.png");
    let png = png.to_str().unwrap();
    cloud.run(&["account", "new", "Li Wei"]).unwrap();
    cloud.run(&["account", "top-up", "100"]).unwrap();
    cloud.run(&["merchant", "new", "Tea House"]).unwrap();
    cloud.run(&["watch", "new", "--chip", "qemu", "--image", image.to_str().unwrap()]).unwrap();
    assert_eq!(cloud.run(&["watch", "bind"]).unwrap()["state"], "done");
    cloud.run(&["watch", "passcode", "1357"]).unwrap();
    cloud.run(&["watch", "code", "--png", png]).unwrap();
    let paid = cloud.run(&["pos", "charge", "12.50", "--image", png]).unwrap();
    assert_eq!((&paid["state"], &paid["amount"]), (&"succeeded".into(), &1250.into()));
    assert_eq!(cloud.run(&["watch", "status"]).unwrap()["state"], "bound");
}

/// Counts instructions, and prints them as `measured NAME NUMBER` for `cargo xtask bench chip`.
#[test]
#[ignore = "needs an image built for measuring; `cargo xtask bench chip` runs it"]
fn instructions_and_stack() {
    let Some(image) = image("PAYCHIP_MEASURE_IMAGE") else { return };
    let folder = tempfile::tempdir().unwrap();
    let flash = folder.path().join("qemu.flash");
    let options = Options { counted: true, lazy_flash: true };
    let mut chip = QemuChip::create(&image, &flash, options).unwrap();
    let chip = &mut chip;
    let mut birth = Channel::open(chip, 0xFF, &TEST_KEY);
    if let Some(instructions) = attempt(chip, &mut birth, &applet::generate_key(applet::Scheme::P256)) {
        measured("device_key", instructions);
    }
    put_key(chip, &mut birth);
    let put = last(chip);
    birth.order(chip, &Order::FactoryData(FactoryData { chip_id: &CHIP_ID }));
    measured("personalisation", put + last(chip));

    plain(chip, &applet::initialize_update(CLOUD_KEY_VERSION, &[7; 8]));
    let opening = last(chip);
    let mut cloud = Channel::open(chip, CLOUD_KEY_VERSION, &CLOUD_KEY);
    measured("channel_opening", opening + last(chip));
    install(chip, &mut cloud, 1, 1, 500);
    measured("install_token", last(chip));

    code(chip, 1, 1, ANCHOR_S);
    measured("first_code", last(chip));
    for number in 1..CODES_A_STEP {
        code(chip, 1, 1, ANCHOR_S);
        if number == 2 {
            measured("code", last(chip));
        }
    }
    // The next two are left out of the smallest images.
    let with_emv = CodeRequest { form: CodeForm::Both, slot: Slot::new(1), unix_seconds: ANCHOR_S + STEP_S };
    if send(chip, with_emv.encode(&mut [0; 32]).unwrap()).unwrap().status.is_ok() {
        measured("code_with_emv", last(chip));
    }
    let change = PasscodeChange::First { new: Passcode::new(b"1357").unwrap() };
    assert!(send(chip, change.encode(&mut [0; 32]).unwrap()).unwrap().status.is_ok());
    measured("set_passcode", last(chip));
    plain(chip, &applet::verify(Some(Passcode::new(b"1357").unwrap())));
    measured("verify_passcode", last(chip));
    let attest = send(chip, applet::attest(&[9; 16]).encode(&mut [0; 64]).unwrap()).unwrap();
    if attest.status.is_ok() {
        measured("attestation", last(chip));
    }
    let stack = chip.measure(0).unwrap()[2];
    measured("stack_bytes", stack);
    let primitives = chip.measure(1).unwrap();
    for (name, number) in
        ["aes_block", "sha256_block", "sm4_block", "sm3_block", "code_primitives", "chinese_code_primitives"]
            .into_iter()
            .zip(primitives)
    {
        measured(name, number);
    }
    chip.power_down();
    let mut again = QemuChip::open(&image, &flash, options).unwrap();
    measured("start_up", again.measure(0).unwrap()[1]);
}

fn attempt(chip: &mut QemuChip, channel: &mut Channel, command: &Command<'_>) -> Option<u32> {
    let (mut buffer, mut answer) = ([0; 300], [0; 300]);
    let (wrapped, ticket) = channel.0.wrap(command, &mut buffer).unwrap();
    let length = chip.exchange(wrapped, &mut answer).unwrap();
    let answer = channel.0.unwrap(ticket, &mut answer[..length]).unwrap();
    answer.status.is_ok().then(|| last(chip))
}

/// Instructions of the last command.
fn last(chip: &mut QemuChip) -> u32 {
    chip.measure(0).unwrap()[0]
}

fn measured(name: &str, number: u32) {
    println!("measured {name} {number}");
}
