//! The factory line for one virtual chip: a blank chip gets its id and its own keys, over SCP03 under the test keys
//! every blank chip is born with (GlobalPlatform Card Specification, initial keys 40…4F).

use protocol::apdu::{Command, Response};
use protocol::applet::{self, FactoryData, Order};
use protocol::put_key;
use protocol::scp03::{KeySet, Level, host};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::api::{Api, text};
use crate::chip::{ANSWER_BYTES, Card};
use crate::fault::Fault;

/// The key version of the keys a blank chip is born with.
const BIRTH_KEY_VERSION: u8 = 0xFF;
const BIRTH_KEY: [u8; 16] =
    [0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F];
/// Room for the longest command of the line.
const COMMAND_BYTES: usize = 300;

/// The keys a blank chip is born with, which everybody knows.
pub(crate) fn birth_keys() -> Result<KeySet, Fault> {
    KeySet::from_bytes(BIRTH_KEY_VERSION, &BIRTH_KEY, &BIRTH_KEY, &BIRTH_KEY).map_err(broken)
}

/// Registers a fresh chip id with the cloud and personalises the chip with the keys it hands out. Returns the id.
///
/// # Errors
/// Those of the cloud; `chip_refused` and `chip_protocol` of the chip; those of the way to it.
pub fn personalise(card: &mut dyn Card, operator: &Api) -> Result<String, Fault> {
    let mut chip_id = [0; applet::CHIP_ID_BYTES];
    getrandom::fill(&mut chip_id).map_err(|error| Fault::internal(error.to_string()))?;
    let answer = operator.post("/v1/chips", &json!({ "chip_id": hex::encode(chip_id) }))?;
    let own = chip_keys(&answer)?;
    let birth = birth_keys()?;

    let mut host_challenge = [0; 8];
    getrandom::fill(&mut host_challenge).map_err(|error| Fault::internal(error.to_string()))?;
    run(card, &applet::select())?;
    let opening = run(card, &applet::initialize_update(BIRTH_KEY_VERSION, &host_challenge))?;
    let mut session = host::Session::open(&birth, Level::Full, &host_challenge, &opening).map_err(broken)?;
    let mut buffer = [0; COMMAND_BYTES];
    let authenticate = session.external_authenticate(&mut buffer).map_err(broken)?;
    answered(card, authenticate)?;

    let mut data = Zeroizing::new([0; COMMAND_BYTES]);
    let put = put_key::build(birth.dek(), &own, &mut *data).map_err(broken)?;
    secured(card, &mut session, &put_key::command(0, put))?;
    let mut data = [0; COMMAND_BYTES];
    let order = Order::FactoryData(FactoryData { chip_id: &chip_id }).encode(&mut data).map_err(broken)?;
    secured(card, &mut session, &applet::store_data(order))?;
    Ok(hex::encode(chip_id))
}

fn chip_keys(answer: &Value) -> Result<KeySet, Fault> {
    let key = |name: &str| -> Result<Zeroizing<Vec<u8>>, Fault> {
        let bytes = hex::decode(text(answer, name)?)
            .map_err(|_| Fault::new("answer_malformed", format!("{name} is not hex")))?;
        Ok(Zeroizing::new(bytes))
    };
    let version = answer.get("key_version").and_then(Value::as_u64).and_then(|version| u8::try_from(version).ok());
    let version = version.ok_or_else(|| Fault::new("answer_malformed", "the cloud's answer has no key_version"))?;
    KeySet::from_bytes(version, &key("enc")?, &key("mac")?, &key("dek")?).map_err(broken)
}

fn run(card: &mut dyn Card, command: &Command<'_>) -> Result<Vec<u8>, Fault> {
    let mut buffer = [0; COMMAND_BYTES];
    let command = command.encode(&mut buffer).map_err(broken)?;
    answered(card, command)
}

/// Sends a command that must be answered with 9000, and returns the data of the answer.
fn answered(card: &mut dyn Card, command: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut answer = [0; ANSWER_BYTES];
    let length = card.exchange(command, &mut answer)?;
    let answer = answer.get(..length).unwrap_or_default();
    let answer = Response::parse(answer).map_err(broken)?;
    if answer.status.is_ok() {
        Ok(answer.data.to_vec())
    } else {
        Err(Fault::new("chip_refused", format!("the chip answered {}", answer.status)))
    }
}

fn secured(card: &mut dyn Card, session: &mut host::Session, command: &Command<'_>) -> Result<(), Fault> {
    let mut buffer = [0; COMMAND_BYTES];
    let (wrapped, ticket) = session.wrap(command, &mut buffer).map_err(broken)?;
    let mut answer = [0; ANSWER_BYTES];
    let length = card.exchange(wrapped, &mut answer)?;
    let answer = session.unwrap(ticket, answer.get_mut(..length).unwrap_or_default()).map_err(broken)?;
    if answer.authentic && answer.status.is_ok() {
        return Ok(());
    }
    Err(Fault::new("chip_refused", format!("the chip answered {} to personalisation", answer.status)))
}

fn broken(error: impl core::fmt::Display) -> Fault {
    Fault::new("chip_protocol", error.to_string())
}
