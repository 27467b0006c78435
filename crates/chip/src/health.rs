//! Health tests between the random source and its users (NIST SP 800-90B §4.4), failing closed.
//!
//! A chip's source is conditioned and tested by its maker. These two tests run over what it delivers all the same:
//! a source that got stuck, or leans towards one value, is caught here whoever built it. A sample is one byte; the
//! limits are for half the entropy a conditioned source has (4 bits a byte) and a false alarm in 2³⁰ tests at that
//! entropy. At full entropy a false alarm never comes: 2⁻⁶⁴ for a repetition, less for a proportion.
//!
//! The source is tested over 1,024 bytes before its first use after power-up (§4.3), and on every byte after. A
//! failure stays until power-down: whoever asks gets [`RngError`].

use crate::hal::{Rng, RngError};
use zeroize::Zeroize;

/// Repetition count test: so many equal bytes in a row are a failure: 1 + ⌈30 / 4⌉.
const MAX_REPETITIONS: u8 = 9;
/// Adaptive proportion test: bytes in a window.
const WINDOW: u16 = 512;
/// So many bytes of a window equal to its first are a failure: the binomial bound for 2⁻⁴ and 2⁻³⁰.
const MAX_SAME: u16 = 71;
/// Bytes tested before the first use.
const STARTUP_BYTES: usize = 1_024;

/// A random source under test.
pub(crate) struct Checked<R> {
    source: R,
    state: State,
    counts: Counts,
}

/// How far the source is trusted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was drawn since power-up.
    Untested,
    Sound,
    /// A test failed. No way back.
    Failed,
}

/// What the tests remember of the bytes before.
struct Counts {
    last: u8,
    repetitions: u8,
    first_of_window: u8,
    seen_in_window: u16,
    same_in_window: u16,
}

impl<R: Rng> Checked<R> {
    pub(crate) const fn new(source: R) -> Self {
        Self { source, state: State::Untested, counts: Counts::BEGIN }
    }

    pub(crate) fn into_source(self) -> R {
        self.source
    }

    /// Tests the source over fresh bytes, as before its first use.
    ///
    /// # Errors
    /// [`RngError`] where it fails now or failed before.
    pub(crate) fn test(&mut self) -> Result<(), RngError> {
        let mut chunk = [0; 32];
        for _ in 0..STARTUP_BYTES / chunk.len() {
            self.draw(&mut chunk)?;
        }
        Ok(())
    }

    #[inline(never)]
    fn draw(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
        let mut sound = self.state != State::Failed && self.source.fill(bytes).is_ok();
        for byte in bytes.iter() {
            sound = sound && self.counts.passes(*byte);
        }
        if sound {
            self.state = State::Sound;
            return Ok(());
        }
        self.state = State::Failed;
        bytes.zeroize();
        Err(RngError)
    }
}

impl<R: Rng> Rng for Checked<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
        if self.state == State::Untested {
            self.test()?;
        }
        self.draw(bytes)
    }
}

impl Counts {
    /// Before the first byte: it begins a window.
    const BEGIN: Self = Self { last: 0, repetitions: 0, first_of_window: 0, seen_in_window: WINDOW, same_in_window: 0 };

    /// Counts a byte; false where a limit is reached.
    fn passes(&mut self, byte: u8) -> bool {
        if byte != self.last {
            self.repetitions = 0;
        }
        self.repetitions += 1;
        self.last = byte;
        if self.seen_in_window == WINDOW {
            (self.first_of_window, self.seen_in_window, self.same_in_window) = (byte, 0, 0);
        }
        self.seen_in_window += 1;
        self.same_in_window += u16::from(byte == self.first_of_window);
        self.repetitions < MAX_REPETITIONS && self.same_in_window < MAX_SAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what `next` says of the number of bytes given so far.
    struct Scripted<N: FnMut(usize) -> Option<u8>>(usize, N);

    impl<N: FnMut(usize) -> Option<u8>> Rng for Scripted<N> {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
            for byte in bytes {
                *byte = (self.1)(self.0).ok_or(RngError)?;
                self.0 += 1;
            }
            Ok(())
        }
    }

    fn mixed(count: usize) -> u8 {
        (count as u32).wrapping_mul(2_654_435_761).rotate_left(9) as u8
    }

    /// Draws one byte at a time; gives how many came before the failure, if one came.
    fn drawn(next: impl FnMut(usize) -> Option<u8>) -> Option<usize> {
        let mut rng = Checked::new(Scripted(0, next));
        (0..10_000).find(|_| rng.fill(&mut [0]).is_err())
    }

    #[test]
    fn a_sound_source_passes_and_is_tested_before_its_first_use() {
        assert_eq!(drawn(|count| Some(mixed(count))), None);
        let mut rng = Checked::new(Scripted(0, |count| Some(mixed(count))));
        rng.fill(&mut [0; 4]).unwrap();
        assert_eq!(rng.into_source().0, STARTUP_BYTES + 4);
    }

    #[test]
    fn a_source_that_sticks_fails_at_the_ninth_byte_and_not_at_the_eighth() {
        for (repetitions, failure) in [(8, None), (9, Some(8))] {
            let stuck = 2_000..2_000 + repetitions;
            // No neighbour of the stretch has its value.
            let next = |count: usize| match count {
                _ if stuck.contains(&count) => Some(7),
                1_999 | 2_020.. => Some(8 + mixed(count) % 8 * 30),
                2_000..2_020 => Some(100 + count as u8 % 5),
                _ => Some(mixed(count)),
            };
            let found = drawn(next).map(|drawn| drawn + STARTUP_BYTES - 2_000);
            assert_eq!(found, failure, "{repetitions} in a row");
        }
        assert_eq!(drawn(|_| Some(0)), Some(0), "stuck from the beginning");
    }

    #[test]
    fn a_source_that_leans_fails_at_the_limit_and_not_before() {
        for (same, fails) in [(MAX_SAME - 1, false), (MAX_SAME, true)] {
            // The first byte of the third window, and every third after it, is the same.
            let window = 2 * usize::from(WINDOW);
            let mut left = same;
            let next = |count: usize| {
                let leans = count >= window && (count - window).is_multiple_of(3) && left > 0;
                left -= u16::from(leans);
                Some(if leans { 200 } else { (count % 199) as u8 })
            };
            assert_eq!(drawn(next).is_some(), fails, "{same} of a window");
        }
    }

    #[test]
    fn a_source_that_failed_once_stays_failed() {
        let mut rng = Checked::new(Scripted(0, |count| (count != 1_030).then(|| mixed(count))));
        rng.fill(&mut [0; 4]).unwrap();
        let mut bytes = [1; 8];
        assert_eq!(rng.fill(&mut bytes), Err(RngError));
        assert_eq!(bytes, [0; 8], "nothing half random is left");
        assert_eq!(rng.fill(&mut bytes), Err(RngError));
        assert_eq!(rng.test(), Err(RngError));
    }
}
