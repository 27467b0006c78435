//! The binding offer: the text in the QR code the owner scans with the phone, and its reading for those
//! who receive it.
//!
//! `PC1:<chip id, 32 hex digits>:<nonce, 16 hex digits>:<checksum, 4 hex digits>`, 58 characters, all of
//! them in the QR code's alphanumeric set, so the picture stays small. The checksum is CRC-16/CCITT-FALSE
//! (polynomial 1021, start FFFF, no reflection) over the text before the last colon; it catches a torn or
//! mistyped text. It proves nothing: that the chip is genuine shows in the channel that follows.

use core::fmt;

use protocol::applet::CHIP_ID_BYTES;

/// Bytes of the nonce that makes each offer a new one.
pub const NONCE_BYTES: usize = 8;
/// Characters of an offer.
pub const OFFER_CHARACTERS: usize = 58;
const PREFIX: &[u8] = b"PC1:";
const CHECKED: usize = PREFIX.len() + 2 * CHIP_ID_BYTES + 1 + 2 * NONCE_BYTES;

/// An offer to bind this chip.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    text: [u8; OFFER_CHARACTERS],
}

/// Why a text is no offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferError {
    /// It has another form.
    Form,
    /// Its checksum is wrong: it was torn or mistyped.
    Checksum,
}

impl Offer {
    /// An offer of a chip with a nonce never used before.
    pub fn new(chip_id: &[u8; CHIP_ID_BYTES], nonce: &[u8; NONCE_BYTES]) -> Self {
        let mut text = [b':'; OFFER_CHARACTERS];
        let mut characters = text.iter_mut();
        let mut put = |character: u8| {
            if let Some(place) = characters.next() {
                *place = character;
            }
        };
        PREFIX.iter().copied().for_each(&mut put);
        hex_digits(chip_id).for_each(&mut put);
        put(b':');
        hex_digits(nonce).for_each(&mut put);
        let sum = crc16(text.get(..CHECKED).unwrap_or(&[]));
        let tail = text.iter_mut().skip(CHECKED + 1);
        tail.zip(hex_digits(&sum.to_be_bytes())).for_each(|(place, digit)| *place = digit);
        Self { text }
    }

    /// Reads an offer.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        let text: [u8; OFFER_CHARACTERS] = text.as_bytes().try_into().map_err(|_| OfferError::Form)?;
        let offer = Self { text };
        let (chip_id, nonce) = offer.fields().ok_or(OfferError::Form)?;
        let right = Self::new(&chip_id, &nonce);
        if right.text == text {
            return Ok(offer);
        }
        // Everything but the four digits of the checksum is the same: then only they are wrong.
        let same = right.text.get(..=CHECKED) == text.get(..=CHECKED);
        Err(if same { OfferError::Checksum } else { OfferError::Form })
    }

    /// The text for the QR code.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.text).unwrap_or("")
    }

    /// The chip offered.
    pub fn chip_id(&self) -> [u8; CHIP_ID_BYTES] {
        self.fields().map_or([0; CHIP_ID_BYTES], |(chip_id, _)| chip_id)
    }

    /// The nonce of this offer.
    pub fn nonce(&self) -> [u8; NONCE_BYTES] {
        self.fields().map_or([0; NONCE_BYTES], |(_, nonce)| nonce)
    }

    fn fields(&self) -> Option<([u8; CHIP_ID_BYTES], [u8; NONCE_BYTES])> {
        let (chip_id, rest) = self.text.get(PREFIX.len()..)?.split_at_checked(2 * CHIP_ID_BYTES)?;
        let nonce = rest.get(1..=2 * NONCE_BYTES)?;
        Some((bytes(chip_id)?, bytes(nonce)?))
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offer({})", self.as_str())
    }
}

fn hex_digits(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
    bytes.iter().flat_map(move |byte| [digit(byte >> 4), digit(byte & 15)])
}

fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    let (pairs, _) = digits.as_chunks::<2>();
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(crc16(b"123456789"), 0x29B1);
    }

    #[test]
    fn an_offer_is_read_as_it_was_written() {
        let chip_id = core::array::from_fn(|at| at as u8 * 0x11);
        let offer = Offer::new(&chip_id, &[0xA5; 8]);
        assert_eq!(offer.as_str(), "PC1:00112233445566778899AABBCCDDEEFF:A5A5A5A5A5A5A5A5:48A0");
        assert_eq!(Offer::parse(offer.as_str()), Ok(offer));
        assert_eq!((offer.chip_id(), offer.nonce()), (chip_id, [0xA5; 8]));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let offer = Offer::new(&[7; 16], &[9; 8]);
        for at in 0..OFFER_CHARACTERS {
            let mut text = offer.as_str().as_bytes().to_vec();
            text[at] = if text[at] == b'3' { b'4' } else { b'3' };
            assert!(Offer::parse(core::str::from_utf8(&text).unwrap()).is_err(), "character {at}");
        }
        for text in ["", "PC1:", "PC2:00112233445566778899AABBCCDDEEFF:0011223344556677:0000"] {
            assert_eq!(Offer::parse(text), Err(OfferError::Form));
        }
        let lower = offer.as_str().to_lowercase();
        assert_eq!(Offer::parse(&lower), Err(OfferError::Form), "one offer has one form");
    }
}
