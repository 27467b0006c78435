//! Reserve, then book: how a payment, a refund and a cancel are done where the merchant's number and the wearer's money
//! are at home in different places (docs/decisions/0018).
//!
//! First the number is taken in the merchant's home, once and for ever, with an id and with what was asked. Then the
//! money is booked in the wearer's home under that id. Each step is a transaction in one home. Whoever comes again finds
//! the number taken and goes on with the second step, which does nothing where it has been done.

use std::sync::Arc;

use ledger::Balances;
use platform::guesses::{self, Counted};
use platform::merchants::Merchant;
use platform::payments::cancel::CancelRequest;
use platform::payments::code::judge;
use platform::payments::refund::RefundRequest;
use platform::payments::{Payment, Refund, cancel, pay, refund};
use platform::{Change, MerchantId, PaymentId, Reason, RefundId, Refusal, UnixMs};

use super::payments::{CancelOrder, Paid, Pay, RefundPayment, count_closed, held, paid_balances, wanted_for};
use crate::homes::Homes;
use crate::key::{Key, Numbered};
use crate::rows::{self, Asked, Reservation};
use crate::{Command, Env, Failure, Store, StoreError, Tables};

fn merchants(homes: Homes, merchant: MerchantId) -> u16 {
    homes.of_number(merchant.number())
}

impl Tables<'_> {
    /// What is asked under this id and not known to be booked.
    fn reservation(&mut self, id: [u8; 16]) -> Result<Option<Reservation>, StoreError> {
        let fields = self.fields(&Key::reservation(self.home(), id))?;
        fields.map(Reservation::from_row).transpose()
    }

    fn reserve(&mut self, id: [u8; 16], reservation: &Reservation) -> Result<(), StoreError> {
        self.put(Key::reservation(self.home(), id), Some(reservation.to_row()))
    }

    /// The same under an id that was just given out, for which nothing need be looked up.
    fn reserve_new(&mut self, id: [u8; 16], reservation: &Reservation) {
        self.add_unread(Key::reservation(self.home(), id), reservation.to_row());
    }
}

/// An id under a merchant's number, and its reservation, as far as they are known.
fn wanted_under(name: Key, known: &Tables<'_>) -> Result<Vec<Key>, StoreError> {
    let id = known.known(&name).map(|fields| rows::id(name.place().0, fields)).transpose()?;
    let reservation = id.map(|id| Key::reservation(known.home(), id));
    Ok([name].into_iter().chain(reservation).collect())
}

/// A payment in two steps, and a third where the code counts against its merchant.
pub(super) async fn pay_in_steps(pay: Pay, store: &Store) -> Result<Paid, Failure> {
    let (homes, pay) = (store.homes(), Arc::new(pay));
    let merchant_home = merchants(homes, pay.request.merchant);
    let (id, merchant) = match store.in_home(merchant_home, ReserveOrder(Arc::clone(&pay))).await? {
        Reserved::Under(id, merchant) => (id, merchant),
        Reserved::Wait { wait_ms } => return Ok(Paid::Wait { wait_ms }),
    };
    let (merchant_id, now_ms) = (merchant.id, pay.request.now_ms);
    let booked = store.in_home(homes.of_number(id.number()), BookPayment { pay, id, merchant }).await?;
    if let Some(counted) = booked.counted {
        store.in_home(merchant_home, CountAgainst { merchant: merchant_id, counted, now_ms }).await?;
    }
    Ok(Paid::Payment(booked.payment))
}

/// Takes an order number for a payment.
struct ReserveOrder(Arc<Pay>);

enum Reserved {
    /// The payment has, or is to have, this id.
    Under(PaymentId, Merchant),
    /// The merchant sent too many unknown codes.
    Wait { wait_ms: u64 },
}

impl Command for ReserveOrder {
    type Answer = Reserved;

    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        let request = &self.0.request;
        let mut keys = wanted_under(Key::order(request.merchant, &request.order), known)?;
        keys.push(Key::merchant(request.merchant));
        Ok(keys)
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Reserved, Failure> {
        let (pay, request) = (&self.0, &self.0.request);
        let known = tables.id_under(&Key::order(request.merchant, &request.order))?;
        let merchant = tables.merchant(request.merchant)?.ok_or(Reason::MerchantNotFound)?;
        if let Some(id) = known {
            return match tables.reservation(id)? {
                Some(before) if before.asked != Asked::Payment(request.fingerprint) => {
                    Err(Refusal::at(Reason::OrderParametersDiffer, "order").into())
                }
                // Where nothing is reserved any more it is booked, and the booking tells a repeat from another request.
                _ => Ok(Reserved::Under(PaymentId(id), merchant)),
            };
        }
        pay::accept(request, &merchant)?;
        if let Some(wait_ms) = merchant.wrong_codes.wait_ms(request.now_ms, &env.settings) {
            return Ok(Reserved::Wait { wait_ms });
        }
        if guesses::keeps_no_more(&merchant, request.now_ms, &env.settings) {
            // Seldom: the code is judged here already, so that what is refused takes no number.
            let verdict = judge(&pay.presented, pay.candidates(tables, env)?);
            guesses::may_be_kept(&verdict, &merchant, request.now_ms, &env.settings)?;
        }
        let home = pay.home_of_money(tables, env)?;
        let id = PaymentId::numbered(request.now_ms, tables.next_number_in(home));
        tables.name_order(request.merchant, &request.order, id)?;
        let reservation = Reservation {
            merchant: request.merchant,
            number: request.order.clone(),
            amount: request.amount,
            asked: Asked::Payment(request.fingerprint),
        };
        tables.reserve_new(id.0, &reservation);
        Ok(Reserved::Under(id, merchant))
    }
}

