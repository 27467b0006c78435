//! QR codes for the screen, over `qrcodegen-no-heap`: digits in numeric mode, the binding offer in
//! alphanumeric mode, EMV text in byte mode, always in the smallest version that holds the text with
//! at least error correction level M. Works in about 1.1 KB of stack and no heap.

use qrcodegen_no_heap::{QrCode, QrCodeEcc, Version};

/// Modules of white the standard asks for around the code.
pub const QUIET_MODULES: u32 = 4;

/// Version 12 holds 287 bytes at level M: an EMV code has about 200.
const LARGEST: Version = Version::new(12);
const LARGEST_SIDE: usize = 65;
const BUFFER: usize = LARGEST.buffer_len();

/// The text is empty or longer than a screen this small should show (287 bytes, 690 digits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QrError;

/// A QR code, kept as its rows.
#[derive(Clone, PartialEq, Eq)]
pub struct Qr {
    side: u32,
    rows: [u128; LARGEST_SIDE],
}

impl Qr {
    /// Encodes a text in the tightest mode all of its characters allow.
    pub fn new(text: &str) -> Result<Self, QrError> {
        if text.is_empty() {
            return Err(QrError);
        }
        let (mut work, mut out) = ([0; BUFFER], [0; BUFFER]);
        // `boostecl`: where the version has room to spare, take the stronger correction for nothing.
        let code = QrCode::encode_text(text, &mut work, &mut out, QrCodeEcc::Medium, Version::MIN, LARGEST, None, true)
            .map_err(|_| QrError)?;
        let mut rows = [0; LARGEST_SIDE];
        for (y, row) in (0..code.size()).zip(&mut rows) {
            *row = (0..code.size()).fold(0, |bits, x| bits | u128::from(code.get_module(x, y)) << x);
        }
        Ok(Self { side: code.size().unsigned_abs(), rows })
    }

    /// Modules along an edge, without the quiet zone.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// Modules along an edge with the quiet zone on both ends.
    pub fn side_with_quiet(&self) -> u32 {
        self.side + 2 * QUIET_MODULES
    }

    /// Whether the module is black; what lies outside is white.
    pub fn is_black(&self, x: u32, y: u32) -> bool {
        x < self.side && self.rows.get(y as usize).is_some_and(|row| row >> x & 1 == 1)
    }

    /// The black runs of one row as (first module, width), so that a row is a few rectangles.
    pub fn runs(&self, y: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..self.side).filter(move |&x| self.is_black(x, y) && (x == 0 || !self.is_black(x - 1, y))).map(move |start| {
            let width = (start..self.side).take_while(|&x| self.is_black(x, y)).count();
            (start, width as u32)
        })
    }
}

impl core::fmt::Debug for Qr {
    /// The text may be money: only the size is told.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Qr({} modules)", self.side)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;

    #[test]
    fn every_length_of_payment_code_fits_the_smallest_qr_code() {
        for length in 18..=24 {
            let digits: String = "7123456890".chars().cycle().take(length).collect();
            assert_eq!(Qr::new(&digits).unwrap().side(), 21);
        }
    }

    #[test]
    fn offer_and_emv_text_stay_small() {
        let offer = "PC1:00112233445566778899AABBCCDDEEFF:0011223344556677:719C";
        assert_eq!(Qr::new(offer).unwrap().side(), 29);
        assert!(Qr::new(&"hQVDUFYwMWET".repeat(17)).unwrap().side() <= 57);
    }

    #[test]
    fn finders_are_where_a_scanner_looks() {
        let qr = Qr::new("71000123456789012345").unwrap();
        for (x, y) in [(0, 0), (14, 0), (0, 14)] {
            assert!((0..7).all(|i| qr.is_black(x + i, y) && qr.is_black(x, y + i)));
            assert!(!qr.is_black(x + 1, y + 1) && qr.is_black(x + 3, y + 3));
        }
        assert_eq!(qr.runs(0).next(), Some((0, 7)));
        assert!(!qr.is_black(21, 0) && !qr.is_black(0, 21) && !qr.is_black(0, 9999));
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert_eq!(Qr::new(""), Err(QrError));
        assert_eq!(Qr::new(&"a".repeat(288)), Err(QrError));
        assert!(Qr::new(&"a".repeat(287)).is_ok());
    }
}
