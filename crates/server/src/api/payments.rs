//! `/v1/payments`: charging, asking, cancelling, refunding. The merchant's key decides whose payments they are.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use platform::merchants::Merchant;
use platform::payments::cancel::CancelRequest;
use platform::payments::refund::RefundRequest;
use platform::payments::{MerchantNumber, Payment, PaymentState, Refund};
use platform::{PaymentId, Reason, RefundId, Refusal};
use serde::{Deserialize, Serialize};
use store::MAX_PAGE;
use store::commands::{CancelOrder, Paid, Pay, RefundPayment};
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

use super::accounts::default_currency;
use crate::App;
use crate::auth::Shop;
use crate::body::{Body, Params, PathPart};
use crate::entropy::{now_ms, random};
use crate::error::{ApiError, ErrorAnswer, ErrorBody};

/// A payment, as its merchant sees it. It says nothing of who paid.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PaymentView {
    /// Its id.
    id: String,
    /// The merchant's order number.
    order: String,
    /// `succeeded`, `requires_confirmation`, `failed` or `cancelled`.
    #[schema(example = "succeeded")]
    state: &'static str,
    /// Minor units; absent where the order was cancelled before the payment arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<u64>,
    /// ISO 4217 code.
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// How much has been given back, minor units.
    refunded: u64,
    /// Whether the wearer had entered the passcode.
    verified: bool,
    /// Why it failed, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<ErrorBody>,
    /// Until when the wearer may confirm it on the phone, where it waits for that: Unix time, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_until_ms: Option<u64>,
    /// When it was decided: Unix time, milliseconds.
    created_ms: u64,
}

impl From<Payment> for PaymentView {
    fn from(payment: Payment) -> Self {
        let failure = match payment.state {
            PaymentState::Failed(decline) => {
                Some(ErrorBody { code: decline.code(), message: decline.message().to_owned(), field: None })
            }
            PaymentState::Succeeded | PaymentState::Cancelled | PaymentState::RequiresConfirmation { .. } => None,
        };
        let confirm_until_ms = match payment.state {
            PaymentState::RequiresConfirmation { until_ms } => Some(until_ms),
            _ => None,
        };
        Self {
            id: payment.id.to_string(),
            order: payment.order.as_str().to_owned(),
            state: payment.state.name(),
            amount: payment.amount.map(ledger::Amount::minor),
            currency: payment.amount.map(|amount| amount.currency().to_string()),
            refunded: payment.refunded_minor,
            verified: payment.verified,
            failure,
            confirm_until_ms,
            created_ms: payment.created_ms,
        }
    }
}

/// What a till asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPayment {
    /// Your order number, 1 to 64 printable characters: one number is one payment for ever.
    #[schema(example = "2026-11-23-0001")]
    order: String,
    /// What the scanner read: the digits of a bar code or QR code, or the text of an EMV QR code.
    #[schema(example = "71234567890123456789")]
    code: String,
    /// Minor units: 1250 is 12.50 yuan.
    #[schema(example = 1250)]
    amount: u64,
    /// ISO 4217 code; `CNY` when absent.
    #[serde(default = "default_currency")]
    currency: String,
}

/// Charges the wearer whose code was scanned.
///
/// A repeat with the same order number and the same parameters returns the first answer; with others it is
/// refused. A declined payment answers 402 with the reason and the payment. One above what a code alone may pay answers
/// 202 and `requires_confirmation`: its money is set aside until the wearer confirms on the phone, three minutes at
/// most; ask for it with `wait_s`, or repeat the request.
#[utoipa::path(post, path = "/v1/payments", tag = "payments", request_body = NewPayment, responses(
    (status = 200, body = PaymentView, description = "paid"),
    (status = 202, body = PaymentView, description = "waits for the wearer's confirmation"),
    (status = 400, body = ErrorAnswer),
    (status = 401, body = ErrorAnswer), (status = 402, body = ErrorAnswer, description = "declined"),
    (status = 409, body = ErrorAnswer), (status = 429, body = ErrorAnswer), (status = 503, body = ErrorAnswer)))]
