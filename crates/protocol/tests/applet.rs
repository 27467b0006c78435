//! The applet's templates: written and read back the same, known bytes, and each fault named by its tag.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use protocol::apdu::Command;
use protocol::applet::*;
use tlv::{Tag, Writer};

const GRANT: Grant =
    Grant { time_anchor_unix_seconds: 1_767_225_600, offline_allowance_seconds: 14 * 86_400, code_budget: 500 };

fn install() -> InstallToken<'static> {
    InstallToken {
        slot: Slot::FIRST,
        token_id: &[0x11; 16],
        prefix: "71",
        total_digits: 20,
        suite: 1,
        token_index: 4_294_967_297,
        pay_key: &[0x22; 32],
        pay_key_version: 1,
        mask_key: &[0x33; 16],
        mask_key_version: 1,
        account_label: "l**@example.com",
        grant: GRANT,
    }
}

fn hex_of(bytes: &[u8]) -> String {
    hex::encode_upper(bytes)
}

#[test]
fn orders_have_their_documented_bytes() {
    let mut out = [0; 256];
    let slot = Slot::new(2).unwrap();
    assert_eq!(hex_of(Order::RemoveToken(RemoveToken { slot }).encode(&mut out).unwrap()), "E303C10102");
    assert_eq!(hex_of(Order::SetState(StateChange::Suspend).encode(&mut out).unwrap()), "E403D3010B");
    let sync = SyncGrant { slot, grant: GRANT, mask_key: None };
    assert_eq!(
        hex_of(Order::Sync(sync).encode(&mut out).unwrap()),
        "E217C10102D0080000000069 55B900D1040012 7500D20201F4".replace(' ', "")
    );
    let factory = FactoryData { chip_id: &[7; 16] };
    assert_eq!(hex_of(Order::FactoryData(factory).encode(&mut out).unwrap()), format!("E012C010{}", "07".repeat(16)));
}

#[test]
fn the_longest_order_fits_a_short_command_inside_the_channel() {
    let order = InstallToken { prefix: "71717171", account_label: &"é".repeat(24), ..install() };
    let mut out = [0; 256];
    let written = Order::InstallToken(order).encode(&mut out).unwrap().len();
    // Padding method 2 to whole blocks, and a 16-byte MAC.
    assert!((written / 16 + 1) * 16 + 16 <= 255, "{written}");
}

#[test]
fn the_longest_answers_fit_a_short_response_inside_the_channel() {
    let id = [1; 16];
    let tokens: Vec<_> = Slot::all()
        .map(|slot| TokenStatus {
            slot,
            token_id: &id,
            transaction_counter: u32::MAX,
            last_stamp: CodeStamp::new(u32::MAX, 3),
            codes_left: u16::MAX,
            time_anchor_unix_seconds: MAX_UNIX_SECONDS,
        })
        .collect();
    let mut out = [0; 256];
    let written = encode_token_statuses(&tokens, &mut out).unwrap();
    assert!((written.len() / 16 + 1) * 16 + 16 <= 256, "{}", written.len());
    assert_eq!(TokenStatuses::decode(written).unwrap().collect::<Vec<_>>(), tokens);

    let digits = "7".repeat(24);
    let emv = "A".repeat(MAX_EMV_BYTES);
    let code = PaymentCode {
        digits: Some(&digits),
        emv: Some(&emv),
        stamp: CodeStamp::new(u32::MAX, 3).unwrap(),
        codes_left: u16::MAX,
        verified: true,
        valid_until_unix_seconds: MAX_UNIX_SECONDS,
    };
    let mut out = [0; MAX_TEMPLATE_BYTES];
    let written = code.encode(&mut out).unwrap();
    assert_eq!(written.len(), MAX_TEMPLATE_BYTES);
    assert_eq!(PaymentCode::decode(written), Ok(code));
}

#[test]
fn tokens_come_in_the_order_of_their_slots_each_once() {
    let id = [1; 16];
    let token = |slot| TokenStatus {
        slot: Slot::new(slot).unwrap(),
        token_id: &id,
        transaction_counter: 1,
        last_stamp: None,
        codes_left: 2,
        time_anchor_unix_seconds: 3,
    };
    let mut out = [0; 256];
    let good = encode_token_statuses(&[token(1), token(3)], &mut out).unwrap().to_vec();
    assert_eq!(TokenStatuses::decode(&good).unwrap().map(|t| t.slot.number()).collect::<Vec<_>>(), [1, 3]);
    let second = good.iter().rposition(|byte| *byte == 0xC1).unwrap() + 2;
    for slot in [0, 1, 5] {
        let mut bad = good.clone();
        bad[second] = slot;
        assert_eq!(TokenStatuses::decode(&bad).map(|_| ()), Err(Error::BadValue(tag::SLOT)), "slot {slot}");
    }
    for bad in [[token(1), token(1)], [token(2), token(1)]] {
        assert_eq!(encode_token_statuses(&bad, &mut out), Err(Error::BadValue(tag::SLOT)));
    }
    assert_eq!(TokenStatuses::decode(&[0xDF, 0x23, 0x00]).unwrap().count(), 0);
}

