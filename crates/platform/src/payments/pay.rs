//! What a payment comes to, once its code is judged: the token's state, the limits, the money.
//!
//! A genuine code is spent whatever the outcome: it has been shown to a shop and must not live on.

use ledger::posting::{self, Event, Parties};
use ledger::{Amount, Balances};
use paycode::Stamp;

use super::code::Verdict;
use super::{DayUse, Decline, Fingerprint, MerchantNumber, Payment, PaymentState};
use crate::guesses::{self, Counted, Guesses};
use crate::merchants::Merchant;
use crate::risk::{self, Decision, Effect, Facts, History, RuleSet};
use crate::syncs::UsedCode;
use crate::tokens::{Token, TokenState};
use crate::{Booking, Change, MerchantId, PaymentId, Reason, Refusal, Settings, UnixMs};

/// The most payments of one account that may wait to be confirmed.
pub const MAX_WAITING: usize = 8;

/// What a payment asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayRequest {
    /// A fresh id.
    pub id: PaymentId,
    /// Who is to be paid.
    pub merchant: MerchantId,
    /// The merchant's order number.
    pub order: MerchantNumber,
    /// How much.
    pub amount: Amount,
    /// The fingerprint of code and amount.
    pub fingerprint: Fingerprint,
    /// The present time.
    pub now_ms: UnixMs,
}

/// What a repeat of an order number comes to: the first answer, or a refusal.
///
/// # Errors
/// [`Reason::OrderParametersDiffer`] when the parameters are others, [`Reason::OrderCancelled`] when a cancel
/// closed the order before any payment arrived.
pub fn repeat(request: &PayRequest, existing: Payment) -> Result<Payment, Refusal> {
    match existing.fingerprint {
        Some(fingerprint) if fingerprint == request.fingerprint => Ok(existing),
        Some(_) => Err(Refusal::at(Reason::OrderParametersDiffer, "order")),
        None => Err(Refusal::at(Reason::OrderCancelled, "order")),
    }
}

/// Refuses what this merchant cannot be paid at all, before anything is recorded.
///
/// # Errors
/// [`Reason::MerchantSuspended`]; [`Reason::CurrencyNotTheMerchants`]: money in another currency would reach no book the
/// merchant sees.
pub fn accept(request: &PayRequest, merchant: &Merchant) -> Result<(), Refusal> {
    if merchant.suspended_ms.is_some() {
        return Err(Reason::MerchantSuspended.into());
    }
    if request.amount.currency() == merchant.currency {
        return Ok(());
    }
    Err(Refusal::at(Reason::CurrencyNotTheMerchants, "currency"))
}

/// The account behind a genuine code, as known at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purse {
    /// Whose it is, in which currency, and what it has paid today.
    pub day_use: DayUse,
    /// The partition whose clearing account the money goes to.
    pub partition: u32,
    /// What account and token have paid before: all that rules may know.
    pub history: History,
    /// How many of its payments wait to be confirmed.
    pub waiting: usize,
    /// The balances of its wallet, of what is set aside of it, and of that clearing account.
    pub balances: Balances,
}

