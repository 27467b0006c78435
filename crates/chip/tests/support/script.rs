//! The command-response test set, and what runs it against anything that answers commands: the chip in this process,
//! its RISC-V image in an emulator, a card in a reader. Needs nothing else of this folder, so that other crates' tests
//! can include it.
//!
//! A line is `> command` in the clear, `>> command` through the open channel, `< answer` (data and status word,
//! `..` for a byte that may be any), `open KVN level key` (the cloud opens a channel; one key for all three),
//! `reset`, `power` (off and on). `#` begins a comment.

use protocol::apdu::Command;
use protocol::applet::initialize_update;
use protocol::scp03::{KeySet, Level, host};
use serde_json::Value;
use std::path::PathBuf;

const HOST_CHALLENGE: [u8; 8] = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];

/// A blank chip that scripts are run against.
pub trait Target {
    /// Sends one command; gives the whole answer.
    fn exchange(&mut self, command: &[u8]) -> Vec<u8>;

    /// A reset without loss of power.
    fn reset(&mut self);

    /// Power off and on.
    fn power_cycle(&mut self);

    /// Whether this command can be sent at all. What a reader takes for no command never reaches its card.
    fn carries(&self, _command: &[u8]) -> bool {
        true
    }
}

/// What became of the command before.
enum Answer {
    /// Nothing was sent, or its answer was looked at.
    None,
    /// The way to the chip doesn't carry it.
    NotCarried,
    Given(Vec<u8>),
}

struct Run<'a, T> {
    chip: &'a mut T,
    channel: Option<host::Session>,
    answer: Answer,
}

impl<T: Target> Run<'_, T> {
    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            ">" if !self.chip.carries(&bytes(rest)) => self.answer = Answer::NotCarried,
            ">" => self.answer = Answer::Given(self.chip.exchange(&bytes(rest))),
            ">>" => self.answer = Answer::Given(self.through_the_channel(&bytes(rest))),
            "<" => match std::mem::replace(&mut self.answer, Answer::None) {
                Answer::Given(answer) => {
                    let found = written(&answer);
                    assert!(matches(rest, &found), "expected {rest}\n   found {found}");
                }
                Answer::NotCarried => {}
                Answer::None => panic!("nothing was sent"),
            },
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

/// The whole test set, each script with its name: those of the chip's tests, the transcripts of the specification, and
/// those among its vectors.
pub fn all() -> Vec<(String, String)> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let folder = std::fs::read_dir(root.join("crates/chip/tests/scripts")).unwrap();
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    let mut scripts: Vec<_> = paths.into_iter().map(read).collect();
    let (name, specification) = read(root.join("spec/chip-commands.md"));
    scripts.extend((1..).zip(transcripts(&specification)).map(|(number, text)| (format!("{name} 7.{number}"), text)));
    for vectors in ["security-domains.json", "code-log.json", "vouch.json"] {
        let (name, text) = read(root.join("spec/vectors").join(vectors));
        scripts.push((name, exchanges(&text)));
    }
    assert!(scripts.len() > 7, "scripts are missing");
    scripts
}

/// Runs a script from a blank chip on; all its answers are as written, or it fails.
pub fn run(name: &str, script: &str, chip: &mut impl Target) {
    let mut run = Run { chip, channel: None, answer: Answer::None };
    let mut lines = 0;
    for (number, line) in script.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if !line.is_empty() {
            println!("{name}:{} {line}", number + 1);
            run.line(line);
            lines += 1;
        }
    }
    assert!(lines > 10, "{name} is hardly a script");
}

/// The transcripts in the specification, each a script.
fn transcripts(specification: &str) -> impl Iterator<Item = String> {
    let blocks = specification.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix("apdu\n")).map(str::to_owned)
}

/// The exchanges of a file of vectors, as a script: what is on the wire.
fn exchanges(vectors: &str) -> String {
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    assert_eq!(vectors["chip"], "blank");
    let text = |exchange: &Value, name: &str| exchange[name].as_str().unwrap_or_default().to_owned();
    let exchanges = vectors["exchanges"].as_array().unwrap().iter();
    exchanges
        .map(|it| format!("# {}\n> {}\n< {}\n", text(it, "about"), text(it, "command"), text(it, "answer")))
        .collect()
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