/// Rewrites a template with the object `tag` replaced by `value`, or left out.
fn with(template: &[u8], tag: Tag, value: Option<&[u8]>) -> Vec<u8> {
    let outer = tlv::only(template).unwrap();
    let mut out = [0; 512];
    let mut writer = Writer::new(&mut out);
    writer
        .nest(outer.tag, |w| {
            for object in outer.children() {
                let object = object?;
                match (object.tag == tag, value) {
                    (false, _) => w.put(object.tag, object.value)?,
                    (true, Some(value)) => w.put(tag, value)?,
                    (true, None) => {}
                }
            }
            Ok(())
        })
        .unwrap();
    writer.finish().to_vec()
}

#[test]
fn each_missing_object_of_an_order_is_named() {
    let mut out = [0; 256];
    let good = Order::InstallToken(install()).encode(&mut out).unwrap();
    for object in tlv::only(good).unwrap().children() {
        let tag = object.unwrap().tag;
        assert_eq!(Order::decode(&with(good, tag, None)), Err(Error::Missing(tag)));
    }
}

#[test]
fn each_wrong_value_of_an_order_is_named() {
    let mut out = [0; 256];
    let good = Order::InstallToken(install()).encode(&mut out).unwrap();
    let past = (MAX_UNIX_SECONDS + 1).to_be_bytes();
    let index = TOKEN_INDEX_END.to_be_bytes();
    let long_label = [b'a'; 49];
    for (tag, wrong) in [
        (tag::SLOT, &[0][..]),
        (tag::SLOT, &[5]),
        (tag::SLOT, &[]),
        (tag::SLOT, &[1, 1]),
        (tag::TOKEN_ID, &[0; 15]),
        (tag::TOKEN_ID, &[0; 17]),
        (tag::PREFIX, b""),
        (tag::PREFIX, b"7a"),
        (tag::PREFIX, b"717171717"),
        (tag::TOTAL_DIGITS, &[17]),
        (tag::TOTAL_DIGITS, &[25]),
        (tag::SUITE, &[0]),
        (tag::SUITE, &[3]),
        (tag::TOKEN_INDEX, &index),
        (tag::TOKEN_INDEX, &[0; 7]),
        (tag::PAY_KEY, &[0; 31]),
        (tag::MASK_KEY, &[0; 17]),
        (tag::LABEL, b""),
        (tag::LABEL, &[0xC3]),
        (tag::LABEL, b"a\nb"),
        (tag::LABEL, &long_label),
        (tag::TIME_ANCHOR, &past),
        (tag::OFFLINE_ALLOWANCE, &[0; 3]),
        (tag::CODE_BUDGET, &[0; 3]),
    ] {
        assert_eq!(Order::decode(&with(good, tag, Some(wrong))), Err(Error::BadValue(tag)), "{tag} {wrong:?}");
    }
}

#[test]
fn an_order_with_an_unknown_or_doubled_object_is_refused_whole() {
    let unknown = [0xE3, 0x06, 0xC1, 0x01, 0x01, 0xC2, 0x01, 0x01];
    assert_eq!(Order::decode(&unknown), Err(Error::Unexpected(tag::TOKEN_ID)));
    let doubled = [0xE3, 0x06, 0xC1, 0x01, 0x01, 0xC1, 0x01, 0x02];
    assert_eq!(Order::decode(&doubled), Err(Error::Duplicate(tag::SLOT)));
    let two = [0xE3, 0x03, 0xC1, 0x01, 0x01, 0xE3, 0x03, 0xC1, 0x01, 0x02];
    assert_eq!(Order::decode(&two), Err(Error::Tlv(tlv::Error::Trailing)));
    assert_eq!(Order::decode(&[0xE5, 0x00]), Err(Error::Unexpected(tag::TOKEN)));
}

#[test]
fn a_new_mask_key_comes_with_its_version_or_not_at_all() {
    let update = MaskKeyUpdate { key: &[9; 16], version: 4 };
    let order = Order::Sync(SyncGrant { slot: Slot::FIRST, grant: GRANT, mask_key: Some(update) });
    let mut out = [0; 256];
    let good = order.encode(&mut out).unwrap();
    assert_eq!(Order::decode(good), Ok(order));
    for tag in [tag::MASK_KEY, tag::MASK_KEY_VERSION] {
        assert_eq!(Order::decode(&with(good, tag, None)), Err(Error::Missing(tag)));
    }
}

