//! A chip under an arbitrary sequence of commands, in the clear and through its channels, with power cut now and
//! then. Whatever comes: each command gets a status word the specification knows, the chip's life goes only the ways
//! it may, and no code is made twice. The fuzz target and the bounded test both call this.

use crate::support::{
    ANCHOR, CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, Flash, TRANSPORT_KEY, TestChip, open, send, try_open,
};
use protocol::apdu::Command;
use protocol::applet::{CodeForm, CodeRequest, Lifecycle, PaymentCode};
use std::collections::HashSet;

const DOMAIN_KEY: [u8; 16] = [0xD2; 16];
const DOMAIN_VERSION: u8 = 0x68;
const INSTRUCTIONS: [u8; 15] =
    [0xA4, 0x50, 0x82, 0xD8, 0xE2, 0xCA, 0x20, 0x24, 0x30, 0x40, 0x42, 0x46, 0x48, 0x4E, 0xFF];
const STATUS_WORDS: [u16; 26] = [
    0x9000, 0x6300, 0x63C0, 0x63C1, 0x63C2, 0x63C3, 0x63C4, 0x63C5, 0x6700, 0x6881, 0x6882, 0x6982, 0x6983, 0x6985,
    0x6A80, 0x6A82, 0x6A84, 0x6A86, 0x6A88, 0x6D00, 0x6E00, 0x6F00, 0x9301, 0x9302, 0x9303, 0x9304,
];

/// What is left to read of the input: past its end, zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        front
    }
}

struct World {
    chip: Option<TestChip>,
    cloud: Option<Cloud>,
    lifecycle: Lifecycle,
    /// Digits of the codes made since a token last went or came: a removed token that comes again with the same keys,
    /// as it may here and never does from a cloud, begins its counters anew.
    codes: HashSet<String>,
    commands: u64,
}

/// Whether a chip's life may go from one stage to the other within one command.
fn may_follow(from: Lifecycle, to: Lifecycle) -> bool {
    use Lifecycle::{Blank, Bound, Ready, Suspended, Terminated};
    from == to
        || match from {
            Blank => matches!(to, Ready | Terminated),
            Ready => matches!(to, Bound | Terminated),
            Bound => matches!(to, Ready | Suspended | Terminated),
            Suspended => matches!(to, Ready | Bound | Terminated),
            Terminated => false,
        }
}

impl World {
    fn chip(&mut self) -> &mut TestChip {
        self.chip.as_mut().unwrap()
    }

    fn look(&mut self) {
        let (data, status) = send(self.chip(), &[0x00, 0xCA, 0x9F, 0x70]);
        assert_eq!(status, 0x9000);
        let now = protocol::applet::decode_lifecycle(&data).unwrap();
        assert!(may_follow(self.lifecycle, now), "{:?} became {now:?}", self.lifecycle);
        self.lifecycle = now;
    }

    fn check(&mut self, status: u16) {
        self.commands += 1;
        assert!(STATUS_WORDS.contains(&status) || matches!(status, 0x9305 | 0x9306), "status {status:04X}");
    }

