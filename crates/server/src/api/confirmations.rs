//! `/v1/confirmations`: payments that wait for their wearer, and the wearer's answer. The wallet key decides whose they are.

use axum::Json;
use axum::extract::State;
use platform::payments::Payment;
use platform::payments::confirm::Answer;
use platform::{AccountId, Caller, PaymentId, Reason, Refusal};
use serde::{Deserialize, Serialize};
use store::commands::AnswerPayment;
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::auth::Holder;
use crate::body::{Params, PathPart};
use crate::entropy::now_ms;
use crate::error::{ApiError, ErrorAnswer};

/// A payment, as its wearer sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfirmationView {
    /// The payment's id.
    payment: String,
    /// The shop's name.
    merchant: String,
    /// Minor units.
    amount: u64,
    /// ISO 4217 code.
    currency: String,
    /// `requires_confirmation`, `succeeded`, `failed` or `cancelled`.
    #[schema(example = "requires_confirmation")]
    state: &'static str,
    created_ms: u64,
}

fn view(app: &App, payment: Payment) -> Result<ConfirmationView, ApiError> {
    let amount = payment.amount.ok_or_else(|| Refusal::from(Reason::PaymentNotFound))?;
    let merchant = app.queries.merchant(payment.merchant)?;
    Ok(ConfirmationView {
        payment: payment.id.to_string(),
        merchant: merchant.map(|merchant| merchant.name).unwrap_or_default(),
        amount: amount.minor(),
        currency: amount.currency().to_string(),
        state: payment.state.name(),
        created_ms: payment.created_ms,
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmationQuery {
    /// The account whose payments are wanted; the caller's own when absent.
    account: Option<String>,
}

/// The payments that wait for the wearer to confirm them, oldest first; at most eight.
#[utoipa::path(get, path = "/v1/confirmations", tag = "confirmations", params(ConfirmationQuery),
    responses((status = 200, body = Vec<ConfirmationView>), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Holder,
    Params(query): Params<ConfirmationQuery>,
) -> Result<Json<Vec<ConfirmationView>>, ApiError> {
    let account = match (query.account, caller.0) {
        (Some(id), _) => AccountId::parse(&id)?,
        (None, Caller::Wearer(own)) => own,
        (None, _) => return Err(Refusal::at(Reason::FieldMalformed, "account").into()),
    };
    caller.must_own(account)?;
    app.queries.account(account)?.ok_or_else(|| Refusal::from(Reason::AccountNotFound))?;
    let waiting = app.queries.waiting_of(account)?;
    waiting.into_iter().map(|payment| view(&app, payment)).collect::<Result<Vec<_>, _>>().map(Json)
}

async fn answer(app: App, caller: Holder, id: &str, answer: Answer) -> Result<Json<ConfirmationView>, ApiError> {
    // The operator answers for nobody: it is the wearer's money.
    let Caller::Wearer(_) = caller.0 else { return Err(ApiError::forbidden()) };
    let command = AnswerPayment { caller: caller.0, payment: PaymentId::parse(id)?, answer, now_ms: now_ms() };
    let payment = app.store.execute(command).await?;
    Ok(Json(view(&app, payment)?))
}

/// Confirms a payment: what was set aside for it is paid. Safe to repeat.
#[utoipa::path(post, path = "/v1/confirmations/{payment}/confirm", tag = "confirmations",
    params(("payment", description = "payment id")), responses((status = 200, body = ConfirmationView),
    (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn confirm(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
) -> Result<Json<ConfirmationView>, ApiError> {
    answer(app, caller, &id, Answer::Confirm).await
}

/// Refuses a payment: what was set aside for it goes back. Safe to repeat.
#[utoipa::path(post, path = "/v1/confirmations/{payment}/refuse", tag = "confirmations",
    params(("payment", description = "payment id")), responses((status = 200, body = ConfirmationView),
    (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn refuse(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
) -> Result<Json<ConfirmationView>, ApiError> {
    answer(app, caller, &id, Answer::Refuse).await
}
