//! Wrong codes: who is counted, when a merchant waits, when it is suspended, when a token is frozen. The odds that come of
//! it are in `spec/payment-code.md`, section 10, and a test holds them to what is decided here (`tests/odds.rs`).
//!
//! Only a code that is no code of any token counts. One that was spent, is too old, or comes from a wearable whose clock is
//! fast proves no guess, and is told apart from one.

use sha2::{Digest, Sha256};

use crate::merchants::{Merchant, WrongCodes};
use crate::payments::Decline;
use crate::payments::code::Verdict;
use crate::tokens::Token;
use crate::{Change, CodeSettings, Event, MerchantId, Reason, Refusal, Settings, UnixMs};

/// The most merchants that are remembered of those whose wrong codes named one token.
pub const MAX_GUESSING_MERCHANTS: usize = 8;
/// The spent codes of a token that are known again.
pub const SPENT_MARKS: usize = 16;

/// Wrong codes that named one token since its last genuine one, within a window of time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guesses {
    /// When the window began.
    pub since_ms: UnixMs,
    /// How many came since.
    pub codes: u32,
    /// From whom: the numbers of their ids, each once, at most [`MAX_GUESSING_MERCHANTS`].
    pub merchants: Vec<u64>,
}

impl Guesses {
    /// The count after one more wrong code from this merchant.
    #[must_use]
    pub fn one_more(&self, merchant: MerchantId, now_ms: UnixMs, settings: &CodeSettings) -> Self {
        let is_over = now_ms >= self.since_ms.saturating_add(settings.token_window_ms);
        let mut after = if is_over { Self { since_ms: now_ms, ..Self::default() } } else { self.clone() };
        after.codes = after.codes.saturating_add(1);
        if !after.merchants.contains(&merchant.number()) && after.merchants.len() < MAX_GUESSING_MERCHANTS {
            after.merchants.push(merchant.number());
        }
        after
    }

    /// Whether so many came from so many merchants that the token is frozen. One shop alone cannot freeze a stranger's
    /// wearable.
    pub fn is_attack(&self, settings: &CodeSettings) -> bool {
        self.codes >= settings.wrong_codes_before_freeze && self.merchants.len() >= settings.merchants_before_freeze
    }
}

/// Marks of the codes of one token that were spent last, newest first: by them a code is known again that is long past its
/// window. A mark is four bytes of a hash: a wrong code has one by chance once in 268 million times, and is then told to be
/// spent, which it is not, and is not counted, which costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpentMarks {
    marks: [u32; SPENT_MARKS],
    known: u8,
}

impl SpentMarks {
    /// The mark of a code's digits.
    pub fn mark(digits: &str) -> u32 {
        let mut hash = Sha256::new();
        hash.update(b"paychip spent code\0");
        hash.update(digits.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, ..] = hash;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Marks as they were kept; what is beyond [`SPENT_MARKS`] is forgotten.
    pub fn from_marks(marks: impl IntoIterator<Item = u32>) -> Self {
        let mut spent = Self::default();
        for (slot, mark) in spent.marks.iter_mut().zip(marks) {
            *slot = mark;
            spent.known += 1;
        }
        spent
    }

    /// The marks, newest first.
    pub fn marks(&self) -> &[u32] {
        self.marks.get(..usize::from(self.known)).unwrap_or_default()
    }

    /// With one more; where there are too many, the oldest is forgotten.
    #[must_use]
    pub fn with(self, mark: u32) -> Self {
        Self::from_marks(core::iter::once(mark).chain(self.marks().iter().copied()))
    }
}

/// What is counted against the merchant it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// A code of no token.
    Guess,
    /// A code that is no guess, and pays nothing however often it is shown.
    Fruitless,
}

impl Counted {
    /// What a code counts as; nothing where it is genuine, or early, of which a chip makes only so many.
    pub fn of(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::Unknown | Verdict::Wrong { .. } => Some(Self::Guess),
            Verdict::NotOurs | Verdict::Refused { .. } => Some(Self::Fruitless),
            Verdict::Genuine { .. } | Verdict::Early { .. } => None,
        }
    }

    /// The merchant's counts after one more.
    pub fn against(self, merchant: &Merchant, now_ms: UnixMs, settings: &Settings) -> Vec<Change> {
        match self {
            Self::Guess => of_merchant(merchant, now_ms, settings),
            Self::Fruitless => fruitless(merchant, now_ms, settings),
        }
    }
}

/// Whether so much that paid nothing came from this merchant today that no more of it is kept. Its genuine codes pay as before.
pub fn keeps_no_more(merchant: &Merchant, now_ms: UnixMs, settings: &Settings) -> bool {
    merchant.wrong_codes.on_day(now_ms, settings).fruitless >= settings.codes.merchant_day_fruitless
}

/// Refuses a code that would only add one more decline to too many. A copied chip is stopped all the same.
///
/// # Errors
/// [`Reason::TooManyDeclines`].
pub fn may_be_kept(verdict: &Verdict, merchant: &Merchant, now_ms: UnixMs, settings: &Settings) -> Result<(), Refusal> {
    let stops_a_copy = matches!(verdict, Verdict::Refused { token, decline: Decline::ChipCloned }
        if token.state.frozen_by_risk() != token.state);
    let is_fruitless = Counted::of(verdict) == Some(Counted::Fruitless) && !stops_a_copy;
    if is_fruitless && keeps_no_more(merchant, now_ms, settings) {
        return Err(Reason::TooManyDeclines.into());
    }
    Ok(())
}

