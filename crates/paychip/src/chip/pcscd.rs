//! PC/SC readers, through pcscd's own socket, so that nothing has to be linked (`docs/decisions/0010`).
//!
//! One request, one answer. A request is a header (length of the body, number of the command) and a body of fixed
//! layout; an answer is the body alone, filled in. Numbers are in the machine's own byte order. The layouts have been
//! the same since pcsc-lite 1.8.24 (2018); the version is agreed on first, and an unknown one is refused.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::apdu::HEADER_BYTES;

use super::Card;
use crate::fault::Fault;

const SOCKET: &str = "/run/pcscd/pcscd.comm";
/// Names another socket, as it does for every other program that uses PC/SC.
const SOCKET_VARIABLE: &str = "PCSCLITE_CSOCK_NAME";

const PROTOCOL_MAJOR: u32 = 4;
/// Minor versions with the layouts below.
const PROTOCOL_MINORS: std::ops::RangeInclusive<u32> = 4..=6;

/// The longest wait for an answer of pcscd or the card.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

const READERS: usize = 16;
const NAME_BYTES: usize = 128;
const ATR_BYTES: usize = 33;
/// Name, event counter, state, sharing; ATR filled up to a word, its length, protocol.
const READER_BYTES: usize = NAME_BYTES + 12 + 36 + 8;
const CARD_PRESENT: u32 = 0x04;

const SCOPE_SYSTEM: u32 = 2;
const SHARE_EXCLUSIVE: u32 = 1;
const PROTOCOL_T1: u32 = 2;
const RESET_CARD: u32 = 1;
/// Bytes of the C structure that names a protocol: two words of the machine.
const PROTOCOL_HEADER_BYTES: u32 = 2 * size_of::<usize>() as u32;

/// The commands used.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Request {
    EstablishContext = 0x01,
    Connect = 0x04,
    Reconnect = 0x05,
    Disconnect = 0x06,
    Transmit = 0x09,
    Version = 0x11,
    ReadersState = 0x12,
}

/// A reader, and the card in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Its name.
    pub name: String,
    /// The answer to reset of the card in it; empty where there is none, or it is not powered.
    pub atr: Vec<u8>,
    /// Whether there is a card in it.
    pub has_card: bool,
}

/// A connection to pcscd.
pub struct Service {
    stream: UnixStream,
}

impl Service {
    /// Connects to this machine's pcscd.
    ///
    /// # Errors
    /// `no_pcscd`, `pcscd_version`, `pcscd`.
    pub fn connect() -> Result<Self, Fault> {
        let path = std::env::var_os(SOCKET_VARIABLE).map_or_else(|| PathBuf::from(SOCKET), PathBuf::from);
        Self::connect_to(&path)
    }

    /// Connects to the pcscd with this socket.
    ///
    /// # Errors
    /// `no_pcscd`, `pcscd_version`, `pcscd`.
    pub fn connect_to(socket: &Path) -> Result<Self, Fault> {
        let (mut service, theirs) = Self::greet(socket, *PROTOCOL_MINORS.start())?;
        if service.is_none() && PROTOCOL_MINORS.contains(&theirs) {
            // This pcscd wants exactly its own minor version.
            service = Self::greet(socket, theirs)?.0;
        }
        service.ok_or_else(|| {
            let message = format!("this pcscd speaks version {theirs} of its protocol, which is not known here");
            Fault::new("pcscd_version", message)
        })
    }

    /// Offers a version: gives the connection if pcscd takes it, and pcscd's own minor version.
    fn greet(socket: &Path, minor: u32) -> Result<(Option<Self>, u32), Fault> {
        let stream = UnixStream::connect(socket).map_err(|error| {
            Fault::new("no_pcscd", format!("no PC/SC service answers at {}: {error}", socket.display()))
                .hint("install and start pcscd (Debian: `apt-get install pcscd`); only pcsc-lite's is spoken to")
        })?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(|error| broken(&error))?;
        let mut service = Self { stream };
        let answer: [u8; 12] = service.ask(Request::Version, &body([PROTOCOL_MAJOR, minor, 0]), &[])?;
        let accepted = word(&answer, 8) == 0 && word(&answer, 0) == PROTOCOL_MAJOR;
        Ok((accepted.then_some(service), word(&answer, 4)))
    }

