//! What became of the payments that a wearable's codes were used for, so that its screen can say so. The newest few of a token
//! are kept where a payment changes something anyway; a sync tells those that the wearable has not been told as they are now.

use paycode::Stamp;
use protocol::applet::{CodeStamp, MAX_MERCHANT_BYTES, MAX_NOTICE_BYTES, PaymentNotice, PaymentOutcome};

use crate::PaymentId;
use crate::payments::{Payment, PaymentState};

/// Payments of a token whose results are known, and the most a sync tells.
pub const MAX_RESULTS: usize = 4;

/// A payment that one of the token's codes was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedCode {
    /// The payment.
    pub payment: PaymentId,
    /// The code.
    pub stamp: Stamp,
}

/// The same with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenResult {
    /// The payment, as it is now.
    pub payment: Payment,
    /// The name of its merchant.
    pub merchant: String,
    /// The code.
    pub stamp: Stamp,
}

/// What a wearable was told of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Which payment.
    pub payment: PaymentId,
    /// What had become of it: the number of a [`PaymentOutcome`].
    pub outcome: u8,
    /// What had been given back, minor units.
    pub refunded_minor: u64,
}

/// A notice for a wearable, kept as it goes out: a repeated script is the same script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it says.
    pub told: Told,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl TokenResult {
    /// What became of it, in the word for a wearable.
    pub const fn outcome(&self) -> PaymentOutcome {
        match self.payment.state {
            PaymentState::Succeeded => PaymentOutcome::Paid,
            PaymentState::Failed(_) => PaymentOutcome::Declined,
            PaymentState::RequiresConfirmation { .. } => PaymentOutcome::Waits,
            PaymentState::Cancelled => PaymentOutcome::Cancelled,
        }
    }

    /// The code, as a chip names it.
    pub(super) fn code(&self) -> Option<CodeStamp> {
        CodeStamp::new(self.stamp.step.0, self.stamp.sequence.get())
    }

    fn told(&self) -> Told {
        Told { payment: self.payment.id, outcome: self.outcome() as u8, refunded_minor: self.payment.refunded_minor }
    }

    /// The notice; nothing of a payment that no wearable can be told of.
    fn notice(&self) -> Option<Notice> {
        let amount = self.payment.amount?;
        let currency = amount.currency();
        let notice = PaymentNotice {
            outcome: self.outcome(),
            amount_minor: amount.minor(),
            refunded_minor: self.payment.refunded_minor,
            currency: currency.as_str(),
            decimals: u8::try_from(currency.decimals()).ok()?,
            merchant: self.merchant.get(..self.merchant.floor_char_boundary(MAX_MERCHANT_BYTES))?.trim_end(),
            unix_seconds: self.payment.created_ms / 1_000,
            stamp: self.code()?,
        };
        let mut buffer = [0; MAX_NOTICE_BYTES];
        let bytes = notice.encode(&mut buffer).ok()?.to_vec();
        Some(Notice { told: self.told(), bytes })
    }
}

/// Notices of the results, newest first, that the wearable has not been told as they are; oldest first.
pub(super) fn untold(results: &[TokenResult], told: &[Told]) -> Vec<Notice> {
    let news = results.iter().take(MAX_RESULTS).filter(|result| !told.contains(&result.told()));
    news.rev().filter_map(TokenResult::notice).collect()
}

/// What the wearable has been told, once it has been told this as well: of each payment the newest word, first those of payments that
/// a sync would tell of. Whatever else is kept, one of them is not forgotten for it, or it would be told again.
pub(super) fn after(told: &[Told], more: impl IntoIterator<Item = Told>, results: &[TokenResult]) -> Vec<Told> {
    let mut after = told.to_vec();
    for news in more {
        after.retain(|before| before.payment != news.payment);
        after.insert(0, news);
    }
    after.sort_by_key(|told| !results.iter().any(|result| result.payment.id == told.payment));
    after.truncate(MAX_RESULTS);
    after
}
