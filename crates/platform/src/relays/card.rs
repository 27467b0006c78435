//! The card's end of a channel, for tests: what a chip with these keys answers.

use protocol::apdu::{Command, StatusWord};
use protocol::applet::{CodeStamp, Slot, TokenStatus, encode_token_statuses, ins};
use protocol::scp03::card::{Challenge, Handshake};
use protocol::scp03::{KeySet, card};
use protocol::script::{Message, ResultsWriter, SessionId};

/// The card's end: what a chip with these keys answers to a script.
pub(crate) struct Card {
    keys: KeySet,
    handshake: Option<Handshake>,
    session: Option<card::Session>,
    pub(crate) installed: Option<Vec<u8>>,
    /// What it says it holds in its first slot: token and transaction counter.
    pub(crate) holds: Option<([u8; 16], u32)>,
    /// The last code it says it has made with it.
    pub(crate) made: Option<CodeStamp>,
    /// What it answers to an order, where not with success.
    pub(crate) refuses: Option<StatusWord>,
}

impl Card {
    pub(crate) fn with(keys: KeySet) -> Self {
        Self { keys, handshake: None, session: None, installed: None, holds: None, made: None, refuses: None }
    }

    pub(crate) fn run(&mut self, script: &[u8]) -> Vec<u8> {
        let Ok(Message::Script(script)) = Message::decode(script) else { panic!("not a script") };
        let answers: Vec<Vec<u8>> = script.commands().map(|command| self.answer(command.apdu)).collect();
        results(script.session, script.number, &answers)
    }

    pub(crate) fn answer(&mut self, apdu: &[u8]) -> Vec<u8> {
        let command = Command::parse(apdu).unwrap();
        let ok = StatusWord::OK.to_bytes();
        match command.instruction {
            ins::SELECT => ok.to_vec(),
            ins::INITIALIZE_UPDATE => {
                let mut out = [0; 64];
                let challenge = Challenge::Random(&[11; 16]);
                let started = Handshake::start(&self.keys, &[4; 10], command.data, challenge, &mut out);
                let (handshake, length) = started.unwrap();
                self.handshake = Some(handshake);
                [&out[..length], &ok].concat()
            }
            ins::EXTERNAL_AUTHENTICATE => match self.handshake.take().map(|handshake| handshake.authenticate(apdu)) {
                Some(Ok(session)) => {
                    self.session = Some(session);
                    ok.to_vec()
                }
                _ => StatusWord::SECURITY_STATUS.to_bytes().to_vec(),
            },
            _ => {
                let Some(session) = self.session.as_mut() else {
                    return StatusWord::SECURITY_STATUS.to_bytes().to_vec();
                };
                let mut apdu = apdu.to_vec();
                let plain = session.unwrap(&mut apdu).unwrap();
                let (instruction, data) = (plain.instruction, plain.data.to_vec());
                let mut out = [0; 256];
                if instruction == ins::GET_DATA {
                    let held = self.holds.as_ref().map(|(token_id, transaction_counter)| TokenStatus {
                        slot: Slot::FIRST,
                        token_id,
                        transaction_counter: *transaction_counter,
                        last_stamp: self.made,
                        codes_left: 1,
                        time_anchor_unix_seconds: 1,
                    });
                    let mut told = [0; 128];
                    let told = encode_token_statuses(held.as_slice(), &mut told).unwrap();
                    out[..told.len()].copy_from_slice(told);
                    let length = session.wrap_answer(&mut out, told.len(), StatusWord::OK).unwrap();
                    return out[..length].to_vec();
                }
                if let Some(status) = self.refuses {
                    return status.to_bytes().to_vec();
                }
                self.installed = Some(data);
                let length = session.wrap_answer(&mut out, 0, StatusWord::OK).unwrap();
                out[..length].to_vec()
            }
        }
    }
}

pub(crate) fn results(session: SessionId, number: u16, answers: &[Vec<u8>]) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let mut writer = ResultsWriter::new(&mut buffer, session, number).unwrap();
    for answer in answers {
        writer.push((!answer.is_empty()).then_some(answer.as_slice())).unwrap();
    }
    writer.finish().to_vec()
}
