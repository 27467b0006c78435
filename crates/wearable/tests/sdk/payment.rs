//! When a code is made, kept, replaced, and what the wearer is told when there is none.

use protocol::applet::ins;
use wearable::{CodeForm, Error, Lifecycle, Wearable};

use crate::device::{Bench, START, bench, started};

fn codes_made(wearable: &Wearable<Bench>) -> usize {
    wearable.host().chip.commands.iter().filter(|command| command[1] == ins::GET_PAYMENT_CODE).count()
}

fn digits(wearable: &mut Wearable<Bench>) -> String {
    wearable.payment_code(CodeForm::Digits).unwrap().digits().to_owned()
}

#[test]
fn nothing_works_before_pre_init() {
    let mut wearable = Wearable::new(bench());
    assert_eq!(wearable.payment_code(CodeForm::Digits).err(), Some(Error::NotStarted));
    wearable.host_mut().chip.silent = true;
    assert_eq!(wearable.pre_init().err(), Some(Error::ChipSilent));
    assert_eq!(wearable.status().err(), Some(Error::NotStarted));
    wearable.host_mut().chip.silent = false;
    assert!(wearable.pre_init().unwrap().is_bound());
}

#[test]
fn a_code_stays_for_its_half_minute_and_is_then_replaced() {
    let mut wearable = started(bench());
    let first = digits(&mut wearable);
    for second in 0..30 {
        wearable.host_mut().now = START + second;
        assert_eq!(digits(&mut wearable), first);
    }
    assert_eq!(codes_made(&wearable), 1, "looking at a code costs nothing");
    wearable.host_mut().now = START + 30;
    assert_ne!(digits(&mut wearable), first);
    assert_eq!(codes_made(&wearable), 2);
}

#[test]
fn the_countdown_runs_to_the_code_s_own_end() {
    let mut wearable = started(bench());
    let code = wearable.payment_code(CodeForm::Digits).unwrap();
    assert_eq!((code.seconds_left(START), code.seconds_whole()), (90, 90));
    assert_eq!((code.seconds_left(START + 89), code.seconds_left(START + 500)), (1, 0));
    assert_eq!((code.account(), code.verified(), code.codes_left()), ("138****0001", false, 499));
    let face = code.face(START + 10);
    assert_eq!((face.seconds_left, face.seconds_whole), (80, 90));
}

#[test]
fn four_payments_in_half_a_minute_have_four_codes_and_the_fifth_waits() {
    let mut wearable = started(bench());
    let mut seen = vec![digits(&mut wearable)];
    for _ in 0..3 {
        let code = wearable.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
        assert!(!seen.contains(&code));
        seen.push(code);
    }
    wearable.host_mut().now = START + 18;
    let refused = wearable.next_payment_code(CodeForm::Digits).err();
    assert_eq!(refused, Some(Error::Wait { seconds: 12 }));
    assert_eq!(refused.unwrap().to_string(), "Wait 12 s (error 43, 9304)");
    wearable.host_mut().now = START + 30;
    assert!(!seen.contains(&digits(&mut wearable)));
}

#[test]
fn a_form_the_code_does_not_have_is_asked_for_and_one_it_has_is_not() {
    let mut wearable = started(bench());
    wearable.payment_code(CodeForm::Digits).unwrap();
    let code = wearable.payment_code(CodeForm::Both).unwrap();
    assert_eq!(code.emv(), "hQVDUFYwMQ==");
    let both = code.digits().to_owned();
    assert_eq!(digits(&mut wearable), both);
    assert_eq!(codes_made(&wearable), 2);
}

#[test]
fn what_keeps_the_chip_from_paying_is_told_by_name() {
    for (lifecycle, error) in [
        (Lifecycle::Blank, Error::NotPersonalised),
        (Lifecycle::Ready, Error::NotBound),
        (Lifecycle::Suspended, Error::Suspended),
        (Lifecycle::Terminated, Error::Terminated),
    ] {
        let mut device = bench();
        device.chip.lifecycle = lifecycle;
        assert_eq!(started(device).payment_code(CodeForm::Digits).err(), Some(error));
    }
    let mut device = bench();
    device.chip.budget = 0;
    assert_eq!(started(device).payment_code(CodeForm::Digits).err(), Some(Error::CodesUsedUp));
    let mut device = bench();
    device.now += 15 * 86_400;
    assert_eq!(started(device).payment_code(CodeForm::Digits).err(), Some(Error::OfflineTooLong));
}

#[test]
fn a_clock_set_back_keeps_the_code_on_the_screen_and_makes_no_other() {
    let mut wearable = started(bench());
    let code = digits(&mut wearable);
    wearable.host_mut().now = START - 20;
    assert_eq!(digits(&mut wearable), code);
    wearable.host_mut().now = START - 86_400;
    assert_eq!(wearable.payment_code(CodeForm::Digits).err(), Some(Error::ClockBehind));
}

#[test]
fn when_no_new_code_can_be_made_the_old_one_is_still_there_until_its_end() {
    let mut device = bench();
    device.chip.budget = 1;
    let mut wearable = started(device);
    let code = digits(&mut wearable);
    wearable.host_mut().now = START + 40;
    assert_eq!(wearable.payment_code(CodeForm::Digits).err(), Some(Error::CodesUsedUp));
    assert_eq!(wearable.last_code().map(|code| code.digits()), Some(&*code));
    wearable.host_mut().now = START + 90;
    assert!(wearable.last_code().is_none());
}

#[test]
fn a_chip_that_lost_power_is_started_again_by_the_next_call() {
    let mut wearable = started(bench());
    wearable.sleep().unwrap();
    assert_eq!(digits(&mut wearable).len(), 20);
    wearable.host_mut().chip.silent = true;
    assert_eq!(wearable.next_payment_code(CodeForm::Digits).err(), Some(Error::ChipSilent));
    let device = wearable.host_mut();
    (device.chip.silent, device.chip.selected) = (false, false);
    assert_eq!(digits(&mut wearable).len(), 20);
}

#[test]
fn neither_log_nor_debug_shows_a_code() {
    let mut wearable = started(bench());
    let code = wearable.payment_code(CodeForm::Both).unwrap();
    let (shown, digits) = (format!("{code:?}"), code.digits().to_owned());
    assert!(!shown.contains(&digits) && !shown.contains("hQVD") && !shown.contains("0001"));
    assert!(!wearable.host().log.contains(&digits));
}
