//! Whether a password proves a payment: the decision that costs money if it is wrong.
//!
//! Pure: key, claim, clock and the last stamp spent go in, a [`Hit`] or a [`Miss`] comes out. A hit is
//! within the window and strictly newer than the last one spent, so a code pays once and an older code
//! dies when a newer one is used. The caller records `hit.stamp` as the new last stamp in the same
//! transaction as the payment, and compares again there: this function cannot see two servers racing.
//!
//! Every candidate of the window is computed, whichever matches, and passwords are compared in constant
//! time, so how long it takes shows neither how close a guess was nor which candidate it met.

use core::ops::RangeInclusive;

use subtle::ConstantTimeEq;

use crate::{PayKey, Sequence, Stamp, TimeStep, Unmasked, error::error_enum};

/// How many steps the chip's clock may be ahead of ours.
pub const STEPS_AHEAD: i64 = 1;
/// How many whole steps after its own a code is still accepted.
pub const STEPS_BEHIND: i64 = 2;
/// How many steps after its own a code is still recognised, only to tell the till why it is refused.
pub const STALE_STEPS_BEHIND: i64 = 6;
/// How many steps before its own a code is already recognised: its wearable's clock is fast, and nobody has guessed.
/// Four steps more than the window has on either side: a wrong code costs three times what a right one does.
pub const EARLY_STEPS_AHEAD: i64 = 5;

/// Candidates in one step: four sequence numbers, each with and without a passcode session.
const PER_STEP: usize = 8;
/// Candidates in the whole window. A guess is right with at most this many chances in 10^digits.
pub const WINDOW_CANDIDATES: usize = (STEPS_AHEAD + 1 + STEPS_BEHIND) as usize * PER_STEP;
const STALE_CANDIDATES: usize = (STALE_STEPS_BEHIND - STEPS_BEHIND) as usize * PER_STEP;
const EARLY_CANDIDATES: usize = (EARLY_STEPS_AHEAD - STEPS_AHEAD) as usize * PER_STEP;

// Matches are kept as bits of a u64.
const _: () = assert!(WINDOW_CANDIDATES <= 64 && STALE_CANDIDATES <= 64 && EARLY_CANDIDATES <= 64);

/// A password that proves a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hit {
    /// When the code was made. From now on the last stamp spent on this token.
    pub stamp: Stamp,
    /// True where the wearer's passcode session was open, which decides the limits that apply.
    pub verified: bool,
}

error_enum! {
    /// Why a password proves nothing.
    Miss {
        /// It is no password of this token anywhere near this time. Counts against the token.
        Wrong = "code_wrong", "the code is wrong";
        /// It is the very code that was spent last.
        Spent = "code_spent", "the code has been used already";
        /// It is still in time, but a newer code of the same token was used.
        Superseded = "code_superseded", "a newer code of this wearable has been used";
        /// It was right a short while ago: the wearer shows a new one.
        Stale = "code_stale", "the code is too old, show a new one";
        /// It will be right in a short while: the wearable's clock is fast. Its stamp ([`Found::early`]) must be recorded as
        /// the last one spent, or who has seen it need only wait.
        Early = "code_early", "the wearable's clock is fast";
    }
}

/// Checks the password of an unmasked code at time `now` against the window `now+1 … now−2`.
///
/// `last` is the newest stamp ever spent on this token. Where the password fits several candidates (one
/// chance in 320,000 for passwords of seven digits, `spec/payment-code.md` 8.3), the newest stamp wins, so that the same digits cannot pay again under a
/// second one; at the same stamp `verified` is taken as false, so the tighter limits apply.
///
/// # Errors
/// The [`Miss`]; anything but `Wrong` means that the code was this token's at some time.
pub fn check(pay_key: &PayKey, unmasked: &Unmasked, now: TimeStep, last: Option<Stamp>) -> Result<Hit, Miss> {
    find(pay_key, unmasked, now).against(last)
}

/// Where a password fits around a moment: what takes the time in checking one, and needs nothing stored. What was spent
/// before is compared afterwards, with [`Found::against`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    in_window: Option<Hit>,
    early: Option<Hit>,
    stale: Option<Hit>,
}

/// Finds where the password of an unmasked code fits around `now`.
pub fn find(pay_key: &PayKey, unmasked: &Unmasked, now: TimeStep) -> Found {
    let in_window = newest_match(pay_key, unmasked, now, -STEPS_BEHIND..=STEPS_AHEAD);
    if in_window.is_some() {
        return Found { in_window, early: None, stale: None };
    }
    let early = newest_match(pay_key, unmasked, now, STEPS_AHEAD + 1..=EARLY_STEPS_AHEAD);
    let stale = newest_match(pay_key, unmasked, now, -STALE_STEPS_BEHIND..=-STEPS_BEHIND - 1);
    Found { in_window, early, stale }
}

impl Found {
    /// Whether it fits in the window in which a code is accepted.
    #[must_use]
    pub const fn is_in_window(&self) -> bool {
        self.in_window.is_some()
    }

    /// The stamp of a code that is too early, which [`Miss::Early`] answers: from now on the last one spent.
    #[must_use]
    pub const fn early(&self) -> Option<Stamp> {
        match self.early {
            Some(hit) => Some(hit.stamp),
            None => None,
        }
    }

    /// What the password comes to, where `last` is the newest stamp ever spent on its token.
    ///
    /// # Errors
    /// Those of [`check`].
    pub fn against(self, last: Option<Stamp>) -> Result<Hit, Miss> {
        match (self.in_window, last) {
            (Some(hit), Some(last)) if hit.stamp == last => Err(Miss::Spent),
            (Some(hit), Some(last)) if hit.stamp < last => Err(Miss::Superseded),
            (Some(hit), _) => Ok(hit),
            // Early before stale, where chance makes both fit: who is told that a code is early could else wait for it.
            (None, _) => match (self.early, self.stale) {
                (Some(hit), _) if Some(hit.stamp) == last => Err(Miss::Spent),
                (Some(hit), _) if last.is_some_and(|last| hit.stamp < last) => Err(Miss::Superseded),
                (Some(_), _) => Err(Miss::Early),
                (None, Some(hit)) if Some(hit.stamp) == last => Err(Miss::Spent),
                (None, Some(_)) => Err(Miss::Stale),
                (None, None) => Err(Miss::Wrong),
            },
        }
    }
}

/// The candidate that fits and has the newest stamp, and of that stamp rather the one not verified.
///
/// Computes them all, oldest first, and keeps in a bit whether each fits: only the last bit set counts.
/// Steps before the first and after the last there is are no candidates.
fn newest_match(pay_key: &PayKey, unmasked: &Unmasked, now: TimeStep, offsets: RangeInclusive<i64>) -> Option<Hit> {
    let candidates = || {
        offsets
            .clone()
            .filter_map(|offset| u32::try_from(i64::from(now.0) + offset).ok())
            .flat_map(|step| Sequence::ALL.map(|sequence| Stamp::new(TimeStep(step), sequence)))
            .flat_map(|stamp| [true, false].map(|verified| Hit { stamp, verified }))
    };
    let mut fits = 0u64;
    for (position, hit) in candidates().enumerate() {
        let right = pay_key.password_of_width(unmasked.password.digits, unmasked.index, hit.stamp, hit.verified);
        fits |= u64::from(right.ct_eq(&unmasked.password).unwrap_u8()) << position;
    }
    // Bit 63 at most, by the bound on candidates above.
    let newest = fits.checked_ilog2()?;
    candidates().nth(newest as usize)
}

#[cfg(all(test, feature = "international"))]
mod tests;