pub(crate) async fn pay(
    State(app): State<App>,
    Shop(merchant): Shop,
    Body(new): Body<NewPayment>,
) -> Result<(StatusCode, Json<PaymentView>), ApiError> {
    let now_ms = now_ms();
    let new = store::commands::NewPayment {
        merchant: merchant.id,
        order: MerchantNumber::parse(&new.order, "order")?,
        code: Zeroizing::new(new.code),
        amount: super::amount(new.amount, &new.currency)?,
        now_ms,
    };
    let look_at = || Pay::new(new, &app.env);
    let command = if app.env.vault.waits() { tokio::task::block_in_place(look_at) } else { look_at() }?;
    let paid = app.store.execute(command).await?;
    match paid {
        Paid::Wait { wait_ms } => {
            Err(ApiError::from(Refusal::from(Reason::TooManyWrongCodes)).retry_after(wait_ms.div_ceil(1_000)))
        }
        Paid::Payment(Payment { state: PaymentState::Failed(decline), .. }) => {
            let error = ApiError::new(StatusCode::PAYMENT_REQUIRED, decline.code(), decline.message());
            Err(match paid {
                Paid::Payment(payment) => error.with_payment(payment.into()),
                Paid::Wait { .. } => error,
            })
        }
        Paid::Payment(payment) if payment.state == PaymentState::Cancelled => {
            let cancelled = Reason::OrderCancelled;
            let error = ApiError::new(StatusCode::CONFLICT, cancelled.code(), cancelled.message());
            Err(error.at("order").with_payment(payment.into()))
        }
        Paid::Payment(payment) => {
            let waits = matches!(payment.state, PaymentState::RequiresConfirmation { .. });
            Ok((if waits { StatusCode::ACCEPTED } else { StatusCode::OK }, Json(payment.into())))
        }
    }
}

fn found(app: &App, merchant: &Merchant, id: &str) -> Result<Payment, ApiError> {
    let payment = app.queries.payment(PaymentId::parse(id)?)?;
    payment
        .filter(|payment| payment.merchant == merchant.id)
        .ok_or_else(|| Refusal::from(Reason::PaymentNotFound).into())
}

/// The longest wait for a payment to be decided, seconds.
const MAX_WAIT_S: u64 = 30;
/// How often a waiting request looks again: another server may have decided.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitQuery {
    /// Answer only when the payment waits no more for its wearer, or after this many seconds; at most 30.
    wait_s: Option<u64>,
}

