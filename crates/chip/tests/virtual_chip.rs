//! The chip in a file: there after a restart, in one process at a time, and clear about what is wrong.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use chip::OpenError;
use chip::virtual_chip::{FileError, Ram, VirtualChip, VirtualChipError};
use protocol::scp03::{KeySet, Level, host};
use std::fs;
use std::io::ErrorKind;

const LIFECYCLE: [u8; 5] = [0x00, 0xCA, 0x9F, 0x70, 0x00];
const KEY: &[u8] = b"@ABCDEFGHIJKLMNO";
const INITIALIZE_UPDATE: [u8; 13] = [0x80, 0x50, 0xFF, 0x00, 0x08, 1, 2, 3, 4, 5, 6, 7, 8];

fn ask(chip: &mut VirtualChip, command: &[u8]) -> Vec<u8> {
    let mut response = [0; chip::MAX_RESPONSE_BYTES];
    let len = chip.process(command, &mut response);
    response[..len].to_vec()
}

/// Authenticates with the transport keys, which raises the sequence counter in flash.
fn authenticate(chip: &mut VirtualChip) -> [u8; 3] {
    let answer = ask(chip, &INITIALIZE_UPDATE);
    let (data, status) = answer.split_at(answer.len() - 2);
    assert_eq!(status, [0x90, 0x00]);
    let keys = KeySet::from_bytes(0xFF, KEY, KEY, KEY).unwrap();
    let mut session = host::Session::open(&keys, Level::Full, &INITIALIZE_UPDATE[5..], data).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(ask(chip, session.external_authenticate(&mut buffer).unwrap()), [0x90, 0x00]);
    *data.last_chunk().unwrap()
}

#[test]
fn what_it_learned_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watch.chip");
    let mut chip = VirtualChip::create(&path).unwrap();
    assert_eq!(ask(&mut chip, &LIFECYCLE), [0x9F, 0x70, 0x01, 0x01, 0x90, 0x00]);
    assert_eq!(authenticate(&mut chip), [0, 0, 0]);
    drop(chip);
    let mut chip = VirtualChip::open(&path).unwrap();
    assert_eq!(authenticate(&mut chip), [0, 0, 1]);
    chip.reset();
    assert_eq!(authenticate(&mut chip), [0, 0, 2]);
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watch.chip");
    let chip = VirtualChip::create(&path).unwrap();
    assert!(matches!(VirtualChip::open(&path), Err(VirtualChipError::File(FileError::InUse(_)))));
    drop(chip);
    VirtualChip::open(&path).unwrap();
}

#[test]
fn an_existing_chip_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watch.chip");
    drop(VirtualChip::create(&path).unwrap());
    let before = fs::read(&path).unwrap();
    match VirtualChip::create(&path) {
        Err(VirtualChipError::File(FileError::Io(_, error))) => assert_eq!(error.kind(), ErrorKind::AlreadyExists),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_chip_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watch.chip");
    assert!(matches!(VirtualChip::open(&path), Err(VirtualChipError::File(FileError::Io(..)))));

    fs::write(&path, b"short").unwrap();
    let error = VirtualChip::open(&path).unwrap_err();
    assert!(matches!(error, VirtualChipError::File(FileError::WrongSize { found: 5, expected: 16_384, .. })));
    assert!(error.to_string().contains("5 bytes, a chip's file has 16384"));

    fs::write(&path, vec![0xFF; 16_384]).unwrap();
    assert!(matches!(VirtualChip::open(&path), Err(VirtualChipError::Chip(OpenError::NotCreated))));
}

#[test]
fn a_flipped_bit_is_noticed_and_nothing_is_read_as_absent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watch.chip");
    drop(VirtualChip::create(&path).unwrap());
    let good = fs::read(&path).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0xFF).unwrap();
    let mut refused = 0;
    for at in 0..=used {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        match VirtualChip::open(&path) {
            Err(VirtualChipError::Chip(OpenError::Damaged | OpenError::NotCreated)) => refused += 1,
            Err(other) => panic!("{other:?}"),
            // Damage to a value shows when the value is needed.
            Ok(mut chip) => {
                for command in [LIFECYCLE.as_slice(), &INITIALIZE_UPDATE] {
                    let answer = ask(&mut chip, command);
                    assert!(answer.ends_with(&[0x6F, 0x00]) || answer.ends_with(&[0x90, 0x00]), "{answer:02X?}");
                }
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn ram_kept_over_a_process_opens_no_session_the_flash_does_not_allow() {
    let open = Ram::from_bytes(b"RAM open").unwrap();
    assert_eq!(Ram::from_bytes(&open.to_bytes()), Some(open));
    for broken in [b"".as_slice(), b"RAM", b"RAM Open", b"RAM open "] {
        assert_eq!(Ram::from_bytes(broken), None);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut chip = VirtualChip::create(folder.path().join("watch.chip")).unwrap();
    chip.restore(open);
    assert_ne!(chip.ram(), open, "a blank chip has no passcode");
}
