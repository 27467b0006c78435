//! The cloud's end of SCP03, made for a host that keeps no session between two requests.
//!
//! A session follows from five things only: static keys, level, host challenge, the answer to INITIALIZE UPDATE,
//! and the commands in their order. So the cloud can
//!
//! 1. send INITIALIZE UPDATE with a fresh random challenge and store the challenge;
//! 2. later [`Session::open`] it with the answer, which proves that the card holds the keys, wrap
//!    [`Session::external_authenticate`] and any number of commands ahead of time, and send them as one script;
//! 3. later still open it again from the same stored data, wrap the same commands again (the same bytes come
//!    out), and [`Session::unwrap`] each answer with the ticket its command gave.
//!
//! **One rule comes with that**: under one challenge and answer, wrap one list of commands only. Another list
//! would reuse the numbers the encryption depends on, and the card would accept either. Store the commands (or
//! what they follow from) with the challenge, and take a fresh challenge for anything new.
//!
//! ```
//! # fn main() -> Result<(), protocol::scp03::Error> {
//! use protocol::apdu::Command;
//! use protocol::scp03::{KeySet, Level, card, host};
//!
//! let keys = KeySet::from_bytes(1, &[1; 16], &[2; 16], &[3; 16])?;
//! let host_challenge = [7; 8];
//! # let mut answer = [0; 48];
//! # let (handshake, length) = card::Handshake::start(&keys, &[0; 10], &host_challenge, card::Challenge::Random(&[9; 16]), &mut answer)?;
//! # let answer = &answer[..length];
//! // `answer` came from the card.
//! let mut session = host::Session::open(&keys, Level::Full, &host_challenge, answer)?;
//! let mut authenticate = [0; 37];
//! let authenticate = session.external_authenticate(&mut authenticate)?;
//! # let mut card = handshake.authenticate(authenticate)?;
//! let mut wrapped = [0; 64];
//! let (apdu, ticket) = session.wrap(&Command::new(0x80, 0xE2, 0x80, 0).with_data(b"order"), &mut wrapped)?;
//! # let mut apdu = apdu.to_vec();
//! # assert_eq!(card.unwrap(&mut apdu)?.data, b"order");
//! # let mut answered = [0; 64];
//! # answered[..4].copy_from_slice(b"done");
//! # let length = card.wrap_answer(&mut answered, 4, protocol::apdu::StatusWord::OK)?;
//! # let answered = &mut answered[..length];
//! let answer = session.unwrap(ticket, answered)?;
//! assert_eq!((answer.data, answer.authentic), (&b"done"[..], true));
//! # Ok(())
//! # }
//! ```

use super::channel::{
    Chaining, LengthField, answer_iv, answer_mac, command_iv, command_mac, decrypt, encrypt, mac_matches, padded_bytes,
};
use super::keys::{KeySet, SessionKeys};
use super::{DIVERSIFICATION_BYTES, Error, Level, MAX_MAC_BYTES, Mode, Parameters, SCP_ID, SEQUENCE_BYTES};
use crate::apdu::{Command, HEADER_BYTES, MAX_SHORT_LE, Response, StatusWord};
use crate::applet::ins;
use core::fmt;
use zeroize::Zeroize;

/// The answer to INITIALIZE UPDATE, without status word. Read before the keys are known: it says which they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitializeUpdateAnswer<'a> {
    /// What the keys of this card are derived from; ours is the beginning of the chip id.
    pub diversification: &'a [u8; DIVERSIFICATION_BYTES],
    /// Version number of the key set the card took.
    pub key_version: u8,
    /// What the card's SCP03 can do.
    pub parameters: Parameters,
    /// The card's challenge, 8 or 16 bytes.
    pub card_challenge: &'a [u8],
    /// The card's proof, 8 or 16 bytes.
    pub card_cryptogram: &'a [u8],
    /// The sequence counter, when the challenge is pseudo-random.
    pub sequence: Option<&'a [u8; SEQUENCE_BYTES]>,
}

impl<'a> InitializeUpdateAnswer<'a> {
    /// Reads the data field of the answer.
    ///
    /// # Errors
    /// [`Error::BadInitializeUpdate`].
    pub fn parse(data: &'a [u8]) -> Result<Self, Error> {
        Self::split(data).ok_or(Error::BadInitializeUpdate)
    }

    fn split(data: &'a [u8]) -> Option<Self> {
        let (diversification, rest) = data.split_first_chunk()?;
        let (&[key_version, SCP_ID, i], rest) = rest.split_first_chunk()? else { return None };
        let parameters = Parameters::from_byte(i)?;
        let (card_challenge, rest) = rest.split_at_checked(parameters.mode().mac_bytes())?;
        let (card_cryptogram, rest) = rest.split_at_checked(parameters.mode().mac_bytes())?;
        let sequence = match parameters.is_pseudo_random() {
            true => Some(rest.try_into().ok()?),
            false if rest.is_empty() => None,
            false => return None,
        };
        Some(Self { diversification, key_version, parameters, card_challenge, card_cryptogram, sequence })
    }
}

