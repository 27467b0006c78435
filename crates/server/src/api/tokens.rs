//! `/v1/tokens`: what a wearer pays with, and how it is stopped.

use axum::Json;
use axum::extract::State;
use platform::syncs::TokenResult;
use platform::tokens::{ActRequest, Token, TokenAction};
use platform::{AccountId, Caller, Reason, Refusal, TokenId};
use serde::{Deserialize, Serialize};
use store::commands;
use utoipa::{IntoParams, ToSchema};

use super::events::{self, EventView, Why};
use crate::App;
use crate::auth::Holder;
use crate::body::{MaybeBody, Params, PathPart};
use crate::entropy::now_ms;
use crate::error::{ApiError, ErrorAnswer};

/// One account's right to pay from one chip.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenView {
    id: String,
    account: String,
    chip: String,
    /// `pending`, `active`, `frozen_by_wearer`, `frozen_by_operator`, `frozen_by_risk`, `lost`, `expired` or `revoked`.
    state: &'static str,
    /// From when on it pays no more unless it is renewed, Unix time in milliseconds; absent where it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    created_ms: u64,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id.to_string(),
            account: token.account.to_string(),
            chip: token.chip.to_string(),
            state: token.state_at(now_ms()).name(),
            expires_ms: token.expires_ms,
            created_ms: token.created_ms,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenQuery {
    /// The account whose tokens are wanted; the caller's own when absent.
    account: Option<String>,
}

/// The tokens of an account, newest first.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(TokenQuery),
    responses((status = 200, body = Vec<TokenView>), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Holder,
    Params(query): Params<TokenQuery>,
) -> Result<Json<Vec<TokenView>>, ApiError> {
    let account = match (query.account, caller.0) {
        (Some(id), _) => AccountId::parse(&id)?,
        (None, Caller::Wearer(own)) => own,
        (None, _) => return Err(Refusal::at(Reason::FieldMalformed, "account").into()),
    };
    caller.must_own(account)?;
    app.queries.account(account)?.ok_or_else(|| Refusal::from(Reason::AccountNotFound))?;
    Ok(Json(app.queries.tokens_of(account)?.into_iter().map(TokenView::from).collect()))
}

/// The caller's token, or the operator's view of anybody's.
pub(super) fn found(app: &App, caller: &Holder, id: &str) -> Result<Token, ApiError> {
    let token = app.queries.token(TokenId::parse(id)?)?;
    let token = token.filter(|token| caller.0.may_act_for(token.account));
    token.ok_or_else(|| Refusal::from(Reason::TokenNotFound).into())
}

