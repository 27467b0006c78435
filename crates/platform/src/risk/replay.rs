//! Stored payments under other rules: which would have been decided otherwise. Each is looked at with what had really been
//! paid before it, so a payment that would have been declined still counts for those after it.
//!
//! What was paid before the first payment that is looked at is not known: sums begin at nothing, a token made before it is
//! past its first payments, and one that has not been seen yet is not dormant.

use std::collections::BTreeMap;

use super::history::{Entry, Spent};
use super::{Decision, Effect, Facts, Fired, History, RuleSet};
use crate::guesses::Guesses;
use crate::merchants::{Category, Position};
use crate::payments::{DayUse, Decline, Payment, PaymentState};
use crate::{AccountId, Settings, TokenId, UnixMs};

/// What rules came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The payment went on by its code alone.
    Passed,
    /// The phone was asked.
    Asked,
    /// It was declined.
    Declined,
}

impl Ruling {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Asked => "asked",
            Self::Declined => "declined",
        }
    }

    fn of(fired: Option<&Fired>) -> Self {
        match fired.map(|fired| fired.effect) {
            None => Self::Passed,
            Some(Effect::Confirm) => Self::Asked,
            Some(Effect::Decline) => Self::Declined,
        }
    }

    /// What the rules of its day said of a payment; nothing of one that they were not asked about.
    fn then(payment: &Payment) -> Option<Self> {
        if let Some(Decision { fired, .. }) = &payment.decision {
            return Some(Self::of(fired.as_ref()));
        }
        // Decided before decisions were kept.
        match payment.state {
            PaymentState::Succeeded | PaymentState::Failed(Decline::InsufficientFunds) => Some(Self::Passed),
            PaymentState::RequiresConfirmation { .. }
            | PaymentState::Failed(Decline::RefusedByWearer | Decline::NotConfirmed | Decline::TooManyWaiting) => {
                Some(Self::Asked)
            }
            PaymentState::Failed(Decline::LimitSingle | Decline::LimitDay | Decline::LimitUnverified) => {
                Some(Self::Declined)
            }
            PaymentState::Cancelled | PaymentState::Failed(_) => None,
        }
    }
}

/// A payment of the past with what it came to, then and under the other rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// What the rules of its day said.
    pub then: Ruling,
    /// What the other rules say.
    pub now: Ruling,
    /// Which of them decides.
    pub fired: Option<Fired>,
}

/// What is known of an account so far.
#[derive(Default)]
struct Past {
    account: Spent,
    categories: Vec<(Category, Spent)>,
    tokens: BTreeMap<TokenId, History>,
}

/// Rules on their way through stored payments, oldest first.
pub struct Replay<'r> {
    rules: &'r RuleSet,
    settings: &'r Settings,
    /// The first moment that is looked at.
    from_ms: UnixMs,
    pasts: BTreeMap<AccountId, Past>,
}

impl<'r> Replay<'r> {
    /// Begins at a moment.
    pub fn new(rules: &'r RuleSet, settings: &'r Settings, from_ms: UnixMs) -> Self {
        Self { rules, settings, from_ms, pasts: BTreeMap::new() }
    }

    /// The next payment: what it comes to; nothing of one that rules are not asked about. `position` is where its merchant's
    /// tills stand, `token_created_ms` when its token was made.
    pub fn next(
        &mut self,
        payment: &Payment,
        position: Option<Position>,
        token_created_ms: UnixMs,
    ) -> Option<Replayed> {
        let (account, token, amount) = (payment.account?, payment.token?, payment.amount?);
        let then = Ruling::then(payment)?;
        let now_ms = payment.created_ms;
        let day = self.settings.day_of(now_ms);
        let is_old = token_created_ms < self.from_ms;
        let past = self.pasts.entry(account).or_default();
        past.account = past.account.on(day.max(past.account.day_number));
        let day = past.account.day_number;
        let of_account = past.account;
        let known = past.tokens.entry(token).or_insert_with(|| {
            // As many as no rule calls the first.
            History { payments: if is_old { u32::MAX / 2 } else { 0 }, ..History::empty(account, token, day) }
        });
        let has_paid = !known.recent.is_empty();
        let history = History {
            day_number: day,
            account_month: of_account.month,
            token: known.token.on(day),
            categories: past.categories.iter().map(|(category, spent)| (*category, spent.on(day))).collect(),
            ..known.clone()
        };
        let others = past.tokens.iter().filter(|(id, _)| **id != token).flat_map(|(_, other)| &other.recent);
        let history = History { others: others.copied().collect(), ..history };
        let guesses = Guesses {
            since_ms: now_ms,
            codes: payment.decision.as_ref().map_or(0, |decision| decision.wrong_codes),
            merchants: Vec::new(),
        };
        let day_use = DayUse {
            account,
            currency: amount.currency(),
            day,
            total_minor: of_account.day.total_minor,
            unverified_minor: of_account.day.unverified_minor,
        };
        let facts = Facts {
            amount,
            verified: payment.verified,
            category: payment.category,
            position,
            day_use: &day_use,
            history: &history,
            guesses: &guesses,
            // Not dormant as long as nobody knows when it paid last.
            token_created_ms: if is_old && !has_paid { now_ms } else { token_created_ms },
            now_ms,
        };
        let fired = self.rules.decide(&facts);
        let counts = Counts::of(payment, then);
        if counts != Counts::Nothing {
            let summed_category = payment.category.filter(|category| self.rules.sums(Some(*category)));
            let entry = Entry { amount, verified: payment.verified, summed_category, position, at_ms: now_ms };
            let mut after = history.after(&entry);
            if counts == Counts::Tried {
                after = after.without(amount, payment.verified, payment.category, day);
            } else {
                past.account.day = day_sums(day_use.plus(amount, payment.verified));
            }
            past.account.month = after.account_month;
            past.categories.clone_from(&after.categories);
            past.tokens.insert(token, after);
        }
        Some(Replayed { then, now: Ruling::of(fired.as_ref()), fired })
    }
}

fn day_sums(day_use: DayUse) -> super::Sums {
    super::Sums { total_minor: day_use.total_minor, unverified_minor: day_use.unverified_minor }
}

/// What a payment is for those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// Its money moved, or waits.
    Paid,
    /// Its money was set aside and went back: when and where it was tried stays known.
    Tried,
    /// It never began.
    Nothing,
}

impl Counts {
    fn of(payment: &Payment, then: Ruling) -> Self {
        match payment.state {
            PaymentState::Succeeded | PaymentState::RequiresConfirmation { .. } => Self::Paid,
            PaymentState::Cancelled if payment.refunded_minor > 0 => Self::Paid,
            PaymentState::Failed(Decline::RefusedByWearer | Decline::NotConfirmed) => Self::Tried,
            PaymentState::Cancelled if then == Ruling::Asked => Self::Tried,
            PaymentState::Cancelled | PaymentState::Failed(_) => Self::Nothing,
        }
    }
}
