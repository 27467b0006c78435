//! The messages of `spec/relay.md`, read and written as owned values.

use protocol::script::{MAX_MESSAGE_BYTES, Message, Outcome, ScriptWriter, SessionId};

use crate::{Reason, Refusal};

/// The chip's answers to a script.
pub(crate) struct Results {
    /// The session they belong to.
    pub(crate) session: [u8; 16],
    /// The script they belong to.
    pub(crate) number: u16,
    /// One answer a command; empty where the chip gave none.
    pub(crate) answers: Vec<Vec<u8>>,
}

/// Reads results.
///
/// # Errors
/// [`Reason::MessageMalformed`] for any other message, or none.
pub(crate) fn read_results(message: &[u8]) -> Result<Results, Refusal> {
    let Ok(Message::Results(results)) = Message::decode(message) else {
        return Err(Refusal::at(Reason::MessageMalformed, "message"));
    };
    let answers = results.responses().map(|answer| answer.unwrap_or_default().to_vec()).collect();
    Ok(Results { session: results.session.0, number: results.number, answers })
}

/// What a script begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// The session.
    pub(crate) session: [u8; 16],
    /// The number of the script.
    pub(crate) number: u8,
    /// How far the work is once the script has been run, percent.
    pub(crate) progress: u8,
}

/// A script for the chip; it stops at the first command that is not answered with success, unless it says beside the
/// command that it goes on.
pub(crate) fn script(head: Head, commands: &[(Vec<u8>, bool)]) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let mut written = || {
        let mut writer = ScriptWriter::new(&mut buffer, SessionId(head.session), head.number.into(), head.progress)?;
        commands.iter().try_for_each(|(command, goes_on)| writer.push(command, *goes_on))?;
        writer.finish().map(<[u8]>::to_vec)
    };
    // Ten commands of at most 35 bytes, or three of at most 260: they always fit.
    written().unwrap_or_default()
}

/// The last message of work that failed.
pub(crate) fn failed(session: [u8; 16], reason: Reason) -> Vec<u8> {
    encoded(&Outcome::Failed { session: SessionId(session), code: reason.code() })
}

/// The last message of work that is done; the label is empty where the device is bound to nobody now.
pub(crate) fn done(session: [u8; 16], account_label: &str) -> Vec<u8> {
    encoded(&Outcome::Done { session: SessionId(session), account_label })
}

fn encoded(outcome: &Outcome<'_>) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    outcome.encode(&mut buffer).map(<[u8]>::to_vec).unwrap_or_default()
}