/// What closing an order that never came counts: it is kept for ever, as a decline is.
///
/// # Errors
/// [`Reason::TooManyDeclines`].
pub fn closed_unpaid(merchant: &Merchant, now_ms: UnixMs, settings: &Settings) -> Result<Vec<Change>, Refusal> {
    if keeps_no_more(merchant, now_ms, settings) {
        return Err(Reason::TooManyDeclines.into());
    }
    Ok(fruitless(merchant, now_ms, settings))
}

/// One more thing of a merchant that pays nothing, and an alert where it is the last that is kept today.
fn fruitless(merchant: &Merchant, now_ms: UnixMs, settings: &Settings) -> Vec<Change> {
    let today = merchant.wrong_codes.on_day(now_ms, settings);
    let wrong_codes = WrongCodes { fruitless: today.fruitless.saturating_add(1), ..today };
    let mut changes = vec![Change::PutMerchant(Merchant { wrong_codes, ..merchant.clone() })];
    if wrong_codes.fruitless == settings.codes.merchant_day_fruitless {
        let why = format!("{} codes and orders that paid nothing in one day", wrong_codes.fruitless);
        changes.push(Change::AddEvent(Event::risk_to_merchant(merchant.id, now_ms, "too_many_declines").because(why)));
    }
    changes
}

/// What one more wrong code from a merchant comes to: its count, and an alert where it has to wait or is suspended.
pub fn of_merchant(merchant: &Merchant, now_ms: UnixMs, settings: &Settings) -> Vec<Change> {
    let codes = &settings.codes;
    let wrong_codes = merchant.wrong_codes.one_more(now_ms, settings);
    let WrongCodes { count, day_count, .. } = wrong_codes;
    let is_suspended = day_count >= codes.merchant_day_wrong_codes;
    let suspended_ms = merchant.suspended_ms.or(is_suspended.then_some(now_ms));
    let changed = Merchant { wrong_codes, suspended_ms, ..merchant.clone() };
    let alert = |name, why| Change::AddEvent(Event::risk_to_merchant(merchant.id, now_ms, name).because(why));
    let mut changes = vec![Change::PutMerchant(changed)];
    if count == codes.merchant_wrong_codes {
        let minutes = codes.merchant_window_ms / 60_000;
        changes.push(alert("merchant_waits", format!("{count} wrong codes within {minutes} minutes")));
    }
    if suspended_ms.is_some() && merchant.suspended_ms.is_none() {
        changes.push(alert("merchant_suspended", format!("{day_count} wrong codes in one day")));
    }
    changes
}

/// What one more wrong code that named a token comes to: its count, and a freeze where many merchants sent them.
pub fn of_token(token: Token, merchant: MerchantId, now_ms: UnixMs, settings: &CodeSettings) -> Vec<Change> {
    let guesses = token.guesses.one_more(merchant, now_ms, settings);
    let state = token.state.frozen_by_risk();
    if !guesses.is_attack(settings) || state == token.state {
        return vec![Change::PutToken(Token { guesses, ..token })];
    }
    let why = format!("{} wrong codes from {} merchants", guesses.codes, guesses.merchants.len());
    let event = Event::risk(token.id, now_ms, "wrong_codes").because(why);
    vec![Change::PutToken(Token { guesses, state, ..token }), Change::AddEvent(event)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_kept_newest_first_and_the_oldest_is_forgotten() {
        let mut spent = SpentMarks::default();
        assert_eq!(spent.marks(), [0; 0]);
        for mark in 1..=20 {
            spent = spent.with(mark);
        }
        assert_eq!(spent.marks(), (5..=20).rev().collect::<Vec<u32>>());
        assert_eq!(SpentMarks::from_marks(spent.marks().iter().copied()), spent);
        assert_ne!(SpentMarks::mark("71673217670667037921"), SpentMarks::mark("71673217670667037922"));
    }

    #[test]
    fn one_merchant_never_freezes_a_token_and_old_guesses_are_forgotten() {
        let settings = CodeSettings::default();
        let from = |number: u8| MerchantId([number; 16]);
        let mut guesses = Guesses::default();
        for _ in 0..1_000 {
            guesses = guesses.one_more(from(1), 5, &settings);
        }
        assert!(!guesses.is_attack(&settings));
        for number in 2..=3 {
            guesses = guesses.one_more(from(number), 5, &settings);
            assert!(!guesses.is_attack(&settings), "{number}");
        }
        assert!(guesses.one_more(from(4), 5, &settings).is_attack(&settings));
        assert!(!guesses.one_more(from(4), 5 + settings.token_window_ms, &settings).is_attack(&settings));
        for number in 1..=200 {
            guesses = guesses.one_more(from(number), 6, &settings);
        }
        assert_eq!(guesses.merchants.len(), MAX_GUESSING_MERCHANTS);
    }
}
