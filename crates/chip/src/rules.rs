//! What a token asks of the passcode. A token nobody gave rules to asks for none, and trusts a session for a day.

use crate::hal::Flash;
use crate::records;
use crate::store::Store;
use protocol::apdu::StatusWord;
use protocol::applet::{SetRules, Slot};

/// A day: how long a session is good for a token without rules.
const DEFAULT_SESSION_SECONDS: u32 = 86_400;
const RECORD_BYTES: usize = 5;

/// The rules of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// No codes until a passcode is set.
    pub(crate) passcode_required: bool,
    /// How long a passcode session lasts, in seconds of the wearable's clock.
    pub(crate) session_seconds: u32,
}

impl Rules {
    pub(crate) const fn of(order: &SetRules) -> Self {
        Self { passcode_required: order.passcode_required, session_seconds: order.session_seconds }
    }

    pub(crate) const fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let [a, b, c, d] = self.session_seconds.to_be_bytes();
        [self.passcode_required as u8, a, b, c, d]
    }

    /// The rules of the token in `slot`.
    pub(crate) fn read<F: Flash>(store: &mut Store<F>, slot: Slot) -> Result<Self, StatusWord> {
        let Some([required, a, b, c, d]) = records::read(store, records::rules(slot))? else {
            return Ok(Self { passcode_required: false, session_seconds: DEFAULT_SESSION_SECONDS });
        };
        Ok(Self { passcode_required: required != 0, session_seconds: u32::from_be_bytes([a, b, c, d]) })
    }
}
