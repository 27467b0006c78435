//! `paychip chip`: a chip by itself, without a watch around it: in a file on this machine, or in a PC/SC reader.
//!
//! | file | what |
//! |---|---|
//! | `card` | the trait that all chips share, and sending a command |
//! | `which` | finding the chip that is meant |
//! | [`pcscd`] | chips in PC/SC readers |
//! | `vpcd`, [`atr`] | the other way round: a chip put into a virtual PC/SC reader, for other people's programs |
//! | `self_test` | does a chip answer as the specification says |

pub mod atr;
mod card;
mod command;
pub mod pcscd;
pub mod qemu;
mod self_test;
mod vpcd;
mod which;

pub use card::{ANSWER_BYTES, Card, Reply, send};
pub(crate) use command::{ChipCommand, WhichChip};

use std::sync::{Arc, Mutex};

use protocol::applet::{self, DataObject, Lifecycle, PasscodeState, SelectAnswer};
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;
use crate::serve::stop_asked;
use crate::watch::factory;
use atr::is_payment_chip;
use pcscd::Service;

pub(crate) fn run(place: &Place, which: &WhichChip, command: ChipCommand, output: Output) -> Result<(), Fault> {
    match command {
        ChipCommand::List => list(place, output),
        ChipCommand::New => {
            let file = which::create(which)?;
            output.answer(&format!("Made a blank chip in {file}"), &json!({ "flash": file }));
            Ok(())
        }
        ChipCommand::Status => status(&mut *which::open(place, which)?, output),
        ChipCommand::Select => select(&mut *which::open(place, which)?, output),
        ChipCommand::Apdu { commands } => {
            let commands = commands.iter().map(|command| bytes(command)).collect::<Result<Vec<_>, _>>()?;
            apdu(&mut *which::open(place, which)?, &commands, output)
        }
        ChipCommand::DeviceKey => {
            let key = hex::encode(factory::make_device_key(&mut *blank(place, which)?)?);
            output.answer(
                &format!("The chip's public device key, to issue a certificate for:\n  {key}"),
                &json!({"device_key": key}),
            );
            Ok(())
        }
        ChipCommand::Personalise { chain } => personalise(place, which, &factory::read_chain(&chain)?, output),
        ChipCommand::Selftest => self_test(&mut *which::open(place, which)?, output),
        ChipCommand::Serve { vpcd } => serve(which::open(place, which)?, &vpcd, output),
    }
}

fn list(place: &Place, output: Output) -> Result<(), Fault> {
    let watches = which::watches(place);
    let readers = Service::connect().and_then(|mut service| service.readers());
    let mut lines: Vec<String> = watches.iter().map(|name| format!("watch   --watch {name}")).collect();
    for (number, reader) in (1..).zip(readers.iter().flatten()) {
        let card = match (reader.has_card, is_payment_chip(&reader.atr)) {
            (false, _) => "no card".to_owned(),
            (true, true) => "a payment chip".to_owned(),
            (true, false) => format!("a card, {}", hex::encode_upper(&reader.atr)),
        };
        lines.push(format!("reader  --reader {number}  {}: {card}", reader.name));
    }
    match &readers {
        Ok(readers) if readers.is_empty() => lines.push("pcscd runs, and has no reader".to_owned()),
        Ok(_) => {}
        Err(fault) => lines.push(format!("no readers: {}", fault.message)),
    }
    let told: Vec<Value> = readers.iter().flatten().map(told_reader).collect();
    let fault = readers.as_ref().err().map(|fault| json!({"code": fault.code, "message": fault.message}));
    output.answer(&lines.join("\n"), &json!({"watches": watches, "readers": told, "pcscd": fault}));
    Ok(())
}

fn told_reader(reader: &pcscd::Reader) -> Value {
    json!({
        "name": reader.name, "has_card": reader.has_card, "atr": hex::encode_upper(&reader.atr),
        "is_payment_chip": is_payment_chip(&reader.atr),
    })
}

fn ask(card: &mut dyn Card, command: &protocol::apdu::Command<'_>) -> Result<Reply, Fault> {
    let mut buffer = [0; ANSWER_BYTES];
    send(card, command.encode(&mut buffer).map_err(broken)?)
}

fn select(card: &mut dyn Card, output: Output) -> Result<(), Fault> {
    let data = ask(card, &applet::select())?.accepted("SELECT")?;
    let answer = SelectAnswer::decode(&data).map_err(broken)?;
    let lines = format!(
        "applet     {}\ncommands   at most {} bytes of data\nanswer     {}",
        hex::encode_upper(applet::AID),
        answer.max_command_data_bytes,
        spaced(&data)
    );
    let document = json!({
        "aid": hex::encode_upper(applet::AID), "max_command_data_bytes": answer.max_command_data_bytes,
        "answer": hex::encode_upper(&data),
    });
    output.answer(&lines, &document);
    Ok(())
}

