//! Code 128 (ISO/IEC 15417) for payment digits: the bar code a till's laser or camera reads.
//! Pairs of digits travel in code set C; an odd last digit travels in code set B. The picture is
//! always the shortest one the standard allows for those digits, ends in a right checksum, and needs
//! no heap.

/// Most digits one bar code here can hold; payment codes have 18 to 24.
pub const MAX_DIGITS: usize = 32;

/// Modules of white the standard asks for on either side of the bars.
pub const QUIET_MODULES: u32 = 10;

/// Start, every pair, one switch of code set, the odd digit, the checksum; the stop is not kept.
const MAX_SYMBOLS: usize = MAX_DIGITS / 2 + 4;
const MODULES_PER_SYMBOL: u32 = 11;
const MODULES_IN_STOP: u32 = 13;

const CODE_B: u8 = 100;
const START_B: u8 = 104;
const START_C: u8 = 105;
const STOP: usize = 106;

/// Widths of bar, space, bar, space … of every symbol value, in modules: 11 in all, 13 for the stop.
#[rustfmt::skip]
const WIDTHS: [&[u8]; 107] = [
    b"212222", b"222122", b"222221", b"121223", b"121322", b"131222", b"122213", b"122312",
    b"132212", b"221213", b"221312", b"231212", b"112232", b"122132", b"122231", b"113222",
    b"123122", b"123221", b"223211", b"221132", b"221231", b"213212", b"223112", b"312131",
    b"311222", b"321122", b"321221", b"312212", b"322112", b"322211", b"212123", b"212321",
    b"232121", b"111323", b"131123", b"131321", b"112313", b"132113", b"132311", b"211313",
    b"231113", b"231311", b"112133", b"112331", b"132131", b"113123", b"113321", b"133121",
    b"313121", b"211331", b"231131", b"213113", b"213311", b"213131", b"311123", b"311321",
    b"331121", b"312113", b"312311", b"332111", b"314111", b"221411", b"431111", b"111224",
    b"111422", b"121124", b"121421", b"141122", b"141221", b"112214", b"112412", b"122114",
    b"122411", b"142112", b"142211", b"241211", b"221114", b"413111", b"241112", b"134111",
    b"111242", b"121142", b"121241", b"114212", b"124112", b"124211", b"411212", b"421112",
    b"421211", b"212141", b"214121", b"412121", b"111143", b"111341", b"131141", b"114113",
    b"114311", b"411113", b"411311", b"113141", b"114131", b"311141", b"411131", b"211412",
    b"211214", b"211232", b"2331112",
];

/// Why digits cannot become a bar code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code128Error {
    /// There are none, or more than [`MAX_DIGITS`].
    Length,
    /// Something other than `0`–`9` is among them.
    NotADigit,
}

/// A bar code, kept as its symbol values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code128 {
    symbols: [u8; MAX_SYMBOLS],
    count: usize,
}

impl Code128 {
    /// Encodes decimal digits.
    pub fn new(digits: &str) -> Result<Self, Code128Error> {
        let digits = digits.as_bytes();
        if digits.is_empty() || digits.len() > MAX_DIGITS {
            return Err(Code128Error::Length);
        }
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Code128Error::NotADigit);
        }
        let mut code = Self { symbols: [0; MAX_SYMBOLS], count: 0 };
        let (pairs, odd) = digits.as_chunks::<2>();
        code.push(if pairs.is_empty() { START_B } else { START_C });
        for [tens, units] in pairs {
            code.push((tens - b'0') * 10 + (units - b'0'));
        }
        if let [digit] = odd {
            if !pairs.is_empty() {
                code.push(CODE_B);
            }
            // In set B the symbol value is the ASCII code less that of the space.
            code.push(digit - b' ');
        }
        code.push(code.checksum());
        Ok(code)
    }

    fn push(&mut self, symbol: u8) {
        if let Some(place) = self.symbols.get_mut(self.count) {
            *place = symbol;
            self.count += 1;
        }
    }

    /// The start counts once, every following symbol as often as its place says; modulo 103.
    fn checksum(&self) -> u8 {
        let sum: u32 = (0u32..).zip(self.symbols()).map(|(at, &s)| at.max(1) * u32::from(s)).sum();
        (sum % 103) as u8
    }

    fn symbols(&self) -> &[u8] {
        self.symbols.get(..self.count).unwrap_or(&[])
    }

    /// Width in modules, without the quiet zones.
    pub fn width(&self) -> u32 {
        self.count as u32 * MODULES_PER_SYMBOL + MODULES_IN_STOP
    }

    /// Width in modules with both quiet zones.
    pub fn width_with_quiet(&self) -> u32 {
        self.width() + 2 * QUIET_MODULES
    }

    /// The bars from left to right as (first module, width in modules), quiet zone not counted.
    pub fn bars(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let widths = self.widths();
        widths
            .scan((0u32, true), |(at, black), width| {
                let bar = (*at, width, *black);
                *at += width;
                *black = !*black;
                Some(bar)
            })
            .filter_map(|(at, width, black)| black.then_some((at, width)))
    }

    /// Every module from left to right, `true` for black; [`Code128::width`] of them.
    pub fn modules(&self) -> impl Iterator<Item = bool> + '_ {
        self.widths().enumerate().flat_map(|(at, width)| (0..width).map(move |_| at % 2 == 0))
    }

    /// Alternating widths of bars and spaces. Every symbol but the stop has an even count, so the
    /// colour never gets out of step.
    fn widths(&self) -> impl Iterator<Item = u32> + '_ {
        let stop = [STOP];
        self.symbols()
            .iter()
            .map(|&s| usize::from(s))
            .chain(stop)
            .flat_map(|symbol| WIDTHS.get(symbol).copied().unwrap_or(&[]))
            .map(|width| u32::from(width - b'0'))
    }
}

