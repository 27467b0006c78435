//! The cloud's end of a channel, built anew at each message from the challenge and the chip's answer to it.

use protocol::apdu::{Command, Response, StatusWord};
use protocol::applet;
use protocol::scp03::{self, KeySet, Level, host};
use zeroize::Zeroizing;

use crate::Reason;

/// The longest command or answer inside a script, bytes.
const APDU_BYTES: usize = 300;

/// A command in the clear, as bytes.
pub(crate) fn encoded(command: &Command<'_>) -> Vec<u8> {
    let mut buffer = [0; applet::MAX_COMMAND_BYTES];
    // Every command in the clear has a fixed size, and the buffer is as long as the longest.
    command.encode(&mut buffer).map(<[u8]>::to_vec).unwrap_or_default()
}

/// What a chip's answer to INITIALIZE UPDATE means.
pub(crate) enum Opening {
    /// It is the chip with these keys. The answer is kept.
    Opened(Vec<u8>),
    /// It holds its channel back: somebody without its keys has tried before. It is to be asked again.
    HeldBack,
    /// It opens none.
    Refused(Reason),
}

/// Judges the answer to INITIALIZE UPDATE; nothing where it was lost.
pub(crate) fn judge_opening(keys: &KeySet, host_challenge: &[u8; 8], answer: Option<&Vec<u8>>) -> Opening {
    let Some(answer) = answer.and_then(|answer| Response::parse(answer).ok()) else {
        return Opening::Refused(Reason::ChipSilent);
    };
    if answer.status == StatusWord::CHANNEL_HELD_BACK {
        return Opening::HeldBack;
    }
    if !answer.status.is_ok() {
        return Opening::Refused(Reason::ChipRefusedChannel);
    }
    match host::Session::open(keys, Level::Full, host_challenge, answer.data) {
        Ok(_) => Opening::Opened(answer.data.to_vec()),
        Err(_) => Opening::Refused(Reason::ChipNotGenuine),
    }
}

/// EXTERNAL AUTHENTICATE and what comes behind it, wrapped ahead of time, and what is needed to read the answers. The same
/// keys, challenge and answer give the same bytes.
pub(crate) struct Sealed {
    /// The commands, in their order.
    pub(crate) commands: Vec<Vec<u8>>,
    session: host::Session,
    tickets: Vec<host::Ticket>,
}

/// Wraps commands for the channel that the chip has answered.
///
/// # Errors
/// Those of the channel, never in practice: the answer was judged before it was kept.
pub(crate) fn seal(
    keys: &KeySet,
    level: Level,
    host_challenge: &[u8; 8],
    card_answer: &[u8],
    commands: &[Command<'_>],
) -> Result<Sealed, scp03::Error> {
    let mut session = host::Session::open(keys, level, host_challenge, card_answer)?;
    let mut buffer = Zeroizing::new([0; APDU_BYTES]);
    let mut wrapped = vec![session.external_authenticate(&mut *buffer)?.to_vec()];
    let mut tickets = Vec::with_capacity(commands.len());
    for command in commands {
        let (bytes, ticket) = session.wrap(command, &mut *buffer)?;
        wrapped.push(bytes.to_vec());
        tickets.push(ticket);
    }
    Ok(Sealed { commands: wrapped, session, tickets })
}

impl Sealed {
    /// The data of each command's answer, where it is the chip's own and says success; nothing for any other.
    pub(crate) fn read(mut self, answers: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
        let mut answers = answers.iter();
        let accepted = answers.next().and_then(|answer| Response::parse(answer).ok());
        if !accepted.is_some_and(|answer| answer.status.is_ok()) {
            return self.tickets.iter().map(|_| None).collect();
        }
        let session = &mut self.session;
        let read = |ticket| {
            let mut answer = answers.next()?.clone();
            let answer = session.unwrap(ticket, &mut answer).ok()?;
            (answer.authentic && answer.status.is_ok()).then(|| answer.data.to_vec())
        };
        self.tickets.into_iter().map(read).collect()
    }
}
