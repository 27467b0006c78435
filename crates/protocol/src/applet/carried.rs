//! What a relay may carry to the chip (`spec/relay.md` 3.6).

use super::{AID, ins};
use crate::apdu::Command;

const INTERINDUSTRY: u8 = 0x00;
const PROPRIETARY: u8 = 0x80;
/// The same two, sealed by the secure channel.
const SEALED: [u8; 2] = [0x04, 0x84];

/// Whether this APDU is one that the cloud sends through a relay: sealed by the secure channel, or in the clear and harmless
/// whoever sends it: SELECT of the applet, GET DATA, ATTEST, INITIALIZE UPDATE. Whatever makes codes, tries or sets a passcode,
/// or leaves the applet is for the wearable itself to send; what cannot be read is not.
#[must_use]
pub fn may_be_carried(apdu: &[u8]) -> bool {
    let Ok(command) = Command::parse(apdu) else { return false };
    match (command.class.0, command.instruction) {
        // Without an open channel the chip refuses it, and in one it takes the channel's keys.
        (class, ins::EXTERNAL_AUTHENTICATE | ins::STORE_DATA | ins::PUT_KEY | ins::VOUCH | ins::GET_DATA)
            if SEALED.contains(&class) =>
        {
            true
        }
        (INTERINDUSTRY, ins::SELECT) => command.p1_p2() == 0x0400 && command.data == AID,
        (INTERINDUSTRY, ins::GET_DATA) | (PROPRIETARY, ins::ATTEST | ins::INITIALIZE_UPDATE) => true,
        _ => false,
    }
}
