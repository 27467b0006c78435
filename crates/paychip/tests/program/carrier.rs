//! Whoever has the link to a watch carries the cloud's commands to its chip, and gets nothing of the wearer's out of it. Over the
//! real program.

use crate::support::{Cloud, watches};
use paychip::api::Api;
use paychip::books::open_account;
use paychip::watch::carry::Link;
use paychip::watch::sync::sync;
use protocol::apdu::Command;
use protocol::applet::{self, CodeForm, CodeRequest, DataObject, Passcode, PasscodeChange, PasscodeState};
use protocol::script::{MAX_MESSAGE_BYTES, ScriptWriter, SessionId};

fn apdu(command: &Command<'_>) -> Vec<u8> {
    command.encode(&mut [0; 300]).unwrap().to_vec()
}

#[test]
fn a_carrier_makes_no_code_sets_no_passcode_and_uses_up_no_try() {
    let cloud = Cloud::alone();
    let (li, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
    let wallet = Api::new(cloud.url.clone(), li.key);
    let mut watch = watches(&cloud, &wallet, 1).remove(0);
    let now_s = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut buffer = [0; 32];
    // Now, and for next week.
    let mut of_wearers: Vec<Vec<u8>> = Vec::new();
    for unix_seconds in [now_s, now_s + 7 * 86_400] {
        for form in [CodeForm::Digits, CodeForm::Emv, CodeForm::Both] {
            let request = CodeRequest { form, slot: None, unix_seconds };
            of_wearers.push(request.encode(&mut buffer).unwrap().to_vec());
        }
    }
    let passcode = |digits: &'static [u8]| Passcode::new(digits).unwrap();
    of_wearers.push(PasscodeChange::First { new: passcode(b"1234") }.encode(&mut buffer).unwrap().to_vec());
    of_wearers.push(apdu(&applet::verify(Some(passcode(b"0000")))));
    for has_passcode in [false, true] {
        if has_passcode {
            watch.set_first_passcode("2468").unwrap();
            watch.unlock("2468").unwrap();
            of_wearers.push(apdu(&applet::lock()));
        }
        let before = watch.status().unwrap();
        let expected = if has_passcode { PasscodeState::Open } else { PasscodeState::None };
        assert_eq!((before.passcode, before.codes_left), (expected, Some(500)));
        for (number, command) in (1..).zip(&of_wearers) {
            // Alone, and behind what a script may hold.
            for commands in [vec![command.clone()], vec![apdu(&DataObject::Status.command()), command.clone()]] {
                let mut buffer = [0; MAX_MESSAGE_BYTES];
                let mut script = ScriptWriter::new(&mut buffer, SessionId([number; 16]), 1, 50).unwrap();
                for command in &commands {
                    script.push(command, true).unwrap();
                }
                let message = script.finish().unwrap().to_vec();
                let heard = Link::new().deliver(&mut watch, number, &message, &mut |_| ()).unwrap();
                assert_eq!(heard, None, "{command:02X?}");
                assert!(watch.status().unwrap() == before, "{command:02X?}");
            }
        }
    }
    // The cloud's own work goes on.
    assert_eq!(sync(&mut watch, &wallet, |_| ()).unwrap()["state"], "done");
}