/// Decides a payment in its wearer's home, under the id that was reserved.
struct BookPayment {
    pay: Arc<Pay>,
    id: PaymentId,
    merchant: Merchant,
}

struct Booked {
    payment: Payment,
    /// What the code counts as against its merchant.
    counted: Option<Counted>,
}

impl Command for BookPayment {
    type Answer = Booked;

    fn wants(&self, known: &Tables<'_>, env: &Env) -> Result<Vec<Key>, StoreError> {
        let mut keys = self.pay.wanted_of_wearer(known, env)?;
        keys.push(Key::Number(Numbered::Payments, self.id.number()));
        Ok(keys)
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Booked, Failure> {
        let request = pay::PayRequest { id: self.id, ..self.pay.request.clone() };
        if let Some(existing) = tables.payment(self.id)? {
            return Ok(Booked { payment: pay::repeat(&request, existing)?, counted: None });
        }
        let verdict = judge(&self.pay.presented, self.pay.candidates(tables, env)?);
        let counted = Counted::of(&verdict);
        let rules = env.rules.get();
        let purse = self.pay.purse_of(&verdict, &rules, tables, env)?;
        let (payment, mut changes) =
            pay::decide(&request, &self.merchant, verdict, purse.as_ref(), &rules, &env.settings);
        // What counts against the merchant is counted in the merchant's home.
        let merchant = self.merchant.id.to_string();
        changes.retain(|change| match change {
            Change::PutMerchant(_) => false,
            Change::AddEvent(event) => event.subject != merchant,
            _ => true,
        });
        tables.apply_all(&changes)?;
        Ok(Booked { payment, counted })
    }
}

/// Counts a code against its merchant.
struct CountAgainst {
    merchant: MerchantId,
    counted: Counted,
    now_ms: UnixMs,
}

impl Command for CountAgainst {
    type Answer = ();

    fn wants(&self, _: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        Ok(vec![Key::merchant(self.merchant)])
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<(), Failure> {
        let merchant = tables.merchant(self.merchant)?.ok_or(Reason::MerchantNotFound)?;
        Ok(tables.apply_all(&self.counted.against(&merchant, self.now_ms, &env.settings))?)
    }
}

/// A cancel: of an order that never arrived in one step, of any other in two.
pub(super) async fn cancel_in_steps(cancel: CancelOrder, store: &Store) -> Result<Payment, Failure> {
    let homes = store.homes();
    let request = cancel.0;
    match store.in_home(merchants(homes, request.merchant), CloseOrder(request.clone())).await? {
        Closed::Done(payment) => Ok(payment),
        Closed::ThereIs(id) => {
            let home = homes.of_number(id.number());
            let refund_id = RefundId(homes.moved(request.refund_id.0, home));
            store.in_home(home, CancelPayment(CancelRequest { payment_id: id, refund_id, ..request })).await
        }
    }
}

/// Closes an order number that has no payment, or finds the payment's id.
struct CloseOrder(CancelRequest);

enum Closed {
    Done(Payment),
    ThereIs(PaymentId),
}

impl Command for CloseOrder {
    type Answer = Closed;

