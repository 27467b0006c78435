//! The last message of a session: how the work ended, in a form the wearable can show.

use super::read::Input;
use super::{Error, FORMAT_VERSION, KIND_OUTCOME, MAX_CODE_BYTES, SessionId};
use crate::applet::MAX_LABEL_BYTES;

const DONE: u8 = 0x00;
const FAILED: u8 = 0x01;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The work is done.
    Done {
        /// Which work.
        session: SessionId,
        /// The masked account name to show, 0 to 48 bytes of UTF-8 without control characters; empty when no
        /// account is bound now.
        account_label: &'a str,
    },
    /// The work has failed; the chip is as it was before it.
    Failed {
        /// Which work.
        session: SessionId,
        /// A stable code, 1 to 48 characters of `a-z`, `0-9` and `_`.
        code: &'a str,
    },
}

impl<'a> Outcome<'a> {
    /// Which work this is about.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        match self {
            Self::Done { session, .. } | Self::Failed { session, .. } => *session,
        }
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a text out of its range, [`Error::NoRoom`].
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let (result, text) = match self {
            Self::Done { account_label, .. } => (DONE, label(account_label.as_bytes())?),
            Self::Failed { code, .. } => (FAILED, failure_code(code.as_bytes())?),
        };
        let [.., text_bytes] = text.len().to_be_bytes();
        let session = self.session();
        let head = [FORMAT_VERSION, KIND_OUTCOME];
        let mut used = 0;
        for part in [&head[..], &session.0, &[result, text_bytes], text.as_bytes()] {
            out.get_mut(used..used + part.len()).ok_or(Error::NoRoom)?.copy_from_slice(part);
            used += part.len();
        }
        out.get(..used).ok_or(Error::NoRoom)
    }

    pub(super) fn decode(session: SessionId, mut input: Input<'a>) -> Result<Self, Error> {
        let result = input.byte()?;
        let text_bytes = input.byte()?;
        let text = input.take(usize::from(text_bytes))?;
        input.end()?;
        match result {
            DONE => Ok(Self::Done { session, account_label: label(text)? }),
            FAILED => Ok(Self::Failed { session, code: failure_code(text)? }),
            _ => Err(Error::BadValue),
        }
    }
}

fn label(bytes: &[u8]) -> Result<&str, Error> {
    let text = core::str::from_utf8(bytes).map_err(|_| Error::BadValue)?;
    if text.len() > MAX_LABEL_BYTES || text.chars().any(char::is_control) { Err(Error::BadValue) } else { Ok(text) }
}

fn failure_code(bytes: &[u8]) -> Result<&str, Error> {
    let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if bytes.is_empty() || bytes.len() > MAX_CODE_BYTES || !bytes.iter().all(allowed) {
        return Err(Error::BadValue);
    }
    core::str::from_utf8(bytes).map_err(|_| Error::BadValue)
}