/// Decides a payment whose order number is new. `purse` is that of the verdict's token, where there is one.
pub fn decide(
    request: &PayRequest,
    merchant: &Merchant,
    verdict: Verdict,
    purse: Option<&Purse>,
    rules: &RuleSet,
    settings: &Settings,
) -> (Payment, Vec<Change>) {
    match verdict {
        Verdict::NotOurs => {
            let changes = Counted::Fruitless.against(merchant, request.now_ms, settings);
            declined(request, None, Decline::CodeNotOurs, changes)
        }
        Verdict::Unknown => {
            let changes = guesses::of_merchant(merchant, request.now_ms, settings);
            declined(request, None, Decline::CodeUnknown, changes)
        }
        Verdict::Wrong { token } => {
            let mut changes = guesses::of_merchant(merchant, request.now_ms, settings);
            changes.extend(guesses::of_token(token, merchant.id, request.now_ms, &settings.codes));
            // To the till a wrong password is an unknown code: it learns nothing of which numbers exist.
            declined(request, None, Decline::CodeUnknown, changes)
        }
        Verdict::Early { token, stamp, mark } => {
            let token = Token { last_stamp: Some(stamp), spent: token.spent.with(mark), ..token };
            declined(request, Some(&token), Decline::CodeEarly, vec![Change::PutToken(token.clone())])
        }
        Verdict::Refused { token, decline: Decline::ChipCloned } => {
            let event = crate::Event::risk(token.id, request.now_ms, Decline::ChipCloned.code());
            let frozen = Token { state: token.state.frozen_by_risk(), ..token };
            let mut changes = Counted::Fruitless.against(merchant, request.now_ms, settings);
            changes.extend([Change::PutToken(frozen.clone()), Change::AddEvent(event)]);
            declined(request, Some(&frozen), Decline::ChipCloned, changes)
        }
        Verdict::Refused { token, decline } => {
            let changes = Counted::Fruitless.against(merchant, request.now_ms, settings);
            declined(request, Some(&token), decline, changes)
        }
        Verdict::Genuine { token, hit, counter, mark } => {
            let guesses = token.guesses.clone();
            let token = spend(token, hit.stamp, counter, mark);
            let (token, ended) = end_in_time(token, request.now_ms);
            let used = UsedCode { payment: request.id, stamp: hit.stamp };
            let mut changes = vec![Change::PutToken(token.clone())];
            changes.push(Change::KeepUsedCode { account: token.account, token: token.id, used });
            changes.extend(ended);
            let (outcome, decision) = match purse {
                Some(purse) => {
                    let charge =
                        Charge { request, merchant, token: &token, guesses: &guesses, verified: hit.verified, purse };
                    charge.decide(rules, settings)
                }
                None => (Err(Decline::TokenRevoked), None),
            };
            let (state, booked) = match outcome {
                Err(decline) => (PaymentState::Failed(decline), Vec::new()),
                Ok((state, booked)) => (state, booked),
            };
            changes.extend(booked);
            let payment = Payment {
                verified: hit.verified,
                category: merchant.category,
                decision,
                ..record(request, Some(&token), state)
            };
            changes.push(Change::PutPayment(payment.clone()));
            (payment, changes)
        }
    }
}

/// A payment whose code is genuine: what its rules are asked about.
struct Charge<'a> {
    request: &'a PayRequest,
    merchant: &'a Merchant,
    token: &'a Token,
    /// Wrong codes that named the token before this one.
    guesses: &'a Guesses,
    verified: bool,
    purse: &'a Purse,
}

/// Where a payment stands and the changes that move or set aside its money, or why it stays where it is.
type Outcome = Result<(PaymentState, Vec<Change>), Decline>;

