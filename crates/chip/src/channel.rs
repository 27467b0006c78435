//! The chip's end of the secure channel: which state it is in, which keys it takes, and what a command that came
//! through it may do. The protocol itself is `protocol::scp03::card`.
//!
//! The sequence counter of the card challenge is raised in flash before a session opens. So a recorded session
//! can't be played again, and who has no keys can't wear the flash out by asking for challenges.

use crate::backoff::{Attempts, Tolls};
use crate::command::{Received, Rights};
use crate::domain::Domain;
use crate::hal::Flash;
use crate::hardened::Verdict;
use crate::keys;
use crate::records;
use crate::store::Store;
use protocol::apdu::StatusWord;
use protocol::applet::{AID, CHIP_ID_BYTES, key_diversification_data};
use protocol::scp03::card::{Challenge, Handshake, Session};
use protocol::scp03::{self, AesKey};

/// The secure channel. RAM only: closed by reset and power-down.
#[derive(Default)]
pub(crate) struct Channel {
    state: State,
    tolls: Tolls,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    /// After INITIALIZE UPDATE.
    Challenged { handshake: Handshake, domain: Domain, attempts: Attempts, dek: AesKey },
    /// After EXTERNAL AUTHENTICATE.
    Open { session: Session, domain: Domain, dek: AesKey },
}

impl Channel {
    /// Ends the session or the attempt at one; its keys are wiped.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    /// INITIALIZE UPDATE: whatever was open ends. Writes the answer to `out`.
    ///
    /// # Errors
    /// 6A88 for an unknown key set, 6700 for a challenge of another length, 9305 where too many attempts failed, 6982 where the sequence counter is
    /// at its end, 6F00.
    pub(crate) fn initialize<F: Flash>(
        &mut self,
        store: &mut Store<F>,
        key_version: u8,
        host_challenge: &[u8],
        out: &mut [u8],
    ) -> Result<usize, StatusWord> {
        self.close();
        let (domain, keys) = keys::find(store, key_version)?;
        let attempts = Attempts::read(store, domain)?;
        if scp03::Mode::of_challenge(host_challenge.len()).is_none() {
            return Err(StatusWord::WRONG_LENGTH);
        }
        self.tolls.pass(domain, attempts)?;
        let chip_id = records::chip_id(store)?.unwrap_or([0; CHIP_ID_BYTES]);
        let (handshake, written) = Handshake::start(
            &keys,
            &key_diversification_data(&chip_id),
            host_challenge,
            Challenge::PseudoRandom { sequence: attempts.sequence, aid: &AID },
            out,
        )
        .map_err(|error| error.status())?;
        self.state = State::Challenged { handshake, domain, attempts, dek: keys.dek().clone() };
        Ok(written)
    }

    /// EXTERNAL AUTHENTICATE, as it was received. One try: on any error the attempt is over.
    ///
    /// # Errors
    /// 6985 without INITIALIZE UPDATE before it; 6300 for a wrong cryptogram, 6982 for a wrong MAC, 6700, 6A86;
    /// 6F00 where the sequence counter could not be raised.
    pub(crate) fn authenticate<F: Flash>(&mut self, store: &mut Store<F>, apdu: &[u8]) -> Result<(), StatusWord> {
        let State::Challenged { handshake, domain, attempts, dek } = core::mem::take(&mut self.state) else {
            return Err(StatusWord::CONDITIONS_OF_USE);
        };
        let counted = attempts.count(store, domain)?;
        let session = handshake.authenticate(apdu).map_err(|error| error.status())?;
        counted.succeed(store, domain)?;
        self.state = State::Open { session, domain, dek };
        Ok(())
    }

    /// Takes the secure messaging off a command, and says what it proves.
    ///
    /// # Errors
    /// 6982 without an open channel, and for a wrong MAC or padding, which close it.
    pub(crate) fn unwrap<'a>(&mut self, apdu: &'a mut [u8]) -> Result<Received<'a>, StatusWord> {
        let State::Open { session, domain, .. } = &mut self.state else {
            return Err(StatusWord::SECURITY_STATUS);
        };
        let level = session.level();
        let domain = *domain;
        let unwrapped = session.unwrap(apdu).map_err(|error| error.status());
        if !session.is_open() {
            self.state = State::Closed;
        }
        let rights = Rights {
            authenticated: Verdict::of(|| level.has_c_mac()),
            encrypted: Verdict::of(|| level.has_c_mac() && level.has_c_enc()),
            domain,
        };
        Ok(Received { apdu: unwrapped?, rights })
    }

    /// Puts secure messaging on the answer to the last command, in place: `out` begins with the data and ends up
    /// holding the whole answer, whose length is given. A command that closed the channel is answered plainly.
    ///
    /// # Errors
    /// 6F00 where `out` is too small.
    pub(crate) fn wrap(&mut self, out: &mut [u8], data_bytes: usize, status: StatusWord) -> Result<usize, StatusWord> {
        match &mut self.state {
            State::Open { session, .. } => {
                session.wrap_answer(out, data_bytes, status).map_err(|_| StatusWord::INTERNAL)
            }
            State::Closed | State::Challenged { .. } => plain(out, data_bytes, status),
        }
    }

    /// The DEK of the key set the channel was opened with.
    ///
    /// # Errors
    /// 6982 without an open channel.
    pub(crate) fn dek(&self) -> Result<&AesKey, StatusWord> {
        match &self.state {
            State::Open { dek, .. } => Ok(dek),
            State::Closed | State::Challenged { .. } => Err(StatusWord::SECURITY_STATUS),
        }
    }
}

/// Writes the status word behind the data.
///
/// # Errors
/// 6F00 where `out` is too small.
pub(crate) fn plain(out: &mut [u8], data_bytes: usize, status: StatusWord) -> Result<usize, StatusWord> {
    let end = data_bytes + 2;
    out.get_mut(data_bytes..end).ok_or(StatusWord::INTERNAL)?.copy_from_slice(&status.to_bytes());
    Ok(end)
}
