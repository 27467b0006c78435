//! Cancelling: the till does not know how its payment ended and wants it over. Whatever arrived, afterwards no
//! money of the order has moved and none will.

use super::confirm::{self, Held};
use super::refund::{RefundRequest, give_back};
use super::{MerchantNumber, Payment, PaymentState};
use crate::{Change, MerchantId, PaymentId, RefundId, Refusal, UnixMs};

/// What a cancel needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// Who cancels.
    pub merchant: MerchantId,
    /// Which order.
    pub order: MerchantNumber,
    /// A fresh id, for the record of an order that never arrived.
    pub payment_id: PaymentId,
    /// A fresh id, for the refund of an order that was paid.
    pub refund_id: RefundId,
    /// The present time.
    pub now_ms: UnixMs,
}

/// The number of the refund that a cancel makes. No merchant's own number can hold a space, so this never meets one.
pub fn refund_number(order: &MerchantNumber) -> MerchantNumber {
    MerchantNumber(format!("cancel {}", order.as_str()))
}

/// Cancels an order: one that never arrived is closed for ever, one that failed stays as it is, one that waits to be
/// confirmed is closed, one that was paid is refunded in full. Repeats return the same.
///
/// `held` is what is known of the wearer's money, where the payment is one's.
///
/// # Errors
/// [`crate::Reason::BooksRefused`] when the refund cannot be booked.
pub fn cancel(
    request: CancelRequest,
    existing: Option<Payment>,
    held: &Held,
) -> Result<(Payment, Vec<Change>), Refusal> {
    let Some(payment) = existing else {
        let closed = never_arrived(request);
        return Ok((closed.clone(), vec![Change::PutPayment(closed)]));
    };
    let rest_minor = payment.amount.map_or(0, |amount| amount.minor().saturating_sub(payment.refunded_minor));
    match payment.state {
        PaymentState::Failed(_) | PaymentState::Cancelled => Ok((payment, Vec::new())),
        PaymentState::RequiresConfirmation { .. } => {
            let caller = crate::Caller::Merchant(request.merchant);
            confirm::answer(caller, confirm::Answer::Cancel, payment, held, request.now_ms)
        }
        PaymentState::Succeeded if rest_minor == 0 => {
            let closed = Payment { state: PaymentState::Cancelled, ..payment };
            Ok((closed.clone(), vec![Change::PutPayment(closed)]))
        }
        PaymentState::Succeeded => {
            let refund = RefundRequest {
                id: request.refund_id,
                number: refund_number(&request.order),
                amount_minor: rest_minor,
                now_ms: request.now_ms,
            };
            let cancelled = Payment { state: PaymentState::Cancelled, ..payment };
            let (_, payment, changes) = give_back(refund, cancelled, held.partition, &held.balances)?;
            Ok((payment, changes))
        }
    }
}

fn never_arrived(request: CancelRequest) -> Payment {
    Payment {
        id: request.payment_id,
        merchant: request.merchant,
        order: request.order,
        fingerprint: None,
        amount: None,
        state: PaymentState::Cancelled,
        account: None,
        token: None,
        verified: false,
        refunded_minor: 0,
        refunds: 0,
        created_ms: request.now_ms,
        category: None,
        decision: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::Decline;
    use crate::payments::pay::tests::paid;

    fn request() -> CancelRequest {
        CancelRequest {
            merchant: MerchantId([5; 16]),
            order: MerchantNumber::parse("o-1", "order").unwrap(),
            payment_id: PaymentId([6; 16]),
            refund_id: RefundId([7; 16]),
            now_ms: 9,
        }
    }

    fn held() -> Held {
        let set_aside = ledger::posting::held([1; 16], ledger::Currency::CNY);
        Held { day_use: None, history: None, partition: 0, balances: [(set_aside, 1250)].into() }
    }

    #[test]
    fn the_table_of_cancels() {
        let partly = Payment { refunded_minor: 1000, ..paid(1250) };
        let fully = Payment { refunded_minor: 1250, ..paid(1250) };
        let waits = Payment { state: PaymentState::RequiresConfirmation { until_ms: 5 }, ..paid(1250) };
        let failed = Payment { state: PaymentState::Failed(Decline::CodeSpent), ..paid(1250) };
        // existing payment → state, given back in all, whether money moves now
        for (existing, state, refunded_minor, moves) in [
            (None, PaymentState::Cancelled, 0, false),
            (Some(failed.clone()), failed.state, 0, false),
            (Some(waits), PaymentState::Cancelled, 0, true),
            (Some(paid(1250)), PaymentState::Cancelled, 1250, true),
            (Some(partly), PaymentState::Cancelled, 1250, true),
            (Some(fully), PaymentState::Cancelled, 1250, false),
        ] {
            let (payment, changes) = cancel(request(), existing, &held()).unwrap();
            assert_eq!((payment.state, payment.refunded_minor), (state, refunded_minor));
            assert_eq!(changes.iter().any(|change| matches!(change, Change::Book(_))), moves);
            let (again, no_changes) = cancel(request(), Some(payment.clone()), &held()).unwrap();
            assert_eq!((again, no_changes), (payment, Vec::new()), "a repeat changes nothing");
        }
    }
}
