//! The passcode session: what opens it, what closes it, and what codes say about it.

use wearable::screen::{Mood, Page};
use wearable::{CodeForm, Error, Lifecycle, PasscodeState, Wearable};

use crate::device::{Bench, bench, started};

fn with_passcode() -> Wearable<Bench> {
    let mut wearable = started(bench());
    wearable.set_first_passcode("2468").unwrap();
    wearable
}

fn verified(wearable: &mut Wearable<Bench>) -> bool {
    wearable.payment_code(CodeForm::Digits).unwrap().verified()
}

#[test]
fn a_code_made_after_the_passcode_is_verified_and_one_made_off_the_wrist_is_not() {
    let mut wearable = with_passcode();
    assert!(!verified(&mut wearable));
    wearable.unlock("2468").unwrap();
    assert!(verified(&mut wearable), "the code on the screen is replaced at once");
    assert_eq!(wearable.status().unwrap().passcode, PasscodeState::Open);
    wearable.lock().unwrap();
    assert!(!verified(&mut wearable));
    assert_eq!(wearable.status().unwrap().passcode, PasscodeState::Closed);
}

#[test]
fn sleeping_closes_the_session() {
    let mut wearable = with_passcode();
    wearable.unlock("2468").unwrap();
    wearable.sleep().unwrap();
    assert!(!verified(&mut wearable));
}

#[test]
fn wrong_passcodes_are_counted_and_block() {
    let mut wearable = with_passcode();
    for tries_left in (0..5).rev() {
        assert_eq!(wearable.unlock("1111"), Err(Error::PasscodeWrong { tries_left }));
    }
    assert_eq!(wearable.unlock("2468"), Err(Error::PasscodeBlocked));
    assert_eq!(wearable.status().unwrap().passcode, PasscodeState::Blocked);
}

#[test]
fn a_passcode_that_is_none_never_reaches_the_chip() {
    let mut wearable = with_passcode();
    let before = wearable.host().chip.commands.len();
    for passcode in ["", "123", "123456789", "12a4", "１２３４"] {
        assert_eq!(wearable.unlock(passcode), Err(Error::PasscodeFormat));
        assert_eq!(wearable.set_first_passcode(passcode), Err(Error::PasscodeFormat));
        assert_eq!(wearable.change_passcode("2468", passcode), Err(Error::PasscodeFormat));
    }
    assert_eq!(wearable.host().chip.commands.len(), before);
}

#[test]
fn setting_and_changing_say_what_is_in_the_way() {
    let mut wearable = started(bench());
    assert_eq!(wearable.unlock("2468"), Err(Error::PasscodeNotSet));
    wearable.set_first_passcode("2468").unwrap();
    assert_eq!(wearable.set_first_passcode("1357"), Err(Error::PasscodeExists));
    assert_eq!(wearable.change_passcode("1111", "1357"), Err(Error::PasscodeWrong { tries_left: 4 }));
    wearable.change_passcode("2468", "13579").unwrap();
    wearable.unlock("13579").unwrap();

    let mut device = bench();
    device.chip.lifecycle = Lifecycle::Ready;
    assert_eq!(started(device).set_first_passcode("2468"), Err(Error::NotBound));
}

#[test]
fn a_token_that_wants_a_passcode_asks_the_wearer_to_set_one_and_then_pays() {
    let mut device = bench();
    device.chip.passcode_required = true;
    let mut wearable = started(device);
    let refused = wearable.payment_code(CodeForm::Digits).err();
    assert_eq!(refused, Some(Error::PasscodeRequired));
    let error = refused.unwrap();
    assert_eq!(error.to_string(), "Set a passcode (error 35, 9306)");
    assert!(matches!(Page::of_error(error), Page::Message { mood: Mood::Act, title: "Set a passcode", .. }));
    wearable.set_first_passcode("2468").unwrap();
    assert!(!verified(&mut wearable), "set is enough; entered is for the higher limits");
}
