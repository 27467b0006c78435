//! A device on the bench: its clock, storage and link are plain fields, and its chip follows a short
//! script of the applet's rules (no cryptography: the channel is one flag).

use protocol::apdu::{Command, Response, StatusWord};
use protocol::applet::{
    ChipStatus, CodeForm, CodeRequest, CodeStamp, Lifecycle, PasscodeChange, PasscodeState, PaymentCode, SelectAnswer,
    Slot, encode_chip_id, ins,
};
use wearable::{Device, Host, HostFault, Key, Wearable};

pub(crate) const CHIP_ID: [u8; 16] = *b"PAYCHIP-BENCH-01";
pub(crate) const START: u64 = 1_900_000_000 - 1_900_000_000 % 30;

pub(crate) struct Bench {
    pub(crate) now: u64,
    pub(crate) chip: Chip,
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) link_full: bool,
    pub(crate) mtu: usize,
    pub(crate) stored: Vec<u8>,
    pub(crate) log: String,
}

pub(crate) struct Chip {
    pub(crate) silent: bool,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) passcode: Option<Vec<u8>>,
    /// The token makes no codes without one.
    pub(crate) passcode_required: bool,
    pub(crate) open: bool,
    pub(crate) tries: u8,
    pub(crate) budget: u16,
    pub(crate) last: Option<CodeStamp>,
    pub(crate) newest_time: u64,
    pub(crate) selected: bool,
    pub(crate) channel: bool,
    pub(crate) sessions: u8,
    /// How often it still refuses to open one.
    pub(crate) held_back: u8,
    /// Every command that reached the chip.
    pub(crate) commands: Vec<Vec<u8>>,
}

pub(crate) fn bench() -> Bench {
    Bench {
        now: START,
        chip: Chip {
            silent: false,
            lifecycle: Lifecycle::Bound,
            passcode: None,
            passcode_required: false,
            open: false,
            tries: 5,
            budget: 500,
            last: None,
            newest_time: START + 14 * 86_400,
            selected: false,
            channel: false,
            sessions: 0,
            held_back: 0,
            commands: Vec::new(),
        },
        sent: Vec::new(),
        link_full: false,
        mtu: 20,
        stored: Vec::new(),
        log: String::new(),
    }
}

/// A wearable that has started.
pub(crate) fn started(bench: Bench) -> Wearable<Bench> {
    let mut wearable = Wearable::new(bench);
    wearable.pre_init().unwrap();
    wearable
}

impl Host for Bench {
    fn se_exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, HostFault> {
        if self.chip.silent {
            return Err(HostFault);
        }
        self.chip.commands.push(command.to_vec());
        let (data, status) = match Command::parse(command) {
            Ok(command) => self.chip.answer(&command),
            Err(_) => refused(StatusWord::WRONG_LENGTH),
        };
        Ok(Response { data: &data, status }.encode(answer).unwrap().len())
    }

    fn se_power(&mut self, on: bool) -> Result<(), HostFault> {
        if !on {
            (self.chip.open, self.chip.selected, self.chip.channel) = (false, false, false);
        }
        Ok(())
    }

    fn link_send(&mut self, frame: &[u8]) -> Result<(), HostFault> {
        assert!(frame.len() <= self.mtu, "a frame of {} bytes on a link of {}", frame.len(), self.mtu);
        if self.link_full {
            return Err(HostFault);
        }
        self.sent.push(frame.to_vec());
        Ok(())
    }

    fn link_mtu(&self) -> usize {
        self.mtu
    }

    fn unix_time_s(&self) -> u64 {
        self.now
    }

    fn load(&mut self, _: Key, value: &mut [u8]) -> Result<usize, HostFault> {
        value[..self.stored.len()].copy_from_slice(&self.stored);
        Ok(self.stored.len())
    }

    fn store(&mut self, _: Key, value: &[u8]) -> Result<(), HostFault> {
        assert!(value.len() <= 32);
        self.stored = value.to_vec();
        Ok(())
    }

    fn log(&mut self, line: &str) {
        self.log.push_str(line);
        self.log.push('\n');
    }

    fn device(&self) -> Device<'_> {
        Device { model: "Bench 1", id: "00:11:22:33:44:55" }
    }
}

type Answer = (Vec<u8>, StatusWord);

fn ok(data: &[u8]) -> Answer {
    (data.to_vec(), StatusWord::OK)
}

fn refused(status: StatusWord) -> Answer {
    (Vec::new(), status)
}

