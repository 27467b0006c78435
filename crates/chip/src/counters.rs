//! Which code comes next: the rule that keeps a code from being made twice, in the past, or without end.
//!
//! Pure: the counters in flash, the grant of the last sync and the wearable's clock go in; the next counters
//! or a refusal come out. The clock is not trusted, only bounded: by the last code, by the anchor, and by how
//! many codes are left.

use paycode::{Sequence, Stamp, TimeStep};
use protocol::apdu::StatusWord;
use protocol::applet;

/// How many steps before its anchor a token may make codes: the window in which the cloud accepts them.
const STEPS_BEFORE_ANCHOR: u32 = 2;

/// What a token has done: rewritten before each code leaves the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The stamp of the last code.
    pub(crate) last: Option<Stamp>,
    /// Application transaction counter: codes made in the token's life.
    pub(crate) transactions: u32,
    /// Codes left until the next sync.
    pub(crate) codes_left: u16,
}

/// What a sync allows, beside the number of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeGrant {
    /// The cloud's time at the sync, in Unix seconds.
    pub(crate) anchor_unix_seconds: u64,
    /// How far past the anchor codes may be made, in seconds.
    pub(crate) allowance_seconds: u32,
}

impl Counters {
    /// Length of the record in flash, in bytes.
    pub(crate) const BYTES: usize = 12;
    /// The sequence byte of a token that has made no code yet.
    const NO_CODE_YET: u8 = 0xFF;

    /// The counters of a new token.
    pub(crate) const fn new(codes_left: u16) -> Self {
        Self { last: None, transactions: 0, codes_left }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d, sequence] = match self.last {
            Some(stamp) => stamp.to_bytes(),
            None => [0, 0, 0, 0, Self::NO_CODE_YET],
        };
        let [e, f, g, h] = self.transactions.to_be_bytes();
        let [i, j] = self.codes_left.to_be_bytes();
        [a, b, c, d, sequence, 0, e, f, g, h, i, j]
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [a, b, c, d, sequence, _, e, f, g, h, i, j] = bytes;
        let last = match sequence {
            Self::NO_CODE_YET => None,
            _ => Some(Stamp::from_bytes([a, b, c, d, sequence]).ok()?),
        };
        Some(Self { last, transactions: u32::from_be_bytes([e, f, g, h]), codes_left: u16::from_be_bytes([i, j]) })
    }

    /// The stamp of the next code and the counters that must be in flash before it leaves.
    ///
    /// # Errors
    /// 9301 before the last code's step or the anchor less two steps; 9302 past anchor and allowance; 9303
    /// with no codes left; 9304 after four codes in this step; 6985 where the transaction counter is at its
    /// end, which it never passes.
    pub(crate) fn next(self, grant: TimeGrant, unix_seconds: u64) -> Result<(Stamp, Self), StatusWord> {
        let step = TimeStep::from_unix_seconds(unix_seconds).map_err(|_| StatusWord::WRONG_DATA)?;
        if step < grant.first_step()? || self.last.is_some_and(|last| step < last.step) {
            return Err(StatusWord::TIME_BEFORE_LAST_CODE);
        }
        if unix_seconds > grant.last_unix_second() {
            return Err(StatusWord::OFFLINE_TOO_LONG);
        }
        let codes_left = self.codes_left.checked_sub(1).ok_or(StatusWord::BUDGET_USED_UP)?;
        let sequence = match self.last {
            Some(last) if last.step == step => last.sequence.next().ok_or(StatusWord::STEP_USED_UP)?,
            _ => Sequence::FIRST,
        };
        let transactions = self.transactions.checked_add(1).ok_or(StatusWord::CONDITIONS_OF_USE)?;
        let stamp = Stamp::new(step, sequence);
        Ok((stamp, Self { last: Some(stamp), transactions, codes_left }))
    }
}

impl TimeGrant {
    /// Length of the record in flash, in bytes.
    pub(crate) const BYTES: usize = 12;

