//! What an operator chooses: how its codes look, how long chips work offline, how much may be paid.

use std::collections::BTreeMap;

use ledger::Currency;
use paycode::{CodeFormat, Suite};

use crate::{Reason, Refusal, UnixMs};

/// Everything the rules need to know of the operator's choices.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The codes this operator issues.
    pub codes: CodeSettings,
    /// How much may be paid in each currency. There is no sound default for a currency the operator has not
    /// thought about: accounts and merchants are taken on in these currencies only.
    pub limits: BTreeMap<Currency, Limits>,
    /// Minutes to add to UTC for the operator's day, by which limits are counted (480 is China).
    pub day_offset_minutes: i32,
    /// How long a payment waits for its wearer to confirm it, milliseconds.
    pub payment_confirmation_ms: u64,
    /// How long a token pays before it has to be renewed, milliseconds.
    pub token_lifetime_ms: u64,
    /// A binding whose chip has not proved itself within this time is over, milliseconds.
    pub binding_lifetime_ms: u64,
    /// A binding whose chip has not confirmed its keys within this time is over, milliseconds.
    pub confirmation_lifetime_ms: u64,
    /// Bindings one account may begin in one of the operator's days. Each leaves rows that are kept for ever.
    pub bindings_a_day: u8,
    /// How often one account's wearer may let wearables pay again that were frozen, in one of the operator's days. Each freeze and each
    /// resumption is a line of the audit trail; a freeze is never refused, and needs a resumption before the next one.
    pub resumes_a_day: u8,
    /// Syncs of one token that its chip may confirm in one of the operator's days. Each is a line of the audit trail.
    pub syncs_a_day: u8,
    /// Whether chips may be bound that came in no maker's shipment and prove nothing but their channel keys: those the operator
    /// has registered by itself, for development.
    pub uncertified_chips: bool,
}

impl Settings {
    /// Whether accounts are kept in this currency.
    ///
    /// # Errors
    /// [`Reason::CurrencyNotOffered`], at `currency`.
    pub fn offers(&self, currency: Currency) -> Result<(), Refusal> {
        let offered = self.limits.contains_key(&currency);
        if offered { Ok(()) } else { Err(Refusal::at(Reason::CurrencyNotOffered, "currency")) }
    }

    /// The operator's day that holds this moment, counted from 1970-01-01.
    pub fn day_of(&self, now_ms: UnixMs) -> i64 {
        const MS_PER_MINUTE: i64 = 60_000;
        const MS_PER_DAY: i64 = 86_400_000;
        let local = i64::try_from(now_ms)
            .unwrap_or(i64::MAX)
            .saturating_add(i64::from(self.day_offset_minutes) * MS_PER_MINUTE);
        local.div_euclid(MS_PER_DAY)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            codes: CodeSettings::default(),
            limits: BTreeMap::from([(Currency::CNY, Limits::CHINA)]),
            day_offset_minutes: 480,
            payment_confirmation_ms: 3 * 60_000,
            token_lifetime_ms: 3 * 365 * 86_400_000,
            binding_lifetime_ms: 3 * 60_000,
            confirmation_lifetime_ms: 24 * 3_600_000,
            bindings_a_day: 20,
            resumes_a_day: 40,
            syncs_a_day: 200,
            uncertified_chips: true,
        }
    }
}

/// The codes an operator issues and what a chip is granted at binding and sync.
#[derive(Debug, Clone)]
pub struct CodeSettings {
    /// Prefix and length.
    pub format: CodeFormat,
    /// The primitives the codes are made with.
    pub suite: Suite,
    /// Seconds a chip may make codes after its last time anchor.
    pub offline_allowance_s: u32,
    /// Codes a chip may make between two syncs.
    pub budget: u16,
    /// Wrong codes that named one token, since its last genuine one, after which it is frozen: where they came from
    /// [`CodeSettings::merchants_before_freeze`] merchants.
    pub wrong_codes_before_freeze: u32,
    /// From how many merchants they must have come, at most [`crate::guesses::MAX_GUESSING_MERCHANTS`]: or one shop could
    /// freeze a stranger's wearable.
    pub merchants_before_freeze: usize,
    /// The window in which wrong codes are counted against a token, milliseconds.
    pub token_window_ms: u64,
    /// Wrong codes a merchant may send within [`CodeSettings::merchant_window_ms`] before it must wait.
    pub merchant_wrong_codes: u32,
    /// The window for [`CodeSettings::merchant_wrong_codes`], milliseconds.
    pub merchant_window_ms: u64,
    /// Wrong codes of a merchant in one of the operator's days, after which it is suspended until the operator reinstates it.
    pub merchant_day_wrong_codes: u32,
    /// What a merchant may send in one of the operator's days that is no guess, pays nothing and is kept all the same: codes of
    /// others, spent and old ones, and orders closed that never came. Beyond it they are refused.
    pub merchant_day_fruitless: u32,
}

impl Default for CodeSettings {
    fn default() -> Self {
        Self {
            format: CodeFormat::DEFAULT,
            suite: Suite::International,
            offline_allowance_s: 14 * 86_400,
            budget: 500,
            wrong_codes_before_freeze: 10,
            merchants_before_freeze: 4,
            token_window_ms: 86_400_000,
            merchant_wrong_codes: 20,
            merchant_window_ms: 10 * 60_000,
            merchant_day_wrong_codes: 100,
            merchant_day_fruitless: 20_000,
        }
    }
}

/// How much may be paid by code in one currency, in its minor units, for each wearer and day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest single payment that goes through by its code alone: above it the wearer confirms on the phone.
    pub unconfirmed_minor: u64,
    /// The largest single payment.
    pub single_minor: u64,
    /// The day's sum of all payments by code.
    pub day_minor: u64,
    /// The day's sum of payments by codes that were shown without the passcode.
    pub day_unverified_minor: u64,
}

impl Limits {
    /// Those in force in China for bar-code payment: 5,000 yuan a day with two factors, 1,000 with fewer. Above 2,000
    /// yuan at once the phone confirms.
    pub const CHINA: Self =
        Self { unconfirmed_minor: 200_000, single_minor: 500_000, day_minor: 500_000, day_unverified_minor: 100_000 };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_s_day_turns_at_its_own_midnight() {
        let settings = Settings::default();
        // 1970-01-01 16:00 UTC is midnight in China.
        assert_eq!(settings.day_of(16 * 3_600_000 - 1), 0);
        assert_eq!(settings.day_of(16 * 3_600_000), 1);
    }
}
