//! Runs command-response scripts against anything that answers commands: the chip in this process, its RISC-V image in
//! an emulator, a card in a reader. Needs nothing else of this folder, so that other crates' tests can include it.
//!
//! A line is `> command` in the clear, `>> command` through the open channel, `< answer` (data and status word,
//! `..` for a byte that may be any), `open KVN level key` (the cloud opens a channel; one key for all three),
//! `reset`, `power` (off and on). `#` begins a comment.

use protocol::apdu::Command;
use protocol::applet::initialize_update;
use protocol::scp03::{KeySet, Level, host};

const HOST_CHALLENGE: [u8; 8] = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];

/// A blank chip that scripts are run against.
pub trait Target {
    /// Sends one command; gives the whole answer.
    fn exchange(&mut self, command: &[u8]) -> Vec<u8>;

    /// A reset without loss of power.
    fn reset(&mut self);

    /// Power off and on.
    fn power_cycle(&mut self);
}

struct Run<'a, T> {
    chip: &'a mut T,
    channel: Option<host::Session>,
    answer: Option<Vec<u8>>,
}

impl<T: Target> Run<'_, T> {
    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            ">" => self.answer = Some(self.chip.exchange(&bytes(rest))),
            ">>" => self.answer = Some(self.through_the_channel(&bytes(rest))),
            "<" => {
                let found = written(&self.answer.take().expect("nothing was sent"));
                assert!(matches(rest, &found), "expected {rest}\n   found {found}");
            }
            "open" => self.open(rest),
            "reset" => self.chip.reset(),
            "power" => self.chip.power_cycle(),
            _ => panic!("what is {word}?"),
        }
    }

    fn open(&mut self, parameters: &str) {
        let [version, level, key] = parameters.split(' ').collect::<Vec<_>>()[..] else { panic!("open KVN level key") };
        let (version, level, key) = (bytes(version)[0], Level::from_byte(bytes(level)[0]).unwrap(), bytes(key));
        let mut buffer = [0; 300];
        let command = initialize_update(version, &HOST_CHALLENGE).encode(&mut buffer).unwrap();
        let answer = self.chip.exchange(command);
        let data = answer.strip_suffix(&[0x90, 0x00]).expect("INITIALIZE UPDATE is answered with 9000");
        let keys = KeySet::from_bytes(version, &key, &key, &key).unwrap();
        let mut session = host::Session::open(&keys, level, &HOST_CHALLENGE, data).unwrap();
        assert_eq!(self.chip.exchange(session.external_authenticate(&mut buffer).unwrap()), [0x90, 0x00]);
        self.channel = Some(session);
    }

    fn through_the_channel(&mut self, command: &[u8]) -> Vec<u8> {
        let session = self.channel.as_mut().expect("no channel is open");
        let mut buffer = [0; 400];
        let (wrapped, ticket) = session.wrap(&Command::parse(command).unwrap(), &mut buffer).unwrap();
        let mut answer = self.chip.exchange(wrapped);
        let answer = session.unwrap(ticket, &mut answer).expect("the answer is authentic");
        [answer.data, &answer.status.to_bytes()].concat()
    }
}

/// Runs a script from a blank chip on; gives the number of lines that did something.
pub fn run(name: &str, script: &str, chip: &mut impl Target) -> usize {
    let mut run = Run { chip, channel: None, answer: None };
    let mut lines = 0;
    for (number, line) in script.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if !line.is_empty() {
            println!("{name}:{} {line}", number + 1);
            run.line(line);
            lines += 1;
        }
    }
    lines
}

/// The transcript in the specification, as a script.
pub fn transcript(specification: &str) -> String {
    specification.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("apdu\n")).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

/// An answer as scripts write it.
fn written(answer: &[u8]) -> String {
    answer.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn matches(expected: &str, found: &str) -> bool {
    let expected = expected.replace(' ', "");
    expected.len() == found.len() && expected.bytes().zip(found.bytes()).all(|(e, f)| e == b'.' || e == f)
}
