//! Flash written by an earlier version of the applet still opens, with everything in it.
//!
//! `tests/layouts/` holds images of flash, words little-endian, each made by the version that first wrote that
//! layout. They are never made again: `PAYCHIP_NEW_LAYOUT=name` writes one of a chip of today, when the layout
//! has changed.
#![cfg(all(feature = "virtual", feature = "p256"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use chip::Chip;
use chip::hal::{Flash as _, Platform};
use chip::virtual_chip::CutFlash;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use protocol::applet::{
    Attestation, CertificatePart, CodeLog, DataObject, DeviceKey, Lifecycle, MAX_STATEMENT_BYTES, Order, PasscodeState,
    RemoveToken, Scheme, SetRules, Slot, StoreCertificate, TokenStatuses, attest, choose_slot, generate_key,
};
use std::path::PathBuf;
use support::{
    ANCHOR, CHIP_ID, CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, Flash, RoomyPlatform, SeededRng, TRANSPORT_KEY, factory_data,
    get_code, install, install_as, install_order, open, put_cloud_keys, roomy_blank, send_command, send_order,
    set_passcode, status, token_id, token_keys, verify, view,
};

type RoomyFlash = <RoomyPlatform as Platform>::Flash;

/// Slots 2 and 3 have keys of their own, slot 3 no token.
const DOMAIN_VERSION: u8 = 0x68;
const DOMAIN_KEY: [u8; 16] = [0xD2; 16];
const WIDE_DOMAIN_VERSION: u8 = 0x70;
const WIDE_DOMAIN_KEY: [u8; 32] = [0xD3; 32];
/// Codes made in slot 1: more than its log holds, so it has begun anew.
const CODES: u32 = 43;

/// What must be found in an image.
type Check = fn(&[u32]);

/// Every image there is.
const IMAGES: [(&str, Check); 2] =
    [("1-tokens", the_first_layout_has_everything), ("2-domains", the_second_layout_has_everything)];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/layouts")
}

/// Flash with these words in it, and not one more.
fn load<const PAGES: usize, const PAGE_WORDS: usize>(words: &[u32]) -> CutFlash<PAGES, PAGE_WORDS> {
    assert_eq!(words.len(), PAGES * PAGE_WORDS);
    let mut flash = CutFlash::new();
    for (address, word) in words.iter().enumerate() {
        flash.program(address, *word).unwrap();
    }
    flash
}

fn slot(number: u8) -> Slot {
    Slot::new(number).unwrap()
}

fn root(chip: &mut Chip<RoomyPlatform>) -> Cloud {
    Cloud::open(chip, CLOUD_KEY_VERSION, 0x33, &CLOUD_KEY).unwrap()
}

fn code_of(chip: &mut Chip<RoomyPlatform>, number: u8, at: u64) -> u16 {
    assert_eq!(send_command(chip, &choose_slot(Some(slot(number)))).1, 0x9000);
    get_code(chip, 1, at).map_or_else(|status| status, |_| 0x9000)
}

