//! Paying, cancelling and refunding.

use ledger::{Amount, Balances};
use paycode::{PayKey, TimeStep};
use platform::payments::cancel::CancelRequest;
use platform::payments::code::{Candidate, PresentedCode, Verdict, fingerprint, judge};
use platform::payments::pay::{PayRequest, Purse};
use platform::payments::refund::RefundRequest;
use platform::payments::{Decline, MerchantNumber, Payment, PaymentState, Refund, cancel, pay, refund};
use platform::tokens::Token;
use platform::{MerchantId, PaymentId, Reason, UnixMs, mask_keys};

use crate::{Command, Env, Failure, StoreError, Tables};

/// A till asks for a payment.
pub struct Pay {
    /// A fresh id.
    pub id: PaymentId,
    /// Who is to be paid.
    pub merchant: MerchantId,
    /// The merchant's order number.
    pub order: MerchantNumber,
    /// What the till scanned, as text.
    pub code: zeroize::Zeroizing<String>,
    /// How much.
    pub amount: Amount,
    /// The present time.
    pub now_ms: UnixMs,
}

/// The answer to [`Pay`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paid {
    /// The payment, new or repeated, succeeded or declined.
    Payment(Payment),
    /// The merchant sent too many unknown codes; nothing was looked at.
    Wait {
        /// For how long, milliseconds.
        wait_ms: u64,
    },
}

impl Command for Pay {
    type Answer = Paid;

    fn run(self, tables: &mut dyn Tables, env: &Env) -> Result<Paid, Failure> {
        let settings = &env.settings;
        let presented = PresentedCode::parse(&self.code, &settings.codes.format)?;
        let request = PayRequest {
            id: self.id,
            merchant: self.merchant,
            order: self.order,
            amount: self.amount,
            fingerprint: fingerprint(&self.code, self.amount),
            now_ms: self.now_ms,
        };
        if let Some(existing) = tables.payment_by_order(request.merchant, &request.order)? {
            return Ok(Paid::Payment(pay::repeat(&request, existing)?));
        }
        let merchant = tables.merchant(request.merchant)?.ok_or(Reason::MerchantNotFound)?;
        pay::accept(&request, &merchant)?;
        if let Some(wait_ms) = merchant.wrong_codes.wait_ms(request.now_ms, &settings.codes) {
            return Ok(Paid::Wait { wait_ms });
        }
        let verdict = verdict(&presented, request.now_ms, tables, env)?;
        let purse = match &verdict {
            Verdict::Genuine { token, .. } => Some(purse(token, &request, tables, env)?),
            _ => None,
        };
        let (payment, changes) = pay::decide(&request, &merchant, verdict, purse.as_ref(), settings);
        tables.apply_all(&changes)?;
        Ok(Paid::Payment(payment))
    }
}

fn verdict(presented: &PresentedCode, now_ms: UnixMs, tables: &dyn Tables, env: &Env) -> Result<Verdict, Failure> {
    let codes = &env.settings.codes;
    let masks = mask_keys(env.vault.as_ref(), &codes.format, codes.suite)?;
    let mut candidates = Vec::new();
    for (mask_version, unmasked) in presented.unmasked(&codes.format, &masks) {
        let Some(token) = tables.token_by_index(&codes.format, unmasked.index)? else { continue };
        let key = env.vault.pay_key(&token.format, token.index, token.pay_key_version)?;
        let pay_key = PayKey::new(token.suite, &key);
        candidates.push(Candidate { token, pay_key, unmasked, mask_version });
    }
    let now = TimeStep::from_unix_seconds(now_ms / 1_000).map_err(|_| StoreError::Corrupt("clock"))?;
    Ok(judge(presented, candidates, now))
}

fn purse(token: &Token, request: &PayRequest, tables: &dyn Tables, env: &Env) -> Result<Purse, Failure> {
    let account = tables.account(token.account)?.ok_or(StoreError::Corrupt("token's account"))?;
    let day_use = tables.day_use(&account, env.settings.day_of(request.now_ms))?;
    let balances = tables.purse_balances(account.id, env.settings.partition, request.amount.currency())?;
    Ok(Purse { account, day_use, balances })
}

/// A till wants an order over, whatever became of it.
pub struct CancelOrder(pub CancelRequest);

impl Command for CancelOrder {
    type Answer = Payment;

    fn run(self, tables: &mut dyn Tables, env: &Env) -> Result<Payment, Failure> {
        let existing = tables.payment_by_order(self.0.merchant, &self.0.order)?;
        let balances = existing.as_ref().map_or_else(|| Ok(Balances::new()), |p| paid_balances(p, tables, env))?;
        let (payment, changes) = cancel::cancel(self.0, existing, env.settings.partition, &balances)?;
        tables.apply_all(&changes)?;
        Ok(payment)
    }
}

/// A merchant gives back part or all of a payment.
pub struct RefundPayment {
    /// The merchant.
    pub merchant: MerchantId,
    /// The payment.
    pub payment: PaymentId,
    /// Number and amount.
    pub request: RefundRequest,
}

impl Command for RefundPayment {
    type Answer = Refund;

    fn run(self, tables: &mut dyn Tables, env: &Env) -> Result<Refund, Failure> {
        let payment = tables.payment(self.payment)?;
        // Another merchant's payment does not exist for this one.
        let payment = payment.filter(|p| p.merchant == self.merchant).ok_or(Reason::PaymentNotFound)?;
        let before = tables.refund(self.merchant, &self.request.number)?;
        let balances = paid_balances(&payment, tables, env)?;
        let (refund, changes) = refund::refund(self.request, payment, before, env.settings.partition, &balances)?;
        tables.apply_all(&changes)?;
        Ok(refund)
    }
}

/// The balances a refund of this payment would touch; none where no money moved.
fn paid_balances(payment: &Payment, tables: &dyn Tables, env: &Env) -> Result<Balances, StoreError> {
    match (payment.account, payment.amount, payment.state) {
        (Some(account), Some(amount), PaymentState::Succeeded) => {
            tables.purse_balances(account, env.settings.partition, amount.currency())
        }
        _ => Ok(Balances::new()),
    }
}

impl Paid {
    /// Why the payment was declined, where it was.
    pub fn decline(&self) -> Option<Decline> {
        match self {
            Self::Payment(Payment { state: PaymentState::Failed(decline), .. }) => Some(*decline),
            Self::Payment(_) | Self::Wait { .. } => None,
        }
    }
}
