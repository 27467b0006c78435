//! Power is cut at every flash operation of every command that writes, and again at every operation of the recovery
//! that follows. What is found is the state before the command or the state after it.
#![cfg(all(feature = "virtual", feature = "p256"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use protocol::applet::{
    CertificatePart, Order, PasscodeOrder, RemoveToken, Scheme, SetRules, Slot, StateChange, StoreCertificate,
    choose_slot, generate_key,
};
use support::{
    ANCHOR, CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, Flash, TRANSPORT_KEY, TestChip, View, blank_flash, factory_data,
    get_code, install, install_order, open, put_cloud_keys, send_command, send_order, set_passcode, sync, token_id,
    token_keys, try_open, verify, view,
};

const DOMAIN_VERSION: u8 = 0x68;
const DOMAIN_KEY: [u8; 16] = [0xD2; 16];

type Step = (&'static str, fn(&mut TestChip) -> u16);

fn through(chip: &mut TestChip, version: u8, key: &[u8], give: impl FnOnce(&mut Cloud, &mut TestChip) -> u16) -> u16 {
    match Cloud::open(chip, version, 0x33, key) {
        Ok(mut cloud) => give(&mut cloud, chip),
        Err(status) => status,
    }
}

fn certificate(chip: &mut TestChip, number: u8) -> u16 {
    let part = CertificatePart::new(number).unwrap();
    let order = Order::StoreCertificate(StoreCertificate { part, bytes: &[number; 60] });
    through(chip, 0xFF, &TRANSPORT_KEY, |cloud, chip| cloud.order(chip, &order))
}

fn of_domain(chip: &mut TestChip, order: &Order<'_>) -> u16 {
    through(chip, DOMAIN_VERSION, &DOMAIN_KEY, |cloud, chip| cloud.order(chip, order))
}

fn install_own(chip: &mut TestChip) -> u16 {
    let ([pay, mask], id) = (token_keys(2), token_id(2));
    of_domain(chip, &install_order(2, &id, &pay, &mask))
}

fn code(chip: &mut TestChip, unix_seconds: u64) -> u16 {
    get_code(chip, 3, unix_seconds).map_or_else(|status| status, |_| 0x9000)
}

const fn rules(required: bool) -> Order<'static> {
    Order::SetRules(SetRules { slot: Slot::FIRST, passcode_required: required, session_seconds: 900 })
}

/// A life in which every command that writes is given once at least.
const LIFE: [Step; 27] = [
    ("GENERATE KEY", |chip| {
        through(chip, 0xFF, &TRANSPORT_KEY, |cloud, chip| cloud.send_command(chip, &generate_key(Scheme::P256)).1)
    }),
    ("certificate, part 0", |chip| certificate(chip, 0)),
    ("certificate, part 1", |chip| certificate(chip, 1)),
    ("PUT KEY", put_cloud_keys),
    ("factory data", factory_data),
    ("install", |chip| install(chip, 1)),
    ("a new domain", |chip| {
        through(chip, CLOUD_KEY_VERSION, &CLOUD_KEY, |cloud, chip| {
            cloud.put_key(chip, &CLOUD_KEY, 0x00, DOMAIN_VERSION, &DOMAIN_KEY)
        })
    }),
    ("install in a domain", install_own),
    ("rotate a domain's keys", |chip| {
        through(chip, DOMAIN_VERSION, &DOMAIN_KEY, |cloud, chip| {
            cloud.put_key(chip, &DOMAIN_KEY, DOMAIN_VERSION, DOMAIN_VERSION, &DOMAIN_KEY)
        })
    }),
    ("rules", |chip| send_order(chip, &rules(true))),
    ("first passcode", |chip| set_passcode(chip, b"1234")),
    ("code", |chip| code(chip, ANCHOR)),
    ("choose slot", |chip| send_command(chip, &choose_slot(Slot::new(2))).1),
    ("code of the other slot", |chip| code(chip, ANCHOR + 30)),
    ("wrong passcode", |chip| if verify(chip, b"9999") == 0x63C4 { 0x9000 } else { 0x6F00 }),
    ("unblock", |chip| send_order(chip, &Order::Passcode(PasscodeOrder::Unblock))),
    ("right passcode", |chip| verify(chip, b"1234")),
    ("choose none", |chip| send_command(chip, &choose_slot(None)).1),
    ("install over itself", |chip| install(chip, 1)),
    ("sync", |chip| sync(chip, 1, Some([9; 16]))),
    ("suspend", |chip| send_order(chip, &Order::SetState(StateChange::Suspend))),
    ("resume", |chip| send_order(chip, &Order::SetState(StateChange::Resume))),
    ("clear the passcode", |chip| send_order(chip, &Order::Passcode(PasscodeOrder::Clear))),
    ("remove in a domain", |chip| of_domain(chip, &Order::RemoveToken(RemoveToken { slot: Slot::new(2).unwrap() }))),
    ("delete the domain", |chip| send_order(chip, &Order::RemoveToken(RemoveToken { slot: Slot::new(2).unwrap() }))),
    ("remove the last token", |chip| send_order(chip, &Order::RemoveToken(RemoveToken { slot: Slot::FIRST }))),
    ("terminate", |chip| send_order(chip, &Order::SetState(StateChange::Terminate))),
];

