//! The card's end of SCP03, in place on the chip's buffers.
//!
//! `Handshake::start` answers INITIALIZE UPDATE, `Handshake::authenticate` checks EXTERNAL AUTHENTICATE and
//! gives the `Session`, whose `unwrap` and `wrap_answer` then run in turn for every secured command. A MAC that
//! is wrong once ends the session: its keys are wiped and everything after it is refused.

use super::channel::{
    Chaining, LengthField, answer_iv, answer_mac, command_iv, command_mac, decrypt, encrypt, mac_matches,
};
use super::keys::{KeySet, SessionKeys, pseudo_random_challenge};
use super::{DIVERSIFICATION_BYTES, Error, Level, MAX_MAC_BYTES, Mode, Parameters, SCP_ID, SEQUENCE_BYTES};
use crate::apdu::{Class, Command, HEADER_BYTES, Parts, StatusWord};
use crate::applet::ins;
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Where the card challenge comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge<'a> {
    /// Random bytes; as many as the mode wants are taken from the front.
    Random(&'a [u8; MAX_MAC_BYTES]),
    /// From a counter that never repeats under one key set. The card advances it when the session is
    /// authenticated, before it obeys a command: a recorded session then never fits again.
    PseudoRandom {
        /// The counter, of which 24 bits are used.
        sequence: u32,
        /// The application that runs the channel.
        aid: &'a [u8],
    },
}

/// Between INITIALIZE UPDATE and EXTERNAL AUTHENTICATE. Dropping it forgets the attempt.
pub struct Handshake {
    keys: SessionKeys,
    mode: Mode,
    host_cryptogram: [u8; MAX_MAC_BYTES],
}

impl Handshake {
    /// Answers INITIALIZE UPDATE: writes the answer's data field (29 to 48 bytes) to `out` and gives its
    /// length. The mode is the one the host asks for by the length of its challenge.
    ///
    /// # Errors
    /// [`Error::BadChallenge`] when the host challenge is neither 8 nor 16 bytes long, [`Error::Exhausted`] when
    /// the sequence counter is beyond 24 bits, [`Error::NoRoom`].
    pub fn start(
        keys: &KeySet,
        diversification: &[u8; DIVERSIFICATION_BYTES],
        host_challenge: &[u8],
        challenge: Challenge<'_>,
        out: &mut [u8],
    ) -> Result<(Self, usize), Error> {
        let mode = Mode::of_challenge(host_challenge.len()).ok_or(Error::BadChallenge)?;
        let mut card_challenge = [0; MAX_MAC_BYTES];
        let (card_challenge, _) = card_challenge.split_at_mut(mode.mac_bytes());
        let sequence = match challenge {
            Challenge::Random(bytes) => {
                card_challenge.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                None
            }
            Challenge::PseudoRandom { sequence, aid } => {
                let sequence = sequence_bytes(sequence).ok_or(Error::Exhausted)?;
                pseudo_random_challenge(keys.enc(), sequence, aid, card_challenge)?;
                Some(sequence)
            }
        };
        let session = SessionKeys::derive(keys, host_challenge, card_challenge);
        let card_cryptogram = session.card_cryptogram(host_challenge, card_challenge);
        let parameters = Parameters::new(mode, sequence.is_some());
        let parts = [
            &diversification[..],
            &[keys.version(), SCP_ID, parameters.to_byte()],
            card_challenge,
            card_cryptogram.get(..mode.mac_bytes()).ok_or(Error::BadChallenge)?,
            sequence.as_ref().map_or(&[], |bytes| bytes.as_slice()),
        ];
        let mut used = 0;
        for part in parts {
            out.get_mut(used..used + part.len()).ok_or(Error::NoRoom)?.copy_from_slice(part);
            used += part.len();
        }
        let host_cryptogram = session.host_cryptogram(host_challenge, card_challenge);
        Ok((Self { keys: session, mode, host_cryptogram }, used))
    }