/// A payment by its id; with `wait_s`, once it is decided.
#[utoipa::path(get, path = "/v1/payments/{payment}", tag = "payments", params(("payment", description = "payment id"), WaitQuery),
    responses((status = 200, body = PaymentView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn show(
    State(app): State<App>,
    Shop(merchant): Shop,
    PathPart(id): PathPart,
    Params(query): Params<WaitQuery>,
) -> Result<Json<PaymentView>, ApiError> {
    let until = Instant::now() + Duration::from_secs(query.wait_s.unwrap_or(0).min(MAX_WAIT_S));
    loop {
        let payment = found(&app, &merchant, &id)?;
        let waits = matches!(payment.state, PaymentState::RequiresConfirmation { .. });
        if !waits || Instant::now() >= until {
            return Ok(Json(payment.into()));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentQuery {
    /// Only the payment with this order number.
    order: Option<String>,
    /// Only payments older than this one.
    before: Option<String>,
    /// How many, at most 100.
    limit: Option<usize>,
}

/// The calling merchant's payments, newest first; or the one with an order number.
#[utoipa::path(get, path = "/v1/payments", tag = "payments", params(PaymentQuery),
    responses((status = 200, body = Vec<PaymentView>), (status = 400, body = ErrorAnswer)))]
pub(crate) async fn list(
    State(app): State<App>,
    Shop(merchant): Shop,
    Params(query): Params<PaymentQuery>,
) -> Result<Json<Vec<PaymentView>>, ApiError> {
    let payments = match query.order {
        Some(order) => {
            let order = MerchantNumber::parse(&order, "order")?;
            app.queries.payment_by_order(merchant.id, &order)?.into_iter().collect()
        }
        None => {
            let before = query.before.as_deref().map(PaymentId::parse).transpose()?;
            app.queries.payments_of(merchant.id, before, query.limit.unwrap_or(MAX_PAGE))?
        }
    };
    Ok(Json(payments.into_iter().map(PaymentView::from).collect()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// The order number to close.
    order: String,
}

/// Cancels an order, whatever became of it: one that never arrived is closed for ever, one that was paid is
/// refunded in full. Safe to repeat.
#[utoipa::path(post, path = "/v1/payments/cancel", tag = "payments", request_body = Cancel, responses(
    (status = 200, body = PaymentView), (status = 400, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn cancel(
    State(app): State<App>,
    Shop(merchant): Shop,
    Body(cancel): Body<Cancel>,
) -> Result<Json<PaymentView>, ApiError> {
    let now_ms = now_ms();
    let request = CancelRequest {
        merchant: merchant.id,
        order: MerchantNumber::parse(&cancel.order, "order")?,
        payment_id: PaymentId([0; 16]),
        refund_id: RefundId::new(now_ms, random()?),
        now_ms,
    };
    Ok(Json(app.store.execute(CancelOrder(request)).await?.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRefund {
    /// Your refund number, 1 to 64 printable characters: one number is one refund for ever.
    refund: String,
    /// How much to give back, minor units.
    amount: u64,
}

/// Money given back from a payment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefundView {
    id: String,
    payment: String,
    /// The merchant's refund number.
    refund: String,
    /// Minor units.
    amount: u64,
    currency: String,
    created_ms: u64,
}

impl From<Refund> for RefundView {
    fn from(refund: Refund) -> Self {
        Self {
            id: refund.id.to_string(),
            payment: refund.payment.to_string(),
            refund: refund.number.as_str().to_owned(),
            amount: refund.amount.minor(),
            currency: refund.amount.currency().to_string(),
            created_ms: refund.created_ms,
        }
    }
}

/// Refunds part or all of a payment. All refunds together never exceed it. A payment has 1,000 of them, after which it is
/// `too_many_refunds`; a cancel gives back the rest all the same.
#[utoipa::path(post, path = "/v1/payments/{payment}/refunds", tag = "payments", request_body = NewRefund,
    params(("payment", description = "payment id")), responses((status = 200, body = RefundView),
    (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn refund(
    State(app): State<App>,
    Shop(merchant): Shop,
    PathPart(id): PathPart,
    Body(new): Body<NewRefund>,
) -> Result<Json<RefundView>, ApiError> {
    let now_ms = now_ms();
    let request = RefundRequest {
        id: RefundId::new(now_ms, random()?),
        number: MerchantNumber::parse(&new.refund, "refund")?,
        amount_minor: new.amount,
        now_ms,
    };
    let command = RefundPayment { merchant: merchant.id, payment: PaymentId::parse(&id)?, request };
    Ok(Json(app.store.execute(command).await?.into()))
}

/// The refunds of a payment, oldest first.
#[utoipa::path(get, path = "/v1/payments/{payment}/refunds", tag = "payments",
    params(("payment", description = "payment id")),
    responses((status = 200, body = Vec<RefundView>), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn refunds(
    State(app): State<App>,
    Shop(merchant): Shop,
    PathPart(id): PathPart,
) -> Result<Json<Vec<RefundView>>, ApiError> {
    let payment = found(&app, &merchant, &id)?;
    Ok(Json(app.queries.refunds_of(payment.id)?.into_iter().map(RefundView::from).collect()))
}