fn status(card: &mut dyn Card, output: Output) -> Result<(), Fault> {
    ask(card, &applet::select())?.accepted("SELECT")?;
    let versions = ask(card, &DataObject::Versions.command())?.accepted("GET DATA")?;
    let versions = applet::Versions::decode(&versions).map_err(broken)?;
    let version = format!("{}.{}.{}", versions.major, versions.minor, versions.patch);
    let told = ask(card, &DataObject::Status.command())?.accepted("GET DATA")?;
    let status = applet::ChipStatus::decode(&told).map_err(broken)?;
    let chip_id = ask(card, &DataObject::ChipId.command())?;
    let chip_id = match chip_id.status.is_ok() {
        true => Some(hex::encode(applet::decode_chip_id(&chip_id.data).map_err(broken)?)),
        false => None,
    };
    let state = lifecycle_name(status.lifecycle);
    let passcode = passcode_name(status.passcode);
    let codes = status.codes_left.map_or_else(|| "-".to_owned(), |left| left.to_string());
    let lines = format!(
        "chip       {}\napplet     {version}\nstate      {state}\naccount    {}\npasscode   {passcode}, {} tries left\ncodes left {codes}",
        chip_id.as_deref().unwrap_or("no id yet"),
        status.account_label.unwrap_or("-"),
        status.tries_left,
    );
    let document = json!({
        "chip_id": chip_id, "applet": version, "state": state, "account": status.account_label,
        "passcode": passcode, "tries_left": status.tries_left, "codes_left": status.codes_left,
    });
    output.answer(&lines, &document);
    Ok(())
}

fn lifecycle_name(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Blank => "blank",
        Lifecycle::Ready => "ready to be bound",
        Lifecycle::Bound => "bound",
        Lifecycle::Suspended => "suspended",
        Lifecycle::Terminated => "terminated",
    }
}

fn passcode_name(passcode: PasscodeState) -> &'static str {
    match passcode {
        PasscodeState::None => "not set",
        PasscodeState::Closed => "set, not entered",
        PasscodeState::Open => "entered",
        PasscodeState::Blocked => "blocked",
    }
}

/// Shows each answer as it comes: what was answered before a fault is not lost.
fn apdu(card: &mut dyn Card, commands: &[Vec<u8>], output: Output) -> Result<(), Fault> {
    for command in commands {
        let reply = send(card, command)?;
        let line = match reply.data.as_slice() {
            [] => format!("{:04X}", reply.status.to_u16()),
            data => format!("{} {:04X}", spaced(data), reply.status.to_u16()),
        };
        let document =
            json!({"data": hex::encode_upper(&reply.data), "status": format!("{:04X}", reply.status.to_u16())});
        output.answer(&line, &document);
    }
    Ok(())
}

/// The chip that is meant, which must be blank.
fn blank(place: &Place, which: &WhichChip) -> Result<Box<dyn Card + Send>, Fault> {
    let mut card = which::open(place, which)?;
    let told = ask(&mut *card, &DataObject::Lifecycle.command())?.accepted("GET DATA")?;
    let lifecycle = applet::decode_lifecycle(&told).map_err(broken)?;
    if lifecycle != Lifecycle::Blank {
        let message = format!("the chip is {}, and only a blank one is personalised", lifecycle_name(lifecycle));
        return Err(Fault::new("chip_not_blank", message));
    }
    Ok(card)
}

fn personalise(place: &Place, which: &WhichChip, chain: &[u8], output: Output) -> Result<(), Fault> {
    let operator = place.operator()?;
    let made = factory::personalise(&mut *blank(place, which)?, &operator, chain)?;
    let line = format!("Personalised: this is chip {} now, ready to be bound", made.chip_id);
    output.answer(&line, &json!({"chip_id": made.chip_id, "device_key": made.device_key}));
    Ok(())
}

fn self_test(card: &mut dyn Card, output: Output) -> Result<(), Fault> {
    let checks = self_test::run(card)?;
    let line = |check: &self_test::Check| match &check.wrong {
        None => format!("ok      {}", check.what),
        Some(wrong) => format!("FAILED  {}: {wrong}", check.what),
    };
    let failed = checks.iter().filter(|check| check.wrong.is_some()).count();
    let told = checks.iter().map(|check| json!({"check": check.what, "wrong": check.wrong})).collect::<Vec<_>>();
    let lines = checks.iter().map(line).collect::<Vec<_>>().join("\n");
    output.answer(&lines, &json!({"checks": told, "failed": failed}));
    match failed {
        0 => Ok(()),
        _ => Err(Fault::new("self_test", format!("{failed} of {} checks failed", checks.len()))),
    }
}

fn serve(card: Box<dyn Card + Send>, address: &str, output: Output) -> Result<(), Fault> {
    let atr = hex::encode_upper(atr::ATR);
    let lines = format!(
        "The chip waits for the virtual reader at {address}, and tries again until it is there.\n  ATR  {atr}\nStop with Ctrl-C."
    );
    output.answer(&lines, &json!({"vpcd": address, "atr": atr}));
    let card = Arc::new(Mutex::new(card));
    let (ended, end) = tokio::sync::oneshot::channel();
    let (served, address) = (Arc::clone(&card), address.to_owned());
    // Ends with the program; a card can't be half taken out.
    std::thread::spawn(move || {
        let fault = vpcd::keep_in(&address, &served, |event| match event {
            vpcd::Event::In => output.note("The card is in the reader."),
            vpcd::Event::Out => output.note("The reader has let the card go."),
        });
        let _ = ended.send(fault);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::internal(error.to_string()))?;
    let stopped = runtime.block_on(async {
        tokio::select! {
            () = stop_asked() => Ok(()),
            fault = end => Err(fault.unwrap_or_else(|_| Fault::internal("the reader's side ended"))),
        }
    });
    // A command on its way is finished first.
    let _last = vpcd::locked(&card);
    output.note("Stopped.");
    stopped
}

/// Bytes as people type them.
fn bytes(text: &str) -> Result<Vec<u8>, Fault> {
    let digits: String = text.chars().filter(|sign| !sign.is_whitespace() && *sign != ':').collect();
    hex::decode(digits).map_err(|error| Fault::new("not_hex", format!("'{text}' is not hexadecimal: {error}")))
}

fn spaced(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

fn broken(error: impl core::fmt::Display) -> Fault {
    Fault::new("chip_protocol", error.to_string())
}