/// A chip of today that holds one of everything: device key and chain; tokens of the root in slots 1 and 4, of both
/// suites, rules; slot 2 a domain with a token; slot 3 a domain without; logs; a passcode with one wrong try; a slot
/// chosen; a wrong try at the root's channel.
fn lived_in() -> RoomyFlash {
    let mut chip = roomy_blank();
    let chip = &mut chip;
    let mut factory = Cloud::open(chip, 0xFF, 0x33, &TRANSPORT_KEY).unwrap();
    assert_eq!(factory.send_command(chip, &generate_key(Scheme::P256)).1, 0x9000);
    for (part, bytes) in CertificatePart::all().zip([&[0xCE; 200][..], &[0xCF; 200], &[0xD0; 7]]) {
        assert_eq!(factory.order(chip, &Order::StoreCertificate(StoreCertificate { part, bytes })), 0x9000);
    }
    assert_eq!(put_cloud_keys(chip), 0x9000);
    assert_eq!(factory_data(chip), 0x9000);
    assert_eq!(install(chip, 1), 0x9000);
    assert_eq!(install_as(chip, 4, 2, "88", 22), 0x9000);
    let domains = [(DOMAIN_VERSION, &DOMAIN_KEY[..]), (WIDE_DOMAIN_VERSION, &WIDE_DOMAIN_KEY[..])];
    for (version, key) in domains {
        assert_eq!(root(chip).put_key(chip, &CLOUD_KEY, 0x00, version, key), 0x9000);
    }
    let ([pay, mask], id) = (token_keys(2), token_id(2));
    let mut domain = Cloud::open(chip, DOMAIN_VERSION, 0x33, &DOMAIN_KEY).unwrap();
    assert_eq!(domain.order(chip, &install_order(2, &id, &pay, &mask)), 0x9000);
    let rules = SetRules { slot: slot(1), passcode_required: true, session_seconds: 900 };
    assert_eq!(send_order(chip, &Order::SetRules(rules)), 0x9000);
    assert_eq!(set_passcode(chip, b"1234"), 0x9000);
    for count in 1..=CODES {
        assert_eq!(code_of(chip, 1, ANCHOR + u64::from(count) * 20), 0x9000);
    }
    for number in [2, 4] {
        assert_eq!(code_of(chip, number, ANCHOR), 0x9000);
    }
    assert_eq!(verify(chip, b"9999"), 0x63C4);
    assert!(Cloud::open(chip, CLOUD_KEY_VERSION, 0x33, &[0; 16]).is_err());
    std::mem::replace(chip, roomy_blank()).into_parts().0
}

fn words(flash: &RoomyFlash) -> Vec<u32> {
    (0..RoomyFlash::PAGES * RoomyFlash::PAGE_WORDS).map(|word| flash.read(word).unwrap()).collect()
}