impl core::fmt::Debug for Code128 {
    /// Digits are money: only the size is told.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Code128({} modules)", self.width())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn every_symbol_has_its_own_eleven_modules() {
        for (value, widths) in WIDTHS.iter().enumerate() {
            let sum: u32 = widths.iter().map(|w| u32::from(w - b'0')).sum();
            let bars: u32 = widths.iter().step_by(2).map(|w| u32::from(w - b'0')).sum();
            if value == STOP {
                assert_eq!(sum, MODULES_IN_STOP);
            } else {
                assert_eq!(sum, MODULES_PER_SYMBOL, "symbol {value}");
                assert_eq!(bars % 2, 0, "bars of a symbol are even in all: {value}");
            }
            assert_eq!(WIDTHS.iter().filter(|w| *w == widths).count(), 1, "symbol {value}");
        }
    }

    #[test]
    fn a_known_code_has_the_known_modules() {
        // "1234" in set C: start 105, 12, 34; checksum (105 + 12 + 2 × 34) mod 103 = 82.
        let code = Code128::new("1234").unwrap();
        assert_eq!(code.symbols(), [105, 12, 34, 82]);
        let modules: String = code.modules().map(|m| if m { '1' } else { '0' }).collect();
        assert_eq!(modules, concat!("11010011100", "10110011100", "10001011000", "10010011110", "1100011101011"));
    }

    #[test]
    fn odd_lengths_end_in_set_b_and_cost_one_symbol_more_than_the_next_pair() {
        let code = Code128::new("123").unwrap();
        assert_eq!(code.symbols()[..4], [105, 12, CODE_B, b'3' - 32]);
        assert_eq!(Code128::new("7").unwrap().symbols()[..2], [START_B, b'7' - 32]);
        for (length, modules) in [(18, 134), (19, 156), (20, 145), (21, 167), (22, 156), (23, 178), (24, 167)] {
            let digits: String = "0123456789".chars().cycle().take(length).collect();
            assert_eq!(Code128::new(&digits).unwrap().width(), modules, "{length} digits");
        }
    }

    #[test]
    fn bars_and_modules_tell_the_same() {
        let code = Code128::new("71000123456789012345678").unwrap();
        let mut drawn = std::vec![false; code.width() as usize];
        for (at, width) in code.bars() {
            drawn[at as usize..(at + width) as usize].fill(true);
        }
        assert_eq!(drawn, code.modules().collect::<Vec<_>>());
        assert!(drawn[0] && drawn[drawn.len() - 1], "begins and ends with a bar");
    }

    #[test]
    fn what_is_no_payment_code_is_refused() {
        assert_eq!(Code128::new(""), Err(Code128Error::Length));
        assert_eq!(Code128::new(&"1".repeat(MAX_DIGITS + 1)), Err(Code128Error::Length));
        assert!(Code128::new(&"1".repeat(MAX_DIGITS)).is_ok());
        assert_eq!(Code128::new("12a4"), Err(Code128Error::NotADigit));
        assert_eq!(Code128::new("12４4"), Err(Code128Error::NotADigit));
    }
}
