//! A payment that waits for its wearer: confirmed on the phone, refused there, closed by the till, or too late. Its money
//! is set aside, so a confirmation never fails for want of it.

use ledger::posting::{self, Event, Parties};
use ledger::{Amount, Balances};

use super::{DayUse, Decline, Payment, PaymentState};
use crate::risk::History;
use crate::{AccountId, Booking, Caller, Change, Reason, Refusal, UnixMs};

/// How a payment stops waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The wearer confirms it.
    Confirm,
    /// The wearer does not want it.
    Refuse,
    /// The till wants it closed.
    Cancel,
    /// Nobody has answered in time.
    Expire,
}

/// What is known of the wearer's money when a payment stops waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What the account has paid on the day the payment was made; nothing where that day is over.
    pub day_use: Option<DayUse>,
    /// What rules know of the wearer, and the operator's day the payment was made on.
    pub history: Option<(History, i64)>,
    /// The partition whose clearing account the money goes to.
    pub partition: u32,
    /// The balances of wallet, of what is set aside, and of that clearing account.
    pub balances: Balances,
}

/// Answers a payment that waits. Doing twice what is done already changes nothing.
///
/// # Errors
/// [`Reason::PaymentNotFound`] for a wearer whose payment it is not; [`Reason::ConfirmationOver`] where it does not wait
/// any more, or its time is over.
pub fn answer(
    caller: Caller,
    answer: Answer,
    payment: Payment,
    held: &Held,
    now_ms: UnixMs,
) -> Result<(Payment, Vec<Change>), Refusal> {
    let (Some(account), Some(amount)) = (payment.account, payment.amount) else {
        return Err(Reason::PaymentNotFound.into());
    };
    let by_wearer = matches!(answer, Answer::Confirm | Answer::Refuse);
    if by_wearer && !caller.may_act_for(account) {
        return Err(Reason::PaymentNotFound.into());
    }
    let PaymentState::RequiresConfirmation { until_ms } = payment.state else {
        return repeated(answer, payment);
    };
    let state = match answer {
        // The time is the platform's, and it decides: what comes later finds the money given back.
        Answer::Confirm | Answer::Refuse if now_ms >= until_ms => return Err(Reason::ConfirmationOver.into()),
        Answer::Expire if now_ms < until_ms => return Ok((payment, Vec::new())),
        Answer::Confirm => PaymentState::Succeeded,
        Answer::Refuse => PaymentState::Failed(Decline::RefusedByWearer),
        Answer::Expire => PaymentState::Failed(Decline::NotConfirmed),
        Answer::Cancel => PaymentState::Cancelled,
    };
    let payment = Payment { state, ..payment };
    let mut changes = vec![
        Change::Book(moved(&payment, account, amount, held, now_ms)?),
        Change::SetPending { payment: payment.id, account, until_ms, waits: false },
        Change::PutPayment(payment.clone()),
    ];
    if state != PaymentState::Succeeded {
        changes.extend(held.day_use.map(|day_use| Change::PutDayUse(without(day_use, amount, payment.verified))));
        changes.extend(held.history.clone().map(|(history, made_on)| {
            Change::PutHistory(Box::new(history.without(amount, payment.verified, payment.category, made_on)))
        }));
    }
    Ok((payment, changes))
}

/// The wearer who presses twice is told the same twice.
fn repeated(answer: Answer, payment: Payment) -> Result<(Payment, Vec<Change>), Refusal> {
    let is_done = match answer {
        Answer::Confirm => payment.state == PaymentState::Succeeded,
        Answer::Refuse => payment.state == PaymentState::Failed(Decline::RefusedByWearer),
        Answer::Cancel | Answer::Expire => true,
    };
    if is_done { Ok((payment, Vec::new())) } else { Err(Reason::ConfirmationOver.into()) }
}

/// What was set aside is paid, or goes back.
fn moved(
    payment: &Payment,
    account: AccountId,
    amount: Amount,
    held: &Held,
    now_ms: UnixMs,
) -> Result<Booking, Refusal> {
    let event = if payment.state == PaymentState::Succeeded { Event::Capture } else { Event::Release };
    let cause = posting::Cause { reference: payment.id.0, counterparty: payment.merchant.0, at_ms: now_ms };
    let parties = Parties { wearer: account.0, merchant: payment.merchant.0, partition: held.partition };
    posting::entry(event, cause, parties, amount)
        .and_then(|entry| Booking::new(entry, &held.balances))
        .map_err(|_| Reason::BooksRefused.into())
}

