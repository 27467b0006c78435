//! The answer to reset of a payment chip behind a contact or virtual reader (ISO/IEC 7816-3 §8), byte by byte.

/// Direct convention; T=1 alone, blocks of 254 bytes, the usual waiting times; then the historical bytes
/// (ISO/IEC 7816-4 §12.1.1) and the check byte.
pub const ATR: [u8; 20] = [
    0x3B, // TS: direct convention
    0x8D, // T0: TD1 follows, 13 historical bytes
    0x81, // TD1: T=1 and nothing else; TD2 follows
    0x31, // TD2: TA3 and TB3 are about T=1
    0xFE, // TA3: the chip takes blocks of 254 bytes
    0x45, // TB3: BWI 4, CWI 5, the default
    0x80, // what follows is compact TLV
    0x73, // card capabilities, three bytes:
    0x80, //   an applet is selected by its whole name
    0x21, //   data units are bytes
    0x00, //   no chaining, no extended length, no logical channels
    0x57, // the issuer's own data, seven bytes:
    b'p', b'a', b'y', b'c', b'h', b'i', b'p', //
    0xF9, // TCK
];

/// Whether a card with this answer to reset says that it is a payment chip.
#[must_use]
pub fn is_payment_chip(atr: &[u8]) -> bool {
    atr.windows(8).any(|field| field == b"\x57paychip")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_byte_makes_everything_after_ts_cancel_out() {
        assert_eq!(ATR.iter().skip(1).fold(0, |sum, byte| sum ^ byte), 0);
    }

    #[test]
    fn as_many_historical_bytes_follow_as_t0_says() {
        let interface_bytes = 4;
        let check_byte = 1;
        assert_eq!(ATR.len(), 2 + interface_bytes + usize::from(ATR[1] & 0x0F) + check_byte);
        assert!(is_payment_chip(&ATR));
        assert!(!is_payment_chip(&ATR[..15]));
    }
}