#[test]
fn a_value_that_would_not_be_read_back_is_not_written() {
    let mut out = [0; 256];
    for (order, tag) in [
        (InstallToken { prefix: "", ..install() }, tag::PREFIX),
        (InstallToken { total_digits: 17, ..install() }, tag::TOTAL_DIGITS),
        (InstallToken { suite: 3, ..install() }, tag::SUITE),
        (InstallToken { token_index: TOKEN_INDEX_END, ..install() }, tag::TOKEN_INDEX),
        (InstallToken { account_label: "", ..install() }, tag::LABEL),
    ] {
        assert_eq!(Order::InstallToken(order).encode(&mut out), Err(Error::BadValue(tag)));
    }
}

#[test]
fn keys_and_codes_do_not_show_in_debug_output() {
    let shown = format!("{:?}", Order::InstallToken(install()));
    assert!(!shown.contains("34") && !shown.contains("51, 51"), "{shown}");
    let update = MaskKeyUpdate { key: &[77; 16], version: 4 };
    assert_eq!(format!("{update:?}"), "MaskKeyUpdate { version: 4, .. }");
    let code = PaymentCode {
        digits: Some("719999999999999999"),
        emv: None,
        stamp: CodeStamp::new(1, 0).unwrap(),
        codes_left: 1,
        verified: false,
        valid_until_unix_seconds: 5,
    };
    assert!(!format!("{code:?}").contains("7199"));
    assert_eq!(format!("{:?}", Passcode::new(b"1234").unwrap()), "Passcode(..)");
}

#[test]
fn public_objects_are_written_and_read_back() {
    let mut out = [0; 128];
    let bytes = encode_lifecycle(Lifecycle::Suspended, &mut out).unwrap();
    assert_eq!(hex_of(bytes), "9F70010B");
    assert_eq!(decode_lifecycle(bytes), Ok(Lifecycle::Suspended));
    assert_eq!(decode_lifecycle(&[0x9F, 0x70, 0x01, 0x02]), Err(Error::BadValue(tag::LIFECYCLE)));

    let bytes = encode_chip_id(&[5; 16], &mut out).unwrap();
    assert_eq!(decode_chip_id(bytes), Ok(&[5; 16]));
    let versions = Versions { major: 1, minor: 2, patch: 3 };
    assert_eq!(hex_of(versions.encode(&mut out).unwrap()), "DF2103010203");
    assert_eq!(Versions::decode(&[0xDF, 0x21, 3, 1, 2, 3]), Ok(versions));

    let answer = SelectAnswer { max_command_data_bytes: 255 };
    let bytes = answer.encode(&mut out).unwrap();
    assert_eq!(hex_of(bytes), "6F128409F05041594348495001A5059F650200FF");
    assert_eq!(SelectAnswer::decode(bytes), Ok(answer));

    let bound = ChipStatus {
        lifecycle: Lifecycle::Bound,
        passcode: PasscodeState::Open,
        tries_left: 5,
        default_slot: Some(Slot::FIRST),
        account_label: Some("王*明"),
        codes_left: Some(499),
    };
    let ready = ChipStatus {
        lifecycle: Lifecycle::Ready,
        passcode: PasscodeState::None,
        tries_left: 0,
        default_slot: None,
        account_label: None,
        codes_left: None,
    };
    for status in [bound, ready] {
        let bytes = status.encode(&mut out).unwrap().to_vec();
        assert_eq!(ChipStatus::decode(&bytes), Ok(status));
    }
}

#[test]
fn an_answer_of_a_newer_chip_is_read() {
    let newer = [0xDF, 0x22, 0x0C, 0xD4, 1, 7, 0xD5, 1, 0, 0xD6, 1, 5, 0xDE, 1, 9];
    assert_eq!(ChipStatus::decode(&newer).map(|status| status.lifecycle), Ok(Lifecycle::Bound));
}

#[test]
fn a_passcode_is_four_to_eight_digits() {
    for bad in [&b""[..], b"123", b"123456789", b"12a4", b"1234\xFF"] {
        assert_eq!(Passcode::new(bad), Err(Error::BadCommand));
    }
    assert_eq!(Passcode::new(b"12345").unwrap().padded(), *b"12345\xFF\xFF\xFF");
}