    fn wants(&self, _: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        // An order that never came counts against its merchant.
        Ok(vec![Key::order(self.0.merchant, &self.0.order), Key::merchant(self.0.merchant)])
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Closed, Failure> {
        let request = &self.0;
        if let Some(id) = tables.id_under(&Key::order(request.merchant, &request.order))? {
            return Ok(Closed::ThereIs(PaymentId(id)));
        }
        // What never arrived is nobody's money: its record is at home where the order is.
        let payment_id = PaymentId::numbered(request.now_ms, tables.next_payment_number());
        let request = CancelRequest { payment_id, ..request.clone() };
        let counted = count_closed(&request, tables, env)?;
        let (payment, mut changes) = cancel::cancel(request, None, &held(None, tables, env)?)?;
        changes.extend(counted);
        tables.name_order(payment.merchant, &payment.order, payment.id)?;
        tables.apply_all(&changes)?;
        Ok(Closed::Done(payment))
    }
}

/// Cancels a payment in its home. One that is not booked yet is booked as cancelled, so that it never will be paid.
struct CancelPayment(CancelRequest);

impl Command for CancelPayment {
    type Answer = Payment;

    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        let mut keys = wanted_for(self.0.payment_id, known)?;
        // What is left of it goes back as a refund.
        keys.push(Key::Number(Numbered::Refunds, self.0.refund_id.number()));
        Ok(keys)
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Payment, Failure> {
        let existing = tables.payment(self.0.payment_id)?;
        let held = held(existing.as_ref(), tables, env)?;
        let (payment, changes) = cancel::cancel(self.0.clone(), existing, &held)?;
        tables.apply_all(&changes)?;
        Ok(payment)
    }
}

/// A refund in two steps.
pub(super) async fn refund_in_steps(refund: RefundPayment, store: &Store) -> Result<Refund, Failure> {
    let homes = store.homes();
    let RefundPayment { merchant, payment, request } = refund;
    let id = RefundId(homes.moved(request.id.0, homes.of_number(payment.number())));
    let refund = Arc::new(RefundPayment { merchant, payment, request: RefundRequest { id, ..request } });
    let id = store.in_home(merchants(homes, merchant), ReserveRefund(Arc::clone(&refund))).await?;
    let RefundPayment { merchant, payment, request } = refund.as_ref();
    let request = RefundRequest { id, ..request.clone() };
    // By the refund's own id: where the number was used for another payment, that refund is found, and tells.
    store.in_home(homes.of_number(id.number()), BookRefund { merchant: *merchant, payment: *payment, request }).await
}

/// Takes a refund number.
struct ReserveRefund(Arc<RefundPayment>);

impl Command for ReserveRefund {
    /// The id that the refund has, or is to have.
    type Answer = RefundId;

    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        let mut keys = wanted_under(Key::refund_number(self.0.merchant, &self.0.request.number), known)?;
        keys.push(Key::Number(Numbered::Payments, self.0.payment.number()));
        keys.push(Key::reservation(known.home(), self.0.request.id.0));
        Ok(keys)
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<RefundId, Failure> {
        let RefundPayment { merchant, payment: id, request } = self.0.as_ref();
        let payment = tables.payment(*id)?;
        // Another merchant's payment does not exist for this one.
        let payment = payment.filter(|payment| payment.merchant == *merchant).ok_or(Reason::PaymentNotFound)?;
        let number = Key::refund_number(*merchant, &request.number);
        if let Some(id) = tables.id_under(&number)? {
            return match tables.reservation(id)? {
                Some(before)
                    if before.asked != Asked::Refund(payment.id) || before.amount.minor() != request.amount_minor =>
                {
                    Err(Refusal::at(Reason::RefundParametersDiffer, "refund").into())
                }
                _ => Ok(RefundId(id)),
            };
        }
        // What is refused as things stand takes no number.
        let (refund, _) = refund::refund(request.clone(), payment, None, tables.partition(), &Balances::new())?;
        tables.put_new_name(number, refund.id.0)?;
        let reservation = Reservation {
            merchant: *merchant,
            number: refund.number,
            amount: refund.amount,
            asked: Asked::Refund(refund.payment),
        };
        tables.reserve(refund.id.0, &reservation)?;
        Ok(refund.id)
    }
}

/// Books a refund in its payment's home, under the id that was reserved.
pub(super) struct BookRefund {
    pub(super) merchant: MerchantId,
    pub(super) payment: PaymentId,
    pub(super) request: RefundRequest,
}

impl Command for BookRefund {
    type Answer = Refund;

    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        let mut keys = wanted_for(self.payment, known)?;
        keys.push(Key::Number(Numbered::Refunds, self.request.id.number()));
        Ok(keys)
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Refund, Failure> {
        let payment = tables.payment(self.payment)?;
        let payment = payment.filter(|payment| payment.merchant == self.merchant).ok_or(Reason::PaymentNotFound)?;
        let before = tables.refund_by_id(self.request.id)?;
        if before.is_none() && tables.homes().of_number(self.payment.number()) != tables.home() {
            // The number was taken for a payment that is at home here, and that one was refused.
            return Err(Refusal::at(Reason::RefundParametersDiffer, "refund").into());
        }
        let balances = paid_balances(&payment, tables)?;
        let (refund, changes) = refund::refund(self.request.clone(), payment, before, tables.partition(), &balances)?;
        tables.apply_all(&changes)?;
        Ok(refund)
    }
}