/// What was not paid does not count against the day.
fn without(day_use: DayUse, amount: Amount, verified: bool) -> DayUse {
    let unverified_minor = if verified { 0 } else { amount.minor() };
    DayUse {
        total_minor: day_use.total_minor.saturating_sub(amount.minor()),
        unverified_minor: day_use.unverified_minor.saturating_sub(unverified_minor),
        ..day_use
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MerchantId;
    use crate::payments::pay::tests::paid;
    use ledger::Currency;

    const UNTIL_MS: UnixMs = 1_000;

    fn waiting() -> Payment {
        Payment { state: PaymentState::RequiresConfirmation { until_ms: UNTIL_MS }, ..paid(1250) }
    }

    fn held() -> Held {
        let account = AccountId([1; 16]);
        let day_use = DayUse { account, currency: Currency::CNY, day: 0, total_minor: 2_000, unverified_minor: 500 };
        let balances = Balances::from([(posting::held(account.0, Currency::CNY), 1250)]);
        Held { day_use: Some(day_use), history: None, partition: 0, balances }
    }

    #[test]
    fn the_table_of_answers() {
        use Answer::{Cancel, Confirm, Expire, Refuse};
        use PaymentState::{Cancelled, Failed, Succeeded};
        let wearer = Caller::Wearer(AccountId([1; 16]));
        let stranger = Caller::Wearer(AccountId([9; 16]));
        let (early, late) = (UNTIL_MS - 1, UNTIL_MS);
        let waits = waiting().state;
        let over = Err(Reason::ConfirmationOver);
        let refused = Failed(Decline::RefusedByWearer);
        // caller, answer, state before, at → state after, whether money moves
        for (caller, given, before, at_ms, expected) in [
            (wearer, Confirm, waits, early, Ok((Succeeded, true))),
            (wearer, Confirm, waits, late, over),
            (wearer, Confirm, Succeeded, late, Ok((Succeeded, false))),
            (wearer, Confirm, refused, early, over),
            (wearer, Confirm, Cancelled, early, over),
            (wearer, Confirm, Failed(Decline::NotConfirmed), late, over),
            (wearer, Refuse, waits, early, Ok((refused, true))),
            (wearer, Refuse, waits, late, over),
            (wearer, Refuse, refused, late, Ok((refused, false))),
            (wearer, Refuse, Succeeded, early, over),
            (stranger, Confirm, waits, early, Err(Reason::PaymentNotFound)),
            (stranger, Refuse, waits, early, Err(Reason::PaymentNotFound)),
            (Caller::Merchant(MerchantId([5; 16])), Confirm, waits, early, Err(Reason::PaymentNotFound)),
            (Caller::Merchant(MerchantId([5; 16])), Cancel, waits, late, Ok((Cancelled, true))),
            (Caller::Operator, Expire, waits, early, Ok((waits, false))),
            (Caller::Operator, Expire, waits, late, Ok((Failed(Decline::NotConfirmed), true))),
            (Caller::Operator, Expire, Succeeded, late, Ok((Succeeded, false))),
        ] {
            let payment = Payment { state: before, ..waiting() };
            let outcome = answer(caller, given, payment, &held(), at_ms)
                .map(|(payment, changes)| {
                    (payment.state, changes.iter().any(|change| matches!(change, Change::Book(_))))
                })
                .map_err(|refusal| refusal.reason);
            assert_eq!(outcome, expected, "{caller:?} {given:?} {before:?} {at_ms}");
        }
    }

    #[test]
    fn what_was_not_paid_does_not_count_against_the_day() {
        let unverified = Payment { verified: false, ..waiting() };
        for (payment, total, left_unverified) in [(waiting(), 750, 500), (unverified, 750, 0)] {
            let (_, changes) = answer(Caller::Operator, Answer::Expire, payment, &held(), UNTIL_MS).unwrap();
            let after = changes.iter().find_map(|change| match change {
                Change::PutDayUse(day_use) => Some((day_use.total_minor, day_use.unverified_minor)),
                _ => None,
            });
            assert_eq!(after, Some((total, left_unverified)));
        }
        let (_, changes) = answer(Caller::Wearer(AccountId([1; 16])), Answer::Confirm, waiting(), &held(), 0).unwrap();
        assert!(!changes.iter().any(|change| matches!(change, Change::PutDayUse(_))), "what was paid counts");
    }
}
