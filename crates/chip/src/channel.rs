//! The chip's end of the secure channel: which state it is in, which keys it takes, and what a command that came
//! through it may do. The protocol itself is `protocol::scp03::card`.
//!
//! The sequence counter of the card challenge is raised in flash before a session opens. So a recorded session
//! can't be played again, and who has no keys can't wear the flash out by asking for challenges.

use crate::command::{Received, Rights};
use crate::hal::Flash;
use crate::hardened::Verdict;
use crate::keys;
use crate::records::{self, CHANNEL_SEQUENCE};
use crate::store::{Store, Update};
use protocol::apdu::StatusWord;
use protocol::applet::{AID, CHIP_ID_BYTES, key_diversification_data};
use protocol::scp03::AesKey;
use protocol::scp03::card::{Challenge, Handshake, Session};

/// The secure channel. RAM only: closed by reset and power-down.
#[derive(Default)]
pub(crate) struct Channel {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    /// After INITIALIZE UPDATE.
    Challenged { handshake: Handshake, sequence: u32, dek: AesKey },
    /// After EXTERNAL AUTHENTICATE.
    Open { session: Session, dek: AesKey },
}

impl Channel {
    /// Ends the session or the attempt at one; its keys are wiped.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    /// INITIALIZE UPDATE: whatever was open ends. Writes the answer to `out`.
    ///
    /// # Errors
    /// 6A88 for an unknown key set, 6700 for a challenge of another length, 6982 where the sequence counter is
    /// at its end, 6F00.
    pub(crate) fn initialize<F: Flash>(
        &mut self,
        store: &mut Store<F>,
        key_version: u8,
        host_challenge: &[u8],
        out: &mut [u8],
    ) -> Result<usize, StatusWord> {
        self.close();
        let keys = keys::find(store, key_version)?;
        let chip_id = records::chip_id(store)?.unwrap_or([0; CHIP_ID_BYTES]);
        let sequence = read_sequence(store)?;
        let (handshake, written) = Handshake::start(
            &keys,
            &key_diversification_data(&chip_id),
            host_challenge,
            Challenge::PseudoRandom { sequence, aid: &AID },
            out,
        )
        .map_err(|error| error.status())?;
        self.state = State::Challenged { handshake, sequence, dek: keys.dek().clone() };
        Ok(written)
    }

    /// EXTERNAL AUTHENTICATE, as it was received. One try: on any error the attempt is over.
    ///
    /// # Errors
    /// 6985 without INITIALIZE UPDATE before it; 6300 for a wrong cryptogram, 6982 for a wrong MAC, 6700, 6A86;
    /// 6F00 where the sequence counter could not be raised.
    pub(crate) fn authenticate<F: Flash>(&mut self, store: &mut Store<F>, apdu: &[u8]) -> Result<(), StatusWord> {
        let State::Challenged { handshake, sequence, dek } = core::mem::take(&mut self.state) else {
            return Err(StatusWord::CONDITIONS_OF_USE);
        };
        let session = handshake.authenticate(apdu).map_err(|error| error.status())?;
        let next = sequence.checked_add(1).ok_or(StatusWord::INTERNAL)?;
        store.transact(&[Update::Put(CHANNEL_SEQUENCE, &next.to_be_bytes())])?;
        if read_sequence(store)? != next {
            return Err(StatusWord::INTERNAL);
        }
        self.state = State::Open { session, dek };
        Ok(())
    }

    /// Takes the secure messaging off a command, and says what it proves.
    ///
    /// # Errors
    /// 6982 without an open channel, and for a wrong MAC or padding, which close it.
    pub(crate) fn unwrap<'a>(&mut self, apdu: &'a mut [u8]) -> Result<Received<'a>, StatusWord> {
        let State::Open { session, .. } = &mut self.state else {
            return Err(StatusWord::SECURITY_STATUS);
        };
        let level = session.level();
        let unwrapped = session.unwrap(apdu).map_err(|error| error.status());
        if !session.is_open() {
            self.state = State::Closed;
        }
        let rights = Rights {
            authenticated: Verdict::of(|| level.has_c_mac()),
            encrypted: Verdict::of(|| level.has_c_mac() && level.has_c_enc()),
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

fn read_sequence<F: Flash>(store: &mut Store<F>) -> Result<u32, StatusWord> {
    records::read_present(store, CHANNEL_SEQUENCE).map(u32::from_be_bytes)
}
