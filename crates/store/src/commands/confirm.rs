//! A payment stops waiting: its wearer answers, or nobody has.

use platform::payments::Payment;
use platform::payments::confirm::{self, Answer};
use platform::{Caller, PaymentId, Reason, UnixMs};

use super::payments::{held, wanted_for};
use crate::homes::Homes;
use crate::key::Key;
use crate::{Command, Env, Failure, Store, StoreError, Tables};

/// Payments that one sweep ends; the rest wait for the next.
const MAX_SWEPT: usize = 500;

/// The wearer answers a payment that waits.
pub struct AnswerPayment {
    /// Who answers.
    pub caller: Caller,
    /// Which payment.
    pub payment: PaymentId,
    /// What.
    pub answer: Answer,
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for AnswerPayment {
    type Answer = Payment;

    fn home(&self, homes: Homes) -> u16 {
        homes.of_number(self.payment.number())
    }

    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        wanted_for(self.payment, known)
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Payment, Failure> {
        let payment = tables.payment(self.payment)?.ok_or(Reason::PaymentNotFound)?;
        let held = held(Some(&payment), tables, env)?;
        let (payment, changes) = confirm::answer(self.caller, self.answer, payment, &held, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(payment)
    }
}

/// Gives back what was set aside for payments that nobody has confirmed in time.
pub struct SweepOverdue {
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for SweepOverdue {
    /// The payments that wait no more.
    type Answer = Vec<Payment>;

    async fn carry_out(self, store: &Store) -> Result<Vec<Payment>, Failure> {
        let mut swept = Vec::new();
        for home in store.reached() {
            swept.extend(store.in_home(home, Self { now_ms: self.now_ms }).await?);
        }
        Ok(swept)
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Vec<Payment>, Failure> {
        let mut swept = Vec::new();
        for id in tables.overdue(self.now_ms, MAX_SWEPT)? {
            let expire =
                AnswerPayment { caller: Caller::Operator, payment: id, answer: Answer::Expire, now_ms: self.now_ms };
            swept.push(expire.run(tables, env)?);
        }
        Ok(swept)
    }
}
