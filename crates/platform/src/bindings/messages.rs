//! The messages of `spec/relay.md`, read and written as owned values.

use protocol::script::{MAX_MESSAGE_BYTES, Message, Outcome, ScriptWriter, SessionId};

use super::Binding;
use crate::Reason;

/// The chip's answers to a script.
pub(super) struct Results {
    /// The binding they belong to.
    pub(super) session: [u8; 16],
    /// The script they belong to.
    pub(super) number: u16,
    /// One answer a command; empty where the chip gave none.
    pub(super) answers: Vec<Vec<u8>>,
}

/// Reads results; `None` for any other message, or none.
pub(super) fn read_results(message: &[u8]) -> Option<Results> {
    let Ok(Message::Results(results)) = Message::decode(message) else { return None };
    let answers = results.responses().map(|answer| answer.unwrap_or_default().to_vec()).collect();
    Some(Results { session: results.session.0, number: results.number, answers })
}

/// The script that is due, for the chip; it stops at the first command that is not answered with success, unless it says
/// beside the command that it goes on.
pub(super) fn script(binding: &Binding, commands: &[(Vec<u8>, bool)]) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let mut written = || {
        let (session, number) = (SessionId(binding.id.0), u16::from(binding.script));
        let mut writer = ScriptWriter::new(&mut buffer, session, number, binding.state.progress_once_run())?;
        commands.iter().try_for_each(|(command, goes_on)| writer.push(command, *goes_on))?;
        writer.finish().map(<[u8]>::to_vec)
    };
    // Ten commands of at most 35 bytes, or two of at most 260: they always fit.
    written().unwrap_or_default()
}

/// The last message of a binding that failed.
pub(super) fn failed(binding: &Binding) -> Vec<u8> {
    let reason = binding.failure.unwrap_or(Reason::BindingFailed);
    encoded(&Outcome::Failed { session: SessionId(binding.id.0), code: reason.code() })
}

/// The last message of a binding that is done.
pub(super) fn done(binding: &Binding, account_label: &str) -> Vec<u8> {
    encoded(&Outcome::Done { session: SessionId(binding.id.0), account_label })
}

fn encoded(outcome: &Outcome<'_>) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    outcome.encode(&mut buffer).map(<[u8]>::to_vec).unwrap_or_default()
}
