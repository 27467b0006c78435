//! The factory line for one chip: a blank chip makes its device key and is given its certificate chain, its id and its
//! own keys, over SCP03 under the test keys every blank chip is born with (GlobalPlatform Card Specification, initial
//! keys 40…4F).

use std::path::PathBuf;

use protocol::apdu::{Command, Response, StatusWord};
use protocol::applet::{
    self, CERTIFICATE_PARTS, CertificatePart, DataObject, DeviceKey, FactoryData, MAX_CERTIFICATE_PART_BYTES, Order,
    Scheme, StoreCertificate,
};
use protocol::put_key;
use protocol::scp03::{KeySet, Level, host};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::api::{Api, text};
use crate::chip::{ANSWER_BYTES, Card};
use crate::factory::chip_scheme;
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

/// The longest certificate chain a chip keeps, in bytes.
const MAX_CHAIN_BYTES: usize = CERTIFICATE_PARTS as usize * MAX_CERTIFICATE_PART_BYTES;

/// What the line has made of a chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Personalised {
    /// Its id, in hexadecimal.
    pub chip_id: String,
    /// Its public device key, in hexadecimal; nothing where the chip has no public-key cryptography.
    pub device_key: Option<String>,
}

/// The certificate chain in these files (DER), the device's own certificate first.
///
/// # Errors
/// The file that can't be read; `chain_too_long`.
pub fn read_chain(files: &[PathBuf]) -> Result<Vec<u8>, Fault> {
    let mut chain = Vec::new();
    for file in files {
        chain.extend(std::fs::read(file).map_err(|error| Fault::file(file, error))?);
    }
    if chain.len() > MAX_CHAIN_BYTES {
        let message = format!("the certificate chain has {} bytes, and a chip keeps {MAX_CHAIN_BYTES}", chain.len());
        return Err(Fault::new("chain_too_long", message).at("chain"));
    }
    Ok(chain)
}

/// Makes the chip's device key, registers a fresh chip id with the cloud, and personalises the chip with the keys it
/// hands out. The certificate chain, where there is one, is stored with it; it must have been issued for the device
/// key, so the key was made before and is kept.
///
/// # Errors
/// `chain_not_of_this_chip`; those of the cloud; `chip_refused` and `chip_protocol` of the chip; those of the way to it.
pub fn personalise(card: &mut dyn Card, operator: &Api, chain: &[u8]) -> Result<Personalised, Fault> {
    let birth = birth_keys()?;
    let mut session = open(card, &birth)?;
    // What only the chip can refuse comes before the cloud gives an id away.
    let device_key = give_identity(card, &mut session, chain)?;

    let mut chip_id = [0; applet::CHIP_ID_BYTES];
    getrandom::fill(&mut chip_id).map_err(|error| Fault::internal(error.to_string()))?;
    let answer = operator.post("/v1/chips", &json!({ "chip_id": hex::encode(chip_id) }))?;
    let own = chip_keys(&answer)?;
    give_name_and_keys(card, &mut session, (&birth, &own), &chip_id)?;
    Ok(Personalised { chip_id: hex::encode(chip_id), device_key: device_key.map(hex::encode) })
}

/// Personalises a chip as a maker's line does: with a device key of the scheme, the chain that `certify` gives for it, this
/// id and these keys. Returns the public device key.
///
/// # Errors
/// `no_device_key` of a chip without the scheme; those of `certify`; `chip_refused` and `chip_protocol` of the chip.
pub fn personalise_in_line(
    card: &mut dyn Card,
    scheme: pki::Scheme,
    chip_id: [u8; applet::CHIP_ID_BYTES],
    own: &KeySet,
    certify: impl FnOnce(&pki::PublicKey) -> Result<Vec<u8>, Fault>,
) -> Result<pki::PublicKey, Fault> {
    let birth = birth_keys()?;
    let mut session = open(card, &birth)?;
    let (data, status) = ask(card, &mut session, &applet::generate_key(chip_scheme(scheme)))?;
    if !status.is_ok() {
        let message = format!("the chip makes no key of the scheme {}: it answered {status}", scheme.name());
        return Err(Fault::new("no_device_key", message));
    }
    let made = DeviceKey::decode(&data).map_err(broken)?;
    let key = pki::PublicKey::new(scheme, made.public).map_err(broken)?;
    store_chain(card, &mut session, &certify(&key)?)?;
    give_name_and_keys(card, &mut session, (&birth, own), &chip_id)?;
    Ok(key)
}

/// The last steps of a line: the chip's own keys, then its name, after which it is blank no more.
fn give_name_and_keys(
    card: &mut dyn Card,
    session: &mut host::Session,
    (birth, own): (&KeySet, &KeySet),
    chip_id: &[u8; applet::CHIP_ID_BYTES],
) -> Result<(), Fault> {
    let mut data = Zeroizing::new([0; COMMAND_BYTES]);
    let put = put_key::build(birth.dek(), own, &mut *data).map_err(broken)?;
    secured(card, session, &put_key::command(0, put))?;
    give(card, session, &Order::FactoryData(FactoryData { chip_id }))
}