    /// One command of the input.
    fn command(input: &mut Input<'_>) -> Vec<u8> {
        let how = input.byte();
        if how & 0xE0 == 0xE0 {
            return input.bytes(usize::from(how & 0x1F) * 9).to_vec();
        }
        let class = [0x00, 0x80, 0x84, 0x04][usize::from(how & 3)];
        let instruction = INSTRUCTIONS[usize::from(input.byte()) % INSTRUCTIONS.len()];
        let mut command = vec![class, instruction, input.byte(), input.byte()];
        let length = usize::from(input.byte());
        let data = input.bytes(length.min(223));
        if !data.is_empty() {
            command.push(data.len() as u8);
            command.extend(data);
        }
        command
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 => {
                self.cloud = None;
                let flash = self.chip.take().unwrap().into_parts().0;
                self.chip = Some(open(flash));
            }
            1 => self.power_fails(input),
            2..=4 => {
                let (version, key) = [
                    (CLOUD_KEY_VERSION, CLOUD_KEY),
                    (0xFF, TRANSPORT_KEY),
                    (DOMAIN_VERSION, DOMAIN_KEY),
                    (CLOUD_KEY_VERSION, DOMAIN_KEY),
                ][usize::from(input.byte() % 4)];
                let level = [0x33, 0x33, 0x03, 0x01, 0x13, 0x11, 0x00, 0x33][usize::from(input.byte() % 8)];
                self.cloud = Cloud::open(self.chip(), version, level, &key).ok();
            }
            5..=8 => self.through_the_channel(input),
            9 => self.code(input),
            _ => {
                let command = Self::command(input);
                let (_, status) = send(self.chip(), &command);
                self.check(status);
            }
        }
        self.look();
    }

    fn through_the_channel(&mut self, input: &mut Input<'_>) {
        let command = Self::command(input);
        let Some(mut cloud) = self.cloud.take() else { return };
        let Ok(parsed) = Command::parse(&command) else { return };
        if parsed.class.is_secured() || parsed.class.channel() != 0 || parsed.class.is_chained() {
            return;
        }
        let (_, status) = cloud.try_send(self.chip(), &command).unwrap_or((Vec::new(), 0x6982));
        self.check(status);
        self.forget_codes_of_tokens_gone(&command);
        // SELECT and a new handshake end the session: its host end is of no more use.
        if !matches!(parsed.instruction, 0xA4 | 0x50 | 0x82) && status != 0x6982 && status != 0x6700 {
            self.cloud = Some(cloud);
        }
    }

    fn code(&mut self, input: &mut Input<'_>) {
        let unix_seconds = ANCHOR + u64::from(input.byte()) * 30 + u64::from(input.byte()) * 7_000;
        let request = CodeRequest { form: CodeForm::Both, slot: None, unix_seconds };
        let (data, status) = send(self.chip(), request.encode(&mut [0; 32]).unwrap());
        self.check(status);
        if status == 0x9000 {
            let code = PaymentCode::decode(&data).unwrap();
            assert!(self.codes.insert(code.digits.unwrap().into()), "a code was made twice");
        }
    }

    fn forget_codes_of_tokens_gone(&mut self, command: &[u8]) {
        if matches!(command, [_, 0xE2, _, _, _, 0xE1 | 0xE3, ..]) {
            self.codes.clear();
        }
    }

    /// Power is lost within the next commands.
    fn power_fails(&mut self, input: &mut Input<'_>) {
        self.cloud = None;
        let mut flash: Flash = self.chip.take().unwrap().into_parts().0;
        flash.cut_after(u64::from(input.byte() % 64), u64::from(input.byte()));
        let mut flash = match try_open(flash) {
            Ok(mut chip) => {
                let key = if input.byte() & 1 == 0 { CLOUD_KEY } else { DOMAIN_KEY };
                let cloud = Cloud::open(&mut chip, 0x00, 0x33, &key).ok();
                let command = Self::command(input);
                self.forget_codes_of_tokens_gone(&command);
                match cloud {
                    Some(mut cloud) if Command::parse(&command).is_ok_and(|command| !command.class.is_secured()) => {
                        let _ = cloud.try_send(&mut chip, &command);
                    }
                    _ => {
                        send(&mut chip, &command);
                    }
                }
                chip.into_parts().0
            }
            Err((_, flash)) => flash,
        };
        flash.power_on();
        self.chip = Some(open(flash));
    }
}

/// Runs the input as a sequence of commands on a chip that begins in one of three stages of its life. Gives how many
/// commands there were.
pub(crate) fn run(stages: &[Flash; 3], input: &[u8]) -> u64 {
    let mut input = Input(input);
    let flash = stages[usize::from(input.byte()) % 3].clone();
    let mut world =
        World { chip: Some(open(flash)), cloud: None, lifecycle: Lifecycle::Blank, codes: HashSet::new(), commands: 0 };
    let (data, _) = send(world.chip(), &[0x00, 0xCA, 0x9F, 0x70]);
    world.lifecycle = protocol::applet::decode_lifecycle(&data).unwrap();
    while !input.0.is_empty() {
        world.step(&mut input);
    }
    world.commands
}
