//! The offer: what a wearable shows as a QR code to be bound.
//!
//! `PC1:<chip id, 32 hex>:<nonce, 16 hex>:<CRC-16, 4 hex>`, upper case, 58 characters: it fits the alphanumeric
//! mode of a QR code. The check sum is CRC-16/CCITT-FALSE over all before the last colon; it catches a bad scan
//! and proves nothing. What proves the chip is the secure channel.

use protocol::link::crc16;

use crate::{ChipId, Reason, Refusal};

/// What every offer begins with.
pub const OFFER_PREFIX: &str = "PC1:";

/// A binding offer, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The chip that wants to be bound.
    pub chip: ChipId,
    /// Fresh for each offer.
    pub nonce: [u8; 8],
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`Reason::OfferMalformed`], at `offer`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        Self::read(text).ok_or(Refusal::at(Reason::OfferMalformed, "offer"))
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() != 58 || !text.is_ascii() || text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        let (body, sum) = text.rsplit_once(':')?;
        // The number parsers would take a sign.
        let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if sum.len() != 4 || !is_hex(sum) || u16::from_str_radix(sum, 16).ok()? != crc16(body.as_bytes()) {
            return None;
        }
        let (chip, nonce) = body.strip_prefix(OFFER_PREFIX)?.split_once(':')?;
        let nonce = (nonce.len() == 16 && is_hex(nonce)).then(|| u64::from_str_radix(nonce, 16).ok()).flatten()?;
        Some(Self { chip: ChipId::parse(chip).ok()?, nonce: nonce.to_be_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(body: &str) -> String {
        format!("{body}:{:04X}", crc16(body.as_bytes()))
    }

    #[test]
    fn an_offer_is_read_and_a_bad_scan_is_not() {
        let text = offer("PC1:000102030405060708090A0B0C0D0E0F:1122334455667788");
        let read = Offer::parse(&text).unwrap();
        assert_eq!(read.chip.0[15], 15);
        assert_eq!(read.nonce, [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
        for position in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[position] = if damaged[position] == b'0' { b'1' } else { b'0' };
            assert!(Offer::parse(&String::from_utf8(damaged).unwrap()).is_err(), "{position}");
        }
        for bad in ["", "PC1:", &offer("PC1:000102030405060708090A0B0C0D0E0F:+122334455667788"), &text.to_lowercase()] {
            assert!(Offer::parse(bad).is_err(), "{bad}");
        }
    }
}
