//! `paychip chip selftest`: does a chip, wherever it is, answer as `spec/chip-commands.md` says? Nothing is spent, and
//! nothing is changed but the sequence counter of a blank chip's channel, under the keys that everybody knows.

use protocol::apdu::Command;
use protocol::applet::{
    self, CodeForm, CodeRequest, DataObject, Lifecycle, SelectAnswer, Versions, decode_chip_id, decode_lifecycle,
};
use protocol::scp03::host::InitializeUpdateAnswer;
use protocol::scp03::{Level, host};

use super::{Card, Reply, send};
use crate::fault::Fault;
use crate::watch::factory;

/// Longest command of the test, bytes.
const COMMAND_BYTES: usize = 300;
/// A challenge that asks twice for the same answer.
const HOST_CHALLENGE: [u8; 8] = *b"selftest";

/// One thing looked at, and what was wrong with it.
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) wrong: Option<String>,
}

/// Runs every check. Only a chip that can't be reached ends it early.
pub(super) fn run(card: &mut dyn Card) -> Result<Vec<Check>, Fault> {
    let mut test = SelfTest { card, checks: Vec::new() };
    test.select()?;
    let lifecycle = test.what_anyone_may_read()?;
    test.refusals()?;
    test.channel(lifecycle)?;
    if lifecycle != Some(Lifecycle::Bound) {
        let request = CodeRequest { form: CodeForm::Digits, slot: None, unix_seconds: 1_800_000_000 };
        let mut buffer = [0; COMMAND_BYTES];
        let command = request.encode(&mut buffer).map_err(broken)?;
        test.refused("no payment code but from a bound chip", command, 0x6985)?;
    }
    Ok(test.checks)
}

struct SelfTest<'c> {
    card: &'c mut dyn Card,
    checks: Vec<Check>,
}

