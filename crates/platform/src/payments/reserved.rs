//! A payment whose order number was reserved in one database and never booked in the other: a server ended between the
//! two. A repeat of the request finishes it. Where none comes, it fails for good, so that the order has an outcome.

use ledger::Amount;

use super::{Decline, Fingerprint, MerchantNumber, Payment, PaymentState};
use crate::{Change, MerchantId, PaymentId, UnixMs};

/// How long a repeat may finish a reserved payment, milliseconds: longer than any code lives and any till waits.
pub const FINISH_WITHIN_MS: u64 = 5 * 60_000;

/// What was asked when the number was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The id the payment was to have.
    pub id: PaymentId,
    /// Who was to be paid.
    pub merchant: MerchantId,
    /// Under which order number.
    pub order: MerchantNumber,
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// How much.
    pub amount: Amount,
    /// When.
    pub asked_ms: UnixMs,
}

/// Ends what nobody repeated: the code, which was never looked at, is too old by now. No money has moved and none will.
pub fn give_up(reserved: Reserved) -> (Payment, Vec<Change>) {
    let payment = Payment {
        id: reserved.id,
        merchant: reserved.merchant,
        order: reserved.order,
        fingerprint: Some(reserved.fingerprint),
        amount: Some(reserved.amount),
        state: PaymentState::Failed(Decline::CodeStale),
        account: None,
        token: None,
        verified: false,
        category: None,
        decision: None,
        refunded_minor: 0,
        refunds: 0,
        created_ms: reserved.asked_ms,
    };
    (payment.clone(), vec![Change::PutPayment(payment)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::pay::{self, PayRequest};

    #[test]
    fn what_was_given_up_answers_every_repeat_and_moves_nothing() {
        let reserved = Reserved {
            id: PaymentId([1; 16]),
            merchant: MerchantId([2; 16]),
            order: MerchantNumber::parse("o-1", "order").unwrap(),
            fingerprint: Fingerprint([3; 32]),
            amount: Amount::new(5, ledger::Currency::CNY).unwrap(),
            asked_ms: 7,
        };
        let (payment, changes) = give_up(reserved.clone());
        assert_eq!(payment.state, PaymentState::Failed(Decline::CodeStale));
        assert_eq!(changes, [Change::PutPayment(payment.clone())]);
        let repeat = PayRequest {
            id: reserved.id,
            merchant: reserved.merchant,
            order: reserved.order,
            amount: reserved.amount,
            fingerprint: reserved.fingerprint,
            now_ms: 9,
        };
        assert_eq!(pay::repeat(&repeat, payment.clone()), Ok(payment.clone()));
        let other = PayRequest { fingerprint: Fingerprint([4; 32]), ..repeat };
        assert!(pay::repeat(&other, payment).is_err());
    }
}