/// Stores a certificate chain, part by part.
fn store_chain(card: &mut dyn Card, session: &mut host::Session, chain: &[u8]) -> Result<(), Fault> {
    if chain.len() > MAX_CHAIN_BYTES {
        let message = format!("the certificate chain has {} bytes, and a chip keeps {MAX_CHAIN_BYTES}", chain.len());
        return Err(Fault::new("chain_too_long", message).at("chain"));
    }
    for (part, bytes) in CertificatePart::all().zip(chain.chunks(MAX_CERTIFICATE_PART_BYTES)) {
        give(card, session, &Order::StoreCertificate(StoreCertificate { part, bytes }))?;
    }
    Ok(())
}

/// The public device key of a blank chip, made where it has none yet: what a certificate is issued for.
///
/// # Errors
/// `no_device_key` of a chip that can't have one; those of [`personalise`] of the chip and the way to it.
pub fn make_device_key(card: &mut dyn Card) -> Result<Vec<u8>, Fault> {
    let mut session = open(card, &birth_keys()?)?;
    let key = device_key(card, &mut session)?;
    key.ok_or_else(|| Fault::new("no_device_key", "this chip has no public-key cryptography, and so no device key"))
}

/// A channel under the keys a blank chip is born with.
fn open(card: &mut dyn Card, birth: &KeySet) -> Result<host::Session, Fault> {
    let mut host_challenge = [0; 8];
    getrandom::fill(&mut host_challenge).map_err(|error| Fault::internal(error.to_string()))?;
    run(card, &applet::select())?;
    let opening = run(card, &applet::initialize_update(BIRTH_KEY_VERSION, &host_challenge))?;
    let mut session = host::Session::open(birth, Level::Full, &host_challenge, &opening).map_err(broken)?;
    let mut buffer = [0; COMMAND_BYTES];
    let authenticate = session.external_authenticate(&mut buffer).map_err(broken)?;
    answered(card, authenticate)?;
    Ok(session)
}

/// The device key and its certificate chain.
fn give_identity(card: &mut dyn Card, session: &mut host::Session, chain: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let key = device_key(card, session)?;
    if chain.is_empty() {
        return Ok(key);
    }
    // A certificate holds the key as it is, so a chain of another chip is noticed without taking it apart.
    let is_for = |key: &Vec<u8>| chain.windows(key.len()).any(|window| window == key);
    if !key.as_ref().is_some_and(is_for) {
        return Err(Fault::new("chain_not_of_this_chip", "no certificate of the chain is for this chip's device key")
            .at("chain")
            .hint("make the key first with `paychip chip device-key`, and have a certificate issued for it"));
    }
    store_chain(card, session, chain)?;
    Ok(key)
}

/// The public device key: the one there is, else a new one; nothing where the chip can't have one.
fn device_key(card: &mut dyn Card, session: &mut host::Session) -> Result<Option<Vec<u8>>, Fault> {
    let schemes = [Scheme::P256, Scheme::Sm2].map(applet::generate_key);
    for command in [DataObject::DeviceKey.command()].into_iter().chain(schemes) {
        match ask(card, session, &command)? {
            (data, StatusWord::OK) => {
                return Ok(Some(DeviceKey::decode(&data).map_err(broken)?.public.to_vec()));
            }
            // No key yet; not this scheme.
            (_, StatusWord::REFERENCE_NOT_FOUND | StatusWord::WRONG_P1_P2) => {}
            (_, status) => {
                return Err(Fault::new("chip_refused", format!("the chip answered {status} to its device key")));
            }
        }
    }
    Ok(None)
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

/// Gives an order, which must be answered with 9000.
fn give(card: &mut dyn Card, session: &mut host::Session, order: &Order<'_>) -> Result<(), Fault> {
    let mut data = [0; COMMAND_BYTES];
    secured(card, session, &applet::store_data(order.encode(&mut data).map_err(broken)?))
}

fn secured(card: &mut dyn Card, session: &mut host::Session, command: &Command<'_>) -> Result<(), Fault> {
    match ask(card, session, command)? {
        (_, StatusWord::OK) => Ok(()),
        (_, status) => Err(Fault::new("chip_refused", format!("the chip answered {status} to personalisation"))),
    }
}

/// What the chip answers through the channel. An answer that is not its own is none.
fn ask(
    card: &mut dyn Card,
    session: &mut host::Session,
    command: &Command<'_>,
) -> Result<(Vec<u8>, StatusWord), Fault> {
    let mut buffer = [0; COMMAND_BYTES];
    let (wrapped, ticket) = session.wrap(command, &mut buffer).map_err(broken)?;
    let mut answer = [0; ANSWER_BYTES];
    let length = card.exchange(wrapped, &mut answer)?;
    let answer = session.unwrap(ticket, answer.get_mut(..length).unwrap_or_default()).map_err(broken)?;
    if answer.status.is_ok() && !answer.authentic {
        return Err(Fault::new("chip_protocol", "the answer is not the chip's own"));
    }
    Ok((answer.data.to_vec(), answer.status))
}

fn broken(error: impl core::fmt::Display) -> Fault {
    Fault::new("chip_protocol", error.to_string())
}
