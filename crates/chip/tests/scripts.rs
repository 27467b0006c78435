//! Command-response scripts: what is sent and what is answered, as data.
//!
//! A line is `> command` in the clear, `>> command` through the open channel, `< answer` (data and status word,
//! `..` for a byte that may be any), `open KVN level key` (the cloud opens a channel; one key for all three),
//! `reset`, `power` (off and on). `#` begins a comment. The worked transcript of the specification is such a
//! script too, and is run here as it stands there.
#![cfg(feature = "virtual")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::fs;
use std::path::Path;
use support::{Cloud, TestChip, blank_flash, open, send};

struct Run {
    chip: TestChip,
    cloud: Option<Cloud>,
    answer: Option<(Vec<u8>, u16)>,
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

/// An answer as scripts write it.
fn written((data, status): &(Vec<u8>, u16)) -> String {
    let mut text: String = data.iter().map(|byte| format!("{byte:02X} ")).collect();
    text.push_str(&format!("{status:04X}"));
    text
}

fn matches(expected: &str, found: &str) -> bool {
    let (expected, found) = (expected.replace(' ', ""), found.replace(' ', ""));
    expected.len() == found.len() && expected.bytes().zip(found.bytes()).all(|(e, f)| e == b'.' || e == f)
}

impl Run {
    fn new() -> Self {
        Self { chip: open(blank_flash()), cloud: None, answer: None }
    }

    fn line(self, line: &str) -> Self {
        let Self { mut chip, mut cloud, mut answer } = self;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            ">" => answer = Some(send(&mut chip, &bytes(rest))),
            ">>" => answer = Some(cloud.as_mut().expect("no channel is open").send(&mut chip, &bytes(rest))),
            "<" => {
                let found = written(&answer.take().expect("nothing was sent"));
                assert!(matches(rest, &found), "expected {rest}\n   found {found}");
            }
            "open" => {
                let [version, level, key] = rest.split(' ').collect::<Vec<_>>()[..] else {
                    panic!("open KVN level key")
                };
                cloud = Some(Cloud::open(&mut chip, bytes(version)[0], bytes(level)[0], &bytes(key)).unwrap());
            }
            "reset" => chip.reset(),
            "power" => chip = open(chip.into_parts().0),
            _ => panic!("what is {word}?"),
        }
        Self { chip, cloud, answer }
    }
}

fn run(name: &str, script: &str) -> usize {
    let mut run = Some(Run::new());
    let mut lines = 0;
    for (number, line) in script.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if !line.is_empty() {
            println!("{name}:{} {line}", number + 1);
            run = run.map(|run| run.line(line));
            lines += 1;
        }
    }
    lines
}

#[test]
fn every_script_runs_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(run(&path.display().to_string(), &fs::read_to_string(&path).unwrap()) > 0);
        scripts += 1;
    }
    assert!(scripts >= 3);
}

#[test]
fn the_transcript_of_the_specification_runs_as_written() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/chip-commands.md");
    let text = fs::read_to_string(path).unwrap();
    let transcript: String =
        text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("apdu\n")).collect();
    assert!(run("spec", &transcript) > 10);
}
