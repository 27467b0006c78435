//! Decisions that a single disturbed bit or a skipped instruction must not turn around.
//!
//! A glitch attack flips a bit or skips an instruction at the moment of a decision. A [`Verdict`] has two
//! values that differ in every bit, is made from a condition that was evaluated twice, and is read twice.
//! Anything that is neither value reads as "no". The compiler must not merge the two evaluations, hence
//! `black_box`.

use core::hint::black_box;

const YES: u32 = 0x6A39_C596;
const NO: u32 = !YES;

/// Yes or no, and hard to turn from no to yes by a fault.
#[derive(Clone, Copy)]
pub(crate) struct Verdict(u32);

impl Verdict {
    /// The answer before anything was proven.
    pub(crate) const NO: Self = Self(NO);

    /// Yes where `condition` holds both times it is asked.
    pub(crate) fn of(condition: impl Fn() -> bool) -> Self {
        let mut verdict = black_box(NO);
        if black_box(condition()) && black_box(condition()) {
            verdict = black_box(YES);
        }
        Self(verdict)
    }

    /// Whether the answer is yes, asked twice.
    pub(crate) fn is_yes(self) -> bool {
        black_box(self.0) == YES && black_box(!self.0) == NO
    }

    /// Yes where both are.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::of(|| self.is_yes() && other.is_yes())
    }
}

/// Four bytes that hold a small number and its complement twice over: damage shows.
pub(crate) const fn spread(number: u8) -> [u8; 4] {
    [number, !number, number ^ 0x5A, !(number ^ 0x5A)]
}

/// The number in four bytes of [`spread`], or nothing where they are not of one mind.
pub(crate) fn unspread(bytes: [u8; 4]) -> Option<u8> {
    let number = bytes[0];
    (bytes == spread(number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_single_flipped_bit_says_yes_or_goes_unnoticed() {
        for bit in 0..32 {
            assert!(!Verdict(NO ^ 1 << bit).is_yes());
            assert!(!Verdict(YES ^ 1 << bit).is_yes());
        }
        for number in 0..=u8::MAX {
            assert_eq!(unspread(spread(number)), Some(number));
            for bit in 0..32 {
                let mut bytes = spread(number);
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(unspread(bytes), None);
            }
        }
    }

    #[test]
    fn a_condition_that_changes_its_mind_is_no() {
        let asked = core::cell::Cell::new(0);
        let once = Verdict::of(|| {
            asked.set(asked.get() + 1);
            asked.get() == 1
        });
        assert!(!once.is_yes());
        assert!(Verdict::of(|| true).and(Verdict::of(|| true)).is_yes());
        assert!(!Verdict::of(|| true).and(Verdict::NO).is_yes());
    }
}