impl Charge<'_> {
    /// What becomes of the payment, and what the rules said where they were asked.
    fn decide(&self, rules: &RuleSet, settings: &Settings) -> (Outcome, Option<Decision>) {
        if let Err(decline) = self.may_be_asked(settings) {
            return (Err(decline), None);
        }
        let fired = rules.decide(&self.facts());
        let asks_phone = fired.as_ref().is_some_and(|fired| fired.effect == Effect::Confirm);
        let refused = fired.as_ref().filter(|fired| fired.effect == Effect::Decline).map(|fired| fired.cause.decline());
        let decision = Some(Decision { version: rules.version, fired, wrong_codes: self.guesses.codes });
        match refused {
            Some(decline) => (Err(decline), decision),
            None => (self.book(asks_phone, rules, settings), decision),
        }
    }

    /// Whether the token may pay at all, and in this currency.
    fn may_be_asked(&self, settings: &Settings) -> Result<(), Decline> {
        match self.token.state {
            TokenState::Active => {}
            TokenState::Pending => return Err(Decline::TokenNotActive),
            TokenState::FrozenByWearer | TokenState::FrozenByOperator | TokenState::FrozenByRisk => {
                return Err(Decline::TokenFrozen);
            }
            TokenState::Lost => return Err(Decline::TokenLost),
            TokenState::Expired => return Err(Decline::TokenExpired),
            TokenState::Revoked => return Err(Decline::TokenRevoked),
        }
        let currency = self.request.amount.currency();
        if currency != self.purse.day_use.currency {
            return Err(Decline::CurrencyDiffers);
        }
        // A currency that is not offered has no limits: nothing is paid in it.
        if settings.limits.contains_key(&currency) { Ok(()) } else { Err(Decline::LimitSingle) }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            amount: self.request.amount,
            verified: self.verified,
            category: self.merchant.category,
            position: self.merchant.position,
            day_use: &self.purse.day_use,
            history: &self.purse.history,
            guesses: self.guesses,
            token_created_ms: self.token.created_ms,
            now_ms: self.request.now_ms,
        }
    }

    /// Moves the money, or sets it aside until the phone has been asked.
    fn book(&self, asks_phone: bool, rules: &RuleSet, settings: &Settings) -> Outcome {
        let Self { request, purse, verified, .. } = *self;
        if asks_phone && purse.waiting >= MAX_WAITING {
            return Err(Decline::TooManyWaiting);
        }
        let event = if asks_phone { Event::Hold } else { Event::Payment };
        let cause = posting::Cause { reference: request.id.0, counterparty: request.merchant.0, at_ms: request.now_ms };
        let account = purse.day_use.account;
        let parties = Parties { wearer: account.0, merchant: request.merchant.0, partition: purse.partition };
        let booking = posting::entry(event, cause, parties, request.amount)
            .and_then(|entry| Booking::new(entry, &purse.balances))
            .map_err(|_| Decline::InsufficientFunds)?;
        let entry = risk::history::Entry {
            amount: request.amount,
            verified,
            summed_category: self.merchant.category.filter(|category| rules.sums(Some(*category))),
            position: self.merchant.position,
            at_ms: request.now_ms,
        };
        let mut changes = vec![
            Change::Book(booking),
            Change::PutDayUse(purse.day_use.plus(request.amount, verified)),
            Change::PutHistory(Box::new(purse.history.clone().after(&entry))),
        ];
        if !asks_phone {
            return Ok((PaymentState::Succeeded, changes));
        }
        let until_ms = request.now_ms.saturating_add(settings.payment_confirmation_ms);
        changes.push(Change::SetPending { payment: request.id, account, until_ms, waits: true });
        Ok((PaymentState::RequiresConfirmation { until_ms }, changes))
    }
}

/// The token after one of its codes was shown: older codes and lower counters are dead.
fn spend(token: Token, stamp: Stamp, counter: Option<u32>, mark: u32) -> Token {
    Token {
        last_stamp: Some(stamp),
        last_counter: counter.or(token.last_counter),
        guesses: Guesses::default(),
        spent: token.spent.with(mark),
        ..token
    }
}

/// A token whose time is over ends with the first payment that meets it so, and the audit trail says when that was.
fn end_in_time(token: Token, now_ms: UnixMs) -> (Token, Option<Change>) {
    let state = token.state_at(now_ms);
    let ended = (state != token.state).then(|| Change::AddEvent(crate::Event::in_time(token.id, now_ms, "expired")));
    (Token { state, ..token }, ended)
}

fn declined(
    request: &PayRequest,
    token: Option<&Token>,
    decline: Decline,
    mut changes: Vec<Change>,
) -> (Payment, Vec<Change>) {
    let payment = record(request, token, PaymentState::Failed(decline));
    changes.push(Change::PutPayment(payment.clone()));
    (payment, changes)
}

fn record(request: &PayRequest, token: Option<&Token>, state: PaymentState) -> Payment {
    Payment {
        id: request.id,
        merchant: request.merchant,
        order: request.order.clone(),
        fingerprint: Some(request.fingerprint),
        amount: Some(request.amount),
        state,
        account: token.map(|token| token.account),
        token: token.map(|token| token.id),
        verified: false,
        refunded_minor: 0,
        refunds: 0,
        created_ms: request.now_ms,
        category: None,
        decision: None,
    }
}

#[cfg(test)]
#[path = "pay_cases.rs"]
pub(crate) mod tests;
