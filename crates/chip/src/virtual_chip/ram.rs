//! What a virtual chip holds in RAM, so that a program that ends between two commands can stand for a chip that
//! keeps its power: the passcode session. A secure channel is not kept; its host opens another.

use crate::hardened::Verdict;

/// Marks the two images; nothing else is one.
const OPEN: [u8; 8] = *b"RAM open";
const CLOSED: [u8; 8] = *b"RAM shut";

/// An image of a virtual chip's RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    session_is_open: bool,
}

impl Ram {
    pub(super) fn of(session: Verdict) -> Self {
        Self { session_is_open: session.is_yes() }
    }

    pub(super) fn session(self) -> Verdict {
        Verdict::of(|| self.session_is_open)
    }

    /// The image as bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        if self.session_is_open { OPEN } else { CLOSED }
    }

    /// Reads what [`Ram::to_bytes`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let session_is_open = *bytes == OPEN;
        (session_is_open || *bytes == CLOSED).then_some(Self { session_is_open })
    }
}
