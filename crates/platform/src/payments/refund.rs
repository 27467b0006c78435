//! Refunds: several, partial, each under its own number, never above the payment even when they race (the store
//! decides them one after the other).

use ledger::{Amount, Balances, posting};

use super::{MerchantNumber, Payment, PaymentState, Refund};
use crate::{Booking, Change, Reason, RefundId, Refusal, UnixMs};

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
/// [`Reason::RefundExceedsPayment`], [`Reason::BooksRefused`].
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
    fn what_was_not_paid_cannot_be_refunded() {
        for state in [PaymentState::Cancelled, PaymentState::Failed(super::super::Decline::CodeSpent)] {
            let payment = Payment { state, ..paid(1250) };
            let refused = refund(request("r", 1), payment, None, 0, &Balances::new());
            assert_eq!(refused.unwrap_err().reason, Reason::PaymentNotRefundable);
        }
    }
}
