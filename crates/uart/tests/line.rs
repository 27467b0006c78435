//! Host and chip over a line that loses, doubles and damages bytes: a command is run once or not at all, and whoever
//! gets an answer gets the right one.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use uart::chip_end::{Card, ChipEnd};
use uart::host_end::{Error, HostEnd, Wire};
use uart::{MAX_PAYLOAD_BYTES, State};

/// Answers with the number of commands it has run, and the command.
#[derive(Default)]
struct Counter {
    run: u32,
    is_created: bool,
}

impl Card for Counter {
    fn reset(&mut self) -> State {
        if self.is_created { State::Works } else { State::NotCreated }
    }

    fn create(&mut self) -> State {
        assert!(!self.is_created, "created twice");
        self.is_created = true;
        State::Works
    }

    fn process(&mut self, command: &[u8], answer: &mut [u8]) -> usize {
        self.run += 1;
        answer[..4].copy_from_slice(&self.run.to_be_bytes());
        answer[4..4 + command.len()].copy_from_slice(command);
        4 + command.len()
    }
}

/// A line with a fault in about one of `one_in` bytes, 0 for none.
struct BadLine {
    chip: ChipEnd,
    card: Counter,
    to_host: VecDeque<u8>,
    seed: u64,
    one_in: u64,
}

impl BadLine {
    fn new(seed: u64, one_in: u64) -> Self {
        Self { chip: ChipEnd::new(), card: Counter::default(), to_host: VecDeque::new(), seed, one_in }
    }

    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 33
    }

    fn carried(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes {
            let draw = self.draw();
            if self.one_in == 0 || !draw.is_multiple_of(self.one_in) {
                out.push(*byte);
                continue;
            }
            match self.draw() % 4 {
                0 => {}
                1 => out.extend([*byte, *byte]),
                2 => out.push(byte ^ 1 << (draw % 8)),
                _ => out.extend([*byte, 0xA5]),
            }
        }
        out
    }
}

impl Wire for BadLine {
    type Error = Infallible;

    fn send(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        for byte in self.carried(bytes) {
            let mut sent = Vec::new();
            self.chip.receive(byte, &mut self.card, |bytes| sent.extend_from_slice(bytes));
            let sent = self.carried(&sent);
            self.to_host.extend(sent);
        }
        Ok(())
    }

    fn receive(&mut self, _: Duration) -> Result<Option<u8>, Infallible> {
        Ok(self.to_host.pop_front())
    }
}

fn host(seed: u64, one_in: u64) -> HostEnd<BadLine> {
    HostEnd::new(BadLine::new(seed, one_in))
}

proptest! {
    #[test]
    fn a_command_is_run_once_and_its_own_answer_comes_back(
        seed: u64, one_in in 40_u64..2_000, lengths in prop::collection::vec(0_usize..=261, 1..60)
    ) {
        let mut host = host(seed, one_in);
        let mut may_be_run = 0;
        let mut is_reset = false;
        for (number, length) in lengths.into_iter().enumerate() {
            while !is_reset {
                is_reset = host.reset().is_ok();
            }
            let command = vec![number as u8; length];
            let before = host.wire_mut().card.run;
            let mut answer = [0; MAX_PAYLOAD_BYTES];
            may_be_run += 1;
            match host.exchange(&command, &mut answer) {
                Ok(length) => {
                    prop_assert_eq!(&answer[4..length], &command[..]);
                    prop_assert_eq!(answer[..4].to_vec(), (before + 1).to_be_bytes().to_vec());
                }
                Err(Error::Silent) => is_reset = false,
                Err(error) => panic!("{error:?}"),
            }
            let run = host.wire_mut().card.run;
            prop_assert!(run == before || run == before + 1);
            prop_assert!(run <= may_be_run);
        }
    }
}

#[test]
fn more_commands_than_there_are_numbers() {
    let mut host = host(1, 0);
    let mut answer = [0; MAX_PAYLOAD_BYTES];
    assert_eq!(host.reset(), Ok(State::NotCreated));
    assert_eq!(host.create(), Ok(State::Works));
    for number in 1_u32..=1_000 {
        assert_eq!(host.exchange(&[1, 2, 3], &mut answer), Ok(7));
        assert_eq!(answer[..4], number.to_be_bytes());
    }
}

#[test]
fn a_chip_that_lost_power_runs_nothing_until_it_is_reset() {
    let mut host = host(1, 0);
    let mut answer = [0; MAX_PAYLOAD_BYTES];
    assert!(host.reset().is_ok());
    assert_eq!(host.exchange(&[1], &mut answer), Ok(5));
    host.wire_mut().chip = ChipEnd::new();
    assert_eq!(host.exchange(&[1], &mut answer), Err(Error::Silent));
    assert_eq!(host.wire_mut().card.run, 1);
    assert!(host.reset().is_ok());
    assert_eq!(host.exchange(&[1], &mut answer), Ok(5));
}

#[test]
fn a_command_too_long_is_not_sent() {
    let mut host = host(1, 0);
    assert!(host.reset().is_ok());
    assert_eq!(host.exchange(&[0; MAX_PAYLOAD_BYTES + 1], &mut [0; 300]), Err(Error::TooLong));
    assert_eq!(host.exchange(&[0; 4], &mut [0; 3]), Err(Error::TooLong));
}

#[test]
fn an_image_not_built_for_measuring_tells_nothing() {
    let mut host = host(1, 0);
    assert!(host.reset().is_ok());
    assert_eq!(host.measure(&[0], &mut [0; 16]), Ok(0));
}