    /// The readers there are, in pcscd's order.
    ///
    /// # Errors
    /// `pcscd`.
    pub fn readers(&mut self) -> Result<Vec<Reader>, Fault> {
        self.send(Request::ReadersState, &[], &[])?;
        let mut states = vec![0; READERS * READER_BYTES];
        self.receive(&mut states)?;
        Ok(states.chunks_exact(READER_BYTES).filter_map(reader).collect())
    }

    /// Opens the card in a reader for this program alone. `which` is part of the reader's name, or its number from 1.
    ///
    /// # Errors
    /// `no_reader`, `no_card`, `pcscd`.
    pub fn open(mut self, which: &str) -> Result<ReaderCard, Fault> {
        let readers = self.readers()?;
        let number = which.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let named = readers.iter().find(|reader| reader.name.contains(which));
        let reader = number.and_then(|number| readers.get(number)).or(named).ok_or_else(|| {
            Fault::new("no_reader", format!("there is no reader '{which}'"))
                .hint("`paychip chip list` shows the readers there are")
        })?;
        let answer: [u8; 12] = self.ask(Request::EstablishContext, &body([SCOPE_SYSTEM, 0, 0]), &[])?;
        accepted(word(&answer, 8))?;
        let context = word(&answer, 4);

        let request = connect_body(context, &reader.name)?;
        let answer = self.ask(Request::Connect, &request, &[])?;
        accepted(word(&answer, 4 + NAME_BYTES + 16))?;
        Ok(ReaderCard { service: self, handle: word(&answer, 4 + NAME_BYTES + 8) })
    }

    /// Sends a request and reads its answer, which has the layout of the request.
    fn ask<const BYTES: usize>(
        &mut self,
        request: Request,
        body: &[u8; BYTES],
        after: &[u8],
    ) -> Result<[u8; BYTES], Fault> {
        self.send(request, body, after)?;
        let mut answer = [0; BYTES];
        self.receive(&mut answer)?;
        Ok(answer)
    }

    fn send(&mut self, request: Request, body: &[u8], after: &[u8]) -> Result<(), Fault> {
        let length = u32::try_from(body.len()).map_err(|error| Fault::internal(error.to_string()))?;
        let message = [&length.to_ne_bytes(), &(request as u32).to_ne_bytes(), body, after].concat();
        self.stream.write_all(&message).map_err(|error| broken(&error))
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<(), Fault> {
        self.stream.read_exact(into).map_err(|error| broken(&error))
    }
}

/// A card in a reader, open for this program alone. Dropping it resets the card.
pub struct ReaderCard {
    service: Service,
    handle: u32,
}

impl Card for ReaderCard {
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, Fault> {
        if command.len() < HEADER_BYTES {
            // Readers carry whole APDUs; what they do with less differs, and some never answer.
            return Err(Fault::new("apdu_too_short", "a reader carries commands of four bytes and more"));
        }
        let size = |bytes: usize| u32::try_from(bytes).map_err(|error| Fault::internal(error.to_string()));
        let (command_bytes, room) = (size(command.len())?, size(answer.len())?);
        let protocol = [PROTOCOL_T1, PROTOCOL_HEADER_BYTES];
        let request: [u8; 32] =
            body([self.handle, protocol[0], protocol[1], command_bytes, protocol[0], protocol[1], room, 0]);
        let told = self.service.ask(Request::Transmit, &request, command)?;
        accepted(word(&told, 28))?;
        let length = word(&told, 24) as usize;
        let into = answer.get_mut(..length);
        let into = into.ok_or_else(|| Fault::new("chip_protocol", format!("the chip answered {length} bytes")))?;
        self.service.receive(into)?;
        Ok(length)
    }

