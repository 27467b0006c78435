//! Merchants, payments and refunds as rows.

use platform::merchants::{Category, Merchant, Position, WrongCodes};
use platform::payments::{Decline, Fingerprint, Payment, PaymentState, Refund};
use platform::risk::{Cause, Decision, Effect, Fired};
use platform::{AccountId, KeyHash, MerchantId, PaymentId, RefundId, TokenId};

use super::FORM;
use super::codec::{Decoder, Encoder};
use crate::StoreError;

/// The form merchants have now. 2 added the day's wrong codes, suspension, category and position; 3 what paid
/// nothing on that day.
const MERCHANT_FORM: u8 = 3;

pub(crate) fn put_merchant(row: &Merchant) -> Vec<u8> {
    Encoder::new(MERCHANT_FORM)
        .raw(&row.id.0)
        .text(&row.name)
        .currency(row.currency)
        .raw(&row.api_key.0)
        .u64(row.created_ms)
        .u64(row.wrong_codes.since_ms)
        .u32(row.wrong_codes.count)
        .i64(row.wrong_codes.day)
        .u32(row.wrong_codes.day_count)
        .maybe(row.suspended_ms, Encoder::u64)
        .maybe(row.category, |to, category| to.u16(category.number()))
        .maybe(row.position.map(Position::e4), |to, (latitude, longitude)| to.i32(latitude).i32(longitude))
        .u32(row.wrong_codes.fruitless)
        .finish()
}

pub(crate) fn merchant(fields: &[u8]) -> Result<Merchant, StoreError> {
    let (mut row, form) = Decoder::up_to("merchants", MERCHANT_FORM, fields)?;
    let mut merchant = Merchant {
        id: MerchantId(row.raw()?),
        name: row.text()?.to_owned(),
        currency: row.currency()?,
        api_key: KeyHash(row.raw()?),
        created_ms: row.u64()?,
        wrong_codes: WrongCodes { since_ms: row.u64()?, count: row.u32()?, ..WrongCodes::default() },
        suspended_ms: None,
        category: None,
        position: None,
    };
    if form >= 2 {
        merchant.wrong_codes.day = row.i64()?;
        merchant.wrong_codes.day_count = row.u32()?;
        merchant.suspended_ms = row.maybe(Decoder::u64)?;
        merchant.category = row.maybe(|row| {
            let category = Category::from_number(row.u16()?);
            row.known(category)
        })?;
        merchant.position = row.maybe(|row| {
            let position = Position::from_e4(row.i32()?, row.i32()?);
            row.known(position)
        })?;
    }
    if form >= 3 {
        merchant.wrong_codes.fruitless = row.u32()?;
    }
    row.end().map(|()| merchant)
}

/// A state as two numbers: which, and why it was declined or until when it waits.
const fn state_numbers(state: PaymentState) -> (u8, u64) {
    match state {
        PaymentState::Succeeded => (1, 0),
        PaymentState::Failed(decline) => (2, decline as u64),
        PaymentState::Cancelled => (3, 0),
        PaymentState::RequiresConfirmation { until_ms } => (4, until_ms),
    }
}

fn state_of(state: u8, detail: u64) -> Option<PaymentState> {
    match (state, detail) {
        (1, 0) => Some(PaymentState::Succeeded),
        (2, decline) => Decline::from_number(u8::try_from(decline).ok()?).map(PaymentState::Failed),
        (3, 0) => Some(PaymentState::Cancelled),
        (4, until_ms) => Some(PaymentState::RequiresConfirmation { until_ms }),
        _ => None,
    }
}

/// The form payments have now. 2 added the merchant's category and what the risk rules said; 3 the number of refunds, of which those
/// booked before are not counted.
const PAYMENT_FORM: u8 = 3;

fn put_decision(row: Encoder, decision: &Decision) -> Encoder {
    let row = row.u32(decision.version).u32(decision.wrong_codes);
    row.maybe(decision.fired.as_ref(), |row, fired| {
        let row = row.text(&fired.rule).u8(fired.effect as u8).u8(fired.cause as u8);
        row.u64(fired.seen).u64(fired.bound)
    })
}

fn decision(row: &mut Decoder<'_>) -> Result<Decision, StoreError> {
    let (version, wrong_codes) = (row.u32()?, row.u32()?);
    let fired = row.maybe(|row| {
        let rule = row.text()?.to_owned();
        let (effect, cause) = (Effect::from_number(row.u8()?), Cause::from_number(row.u8()?));
        Ok(Fired { rule, effect: row.known(effect)?, cause: row.known(cause)?, seen: row.u64()?, bound: row.u64()? })
    })?;
    Ok(Decision { version, fired, wrong_codes })
}

pub(crate) fn put_payment(row: &Payment) -> Vec<u8> {
    let (state, detail) = state_numbers(row.state);
    Encoder::new(PAYMENT_FORM)
        .raw(&row.id.0)
        .raw(&row.merchant.0)
        .text(row.order.as_str())
        .maybe(row.fingerprint, |to, fingerprint| to.raw(&fingerprint.0))
        .maybe(row.amount, Encoder::amount)
        .u8(state)
        .u64(detail)
        .maybe(row.account, |to, id| to.raw(&id.0))
        .maybe(row.token, |to, id| to.raw(&id.0))
        .flag(row.verified)
        .u64(row.refunded_minor)
        .u64(row.created_ms)
        .maybe(row.category, |to, category| to.u16(category.number()))
        .maybe(row.decision.as_ref(), put_decision)
        .u16(row.refunds)
        .finish()
}

pub(crate) fn payment(fields: &[u8]) -> Result<Payment, StoreError> {
    let (mut row, form) = Decoder::up_to("payments", PAYMENT_FORM, fields)?;
    let (id, merchant) = (PaymentId(row.raw()?), MerchantId(row.raw()?));
    let order = row.merchant_number()?;
    let fingerprint = row.maybe(|row| row.raw().map(Fingerprint))?;
    let amount = row.maybe(Decoder::amount)?;
    let state = state_of(row.u8()?, row.u64()?);
    let mut payment = Payment {
        id,
        merchant,
        order,
        fingerprint,
        amount,
        state: row.known(state)?,
        account: row.maybe(|row| row.raw().map(AccountId))?,
        token: row.maybe(|row| row.raw().map(TokenId))?,
        verified: row.flag()?,
        refunded_minor: row.u64()?,
        refunds: 0,
        created_ms: row.u64()?,
        category: None,
        decision: None,
    };
    if form >= 2 {
        payment.category = row.maybe(|row| {
            let category = Category::from_number(row.u16()?);
            row.known(category)
        })?;
        payment.decision = row.maybe(decision)?;
    }
    if form >= 3 {
        payment.refunds = row.u16()?;
    }
    row.end().map(|()| payment)
}

pub(crate) fn put_refund(row: &Refund) -> Vec<u8> {
    Encoder::new(FORM)
        .raw(&row.id.0)
        .raw(&row.payment.0)
        .raw(&row.merchant.0)
        .text(row.number.as_str())
        .amount(row.amount)
        .u64(row.created_ms)
        .finish()
}

pub(crate) fn refund(fields: &[u8]) -> Result<Refund, StoreError> {
    let mut row = Decoder::new("refunds", FORM, fields)?;
    let refund = Refund {
        id: RefundId(row.raw()?),
        payment: PaymentId(row.raw()?),
        merchant: MerchantId(row.raw()?),
        number: row.merchant_number()?,
        amount: row.amount()?,
        created_ms: row.u64()?,
    };
    row.end().map(|()| refund)
}