/// One token.
#[utoipa::path(get, path = "/v1/tokens/{token}", tag = "tokens", params(("token", description = "token id")),
    responses((status = 200, body = TokenView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
) -> Result<Json<TokenView>, ApiError> {
    found(&app, &caller, &id).map(|token| Json(token.into()))
}

/// The audit trail of a token: what was done to it, when, by whom, why; newest first, at most 100 lines.
#[utoipa::path(get, path = "/v1/tokens/{token}/events", tag = "tokens", params(("token", description = "token id")),
    responses((status = 200, body = Vec<EventView>), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn trail(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
) -> Result<Json<Vec<EventView>>, ApiError> {
    let token = found(&app, &caller, &id)?;
    events::of(&app, &token.id.to_string())
}

/// What became of a payment that one of the token's codes was used for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultView {
    payment: String,
    /// `paid`, `declined`, `waits` or `cancelled`.
    outcome: &'static str,
    /// Minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<u64>,
    /// ISO 4217 code.
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// What has been given back, minor units.
    refunded: u64,
    /// The name of who was paid.
    merchant: String,
    /// When: Unix time, milliseconds.
    created_ms: u64,
}

impl From<TokenResult> for ResultView {
    fn from(result: TokenResult) -> Self {
        let outcome = result.outcome().name();
        let TokenResult { payment, merchant, .. } = result;
        Self {
            payment: payment.id.to_string(),
            outcome,
            amount: payment.amount.map(|amount| amount.minor()),
            currency: payment.amount.map(|amount| amount.currency().to_string()),
            refunded: payment.refunded_minor,
            merchant,
            created_ms: payment.created_ms,
        }
    }
}

/// What became of the payments that the token's last codes were used for, newest first, at most four: what the wearable is
/// told at its next sync.
#[utoipa::path(get, path = "/v1/tokens/{token}/results", tag = "tokens", params(("token", description = "token id")),
    responses((status = 200, body = Vec<ResultView>), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn results(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
) -> Result<Json<Vec<ResultView>>, ApiError> {
    let token = found(&app, &caller, &id)?;
    Ok(Json(app.queries.results_of(&token)?.into_iter().map(ResultView::from).collect()))
}

async fn act(app: App, caller: Holder, id: &str, action: TokenAction, why: Why) -> Result<Json<TokenView>, ApiError> {
    let token = TokenId::parse(id)?;
    let request = ActRequest { caller: caller.0, action, why: why.why, now_ms: now_ms() };
    Ok(Json(app.store.execute(commands::ActOnToken { token, request }).await?.into()))
}

/// Stops a token at once: it pays nothing from the next payment on. What its wearer froze the wearer lifts again; what
/// the operator froze, only the operator.
#[utoipa::path(post, path = "/v1/tokens/{token}/freeze", tag = "tokens", params(("token", description = "token id")),
    request_body = Option<Why>, responses((status = 200, body = TokenView), (status = 404, body = ErrorAnswer),
    (status = 409, body = ErrorAnswer)))]
pub(crate) async fn freeze(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<TokenView>, ApiError> {
    act(app, caller, &id, TokenAction::Freeze, why).await
}

/// Lets a frozen or lost token pay again. Only the operator lifts what the operator, a risk rule or a report of loss has
/// stopped. A wearer resumes the tokens of an account 40 times a day, after which it is `too_many_resumes`; a freeze is never refused
/// for a count.
#[utoipa::path(post, path = "/v1/tokens/{token}/resume", tag = "tokens", params(("token", description = "token id")),
    request_body = Option<Why>, responses((status = 200, body = TokenView), (status = 403, body = ErrorAnswer),
    (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer), (status = 429, body = ErrorAnswer)))]
pub(crate) async fn resume(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<TokenView>, ApiError> {
    act(app, caller, &id, TokenAction::Resume, why).await
}

/// Reports a token lost: it pays nothing from the next payment on, its chip cannot be bound by anybody else, and only the
/// operator brings it back.
#[utoipa::path(post, path = "/v1/tokens/{token}/lost", tag = "tokens", params(("token", description = "token id")),
    request_body = Option<Why>, responses((status = 200, body = TokenView), (status = 404, body = ErrorAnswer),
    (status = 409, body = ErrorAnswer)))]
pub(crate) async fn lost(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<TokenView>, ApiError> {
    act(app, caller, &id, TokenAction::Lost, why).await
}

/// Gives a token another lifetime, counted from now; one that had expired pays again. The operator's alone.
#[utoipa::path(post, path = "/v1/tokens/{token}/renew", tag = "tokens", params(("token", description = "token id")),
    request_body = Option<Why>, responses((status = 200, body = TokenView), (status = 403, body = ErrorAnswer),
    (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn renew(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<TokenView>, ApiError> {
    act(app, caller, &id, TokenAction::Renew, why).await
}

/// Ends a token for ever; its chip can then be bound anew.
#[utoipa::path(post, path = "/v1/tokens/{token}/revoke", tag = "tokens", params(("token", description = "token id")),
    request_body = Option<Why>, responses((status = 200, body = TokenView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<TokenView>, ApiError> {
    act(app, caller, &id, TokenAction::Revoke, why).await
}