impl Chip {
    fn answer(&mut self, command: &Command<'_>) -> Answer {
        let mut out = [0; 256];
        if command.instruction == ins::SELECT {
            (self.selected, self.channel) = (true, false);
            return ok(SelectAnswer { max_command_data_bytes: 255 }.encode(&mut out).unwrap());
        }
        if !self.selected {
            return refused(StatusWord::UNKNOWN_INSTRUCTION);
        }
        match command.instruction {
            ins::GET_DATA if command.p1_p2() == 0xDF20 => ok(encode_chip_id(&CHIP_ID, &mut out).unwrap()),
            ins::GET_DATA => ok(self.status().encode(&mut out).unwrap()),
            ins::VERIFY => self.verify(command.data),
            ins::CHANGE_REFERENCE_DATA => self.change(command),
            ins::LOCK => {
                self.open = false;
                ok(&[])
            }
            ins::GET_PAYMENT_CODE => match CodeRequest::decode(command) {
                Ok(request) => self.payment_code(&request),
                Err(_) => refused(StatusWord::WRONG_DATA),
            },
            ins::INITIALIZE_UPDATE if command.data.len() != 8 => refused(StatusWord::WRONG_LENGTH),
            ins::INITIALIZE_UPDATE if self.held_back > 0 => {
                self.held_back -= 1;
                refused(StatusWord::CHANNEL_HELD_BACK)
            }
            ins::INITIALIZE_UPDATE => {
                self.channel = false;
                // As in the real chip the answer depends on the challenge and on the sessions opened before.
                let mut answer = vec![0x5A; 32];
                answer[21..29].copy_from_slice(command.data);
                answer[29..].fill(self.sessions);
                ok(&answer)
            }
            ins::EXTERNAL_AUTHENTICATE => {
                self.channel = true;
                self.sessions = self.sessions.wrapping_add(1);
                ok(&[])
            }
            ins::STORE_DATA if !self.channel => refused(StatusWord::SECURITY_STATUS),
            ins::STORE_DATA => self.store_data(command.data),
            _ => refused(StatusWord::UNKNOWN_INSTRUCTION),
        }
    }

    fn status(&self) -> ChipStatus<'static> {
        let passcode = match (&self.passcode, self.tries, self.open) {
            (None, ..) => PasscodeState::None,
            (_, 0, _) => PasscodeState::Blocked,
            (.., true) => PasscodeState::Open,
            _ => PasscodeState::Closed,
        };
        let bound = matches!(self.lifecycle, Lifecycle::Bound | Lifecycle::Suspended);
        ChipStatus {
            lifecycle: self.lifecycle,
            passcode,
            tries_left: self.tries,
            default_slot: bound.then_some(Slot::FIRST),
            account_label: bound.then_some("138****0001"),
            codes_left: bound.then_some(self.budget),
        }
    }

    fn verify(&mut self, passcode: &[u8]) -> Answer {
        let Some(right) = &self.passcode else {
            return refused(StatusWord::CONDITIONS_OF_USE);
        };
        if self.tries == 0 {
            return refused(StatusWord::BLOCKED);
        }
        if right != passcode {
            self.tries -= 1;
            return refused(StatusWord::tries_left(self.tries));
        }
        (self.tries, self.open) = (5, true);
        ok(&[])
    }

    fn change(&mut self, command: &Command<'_>) -> Answer {
        let Ok(change) = PasscodeChange::decode(command) else {
            return refused(StatusWord::WRONG_DATA);
        };
        match change {
            PasscodeChange::First { new } if self.passcode.is_none() && self.lifecycle == Lifecycle::Bound => {
                self.passcode = Some(new.digits().to_vec());
                ok(&[])
            }
            PasscodeChange::First { .. } => refused(StatusWord::CONDITIONS_OF_USE),
            PasscodeChange::Replace { old, new } => {
                let (data, status) = self.verify(old.digits());
                if status.is_ok() {
                    self.passcode = Some(new.digits().to_vec());
                }
                (data, status)
            }
        }
    }

    /// The rules of time, sequence and budget, with digits that tell the stamp instead of hiding it.
    fn payment_code(&mut self, request: &CodeRequest) -> Answer {
        if self.lifecycle != Lifecycle::Bound {
            return refused(StatusWord::CONDITIONS_OF_USE);
        }
        let step = (request.unix_seconds / 30) as u32;
        let sequence = match self.last {
            Some(last) if step < last.step() => return refused(StatusWord::TIME_BEFORE_LAST_CODE),
            Some(last) if step == last.step() => last.sequence() + 1,
            _ => 0,
        };
        if request.unix_seconds > self.newest_time {
            return refused(StatusWord::OFFLINE_TOO_LONG);
        }
        if self.budget == 0 {
            return refused(StatusWord::BUDGET_USED_UP);
        }
        let Some(stamp) = CodeStamp::new(step, sequence) else {
            return refused(StatusWord::STEP_USED_UP);
        };
        if self.passcode_required && self.passcode.is_none() {
            return refused(StatusWord::PASSCODE_REQUIRED);
        }
        self.last = Some(stamp);
        self.budget -= 1;
        let digits = format!("7100000{step:010}{sequence}{:02}", u8::from(self.open));
        let code = PaymentCode {
            digits: request.form.wants_digits().then_some(&*digits),
            emv: (request.form != CodeForm::Digits).then_some("hQVDUFYwMQ=="),
            stamp,
            codes_left: self.budget,
            verified: self.open,
            valid_until_unix_seconds: (u64::from(step) + 3) * 30,
        };
        ok(code.encode(&mut [0; 256]).unwrap())
    }

    /// Orders by their tag: E1 binds, E2 refills, E3 removes, as one step each.
    fn store_data(&mut self, order: &[u8]) -> Answer {
        match order.first() {
            Some(0xE1) => self.lifecycle = Lifecycle::Bound,
            Some(0xE2) => self.budget = 500,
            Some(0xE3) => self.lifecycle = Lifecycle::Ready,
            _ => return refused(StatusWord::WRONG_DATA),
        }
        ok(&[])
    }
}
