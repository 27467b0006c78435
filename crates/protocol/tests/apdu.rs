//! APDUs: every case of ISO/IEC 7816-4 is read and written, and contradicting lengths are refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use protocol::apdu::{Class, Command, Error, Response, StatusWord};

#[test]
fn every_case_is_read_and_written_back_the_same() {
    let long = vec![0xAB; 300];
    let cases: [(&str, Vec<u8>, usize, Option<u32>); 8] = [
        ("1", vec![0x80, 0x30, 0, 0], 0, None),
        ("2 short", vec![0, 0xCA, 0x9F, 0x70, 0x10], 0, Some(16)),
        ("2 short, all", vec![0, 0xCA, 0x9F, 0x70, 0], 0, Some(256)),
        ("2 extended", vec![0, 0xCA, 0x9F, 0x70, 0, 0, 0], 0, Some(65_536)),
        ("3 short", vec![0, 0x20, 0, 0x81, 2, 1, 2], 2, None),
        ("4 short", vec![0, 0xA4, 4, 0, 2, 1, 2, 0], 2, Some(256)),
        ("3 extended", [&[0x84, 0xE2, 0x80, 0, 0, 1, 0x2C][..], &long].concat(), 300, None),
        ("4 extended", [&[0x84, 0xE2, 0x80, 0, 0, 1, 0x2C][..], &long, &[1, 2]].concat(), 300, Some(258)),
    ];
    for (case, bytes, data_bytes, le) in cases {
        let command = Command::parse(&bytes).expect(case);
        assert_eq!((command.data.len(), command.le), (data_bytes, le), "case {case}");
        let mut out = [0; 400];
        assert_eq!(command.encode(&mut out), Ok(&bytes[..]), "case {case}");
        assert_eq!(command.encoded_bytes(), bytes.len(), "case {case}");
    }
}

#[test]
fn contradicting_lengths_are_refused() {
    for (bytes, error) in [
        (&[0, 0xA4, 4][..], Error::TooShort),
        (&[0, 0xA4, 4, 0, 3, 1, 2], Error::BadLength),
        (&[0, 0xA4, 4, 0, 1, 1, 2, 3], Error::BadLength),
        (&[0, 0xA4, 4, 0, 0, 1], Error::BadLength),
        (&[0, 0xA4, 4, 0, 0, 0, 0, 0], Error::BadLength),
        (&[0, 0xA4, 4, 0, 0, 0, 2, 1], Error::BadLength),
        (&[0, 0xA4, 4, 0, 0, 0, 1, 1, 9], Error::BadLength),
    ] {
        assert_eq!(Command::parse(bytes), Err(error), "{bytes:02X?}");
    }
}

#[test]
fn an_le_of_zero_or_beyond_the_extended_form_is_refused() {
    let mut out = [0; 16];
    for le in [0, 65_537] {
        assert_eq!(Command::new(0, 0, 0, 0).with_le(le).encode(&mut out), Err(Error::TooLong));
    }
    let big = vec![0; 65_536];
    assert_eq!(Command::new(0, 0, 0, 0).with_data(&big).encode(&mut out), Err(Error::TooLong));
    assert_eq!(Command::new(0, 0, 0, 0).with_data(&[0; 12]).encode(&mut out), Err(Error::NoRoom));
}

#[test]
fn class_bytes_tell_channel_and_secure_messaging() {
    for (byte, channel, secured, gp) in [
        (0x00, 0, false, false),
        (0x80, 0, false, false),
        (0x04, 0, true, true),
        (0x84, 0, true, true),
        (0x87, 3, true, true),
        (0x0C, 0, true, false),
        (0x08, 0, true, false),
        (0x40, 4, false, false),
        (0xC5, 9, false, false),
        (0x60, 4, true, true),
        (0xE5, 9, true, true),
        (0xEF, 19, true, true),
    ] {
        let class = Class(byte);
        assert_eq!((class.channel(), class.is_secured(), class.is_gp_secured()), (channel, secured, gp), "{byte:02X}");
        assert!(class.secured().is_gp_secured());
        assert!(!class.unsecured().is_secured());
        assert_eq!(class.secured().channel(), channel);
        assert_eq!(class.for_mac() & 0x7F, 0x04, "{byte:02X}");
    }
    assert!(Class(0x10).is_chained());
}

#[test]
fn a_status_word_is_error_warning_or_done() {
    assert!(StatusWord::OK.is_ok() && !StatusWord::OK.is_error());
    assert!(StatusWord::tries_left(3).is_warning());
    assert_eq!(StatusWord::tries_left(3), StatusWord::new(0x63C3));
    assert_eq!(StatusWord::tries_left(200).tries(), Some(15));
    assert_eq!(StatusWord::OK.tries(), None);
    assert!(
        StatusWord::new(0x6700).is_error() && StatusWord::new(0x9301).is_error() && StatusWord::new(0x6182).is_error()
    );
    assert_eq!(StatusWord::BUDGET_USED_UP.to_string(), "9303: the code budget is used up and needs a sync");
}

#[test]
fn debug_shows_no_data() {
    let shown = format!("{:?}", Command::new(0, 0x20, 0, 0x81).with_data(b"123456"));
    assert_eq!(shown, "Command(00 20 00 81, 6 bytes of data, Le None)");
    let shown = format!("{:?}", Response { data: b"718888", status: StatusWord::OK });
    assert_eq!(shown, "Response(6 bytes of data, StatusWord(9000))");
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed_back(
        header in any::<[u8; 4]>(),
        data in prop::collection::vec(any::<u8>(), 0..600),
        le in prop::option::of(1_u32..=65_536),
    ) {
        let [class, ins, p1, p2] = header;
        let mut command = Command::new(class, ins, p1, p2).with_data(&data);
        command.le = le;
        let mut out = [0; 700];
        let bytes = command.encode(&mut out).unwrap();
        prop_assert_eq!(bytes.len(), command.encoded_bytes());
        prop_assert_eq!(Command::parse(bytes), Ok(command));
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(command) = Command::parse(&bytes) {
            let mut out = [0; 700];
            let written = command.encode(&mut out).unwrap();
            prop_assert_eq!(Command::parse(written), Ok(command));
        }
        if let Ok(response) = Response::parse(&bytes) {
            let mut out = [0; 700];
            prop_assert_eq!(response.encode(&mut out), Ok(&bytes[..]));
        }
    }
}
