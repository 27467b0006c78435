//! Runs the command-response scripts of the chip's own tests against a chip anywhere. Their form is told in
//! `crates/chip/tests/scripts.rs`.

use paychip::chip::{Card, Reply, send};
use protocol::apdu::{Command, HEADER_BYTES, StatusWord};
use protocol::applet::initialize_update;
use protocol::scp03::{KeySet, Level, host};

const HOST_CHALLENGE: [u8; 8] = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];

/// Runs a script against a blank chip and returns how many answers were as written. Commands that are not even a
/// header are left out: they can't be sent through a reader.
pub fn run(card: &mut dyn Card, name: &str, script: &str) -> usize {
    let mut run = Run { card, session: None, answer: Answer::None, answers: 0 };
    for (number, line) in (1..).zip(script.lines()) {
        let line = line.split('#').next().unwrap_or("").trim();
        if !line.is_empty() {
            run.line(line, &format!("{name}:{number}"));
        }
    }
    run.answers
}

struct Run<'c> {
    card: &'c mut dyn Card,
    session: Option<host::Session>,
    answer: Answer,
    answers: usize,
}

/// What the last command was answered.
enum Answer {
    /// Nothing was sent, or its answer was looked at.
    None,
    /// It was not sent.
    LeftOut,
    Reply(Reply),
}

impl Run<'_> {
    fn line(&mut self, line: &str, place: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            ">" if bytes(rest).len() < HEADER_BYTES => self.answer = Answer::LeftOut,
            ">" => self.answer = Answer::Reply(send(self.card, &bytes(rest)).unwrap()),
            ">>" => self.answer = Answer::Reply(self.secured(&bytes(rest), place)),
            "<" => match std::mem::replace(&mut self.answer, Answer::None) {
                Answer::Reply(reply) => {
                    let found = written(&reply);
                    assert!(matches(rest, &found), "{place}\nexpected {rest}\n   found {found}");
                    self.answers += 1;
                }
                Answer::LeftOut => {}
                Answer::None => panic!("{place}: nothing was sent"),
            },
            "open" => self.open(rest, place),
            // What a reader does to a card ends its sessions either way.
            "reset" | "power" => {
                self.card.reset().unwrap();
                self.session = None;
            }
            _ => panic!("{place}: what is {word}?"),
        }
    }

    fn open(&mut self, rest: &str, place: &str) {
        let [version, level, key] = rest.split(' ').collect::<Vec<_>>()[..] else { panic!("open KVN level key") };
        let (version, key) = (bytes(version)[0], bytes(key));
        let mut buffer = [0; 300];
        let command = initialize_update(version, &HOST_CHALLENGE).encode(&mut buffer).unwrap();
        let opening = send(self.card, command).unwrap().accepted(place).unwrap();
        let keys = KeySet::from_bytes(version, &key, &key, &key).unwrap();
        let level = Level::from_byte(bytes(level)[0]).unwrap();
        let mut session = host::Session::open(&keys, level, &HOST_CHALLENGE, &opening).unwrap();
        let authenticate = session.external_authenticate(&mut buffer).unwrap();
        send(self.card, authenticate).unwrap().accepted(place).unwrap();
        self.session = Some(session);
    }

    fn secured(&mut self, command: &[u8], place: &str) -> Reply {
        let session = self.session.as_mut().expect("no channel is open");
        let mut buffer = [0; 400];
        let (wrapped, ticket) = session.wrap(&Command::parse(command).unwrap(), &mut buffer).unwrap();
        let reply = send(self.card, wrapped).unwrap();
        let mut answer = [&reply.data[..], &reply.status.to_bytes()].concat();
        let answer = session.unwrap(ticket, &mut answer).unwrap_or_else(|error| panic!("{place}: {error}"));
        Reply { data: answer.data.to_vec(), status: StatusWord(answer.status.0) }
    }
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

/// An answer as scripts write it, without spaces.
fn written(reply: &Reply) -> String {
    format!("{}{:04X}", hex::encode_upper(&reply.data), reply.status.0)
}

/// Whether an answer is as written; `..` stands for any byte.
fn matches(expected: &str, found: &str) -> bool {
    let expected = expected.replace(' ', "");
    expected.len() == found.len() && expected.bytes().zip(found.bytes()).all(|(e, f)| e == b'.' || e == f)
}
