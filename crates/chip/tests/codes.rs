//! Codes the chip makes are codes the cloud takes: checked with `paycode`, which the cloud uses too.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use paycode::{CodeFormat, Hit, MaskKey, PayKey, Suite, TimeStep, check, emv, unmask};
use support::{ANCHOR, get_code, install_as, open, ready_flash, set_passcode, sync, token_index, token_keys, verify};

/// Ten thousand codes in a row, over syncs, passcode sessions and both suites.
#[test]
fn ten_thousand_codes_pay() {
    for (slot, suite, prefix, digits) in [(1, Suite::International, "71", 20), (2, Suite::Chinese, "7312", 24)] {
        let mut chip = open(ready_flash());
        assert_eq!(install_as(&mut chip, slot, suite.id(), prefix, digits), 0x9000);
        assert_eq!(set_passcode(&mut chip, b"4321"), 0x9000);
        let [pay_key, mask_key] = token_keys(slot);
        let pay_key = PayKey::new(suite, &pay_key.try_into().unwrap());
        let mask_key = MaskKey::new(suite, &mask_key.try_into().unwrap());
        let format = CodeFormat::new(prefix, digits).unwrap();

        let mut last = None;
        for count in 1..=5_000_u32 {
            let now = ANCHOR + u64::from(count) * 10;
            if count % 400 == 0 {
                assert_eq!(sync(&mut chip, slot, None), 0x9000);
            }
            let verified = count % 3 == 0;
            if verified {
                assert_eq!(verify(&mut chip, b"4321"), 0x9000);
            } else {
                support::lock(&mut chip);
            }
            let code = get_code(&mut chip, 3, now).unwrap();
            assert_eq!(code.verified, verified);

            let step = TimeStep::from_unix_seconds(now).unwrap();
            let unmasked = unmask(&format, &mask_key, &format.parse(&code.digits).unwrap()).unwrap();
            assert_eq!(unmasked.index.get(), token_index(slot));
            let hit = check(&pay_key, &unmasked, step, last).unwrap();
            assert_eq!(hit, Hit { stamp: hit.stamp, verified });
            assert_eq!((hit.stamp.step.0, hit.stamp.sequence.get()), code.stamp);
            assert_eq!(hit.stamp.expires_unix_seconds(), code.valid_until);

            let mut buffer = [0; emv::MAX_PAYLOAD_BYTES];
            let payment = emv::Payment::parse(&code.emv, &mut buffer).unwrap();
            assert_eq!(payment.code().as_str(), code.digits);
            assert_eq!(payment.transaction_counter(), count);
            payment.verify(&pay_key, unmasked.index, &hit).unwrap();
            last = Some(hit.stamp);
        }
    }
}

#[test]
fn each_form_gives_what_was_asked_for() {
    let mut chip = open(support::bound_flash());
    let digits = get_code(&mut chip, 1, ANCHOR).unwrap();
    assert!(!digits.digits.is_empty() && digits.emv.is_empty());
    let emv = get_code(&mut chip, 2, ANCHOR).unwrap();
    assert!(emv.digits.is_empty() && !emv.emv.is_empty());
    let both = get_code(&mut chip, 3, ANCHOR).unwrap();
    assert!(!both.digits.is_empty() && !both.emv.is_empty());
    assert_eq!([digits.stamp.1, emv.stamp.1, both.stamp.1], [0, 1, 2]);
    assert_eq!(both.codes_left, 497);
}

#[test]
fn a_new_mask_key_hides_the_next_code_and_changes_nothing_else() {
    let mut chip = open(support::bound_flash());
    get_code(&mut chip, 1, ANCHOR).unwrap();
    assert_eq!(sync(&mut chip, 1, Some([0x77; 16])), 0x9000);
    let code = get_code(&mut chip, 3, ANCHOR).unwrap();
    assert_eq!(code.transaction_counter, 2);
    let mask_key = MaskKey::new(Suite::International, &[0x77; 16]);
    let unmasked = unmask(&CodeFormat::DEFAULT, &mask_key, &CodeFormat::DEFAULT.parse(&code.digits).unwrap()).unwrap();
    assert_eq!(unmasked.index.get(), token_index(1));
}