    pub(crate) const fn of(grant: &applet::Grant) -> Self {
        Self { anchor_unix_seconds: grant.time_anchor_unix_seconds, allowance_seconds: grant.offline_allowance_seconds }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (anchor, allowance) = bytes.split_at_mut(8);
        anchor.copy_from_slice(&self.anchor_unix_seconds.to_be_bytes());
        allowance.copy_from_slice(&self.allowance_seconds.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self {
            anchor_unix_seconds: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            allowance_seconds: u32::from_be_bytes([i, j, k, l]),
        }
    }

    /// The first step codes may be made in.
    fn first_step(self) -> Result<TimeStep, StatusWord> {
        let anchor = TimeStep::from_unix_seconds(self.anchor_unix_seconds).map_err(|_| StatusWord::INTERNAL)?;
        Ok(anchor.earlier(STEPS_BEFORE_ANCHOR).unwrap_or(TimeStep(0)))
    }

    /// The last second codes may be made in.
    const fn last_unix_second(self) -> u64 {
        self.anchor_unix_seconds.saturating_add(self.allowance_seconds as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHOR: u64 = 1_800_000_000;
    const GRANT: TimeGrant = TimeGrant { anchor_unix_seconds: ANCHOR, allowance_seconds: 1_209_600 };

    fn stamp(unix_seconds: u64, sequence: u8) -> Stamp {
        let step = TimeStep::from_unix_seconds(unix_seconds).unwrap();
        Stamp::new(step, Sequence::new(sequence).unwrap())
    }

    fn after(unix_seconds: u64, sequence: u8) -> Counters {
        Counters { last: Some(stamp(unix_seconds, sequence)), transactions: 7, codes_left: 3 }
    }

    #[test]
    fn every_bound_of_the_clock_and_the_counters() {
        let fresh = Counters::new(3);
        let now = ANCHOR + 6_000;
        let cases = [
            // (what it shows, counters, clock, the stamp or the refusal)
            ("the first code", fresh, now, Ok(stamp(now, 0))),
            ("two steps before the anchor", fresh, ANCHOR - 60, Ok(stamp(ANCHOR - 60, 0))),
            ("a second earlier", fresh, ANCHOR - 61, Err(0x9301)),
            ("the last second of the allowance", fresh, ANCHOR + 1_209_600, Ok(stamp(ANCHOR + 1_209_600, 0))),
            ("a second later", fresh, ANCHOR + 1_209_601, Err(0x9302)),
            ("the same step again", after(now, 0), now, Ok(stamp(now, 1))),
            ("the same step, a second earlier", after(now + 1, 0), now, Ok(stamp(now, 1))),
            ("the fourth of the step", after(now, 2), now, Ok(stamp(now, 3))),
            ("the fifth", after(now, 3), now, Err(0x9304)),
            ("the next step begins anew", after(now, 3), now + 30, Ok(stamp(now + 30, 0))),
            ("the step before the last code's", after(now, 0), now - 1, Err(0x9301)),
            ("no codes left", Counters { codes_left: 0, ..after(now, 0) }, now, Err(0x9303)),
            ("one code left", Counters { codes_left: 1, ..after(now, 0) }, now, Ok(stamp(now, 1))),
            ("the last transaction", Counters { transactions: u32::MAX - 1, ..fresh }, now, Ok(stamp(now, 0))),
            ("the counter at its end", Counters { transactions: u32::MAX, ..fresh }, now, Err(0x6985)),
        ];
        for (what, counters, clock, expected) in cases {
            let next = counters.next(GRANT, clock);
            match expected {
                Ok(stamp) => {
                    let (made, after) = next.unwrap();
                    assert_eq!(made, stamp, "{what}");
                    assert_eq!(after.last, Some(stamp), "{what}");
                    assert_eq!(after.transactions, counters.transactions + 1, "{what}");
                    assert_eq!(after.codes_left, counters.codes_left - 1, "{what}");
                }
                Err(status) => assert_eq!(next, Err(StatusWord::new(status)), "{what}"),
            }
        }
    }

    #[test]
    fn no_bound_overflows_at_the_ends_of_time() {
        let early = TimeGrant { anchor_unix_seconds: 0, allowance_seconds: u32::MAX };
        assert_eq!(Counters::new(1).next(early, 0).unwrap().0, stamp(0, 0));
        let late = TimeGrant { anchor_unix_seconds: applet::MAX_UNIX_SECONDS, allowance_seconds: u32::MAX };
        let last = Counters::new(1).next(late, applet::MAX_UNIX_SECONDS).unwrap().0;
        assert_eq!(last.step, TimeStep(u32::MAX));
        assert_eq!(Counters::new(1).next(late, applet::MAX_UNIX_SECONDS + 1), Err(StatusWord::WRONG_DATA));
    }

    #[test]
    fn records_come_back_as_written() {
        for counters in [Counters::new(500), after(ANCHOR, 3)] {
            assert_eq!(Counters::from_bytes(counters.to_bytes()), Some(counters));
        }
        assert_eq!(Counters::from_bytes([9; Counters::BYTES]), None);
        assert_eq!(TimeGrant::from_bytes(GRANT.to_bytes()), GRANT);
    }
}
