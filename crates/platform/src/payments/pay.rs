//! What a payment comes to, once its code is judged: the token's state, the limits, the money.
//!
//! A genuine code is spent whatever the outcome: it has been shown to a shop and must not live on.

use ledger::posting::{self, Event, Parties};
use ledger::{Amount, Balances};
use paycode::Stamp;

use super::code::Verdict;
use super::{DayUse, Decline, Fingerprint, MerchantNumber, Payment, PaymentState};
use crate::guesses::{self, Guesses};
use crate::merchants::Merchant;
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
    settings: &Settings,
) -> (Payment, Vec<Change>) {
    match verdict {
        Verdict::NotOurs => declined(request, None, Decline::CodeNotOurs, Vec::new()),
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
            let changes = vec![Change::PutToken(frozen.clone()), Change::AddEvent(event)];
            declined(request, Some(&frozen), Decline::ChipCloned, changes)
        }
        Verdict::Refused { token, decline } => declined(request, Some(&token), decline, Vec::new()),
        Verdict::Genuine { token, hit, counter, mark } => {
            let token = spend(token, hit.stamp, counter, mark);
            let (token, ended) = end_in_time(token, request.now_ms);
            let spent = [Change::PutToken(token.clone())].into_iter().chain(ended).collect::<Vec<_>>();
            let outcome = match purse {
                Some(purse) => charge(request, &token, hit.verified, purse, settings),
                None => Err(Decline::TokenRevoked),
            };
            match outcome {
                Err(decline) => declined(request, Some(&token), decline, spent),
                Ok((state, booked)) => {
                    let mut payment = record(request, Some(&token), state);
                    payment.verified = hit.verified;
                    let changes = spent.into_iter().chain(booked).chain([Change::PutPayment(payment.clone())]);
                    (payment, changes.collect())
                }
            }
        }
    }
}

/// Where the payment stands and the changes that move or set aside the money, or why it stays where it is.
fn charge(
    request: &PayRequest,
    token: &Token,
    verified: bool,
    purse: &Purse,
    settings: &Settings,
) -> Result<(PaymentState, Vec<Change>), Decline> {
    match token.state {
        TokenState::Active => {}
        TokenState::Pending => return Err(Decline::TokenNotActive),
        TokenState::FrozenByWearer | TokenState::FrozenByOperator | TokenState::FrozenByRisk => {
            return Err(Decline::TokenFrozen);
        }
        TokenState::Lost => return Err(Decline::TokenLost),
        TokenState::Expired => return Err(Decline::TokenExpired),
        TokenState::Revoked => return Err(Decline::TokenRevoked),
    }
    if request.amount.currency() != purse.day_use.currency {
        return Err(Decline::CurrencyDiffers);
    }
    let day_use = within_limits(request.amount, verified, purse.day_use, settings)?;
    let until_ms = waits_until(request, settings);
    if until_ms.is_some() && purse.waiting >= MAX_WAITING {
        return Err(Decline::TooManyWaiting);
    }
    let event = if until_ms.is_some() { Event::Hold } else { Event::Payment };
    let cause = posting::Cause { reference: request.id.0, counterparty: request.merchant.0, at_ms: request.now_ms };
    let account = purse.day_use.account;
    let parties = Parties { wearer: account.0, merchant: request.merchant.0, partition: purse.partition };
    let booking = posting::entry(event, cause, parties, request.amount)
        .and_then(|entry| Booking::new(entry, &purse.balances))
        .map_err(|_| Decline::InsufficientFunds)?;
    let mut changes = vec![Change::Book(booking), Change::PutDayUse(day_use)];
    let state = match until_ms {
        None => PaymentState::Succeeded,
        Some(until_ms) => {
            changes.push(Change::SetPending { payment: request.id, account, until_ms, waits: true });
            PaymentState::RequiresConfirmation { until_ms }
        }
    };
    Ok((state, changes))
}

/// Until when the wearer may confirm; nothing where the code alone is enough.
fn waits_until(request: &PayRequest, settings: &Settings) -> Option<UnixMs> {
    let limits = settings.limits.get(&request.amount.currency())?;
    let waits = request.amount.minor() > limits.unconfirmed_minor;
    waits.then(|| request.now_ms.saturating_add(settings.payment_confirmation_ms))
}

/// The day's use after this payment, or the limit it would pass.
fn within_limits(amount: Amount, verified: bool, day_use: DayUse, settings: &Settings) -> Result<DayUse, Decline> {
    // A currency without limits is not offered: nothing is paid in it.
    let limits = settings.limits.get(&amount.currency()).ok_or(Decline::LimitSingle)?;
    if amount.minor() > limits.single_minor {
        return Err(Decline::LimitSingle);
    }
    let unverified_minor = if verified { 0 } else { amount.minor() };
    let after = DayUse {
        total_minor: day_use.total_minor.saturating_add(amount.minor()),
        unverified_minor: day_use.unverified_minor.saturating_add(unverified_minor),
        ..day_use
    };
    if after.total_minor > limits.day_minor {
        return Err(Decline::LimitDay);
    }
    if !verified && after.unverified_minor > limits.day_unverified_minor {
        return Err(Decline::LimitUnverified);
    }
    Ok(after)
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
        created_ms: request.now_ms,
    }
}

#[cfg(test)]
#[path = "pay_cases.rs"]
pub(crate) mod tests;
