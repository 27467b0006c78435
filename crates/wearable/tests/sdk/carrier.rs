//! Whoever is at the other end of the link may carry the cloud's commands, and give none of the wearer's.

use protocol::apdu::Command;
use protocol::applet::{self, CodeForm, CodeRequest, DataObject, Passcode, PasscodeChange, ins};
use protocol::link::Fragments;
use protocol::script::{MAX_MESSAGE_BYTES, ScriptWriter, SessionId};
use wearable::{Progress, Wearable};

use crate::device::{Bench, START, bench, started};

fn apdu(command: &Command<'_>) -> Vec<u8> {
    command.encode(&mut [0; 300]).unwrap().to_vec()
}

/// What the wearable does with a script of these commands: the commands that reached the chip, and the frames it sent.
fn hand_in(wearable: &mut Wearable<Bench>, session: u8, commands: &[Vec<u8>]) -> (Vec<Vec<u8>>, usize) {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let mut script = ScriptWriter::new(&mut buffer, SessionId([session; 16]), 1, 50).unwrap();
    for command in commands {
        script.push(command, true).unwrap();
    }
    let message = script.finish().unwrap().to_vec();
    let mut fragments = Fragments::new(&message, session, 20).unwrap();
    wearable.host_mut().chip.commands.clear();
    while let Some(frame) = fragments.next_frame(&mut [0; 20]).unwrap() {
        wearable.on_link_data(frame);
    }
    for _ in 0..20 {
        wearable.poll().unwrap();
    }
    let sent = std::mem::take(&mut wearable.host_mut().sent).len();
    (std::mem::take(&mut wearable.host_mut().chip.commands), sent)
}

#[test]
fn a_script_makes_no_code_tries_no_passcode_and_reaches_no_other_applet() {
    let passcode = |digits: &'static [u8]| Passcode::new(digits).unwrap();
    let mut buffer = [0; 32];
    let first = PasscodeChange::First { new: passcode(b"1234") }.encode(&mut buffer).unwrap().to_vec();
    let change = PasscodeChange::Replace { old: passcode(b"1234"), new: passcode(b"4321") };
    let change = change.encode(&mut buffer).unwrap().to_vec();
    let code = CodeRequest { form: CodeForm::Digits, slot: None, unix_seconds: START };
    let code = code.encode(&mut buffer).unwrap().to_vec();
    let other_applet = Command::new(0x00, ins::SELECT, 0x04, 0x00).with_data(&[0xA0, 0, 0, 1, 0x51, 0, 0, 0]);
    let on_another_channel = |mut command: Vec<u8>| {
        command[0] |= 1;
        command
    };
    let mut wearable = started(bench());
    let (own, select) = (apdu(&DataObject::Status.command()), apdu(&applet::select()));
    for (number, forbidden) in (1..).zip([
        code.clone(),
        on_another_channel(code.clone()),
        // ISO's own secure messaging, which the chip does not know and another might take for nothing.
        [&[0x0C][..], &code[1..]].concat(),
        apdu(&applet::verify(Some(passcode(b"0000")))),
        apdu(&applet::verify(None)),
        first,
        change,
        apdu(&applet::choose_slot(None)),
        apdu(&applet::lock()),
        apdu(&applet::self_test()),
        apdu(&other_applet),
        apdu(&Command::new(0x00, ins::SELECT, 0x00, 0x0C).with_data(&[0x3F, 0])),
        apdu(&Command::new(0x80, ins::STORE_DATA, 0x80, 0).with_data(&[1])),
        apdu(&Command::new(0x00, 0xC0, 0, 0)),
        // Sealed, or so they say: what the cloud never sends.
        [&[0x84][..], &code[1..]].concat(),
        [&[0x04][..], &apdu(&applet::verify(Some(passcode(b"0000"))))[1..]].concat(),
        [&[0x04][..], &apdu(&applet::select())[1..]].concat(),
        apdu(&Command::new(0x84, 0x70, 0, 1)),
        // Sealed, and of a class that the cloud gives none of them in.
        apdu(&Command::new(0x04, ins::STORE_DATA, 0x80, 0).with_data(&[9; 16])),
        apdu(&Command::new(0x04, ins::VOUCH, 0, 0).with_data(&[9; 16])),
        apdu(&Command::new(0x04, ins::PUT_KEY, 0, 0).with_data(&[9; 16])),
        apdu(&Command::new(0x04, ins::EXTERNAL_AUTHENTICATE, 0x33, 0).with_data(&[9; 16])),
        vec![0x80, 0x40],
        vec![0xFF; 8],
    ]) {
        // Alone, last and first: nothing of such a script is run, and nothing is said to it.
        for commands in [
            vec![forbidden.clone()],
            vec![select.clone(), own.clone(), forbidden.clone()],
            vec![forbidden.clone(), select.clone()],
        ] {
            let before = wearable.progress();
            let (run, sent) = hand_in(&mut wearable, number, &commands);
            assert!(run.is_empty() && sent == 0, "{forbidden:02X?}: {run:02X?}");
            assert_eq!(wearable.progress(), before, "{forbidden:02X?}");
        }
    }
    let chip = &wearable.host().chip;
    assert_eq!((chip.budget, chip.tries, chip.last, chip.passcode.as_ref()), (500, 5, None, None));
    assert!(wearable.host().log.contains("no relay may give"), "{}", wearable.host().log);

    // The cloud's own commands are run as before.
    let challenge = [7; 8];
    let commands = [
        select,
        apdu(&applet::attest(&[1; 24])),
        own,
        apdu(&applet::initialize_update(1, &challenge)),
        apdu(&Command::new(0x84, ins::EXTERNAL_AUTHENTICATE, 0x33, 0).with_data(&[9; 16])),
        apdu(&Command::new(0x04, ins::GET_DATA, 0xDF, 0x23).with_data(&[9; 8])),
    ];
    let (run, sent) = hand_in(&mut wearable, 99, &commands);
    assert_eq!(run, commands);
    assert!(sent > 0);
    assert!(matches!(wearable.progress(), Progress::Working { .. }));
}
