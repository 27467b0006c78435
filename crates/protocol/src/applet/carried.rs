//! What a relay may carry to the chip (`spec/relay.md` 3.5).

use super::{AID, ins};
use crate::apdu::Command;

/// Classes in the clear: of ISO 7816-4, and of GlobalPlatform and this applet.
const INTERINDUSTRY: u8 = 0x00;
const PROPRIETARY: u8 = 0x80;
/// The same two, sealed by the secure channel.
const SEALED_INTERINDUSTRY: u8 = 0x04;
const SEALED_PROPRIETARY: u8 = 0x84;

/// Whether this APDU is one that the cloud sends through a relay: sealed by the secure channel, or in the clear and harmless
/// whoever sends it: SELECT of the applet, GET DATA, ATTEST, INITIALIZE UPDATE. Whatever makes codes, tries or sets a passcode,
/// or leaves the applet is for the wearable itself to send; what cannot be read is not.
#[must_use]
pub fn may_be_carried(apdu: &[u8]) -> bool {
    let Ok(command) = Command::parse(apdu) else { return false };
    match (command.class.0, command.instruction) {
        (INTERINDUSTRY, ins::SELECT) => command.p1_p2() == 0x0400 && command.data == AID,
        (INTERINDUSTRY | SEALED_INTERINDUSTRY | SEALED_PROPRIETARY, ins::GET_DATA)
        | (PROPRIETARY, ins::ATTEST | ins::INITIALIZE_UPDATE)
        // Without an open channel the chip refuses these, and in one they take the channel's keys.
        | (SEALED_PROPRIETARY, ins::EXTERNAL_AUTHENTICATE | ins::STORE_DATA | ins::PUT_KEY | ins::VOUCH) => true,
        _ => false,
    }
}