/// What belongs to one wrapped command and is needed to unwrap its answer. Used once.
#[derive(PartialEq, Eq)]
pub struct Ticket {
    chaining: Chaining,
    counter: u32,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("counter", &self.counter).finish_non_exhaustive()
    }
}

/// An unwrapped answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The plain data.
    pub data: &'a [u8],
    /// The status word.
    pub status: StatusWord,
    /// Whether a MAC proves that the card said this, to this command. An error status has none, so anyone
    /// between could have said it: it may stop what the cloud is doing, and must not be taken for proof that
    /// the card did not obey.
    pub authentic: bool,
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("data_bytes", &self.data.len())
            .field("status", &self.status)
            .field("authentic", &self.authentic)
            .finish()
    }
}

/// The host's session. Wiped when dropped; `Debug` shows no key.
pub struct Session {
    /// `None` once the session has ended.
    keys: Option<SessionKeys>,
    mode: Mode,
    level: Level,
    host_cryptogram: [u8; MAX_MAC_BYTES],
    chaining: Chaining,
    /// Number of the last command; the first is 1.
    counter: u32,
    authenticated: bool,
}

impl Session {
    /// Opens, or opens again, the session that `host_challenge` and the data field of the answer to INITIALIZE
    /// UPDATE make, and checks that the card holds the keys.
    ///
    /// # Errors
    /// [`Error::BadInitializeUpdate`], [`Error::BadChallenge`] when the card's mode is not the one asked for,
    /// [`Error::BadLevel`] when the card cannot do it, [`Error::CardCryptogram`].
    pub fn open(
        keys: &KeySet,
        level: Level,
        host_challenge: &[u8],
        initialize_update_answer: &[u8],
    ) -> Result<Self, Error> {
        let answer = InitializeUpdateAnswer::parse(initialize_update_answer)?;
        let mode = answer.parameters.mode();
        if host_challenge.len() != mode.mac_bytes() {
            return Err(Error::BadChallenge);
        }
        if !answer.parameters.allows(level) {
            return Err(Error::BadLevel);
        }
        let session_keys = SessionKeys::derive(keys, host_challenge, answer.card_challenge);
        let expected = session_keys.card_cryptogram(host_challenge, answer.card_challenge);
        if !mac_matches(mode, &expected, answer.card_cryptogram) {
            return Err(Error::CardCryptogram);
        }
        let host_cryptogram = session_keys.host_cryptogram(host_challenge, answer.card_challenge);
        Ok(Self {
            keys: Some(session_keys),
            mode,
            level,
            host_cryptogram,
            chaining: [0; 16],
            counter: 0,
            authenticated: false,
        })
    }

