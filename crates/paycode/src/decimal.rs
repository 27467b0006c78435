//! Decimal digits in ASCII to numbers and back, in fixed widths.
//!
//! A number is cut into 32-bit pieces of nine digits first, because a 32-bit chip divides 32 bits
//! in hardware and 64 bits in a slow routine.

/// The widest number written or read here, in digits: 10^12 fits `u64` with room to spare.
pub(crate) const MAX_WIDTH: usize = 12;

const POWERS: [u64; MAX_WIDTH + 1] = {
    let mut powers = [1u64; MAX_WIDTH + 1];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// 10^`width`. `width` is at most [`MAX_WIDTH`] by the types that hold widths.
pub(crate) const fn power_of_ten(width: usize) -> u64 {
    POWERS[width]
}

/// Writes the last `out.len()` decimal digits of `value`, zero padded.
pub(crate) fn write(value: u64, out: &mut [u8]) {
    let mut rest = value;
    for piece in out.rchunks_mut(9) {
        // Below 10^9 by the remainder, so the cast loses nothing.
        let mut small = (rest % power_of_ten(9)) as u32;
        rest /= power_of_ten(9);
        for digit in piece.iter_mut().rev() {
            *digit = b'0' + (small % 10) as u8;
            small /= 10;
        }
    }
}

/// The number written in `digits`, or `None` where one is not an ASCII digit.
///
/// At most [`MAX_WIDTH`] digits, so the sum cannot overflow.
pub(crate) fn read(digits: &[u8]) -> Option<u64> {
    debug_assert!(digits.len() <= MAX_WIDTH);
    digits.iter().try_fold(0u64, |sum, &digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_width_and_their_value() {
        for (value, width, text) in [
            (0, 1, "0"),
            (7, 3, "007"),
            (999_999_999, 9, "999999999"),
            (1_000_000_000, 10, "1000000000"),
            (1_234_567_890, 12, "001234567890"),
            (999_999_999_999, 12, "999999999999"),
        ] {
            let mut out = [b'x'; MAX_WIDTH];
            write(value, &mut out[..width]);
            assert_eq!(&out[..width], text.as_bytes());
            assert_eq!(read(text.as_bytes()), Some(value));
        }
    }

    #[test]
    fn only_the_last_digits_are_written() {
        let mut out = [0; 3];
        write(1_234_567_890_123, &mut out);
        assert_eq!(&out, b"123");
    }

    #[test]
    fn anything_but_ascii_digits_is_refused() {
        for text in ["12a", " 1", "1-", "/", ":", "１"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
