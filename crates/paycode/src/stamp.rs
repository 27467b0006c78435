//! When a code was made: the 30-second step and the sequence number within it.
//!
//! Stamps are totally ordered, and a token's codes are spent in that order only, which is what makes
//! a code pay once.

use crate::error::error_enum;

/// The length of one time step, in seconds.
pub const STEP_SECONDS: u64 = 30;

error_enum! {
    /// Why a number is no point of a code's time line.
    StampError {
        /// The sequence number is above 3.
        Sequence = "stamp_sequence", "a sequence number is 0 to 3";
        /// The time lies beyond the last 32-bit step (in the year 6053).
        Time = "stamp_time", "the time is past the last time step";
    }
}

/// A 30-second interval: whole Unix seconds divided by 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimeStep(
    /// The number of the step, counted from 1970-01-01T00:00:00Z.
    pub u32,
);

impl TimeStep {
    /// The step that holds this moment.
    ///
    /// # Errors
    /// [`StampError::Time`] where the step does not fit 32 bits.
    pub fn from_unix_seconds(unix_seconds: u64) -> Result<Self, StampError> {
        const STEP: u32 = STEP_SECONDS as u32;
        let (high, low) = ((unix_seconds >> 32) as u32, unix_seconds as u32);
        if unix_seconds >> 32 >= STEP_SECONDS {
            return Err(StampError::Time);
        }
        // Division by hand in two halves of 16 bits: a small chip has no instruction for 64.
        let upper = (high << 16) | (low >> 16);
        let lower = ((upper % STEP) << 16) | (low & 0xFFFF);
        Ok(Self(((upper / STEP) << 16) | (lower / STEP)))
    }

    /// The first second of this step, in Unix seconds.
    #[must_use]
    pub const fn start_unix_seconds(self) -> u64 {
        self.0 as u64 * STEP_SECONDS
    }

    /// The step this many later, or `None` past the last one.
    #[must_use]
    pub fn later(self, steps: u32) -> Option<Self> {
        self.0.checked_add(steps).map(Self)
    }

    /// The step this many earlier, or `None` before the first one.
    #[must_use]
    pub fn earlier(self, steps: u32) -> Option<Self> {
        self.0.checked_sub(steps).map(Self)
    }
}

/// The number of a code within its time step, 0 to 3, so a second payment inside 30 s gets its own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(u8);

impl Sequence {
    /// The first of a step.
    pub const FIRST: Self = Self(0);
    /// All four, in order.
    pub const ALL: [Self; 4] = [Self(0), Self(1), Self(2), Self(3)];

    /// The sequence number 0 to 3.
    ///
    /// # Errors
    /// [`StampError::Sequence`] above 3.
    pub const fn new(number: u8) -> Result<Self, StampError> {
        if number > 3 { Err(StampError::Sequence) } else { Ok(Self(number)) }
    }

    /// The number, 0 to 3.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The next of the same step, or `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1).ok()
    }
}

/// When a code was made. Ordered by step, then by sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// The time step.
    pub step: TimeStep,
    /// The number within the step.
    pub sequence: Sequence,
}

impl Stamp {
    /// A stamp, in bytes.
    pub const BYTES: usize = 5;

    /// The stamp at this step and sequence number.
    #[must_use]
    pub const fn new(step: TimeStep, sequence: Sequence) -> Self {
        Self { step, sequence }
    }

    /// Four bytes of step, big-endian, then one of sequence.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.step.0.to_be_bytes();
        [a, b, c, d, self.sequence.0]
    }

    /// Reads what [`Stamp::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`StampError::Sequence`] where the last byte is above 3.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Result<Self, StampError> {
        let [a, b, c, d, sequence] = bytes;
        Ok(Self::new(TimeStep(u32::from_be_bytes([a, b, c, d])), Sequence::new(sequence)?))
    }

    /// The first Unix second at which a checker with the right time no longer accepts a code with this
    /// stamp: two whole steps after its own.
    #[must_use]
    pub const fn expires_unix_seconds(self) -> u64 {
        (self.step.0 as u64 + 1 + crate::check::STEPS_BEHIND as u64) * STEP_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_thirty_seconds_up_to_the_end_of_time() {
        let last = STEP_SECONDS * (1 << 32) - 1;
        let mixed = (0..100_000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 26);
        for seconds in (0..200).chain([1_800_000_000, last - 30, last - 1, last]).chain(mixed) {
            let expected = u32::try_from(seconds / STEP_SECONDS).map(TimeStep).map_err(|_| StampError::Time);
            assert_eq!(TimeStep::from_unix_seconds(seconds), expected, "{seconds}");
        }
        for seconds in [last + 1, u64::MAX] {
            assert_eq!(TimeStep::from_unix_seconds(seconds), Err(StampError::Time));
        }
    }
}