    /// What this session protects.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Whether the session is still open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.keys.is_some()
    }

    /// Ends the session and wipes its keys.
    pub fn close(&mut self) {
        self.keys = None;
        self.host_cryptogram.zeroize();
        self.chaining.zeroize();
    }

    /// Writes EXTERNAL AUTHENTICATE (21 or 37 bytes). Its answer is a bare status word: `9000`, or the card
    /// refused.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] the second time, [`Error::NoRoom`], [`Error::Closed`].
    pub fn external_authenticate<'b>(&mut self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        if self.authenticated {
            return Err(Error::OutOfOrder);
        }
        let cryptogram = self.host_cryptogram;
        let cryptogram = cryptogram.get(..self.mode.mac_bytes()).ok_or(Error::NoRoom)?;
        let command = Command::new(0x80, ins::EXTERNAL_AUTHENTICATE, self.level.to_byte(), 0x00);
        let written = self.secure(&command.with_data(cryptogram), None, out)?;
        self.authenticated = true;
        Ok(written)
    }

    /// Protects a command as the level says: gives the APDU to send and the ticket for its answer. At level 00
    /// the APDU is the command itself. Nothing changes when it fails.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] before [`Session::external_authenticate`], [`Error::NoRoom`],
    /// [`Error::Exhausted`], [`Error::Closed`].
    pub fn wrap<'b>(&mut self, command: &Command<'_>, out: &'b mut [u8]) -> Result<(&'b [u8], Ticket), Error> {
        if self.keys.is_none() {
            return Err(Error::Closed);
        }
        if !self.authenticated {
            return Err(Error::OutOfOrder);
        }
        let counter = self.counter.checked_add(1).ok_or(Error::Exhausted)?;
        let written = if self.level.has_c_mac() {
            self.secure(command, self.level.has_c_enc().then_some(counter), out)?
        } else {
            command.encode(out)?
        };
        self.counter = counter;
        Ok((written, Ticket { chaining: self.chaining, counter }))
    }

    /// Checks and decrypts, in place, the whole answer (data, MAC, status word) to the command that gave the
    /// ticket.
    ///
    /// # Errors
    /// [`Error::Mac`], [`Error::Padding`], which end the session; [`Error::Closed`], [`Error::Apdu`].
    pub fn unwrap<'a>(&mut self, ticket: Ticket, answer: &'a mut [u8]) -> Result<Answer<'a>, Error> {
        let keys = self.keys.as_ref().ok_or(Error::Closed)?;
        let Response { data, status } = Response::parse(answer)?;
        let data_bytes = data.len();
        let opened = if self.level.has_r_mac() {
            open_answer(keys, self.mode, self.level, &ticket, answer, status)
        } else {
            Ok((data_bytes, false))
        };
        if opened.is_err() {
            self.close();
        }
        let (plain_bytes, authentic) = opened?;
        Ok(Answer { data: answer.get(..plain_bytes).ok_or(Error::Mac)?, status, authentic })
    }

    /// Writes a command with its MAC, and its data encrypted under the number given.
    fn secure<'b>(
        &mut self,
        command: &Command<'_>,
        encrypt_under: Option<u32>,
        out: &'b mut [u8],
    ) -> Result<&'b [u8], Error> {
        let keys = self.keys.as_ref().ok_or(Error::Closed)?;
        // A data field that is empty stays empty: there is nothing to hide, and the card expects it so.
        let encrypt_under = encrypt_under.filter(|_| !command.data.is_empty());
        let sent_bytes = match encrypt_under {
            Some(_) => padded_bytes(command.data.len()),
            None => command.data.len(),
        };
        let total_bytes = sent_bytes + self.mode.mac_bytes();
        let extended = command.le.is_some_and(|le| le > MAX_SHORT_LE);
        let length_field = LengthField::new(total_bytes, extended)?;
        let class = command.class.secured();
        let header = [class.0, command.instruction, command.p1, command.p2];

        let data_start = HEADER_BYTES + length_field.as_slice().len();
        let area = out.get_mut(data_start..data_start + total_bytes).ok_or(Error::NoRoom)?;
        let (data, mac_area) = area.split_at_mut_checked(sent_bytes).ok_or(Error::NoRoom)?;
        data.get_mut(..command.data.len()).ok_or(Error::NoRoom)?.copy_from_slice(command.data);
        if let Some(counter) = encrypt_under {
            encrypt(&keys.enc, &command_iv(&keys.enc, counter), data, command.data.len())?;
        }
        let mac = command_mac(keys, &self.chaining, header, &length_field, data);
        mac_area.copy_from_slice(mac.get(..mac_area.len()).ok_or(Error::NoRoom)?);

        let mut end = data_start + total_bytes;
        out.get_mut(..HEADER_BYTES).ok_or(Error::NoRoom)?.copy_from_slice(&header);
        out.get_mut(HEADER_BYTES..data_start).ok_or(Error::NoRoom)?.copy_from_slice(length_field.as_slice());
        if let Some(le) = command.le {
            // The form of Le follows the form of Lc (ISO/IEC 7816-4 §5.2); the greatest value is all zeros.
            let [_, _, high, low] = le.to_be_bytes();
            let (short, long) = ([low], [high, low]);
            let field = if length_field.is_extended() { &long[..] } else { &short[..] };
            out.get_mut(end..end + field.len()).ok_or(Error::NoRoom)?.copy_from_slice(field);
            end += field.len();
        }
        self.chaining = mac;
        out.get(..end).ok_or(Error::NoRoom)
    }
}

/// Gives the length of the plain data, and whether a MAC vouches for them.
fn open_answer(
    keys: &SessionKeys,
    mode: Mode,
    level: Level,
    ticket: &Ticket,
    answer: &mut [u8],
    status: StatusWord,
) -> Result<(usize, bool), Error> {
    let body_bytes = answer.len().checked_sub(2).ok_or(Error::Mac)?;
    if status.is_error() {
        // Nothing vouches for data beside an error status, so there must be none.
        return if body_bytes == 0 { Ok((0, false)) } else { Err(Error::Mac) };
    }
    let data_bytes = body_bytes.checked_sub(mode.mac_bytes()).ok_or(Error::Mac)?;
    let (data, rest) = answer.split_at_mut_checked(data_bytes).ok_or(Error::Mac)?;
    let received = rest.get(..mode.mac_bytes()).ok_or(Error::Mac)?;
    if !mac_matches(mode, &answer_mac(keys, &ticket.chaining, data, status), received) {
        return Err(Error::Mac);
    }
    if !level.has_r_enc() || data.is_empty() {
        return Ok((data_bytes, true));
    }
    Ok((decrypt(&keys.enc, &answer_iv(&keys.enc, ticket.counter), data)?, true))
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("mode", &self.mode)
            .field("level", &self.level)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}