/// Cuts a step everywhere, and each recovery everywhere. Gives the flash after the step, uncut, and adds to the
/// counts of cuts.
fn cut_step((what, step): Step, flash: &Flash, cuts: &mut u64, cuts_in_recovery: &mut u64) -> Flash {
    let mut chip = open(flash.clone());
    let before = view(&mut chip);
    let mut chip = open(flash.clone());
    assert_eq!(step(&mut chip), 0x9000, "{what}");
    let done = chip.into_parts().0;
    let after = view(&mut open(done.clone()));
    let expect = |flash: Flash, at: u64| {
        let found: View = view(&mut open(flash));
        // A wrong try at the passcode counts before it is answered; a right one passes through it.
        let tries_only = View { status: before.status.clone(), ..found.clone() } == before;
        let in_between = what.contains("passcode") && tries_only && found.status.tries_left < before.status.tries_left;
        assert!(found == before || found == after || in_between, "{what}: cut at {at} left {found:#?}");
    };
    for at in 0.. {
        let mut cut = flash.clone();
        let faults = cut.faults();
        cut.cut_after(at, at.wrapping_mul(0x9E37_79B9));
        let mut chip = open(cut);
        let answered = step(&mut chip);
        let mut cut = chip.into_parts().0;
        if cut.faults() == faults {
            assert_eq!(answered, 0x9000);
            assert!(at > 0, "{what} writes nothing");
            return done;
        }
        *cuts += 1;
        cut.power_on();
        // Every one of the first; of the long recoveries, in which an area is erased, one in eleven.
        for recovery_at in (0..64).chain((64..).step_by(11)) {
            let mut again = cut.clone();
            let faults = again.faults();
            again.cut_after(recovery_at, at ^ recovery_at << 7);
            let mut again = match try_open(again) {
                Ok(chip) => chip.into_parts().0,
                Err((_, flash)) => flash,
            };
            let was_cut = again.faults() != faults;
            again.power_on();
            expect(again, at);
            if !was_cut {
                break;
            }
            *cuts_in_recovery += 1;
        }
    }
    done
}

#[test]
fn a_cut_in_any_command_or_in_the_recovery_from_it_leaves_the_state_before_or_after() {
    let mut flash = blank_flash();
    let (mut cuts, mut in_recovery) = (0, 0);
    for step in LIFE {
        let (cuts_before, in_recovery_before) = (cuts, in_recovery);
        flash = cut_step(step, &flash, &mut cuts, &mut in_recovery);
        println!("{}: {} cuts, {} in recovery", step.0, cuts - cuts_before, in_recovery - in_recovery_before);
    }
    println!("power cuts made: {cuts} in {} commands, {in_recovery} in recovery", LIFE.len());
    assert!(cuts > 500 && in_recovery > 1_000);
}
