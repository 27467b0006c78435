//! The card's end of an open session under arbitrary commands: nothing is obeyed but what the host wrapped, and the
//! first command that is not authentic ends the session for good. The fuzz target and the bounded test call it.

use protocol::apdu::{Command, StatusWord};
use protocol::scp03::card::{Challenge, Handshake};
use protocol::scp03::{KeySet, Level, host};

const AID: [u8; 9] = protocol::applet::AID;

/// The first byte chooses mode and level, the second how many commands the host really sends before the rest of the
/// input comes as one command.
pub(crate) fn unwrap_anything(input: &[u8]) {
    let &[how, right, ref forged @ ..] = input else { return };
    let challenge = &[0x5A; 16][..if how & 1 == 0 { 8 } else { 16 }];
    let level = [Level::CMac, Level::CMacCEnc, Level::CMacRMac, Level::Full][usize::from(how >> 1 & 3)];
    let key = [0x42; 16];
    let keys = KeySet::from_bytes(0x30, &key, &key, &key).unwrap();
    let mut buffer = [0; 300];
    let pseudo_random = Challenge::PseudoRandom { sequence: 7, aid: &AID };
    let (handshake, used) = Handshake::start(&keys, &[0; 10], challenge, pseudo_random, &mut buffer).unwrap();
    let mut host = host::Session::open(&keys, level, challenge, &buffer[..used]).unwrap();
    let authenticate = host.external_authenticate(&mut buffer).unwrap();
    let mut card = handshake.authenticate(authenticate).unwrap();
    for count in 0..right % 4 {
        let data = [count; 40];
        let command = Command::new(0x80, 0xE2, 0x80, count).with_data(&data[..usize::from(count) * 13]);
        let mut sent = [0; 300];
        let (wrapped, ticket) = host.wrap(&command, &mut sent).unwrap();
        let mut received = wrapped.to_vec();
        let unwrapped = card.unwrap(&mut received).unwrap();
        assert_eq!((unwrapped.p2, unwrapped.data), (count, command.data));
        let mut answer = [0; 300];
        let used = card.wrap_answer(&mut answer, 0, StatusWord::OK).unwrap();
        assert!(host.unwrap(ticket, &mut answer[..used]).is_ok());
    }
    let mut received = forged.to_vec();
    let refused = card.unwrap(&mut received);
    assert!(refused.is_err(), "a command nobody wrapped was taken");
    let closed = !card.is_open();
    let data = [1; 20];
    let command = Command::new(0x80, 0xE2, 0x80, 0x00).with_data(&data);
    let (wrapped, _) = host.wrap(&command, &mut buffer).unwrap();
    let mut received = wrapped.to_vec();
    assert_eq!(card.unwrap(&mut received).is_err(), closed, "open means the next right command is taken");
}