#[test]
fn an_image_of_today_can_be_written_and_has_everything() {
    let words = words(&lived_in());
    the_second_layout_has_everything(&words);
    if let Ok(name) = std::env::var("PAYCHIP_NEW_LAYOUT") {
        let path = folder().join(format!("{name}.flash"));
        assert!(!path.exists(), "an image is never made again");
        std::fs::write(path, words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn every_image_there_is_opens_with_everything_in_it() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert_eq!(files, IMAGES.map(|(name, _)| format!("{name}.flash")), "each image has its check");
    for (name, check) in IMAGES {
        println!("{name}");
        let image = std::fs::read(folder().join(format!("{name}.flash"))).unwrap();
        let words: Vec<_> = image.chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect();
        check(&words);
    }
}

/// Two tokens, three codes made, a passcode and one wrong try.
fn the_first_layout_has_everything(words: &[u32]) {
    let flash: Flash = load(words);
    let mut chip = open(flash);
    let found = view(&mut chip);
    assert_eq!(found.lifecycle, Lifecycle::Bound);
    assert_eq!(found.chip_id.as_deref(), Some(CHIP_ID.as_slice()));
    assert_eq!(found.key_versions, [CLOUD_KEY_VERSION]);
    assert_eq!(found.tokens.len(), 2);
    assert!(found.tokens[0].contains("transaction_counter: 3"), "{}", found.tokens[0]);
    let status = status(&mut chip);
    assert_eq!((status.passcode, status.tries_left), (PasscodeState::Closed, 4));
    assert_eq!((status.default_slot, status.codes_left), (Some(Slot::FIRST), Some(497)));

    let code = get_code(&mut chip, 3, ANCHOR).unwrap();
    assert_eq!((code.stamp.1, code.transaction_counter, code.verified), (3, 4, false));
    assert_eq!(verify(&mut chip, b"1234"), 0x9000);
    assert!(get_code(&mut chip, 3, ANCHOR + 30).unwrap().verified);
}

/// What [`lived_in`] put in, and each of it still works.
fn the_second_layout_has_everything(words: &[u32]) {
    let mut chip = Chip::<RoomyPlatform>::open(load(words), SeededRng(7)).map_err(|(error, _)| error).unwrap();
    let chip = &mut chip;
    let found = status(chip);
    assert_eq!((found.lifecycle, found.passcode, found.tries_left), (Lifecycle::Bound, PasscodeState::Closed, 4));
    assert_eq!((found.default_slot, found.codes_left), (Some(slot(4)), Some(499)), "the slot chosen");
    the_device_key_signs_and_its_chain_is_there(chip);

    let (log, answered) = root(chip).send_command(chip, &DataObject::CodeLog(slot(1)).command());
    assert_eq!(answered, 0x9000);
    let log: Vec<_> = CodeLog::decode(slot(1), &log).unwrap().codes().collect();
    assert_eq!((log.len(), log[0].0, log[31].0), (32, CODES, CODES - 31));
    assert!(log.iter().all(|(count, code)| u64::from(code.stamp.step()) == (ANCHOR + u64::from(*count) * 20) / 30));
    assert_eq!(told(&mut root(chip), chip), [(1, CODES), (4, 1)]);
    let mut domain = Cloud::open(chip, DOMAIN_VERSION, 0x33, &DOMAIN_KEY).unwrap();
    assert_eq!(told(&mut domain, chip), [(2, 1)]);
    let mut wide = Cloud::open(chip, WIDE_DOMAIN_VERSION, 0x33, &WIDE_DOMAIN_KEY).unwrap();
    assert_eq!(told(&mut wide, chip), []);

    // The rules of slot 1 are in force: its session ends after 900 seconds, that of slot 4 does not.
    assert_eq!(verify(chip, b"1234"), 0x9000);
    let later = ANCHOR + 2_000;
    assert!(get_code(chip, 1, later).unwrap().verified);
    assert_eq!(code_of(chip, 1, later + 900), 0x9000);
    assert!(!get_code(chip, 1, later + 901).unwrap().verified);
    assert_eq!(code_of(chip, 4, later + 901), 0x9000);
    assert!(get_code(chip, 1, later + 902).unwrap().verified);
    let clear = Order::Passcode(protocol::applet::PasscodeOrder::Clear);
    assert_eq!(send_order(chip, &clear), 0x9000);
    assert_eq!(code_of(chip, 1, later + 960), 0x9306);
    assert_eq!(code_of(chip, 2, later + 960), 0x9000);

    for number in 1..=4 {
        assert_eq!(send_order(chip, &Order::RemoveToken(RemoveToken { slot: slot(number) })), 0x9000);
    }
    assert_eq!(status(chip).lifecycle, Lifecycle::Ready);
}

fn the_device_key_signs_and_its_chain_is_there(chip: &mut Chip<RoomyPlatform>) {
    let (data, answered) = send_command(chip, &DataObject::DeviceKey.command());
    assert_eq!(answered, 0x9000);
    let key = DeviceKey::decode(&data).unwrap();
    let challenge = [9; 16];
    let (data, answered) = send_command(chip, &attest(&challenge));
    assert_eq!(answered, 0x9000);
    let attestation = Attestation::decode(&data).unwrap();
    assert_eq!(attestation.chip_id, &CHIP_ID);
    let mut statement = [0; MAX_STATEMENT_BYTES];
    let statement = attestation.statement(&challenge, &mut statement).unwrap();
    let signature = Signature::from_slice(attestation.signature).unwrap();
    VerifyingKey::from_sec1_bytes(key.public).unwrap().verify(statement, &signature).unwrap();

    let parts = CertificatePart::all().map(|part| (part, send_command(chip, &DataObject::Certificate(part).command())));
    let chain: Vec<u8> = parts
        .filter(|(_, (_, answered))| *answered == 0x9000)
        .flat_map(|(part, (data, _))| tlv::find(&data, part.tag()).unwrap().unwrap().to_vec())
        .collect();
    assert_eq!(chain, [vec![0xCE; 200], vec![0xCF; 200], vec![0xD0; 7]].concat());
}

/// Slots and transaction counters this channel is told of.
fn told(cloud: &mut Cloud, chip: &mut Chip<RoomyPlatform>) -> Vec<(u8, u32)> {
    let (data, answered) = cloud.send_command(chip, &DataObject::TokenStatus.command());
    assert_eq!(answered, 0x9000);
    TokenStatuses::decode(&data).unwrap().map(|token| (token.slot.number(), token.transaction_counter)).collect()
}