    fn reset(&mut self) -> Result<(), Fault> {
        let request: [u8; 24] = body([self.handle, SHARE_EXCLUSIVE, PROTOCOL_T1, RESET_CARD, 0, 0]);
        let told = self.service.ask(Request::Reconnect, &request, &[])?;
        accepted(word(&told, 20))
    }
}

impl Drop for ReaderCard {
    fn drop(&mut self) {
        let request: [u8; 12] = body([self.handle, RESET_CARD, 0]);
        // Whatever becomes of it, pcscd ends the connection with the socket.
        let _ = self.service.ask(Request::Disconnect, &request, &[]);
    }
}

/// Words as they stand in a body.
fn body<const WORDS: usize, const BYTES: usize>(words: [u32; WORDS]) -> [u8; BYTES] {
    const { assert!(BYTES == 4 * WORDS, "a word has four bytes") };
    let mut bytes = [0; BYTES];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// What is sent to open a card: the context, the reader's name in its place, how, and room for the answer.
fn connect_body(context: u32, name: &str) -> Result<[u8; 4 + NAME_BYTES + 20], Fault> {
    let mut place = [0; NAME_BYTES];
    let named = place.get_mut(..name.len()).ok_or_else(|| Fault::new("no_reader", "the reader's name is too long"))?;
    named.copy_from_slice(name.as_bytes());
    let how: [u8; 20] = body([SHARE_EXCLUSIVE, PROTOCOL_T1, 0, 0, 0]);
    let mut request = [0; 4 + NAME_BYTES + 20];
    let bytes = context.to_ne_bytes().into_iter().chain(place).chain(how);
    request.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    Ok(request)
}

/// The word at this offset of an answer.
fn word(answer: &[u8], offset: usize) -> u32 {
    answer.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// A reader from its state; `None` for an empty place.
fn reader(state: &[u8]) -> Option<Reader> {
    let (name, rest) = state.split_at_checked(NAME_BYTES)?;
    let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
    if name.is_empty() {
        return None;
    }
    let has_card = word(rest, 4) & CARD_PRESENT != 0;
    let atr_bytes = (word(rest, 12 + 36) as usize).min(ATR_BYTES);
    let atr = rest.get(12..12 + atr_bytes).filter(|_| has_card).unwrap_or_default();
    Some(Reader { name: String::from_utf8_lossy(&name).into_owned(), atr: atr.to_vec(), has_card })
}

/// Turns pcscd's return value into a sentence.
fn accepted(value: u32) -> Result<(), Fault> {
    let (code, sentence) = match value {
        0 => return Ok(()),
        0x8010_0009 | 0x8010_0017 => ("no_reader", "the reader is gone"),
        0x8010_000B => ("card_in_use", "another program is using the card"),
        0x8010_000C | 0x8010_0069 => ("no_card", "there is no card in the reader"),
        0x8010_000F => ("card_protocol", "the card does not speak T=1, which a payment chip does"),
        0x8010_0066 | 0x8010_0067 => ("card_mute", "the card does not answer"),
        0x8010_0068 => ("card_reset", "the card was reset by another program"),
        0x8010_006A => ("pcscd_access", "pcscd does not let this user use the card"),
        _ => return Err(Fault::new("pcscd", format!("pcscd answered {value:08X}"))),
    };
    Err(Fault::new(code, sentence))
}

fn broken(error: &std::io::Error) -> Fault {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Fault::new("pcscd_silent", format!("pcscd gave no answer within {} s", ANSWER_TIMEOUT.as_secs()))
        }
        _ => Fault::new("pcscd", format!("pcscd ended the connection: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, state: u32, atr: &[u8], atr_bytes: u32) -> Vec<u8> {
        let mut bytes = vec![0; READER_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[NAME_BYTES + 4..NAME_BYTES + 8].copy_from_slice(&state.to_ne_bytes());
        bytes[NAME_BYTES + 12..NAME_BYTES + 12 + atr.len()].copy_from_slice(atr);
        bytes[NAME_BYTES + 48..NAME_BYTES + 52].copy_from_slice(&atr_bytes.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_place_without_a_name_is_no_reader() {
        assert_eq!(READER_BYTES, 184);
        assert_eq!(reader(&state("", CARD_PRESENT, &[0x3B], 1)), None);
        assert_eq!(reader(&[]), None);
    }

    #[test]
    fn an_atr_is_never_read_past_its_place() {
        let found = reader(&state("R", CARD_PRESENT | 0x10, &[0x3B; ATR_BYTES], u32::MAX)).unwrap();
        assert_eq!(found, Reader { name: "R".into(), atr: vec![0x3B; ATR_BYTES], has_card: true });
        let empty = reader(&state("R", 0x02, &[0x3B; ATR_BYTES], 5)).unwrap();
        assert_eq!(empty, Reader { name: "R".into(), atr: vec![], has_card: false });
    }
}
