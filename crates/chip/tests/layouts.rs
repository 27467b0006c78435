//! Flash written by an earlier version of the applet still opens, with everything in it.
//!
//! `tests/layouts/` holds images of flash, words little-endian, each made by the version that first wrote that
//! layout. They are never made again: `PAYCHIP_NEW_LAYOUT=name` writes one of a chip of today, when the layout
//! has changed.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use chip::hal::Flash as _;
use protocol::applet::{Lifecycle, PasscodeState, Slot};
use std::path::PathBuf;
use support::{
    ANCHOR, CHIP_ID, CLOUD_KEY_VERSION, Flash, bound_flash, get_code, install, open, set_passcode, status, verify, view,
};

const WORDS: usize = Flash::PAGES * Flash::PAGE_WORDS;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/layouts").join(format!("{name}.flash"))
}

fn load(name: &str) -> Flash {
    let image = std::fs::read(path(name)).unwrap();
    assert_eq!(image.len(), WORDS * 4);
    let mut flash = Flash::new();
    for (word, bytes) in image.chunks(4).enumerate() {
        flash.program(word, u32::from_le_bytes(bytes.try_into().unwrap())).unwrap();
    }
    flash
}

/// A chip with two tokens, three codes made, a passcode and one wrong try.
fn lived_in() -> Flash {
    let mut chip = open(bound_flash());
    assert_eq!(install(&mut chip, 3), 0x9000);
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    for second in 0..3 {
        get_code(&mut chip, 3, ANCHOR + second).unwrap();
    }
    assert_eq!(verify(&mut chip, b"9999"), 0x63C4);
    chip.into_parts().0
}

#[test]
fn an_image_of_today_can_be_written() {
    let flash = lived_in();
    let image: Vec<u8> = (0..WORDS).flat_map(|word| flash.read(word).unwrap().to_le_bytes()).collect();
    if let Ok(name) = std::env::var("PAYCHIP_NEW_LAYOUT") {
        assert!(!path(&name).exists(), "an image is never made again");
        std::fs::write(path(&name), image).unwrap();
    }
}

#[test]
fn the_first_layout_opens_with_everything_in_it() {
    let mut chip = open(load("1-tokens"));
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