#[test]
fn changing_the_passcode_has_its_documented_bytes() {
    let (old, new) = (Passcode::new(b"1234").unwrap(), Passcode::new(b"567890").unwrap());
    let mut out = [0; MAX_COMMAND_BYTES];
    for (change, bytes) in [
        (PasscodeChange::First { new }, "0024018106353637383930"),
        (PasscodeChange::Replace { old, new }, "002400810E31323334FFFFFFFF353637383930"),
    ] {
        let written = change.encode(&mut out).unwrap();
        assert_eq!(hex_of(written), bytes);
        assert_eq!(PasscodeChange::decode(&Command::parse(written).unwrap()), Ok(change));
    }
    let hole = Command::new(0, ins::CHANGE_REFERENCE_DATA, 0, 0x81).with_data(b"1234\xFF5\xFF\xFF1234");
    assert_eq!(PasscodeChange::decode(&hole), Err(Error::BadCommand));
}

#[test]
fn commands_have_their_documented_bytes() {
    let mut out = [0; MAX_COMMAND_BYTES];
    assert_eq!(hex_of(select().encode(&mut out).unwrap()), "00A4040009F0504159434849500100");
    assert_eq!(hex_of(lock().encode(&mut out).unwrap()), "80300000");
    assert_eq!(hex_of(verify(None).encode(&mut out).unwrap()), "00200081");
    assert_eq!(hex_of(DataObject::Status.command().encode(&mut out).unwrap()), "00CADF2200");
    let request = CodeRequest { form: CodeForm::Both, slot: None, unix_seconds: 1_767_225_600 };
    let bytes = request.encode(&mut out).unwrap();
    assert_eq!(hex_of(bytes), "804003000800000000 6955B900 00".replace(' ', ""));
    assert_eq!(CodeRequest::decode(&Command::parse(bytes).unwrap()), Ok(request));
    let time = 0_u64.to_be_bytes();
    for (p1, p2, error) in [(0, 0, Error::BadCommand), (4, 0, Error::BadCommand), (1, 5, Error::BadValue(tag::SLOT))] {
        assert_eq!(CodeRequest::decode(&Command::new(0x80, 0x40, p1, p2).with_data(&time)), Err(error));
    }
}

#[test]
fn every_data_object_is_found_by_its_tag() {
    for object in
        [DataObject::Lifecycle, DataObject::ChipId, DataObject::Versions, DataObject::Status, DataObject::TokenStatus]
    {
        assert_eq!(DataObject::from_p1_p2(object.command().p1_p2()), Some(object));
    }
    assert_eq!(DataObject::from_p1_p2(0x0066), None);
    assert!(!DataObject::TokenStatus.is_public());
}

proptest! {
    #[test]
    fn any_token_is_written_and_read_back(
        slot in 1_u8..=4,
        id in any::<[u8; 16]>(),
        prefix in "[0-9]{1,8}",
        total_digits in 18_u8..=24,
        suite in 1_u8..=2,
        token_index in 0..TOKEN_INDEX_END,
        pay_key in any::<[u8; 32]>(),
        mask_key in any::<[u8; 16]>(),
        versions in any::<[u8; 2]>(),
        label in "\\P{C}{1,12}",
        anchor in 0..=MAX_UNIX_SECONDS,
        offline_allowance_seconds in any::<u32>(),
        code_budget in any::<u16>(),
    ) {
        let order = Order::InstallToken(InstallToken {
            slot: Slot::new(slot).unwrap(),
            token_id: &id,
            prefix: &prefix,
            total_digits,
            suite,
            token_index,
            pay_key: &pay_key,
            pay_key_version: versions[0],
            mask_key: &mask_key,
            mask_key_version: versions[1],
            account_label: &label,
            grant: Grant { time_anchor_unix_seconds: anchor, offline_allowance_seconds, code_budget },
        });
        let mut out = [0; 256];
        prop_assert_eq!(Order::decode(order.encode(&mut out).unwrap()), Ok(order));
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..120), template in 0_usize..8) {
        // A valid outer tag and length, so that the objects inside are reached.
        let tags = [0xE0, 0xE1, 0xE2, 0xE3, 0xE4, 0xE6, 0xDF22, 0xDF23];
        let mut out = [0; 200];
        let mut writer = Writer::new(&mut out);
        writer.put(Tag::new(tags[template]), &data).unwrap();
        for bytes in [&data[..], writer.finish()] {
            let _ = Order::decode(bytes);
            let _ = PaymentCode::decode(bytes);
            let _ = ChipStatus::decode(bytes);
            let _ = SelectAnswer::decode(bytes);
            let _ = TokenStatuses::decode(bytes).map(Iterator::count);
            if let Ok(command) = Command::parse(bytes) {
                let _ = CodeRequest::decode(&command);
                let _ = PasscodeChange::decode(&command);
            }
        }
    }
}