    /// Checks EXTERNAL AUTHENTICATE, given as it was received. One try: on any error the attempt is over.
    ///
    /// # Errors
    /// [`Error::BadAuthenticate`], [`Error::BadLevel`], [`Error::Mac`], [`Error::HostCryptogram`],
    /// [`Error::Apdu`].
    pub fn authenticate(self, apdu: &[u8]) -> Result<Session, Error> {
        let command = Command::parse(apdu)?;
        if command.instruction != ins::EXTERNAL_AUTHENTICATE
            || !command.class.is_gp_secured()
            || command.p2 != 0
            || command.data.len() != 2 * self.mode.mac_bytes()
        {
            return Err(Error::BadAuthenticate);
        }
        let level = Level::from_byte(command.p1).ok_or(Error::BadLevel)?;
        let mut session = Session {
            keys: Some(self.keys.clone()),
            mode: self.mode,
            level,
            chaining: [0; 16],
            counter: 0,
            awaits_answer: false,
        };
        // The MAC before the cryptogram: what is not authentic is not looked at.
        let (start, end) = session.check_mac(apdu)?;
        let host_cryptogram = apdu.get(start..end).ok_or(Error::BadAuthenticate)?;
        let expected = self.host_cryptogram.get(..self.mode.mac_bytes()).ok_or(Error::BadAuthenticate)?;
        if bool::from(expected.ct_eq(host_cryptogram)) { Ok(session) } else { Err(Error::HostCryptogram) }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.host_cryptogram.zeroize();
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// An authenticated session. `Debug` shows no key.
pub struct Session {
    /// `None` once the session has ended.
    keys: Option<SessionKeys>,
    mode: Mode,
    level: Level,
    chaining: Chaining,
    /// Number of the last command; the first is 1.
    counter: u32,
    awaits_answer: bool,
}

impl Session {
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
        self.chaining.zeroize();
        self.awaits_answer = false;
    }

    /// Checks the MAC of a command and decrypts its data in place; the command given has neither MAC nor
    /// secure messaging in its class. At level 00 the command is given back as it is.
    ///
    /// # Errors
    /// [`Error::NotSecured`] for a command in the clear, which leaves the session open; [`Error::Mac`],
    /// [`Error::Padding`], [`Error::Exhausted`], which end it; [`Error::Closed`], [`Error::Apdu`].
    pub fn unwrap<'a>(&mut self, apdu: &'a mut [u8]) -> Result<Command<'a>, Error> {
        if self.keys.is_none() {
            return Err(Error::Closed);
        }
        let parts = Parts::of(apdu)?;
        let [class, instruction, p1, p2] = parts.header;
        if !self.level.has_c_mac() {
            return Ok(Command::parse(apdu)?);
        }
        if !Class(class).is_gp_secured() {
            return Err(Error::NotSecured);
        }
        let unwrapped = self.unwrap_data(apdu);
        if unwrapped.is_err() {
            self.close();
        }
        let (start, end) = unwrapped?;
        self.awaits_answer = true;
        let data = apdu.get(start..end).ok_or(Error::Mac)?;
        Ok(Command { class: Class(class).unsecured(), instruction, p1, p2, data, le: parts.le })
    }

    /// Protects the answer to the last command in place: `buffer` begins with `data_bytes` of plain data and
    /// ends up holding the whole answer, status word included; its length is given. An error status takes no
    /// data and no MAC with it (Amendment D §6.2.5).
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] without a command unwrapped before, [`Error::NoRoom`], [`Error::Closed`].
    pub fn wrap_answer(&mut self, buffer: &mut [u8], data_bytes: usize, status: StatusWord) -> Result<usize, Error> {
        let keys = self.keys.as_ref().ok_or(Error::Closed)?;
        if self.level.has_c_mac() && !core::mem::take(&mut self.awaits_answer) {
            return Err(Error::OutOfOrder);
        }
        let mut used = if status.is_error() && self.level.has_r_mac() { 0 } else { data_bytes };
        if self.level.has_r_mac() && !status.is_error() {
            if self.level.has_r_enc() && used > 0 {
                used = encrypt(&keys.enc, &answer_iv(&keys.enc, self.counter), buffer, used)?;
            }
            let data = buffer.get(..used).ok_or(Error::NoRoom)?;
            let mac = answer_mac(keys, &self.chaining, data, status);
            let sent = mac.get(..self.mode.mac_bytes()).ok_or(Error::NoRoom)?;
            buffer.get_mut(used..used + sent.len()).ok_or(Error::NoRoom)?.copy_from_slice(sent);
            used += sent.len();
        }
        buffer.get_mut(used..used + 2).ok_or(Error::NoRoom)?.copy_from_slice(&status.to_bytes());
        Ok(used + 2)
    }

    /// Where the plain data lie in `apdu`, once they are authentic and decrypted.
    fn unwrap_data(&mut self, apdu: &mut [u8]) -> Result<(usize, usize), Error> {
        let (start, end) = self.check_mac(apdu)?;
        // Every command counts, with data or without (Amendment D §6.2.6).
        self.counter = self.counter.checked_add(1).ok_or(Error::Exhausted)?;
        let keys = self.keys.as_ref().ok_or(Error::Closed)?;
        if !self.level.has_c_enc() || start == end {
            return Ok((start, end));
        }
        let data = apdu.get_mut(start..end).ok_or(Error::Mac)?;
        let plain_bytes = decrypt(&keys.enc, &command_iv(&keys.enc, self.counter), data)?;
        Ok((start, start + plain_bytes))
    }

    /// Checks the C-MAC at the end of the data field and chains it; gives where the data before it lie.
    fn check_mac(&mut self, apdu: &[u8]) -> Result<(usize, usize), Error> {
        let keys = self.keys.as_ref().ok_or(Error::Closed)?;
        let parts = Parts::of(apdu)?;
        let data_bytes = parts.data_end - parts.data_start;
        let plain_bytes = data_bytes.checked_sub(self.mode.mac_bytes()).ok_or(Error::Mac)?;
        let mac_start = parts.data_start + plain_bytes;
        let data = apdu.get(parts.data_start..mac_start).ok_or(Error::Mac)?;
        let received = apdu.get(mac_start..parts.data_end).ok_or(Error::Mac)?;
        // The MAC covers Lc in the form it was sent.
        let extended = parts.data_start > HEADER_BYTES + 1;
        let length_field = LengthField::new(data_bytes, extended)?;
        let mac = command_mac(keys, &self.chaining, parts.header, &length_field, data);
        if !mac_matches(self.mode, &mac, received) {
            return Err(Error::Mac);
        }
        self.chaining = mac;
        Ok((parts.data_start, mac_start))
    }
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

fn sequence_bytes(sequence: u32) -> Option<[u8; SEQUENCE_BYTES]> {
    match sequence.to_be_bytes() {
        [0, a, b, c] => Some([a, b, c]),
        _ => None,
    }
}
