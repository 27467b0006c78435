//! Decimal digits in ASCII to numbers and back, in fixed widths.
//!
//! A 32-bit chip divides 32 bits in hardware and 64 bits in a slow and large routine. So nothing here divides 64 bits:
//! a division by a power of ten is a multiplication with its inverse ([`divide`]), which also takes one time for all
//! numbers.

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

/// ⌊2^64 / 10^width⌋; the first is one less, to fit.
const INVERSES: [u64; MAX_WIDTH + 1] = {
    let mut inverses = [u64::MAX; MAX_WIDTH + 1];
    let mut i = 1;
    while i < inverses.len() {
        // No power of ten but the first divides 2^64.
        inverses[i] = u64::MAX / POWERS[i];
        i += 1;
    }
    inverses
};

/// `value` divided by 10^`width`, and what is left.
pub(crate) fn divide(value: u64, width: usize) -> (u64, u64) {
    let power = power_of_ten(width);
    // Never above the quotient, and at most one below it: the inverse is short by less than one, the value below 2^64.
    let quotient = high_half(value, INVERSES[width]);
    let rest = value.wrapping_sub(quotient.wrapping_mul(power));
    let one_more = u64::from(rest >= power);
    (quotient + one_more, rest.wrapping_sub(power & one_more.wrapping_neg()))
}

/// The upper 64 of the 128 bits of a product, from products of 32 bits.
fn high_half(a: u64, b: u64) -> u64 {
    let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
    let ([a_high, a_low], [b_high, b_low]) = (halves(a), halves(b));
    let (cross, other_cross) = (product(a_high, b_low), product(a_low, b_high));
    let middle = (product(a_low, b_low) >> 32) + u64::from(cross as u32) + u64::from(other_cross as u32);
    product(a_high, b_high) + (cross >> 32) + (other_cross >> 32) + (middle >> 32)
}

const fn halves(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

/// The most digits of a number that always fits 32 bits.
const SMALL_WIDTH: usize = 9;

/// Writes `value`, which is below 10^`out.len()`, with zeros in front. At most [`MAX_WIDTH`] digits.
pub(crate) fn write(value: u64, out: &mut [u8]) {
    debug_assert!(value < power_of_ten(out.len()));
    let (high, low) = out.split_at_mut(out.len().saturating_sub(SMALL_WIDTH));
    // What is left of nine digits or fewer fits 32 bits, so the casts lose nothing.
    let (quotient, rest) = if high.is_empty() { (0, value) } else { divide(value, SMALL_WIDTH) };
    write_small(quotient as u32, high);
    write_small(rest as u32, low);
}

fn write_small(value: u32, out: &mut [u8]) {
    let mut rest = value;
    for digit in out.iter_mut().rev() {
        let tenth = rest / 10;
        *digit = b'0' + (rest - tenth * 10) as u8;
        rest = tenth;
    }
}

/// The number written in `digits`, or `None` where one is not an ASCII digit.
///
/// At most [`MAX_WIDTH`] digits, so the sum cannot overflow.
pub(crate) fn read(digits: &[u8]) -> Option<u64> {
    debug_assert!(digits.len() <= MAX_WIDTH);
    let (high, low) = digits.split_at(digits.len().saturating_sub(SMALL_WIDTH));
    Some(u64::from(read_small(high)?) * 1_000_000_000 + u64::from(read_small(low)?))
}

fn read_small(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |sum, &digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))
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
    fn divisions_are_exact() {
        let mut seed = 1_u64;
        let mixed = core::iter::repeat_with(move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> (seed % 64)
        });
        for width in 0..=MAX_WIDTH {
            let power = power_of_ten(width);
            let around = [0, 1, 2, 3, u64::MAX / power - 1, u64::MAX / power].into_iter().flat_map(|times| {
                let multiple = times * power;
                [multiple.wrapping_sub(1), multiple, multiple.wrapping_add(1), multiple.wrapping_add(power - 1)]
            });
            for value in around.chain([u64::MAX]).chain(mixed.take(20_000)) {
                assert_eq!(divide(value, width), (value / power, value % power), "{value} {width}");
            }
        }
    }

    #[test]
    fn anything_but_ascii_digits_is_refused() {
        for text in ["12a", " 1", "1-", "/", ":", "１"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
