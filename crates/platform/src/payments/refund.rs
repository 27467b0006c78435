//! Refunds: several, partial, each under its own number, never above the payment even when they race (the store
//! decides them one after the other).

use ledger::{Amount, Balances, posting};

use super::{MerchantNumber, Payment, PaymentState, Refund};
use crate::{Booking, Change, Reason, RefundId, Refusal, UnixMs};

/// The most refunds of one payment. Each is a row and a record of the journal for ever, and one minor unit is enough for one. A cancel
/// gives back what is left, however many there were.
pub const MAX_REFUNDS: u16 = 1_000;

/// What a refund needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRequest {
    /// A fresh id.
    pub id: RefundId,
    /// The merchant's refund number.
    pub number: MerchantNumber,
    /// How much, minor units of the payment's currency.
    pub amount_minor: u64,
    /// The present time.
    pub now_ms: UnixMs,
}

/// Refunds part or all of a payment, or returns the refund made before under the same number.
///
/// `before` is the merchant's refund under this number; `balances` those of the wallet and its clearing account.
///
/// # Errors
/// [`Reason::RefundParametersDiffer`], [`Reason::PaymentNotRefundable`], [`Reason::AmountInvalid`],
/// [`Reason::RefundExceedsPayment`], [`Reason::TooManyRefunds`], [`Reason::BooksRefused`].
pub fn refund(
    request: RefundRequest,
    payment: Payment,
    before: Option<Refund>,
    partition: u32,
    balances: &Balances,
) -> Result<(Refund, Vec<Change>), Refusal> {
    if let Some(before) = before {
        let same = before.payment == payment.id && before.amount.minor() == request.amount_minor;
        return if same {
            Ok((before, Vec::new()))
        } else {
            Err(Refusal::at(Reason::RefundParametersDiffer, "refund"))
        };
    }
    if payment.state != PaymentState::Succeeded {
        return Err(Reason::PaymentNotRefundable.into());
    }
    if payment.refunds >= MAX_REFUNDS {
        return Err(Reason::TooManyRefunds.into());
    }
    give_back(request, payment, partition, balances).map(|(refund, _, changes)| (refund, changes))
}

/// Books a refund of a payment that holds money: the refund, the payment after it, and the changes.
pub(super) fn give_back(
    request: RefundRequest,
    mut payment: Payment,
    partition: u32,
    balances: &Balances,
) -> Result<(Refund, Payment, Vec<Change>), Refusal> {
    let (Some(paid), Some(account)) = (payment.amount, payment.account) else {
        return Err(Reason::PaymentNotRefundable.into());
    };
    let amount =
        Amount::new(request.amount_minor, paid.currency()).map_err(|_| Refusal::at(Reason::AmountInvalid, "amount"))?;
    let refunded_minor = payment
        .refunded_minor
        .checked_add(amount.minor())
        .filter(|sum| *sum <= paid.minor())
        .ok_or(Refusal::at(Reason::RefundExceedsPayment, "amount"))?;
    let cause = posting::Cause { reference: request.id.0, counterparty: payment.merchant.0, at_ms: request.now_ms };
    let parties = posting::Parties { wearer: account.0, merchant: payment.merchant.0, partition };
    let booking = posting::entry(posting::Event::Refund, cause, parties, amount)
        .and_then(|entry| Booking::new(entry, balances))
        .map_err(|_| Reason::BooksRefused)?;
    payment.refunded_minor = refunded_minor;
    payment.refunds = payment.refunds.saturating_add(1);
    let refund = Refund {
        id: request.id,
        payment: payment.id,
        merchant: payment.merchant,
        number: request.number,
        amount,
        created_ms: request.now_ms,
    };
    let changes = vec![Change::Book(booking), Change::PutRefund(refund.clone()), Change::PutPayment(payment.clone())];
    Ok((refund, payment, changes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::pay::tests::paid;

    fn request(number: &str, amount_minor: u64) -> RefundRequest {
        let number = MerchantNumber::parse(number, "refund").unwrap();
        RefundRequest { id: RefundId([8; 16]), number, amount_minor, now_ms: 9 }
    }

    #[test]
    fn partial_refunds_add_up_to_the_payment_and_no_further() {
        let mut payment = paid(1250);
        let balances = Balances::new();
        for (amount_minor, outcome) in [
            (0, Err(Reason::AmountInvalid)),
            (1251, Err(Reason::RefundExceedsPayment)),
            (1000, Ok(1000)),
            (251, Err(Reason::RefundExceedsPayment)),
            (u64::MAX, Err(Reason::AmountInvalid)),
            (250, Ok(1250)),
            (1, Err(Reason::RefundExceedsPayment)),
        ] {
            let result = refund(request("r", amount_minor), payment.clone(), None, 0, &balances);
            let refunded = result.map_err(|refusal| refusal.reason).map(|(_, changes)| {
                let after = changes.into_iter().find_map(|change| match change {
                    Change::PutPayment(payment) => Some(payment),
                    _ => None,
                });
                payment = after.unwrap();
                payment.refunded_minor
            });
            assert_eq!(refunded, outcome, "{amount_minor}");
        }
    }

    #[test]
    fn a_refund_number_is_one_refund_for_ever() {
        let (first, _) = refund(request("r-1", 100), paid(1250), None, 0, &Balances::new()).unwrap();
        let again = refund(request("r-1", 100), paid(1250), Some(first.clone()), 0, &Balances::new()).unwrap();
        assert_eq!(again, (first.clone(), Vec::new()));
        let other = refund(request("r-1", 101), paid(1250), Some(first), 0, &Balances::new());
        assert_eq!(other.unwrap_err().reason, Reason::RefundParametersDiffer);
    }

    #[test]
    fn a_payment_has_so_many_refunds_and_no_more() {
        let mut payment = paid(2_000);
        for number in 1..=u64::from(MAX_REFUNDS) {
            let (_, changes) = refund(request(&number.to_string(), 1), payment, None, 0, &Balances::new()).unwrap();
            let after = changes.into_iter().find_map(|change| match change {
                Change::PutPayment(payment) => Some(payment),
                _ => None,
            });
            payment = after.unwrap();
            assert_eq!((u64::from(payment.refunds), payment.refunded_minor), (number, number));
        }
        let refused = refund(request("one-more", 1), payment.clone(), None, 0, &Balances::new()).unwrap_err();
        assert_eq!(refused, Refusal::from(Reason::TooManyRefunds));
        // What is left goes back with the order.
        let (_, payment, _) = give_back(request("rest", 1_000), payment, 0, &Balances::new()).unwrap();
        assert_eq!(payment.refunded_minor, 2_000);
    }

    #[test]
    fn what_was_not_paid_cannot_be_refunded() {
        for state in [PaymentState::Cancelled, PaymentState::Failed(super::super::Decline::CodeSpent)] {
            let payment = Payment { state, ..paid(1250) };
            let refused = refund(request("r", 1), payment, None, 0, &Balances::new());
            assert_eq!(refused.unwrap_err().reason, Reason::PaymentNotRefundable);
        }
    }
}