impl SelfTest<'_> {
    fn note(&mut self, what: &'static str, result: Result<(), String>) {
        self.checks.push(Check { what, wrong: result.err() });
    }

    fn ask(&mut self, command: &Command<'_>) -> Result<Reply, Fault> {
        let mut buffer = [0; COMMAND_BYTES];
        send(self.card, command.encode(&mut buffer).map_err(broken)?)
    }

    fn refused(&mut self, what: &'static str, command: &[u8], status: u16) -> Result<(), Fault> {
        let reply = send(self.card, command)?;
        let right = reply.status.to_u16() == status && reply.data.is_empty();
        self.note(what, right.then_some(()).ok_or_else(|| format!("{} instead of {status:04X}", reply.status)));
        Ok(())
    }

    fn select(&mut self) -> Result<(), Fault> {
        let reply = self.ask(&applet::select())?;
        let answer = reply.accepted("SELECT").map_err(|fault| fault.message);
        let answer = answer.and_then(|data| SelectAnswer::decode(&data).map_err(|error| error.to_string()));
        let longest = answer.map(|answer| answer.max_command_data_bytes);
        self.note("the applet is selected", longest.clone().map(drop));
        if let Ok(bytes) = longest {
            let enough = bytes >= 255;
            let wrong = || format!("at most {bytes} bytes");
            self.note("commands carry 255 bytes", enough.then_some(()).ok_or_else(wrong));
        }
        Ok(())
    }

    fn what_anyone_may_read(&mut self) -> Result<Option<Lifecycle>, Fault> {
        let versions = self.object(DataObject::Versions)?;
        let versions = versions.and_then(|data| Versions::decode(&data).map_err(|error| error.to_string()));
        self.note("the version can be read", versions.map(drop));

        let lifecycle = self.object(DataObject::Lifecycle)?;
        let lifecycle = lifecycle.and_then(|data| decode_lifecycle(&data).map_err(|error| error.to_string()));
        self.note("the lifecycle can be read", lifecycle.clone().map(drop));
        let lifecycle = lifecycle.ok();

        let status = self.object(DataObject::Status)?;
        let told = status.and_then(|data| {
            applet::ChipStatus::decode(&data).map(|status| status.lifecycle).map_err(|error| error.to_string())
        });
        let same = told.and_then(|told| match Some(told) == lifecycle {
            true => Ok(()),
            false => Err("it tells another lifecycle".to_owned()),
        });
        self.note("the status agrees", same);

        let chip_id = self.object(DataObject::ChipId)?;
        let named = chip_id.and_then(|data| decode_chip_id(&data).map(drop).map_err(|error| error.to_string()));
        if lifecycle == Some(Lifecycle::Blank) {
            let nameless = if named.is_err() { Ok(()) } else { Err("it has one".to_owned()) };
            self.note("a blank chip has no id", nameless);
        } else if lifecycle != Some(Lifecycle::Terminated) {
            self.note("the chip has an id", named);
        }
        Ok(lifecycle)
    }

    fn object(&mut self, object: DataObject) -> Result<Result<Vec<u8>, String>, Fault> {
        let reply = self.ask(&object.command())?;
        Ok(reply.accepted("GET DATA").map_err(|fault| fault.message))
    }

    fn refusals(&mut self) -> Result<(), Fault> {
        let cases: [(&'static str, &[u8], u16); 6] = [
            ("a command cut short is refused", &[0x80, 0x40, 0x01, 0x00, 0x08, 0x6B], 0x6700),
            ("an unknown instruction is refused", &[0x80, 0xFE, 0x00, 0x00], 0x6D00),
            ("another logical channel is refused", &[0x01, 0xCA, 0x9F, 0x70, 0x00], 0x6881),
            ("an unknown object is refused", &[0x00, 0xCA, 0xDF, 0x7E, 0x00], 0x6A88),
            ("the tokens are told in the channel only", &[0x00, 0xCA, 0xDF, 0x23, 0x00], 0x6982),
            (
                "orders are taken in the channel only",
                &[0x80, 0xE2, 0x80, 0x00, 0x05, 0xE4, 0x03, 0xD3, 0x01, 0x07],
                0x6982,
            ),
        ];
        for (what, command, status) in cases {
            self.refused(what, command, status)?;
        }
        Ok(())
    }

    fn channel(&mut self, lifecycle: Option<Lifecycle>) -> Result<(), Fault> {
        let initialize = applet::initialize_update(0, &HOST_CHALLENGE);
        if lifecycle == Some(Lifecycle::Terminated) {
            let mut buffer = [0; COMMAND_BYTES];
            let command = initialize.encode(&mut buffer).map_err(broken)?.to_vec();
            return self.refused("a terminated chip opens no channel", &command, 0x6985);
        }
        let first = self.ask(&initialize)?;
        let second = self.ask(&initialize)?;
        let read = InitializeUpdateAnswer::parse(&first.data).map(drop).map_err(|error| error.to_string());
        self.note("the channel can be begun", read);
        let same = if first == second { Ok(()) } else { Err("another answer to the same challenge".to_owned()) };
        self.note("asking without keys changes nothing", same);

        let mut forged = vec![0x84, 0x82, 0x33, 0x00, 0x10];
        forged.resize(5 + 16, 0xA5);
        self.refused("a forged proof opens no channel", &forged, 0x6982)?;
        if lifecycle == Some(Lifecycle::Blank) {
            let opened = self.birth_channel()?;
            self.note("the keys of birth open the channel", opened);
        }
        Ok(())
    }

    /// Opens the channel with the keys a blank chip is born with, and reads in it.
    fn birth_channel(&mut self) -> Result<Result<(), String>, Fault> {
        let keys = factory::birth_keys()?;
        let opening = self.ask(&applet::initialize_update(keys.version(), &HOST_CHALLENGE))?;
        let mut session = match host::Session::open(&keys, Level::Full, &HOST_CHALLENGE, &opening.data) {
            Ok(session) => session,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut buffer = [0; COMMAND_BYTES];
        let authenticate = session.external_authenticate(&mut buffer).map_err(broken)?;
        let authenticated = send(self.card, authenticate)?;
        if !authenticated.status.is_ok() {
            return Ok(Err(authenticated.status.to_string()));
        }
        let (wrapped, ticket) = session.wrap(&DataObject::TokenStatus.command(), &mut buffer).map_err(broken)?;
        let reply = send(self.card, wrapped)?;
        let mut answer = [&reply.data[..], &reply.status.to_bytes()].concat();
        Ok(match session.unwrap(ticket, &mut answer) {
            Ok(answer) if answer.authentic && answer.status.is_ok() => Ok(()),
            Ok(answer) => Err(answer.status.to_string()),
            Err(error) => Err(error.to_string()),
        })
    }
}

fn broken(error: impl core::fmt::Display) -> Fault {
    Fault::new("chip_protocol", error.to_string())
}
