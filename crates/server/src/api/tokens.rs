//! `/v1/tokens`: what a wearer pays with, and how it is stopped.

use axum::Json;
use axum::extract::{Path, State};
use platform::tokens::{Token, TokenAction};
use platform::{AccountId, Caller, Reason, Refusal, TokenId};
use serde::{Deserialize, Serialize};
use store::commands;
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::auth::Holder;
use crate::body::Params;
use crate::entropy::now_ms;
use crate::error::{ApiError, ErrorAnswer};

/// One account's right to pay from one chip.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenView {
    id: String,
    account: String,
    chip: String,
    /// `pending`, `active`, `frozen`, `frozen_by_risk` or `revoked`.
    state: &'static str,
    created_ms: u64,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id.to_string(),
            account: token.account.to_string(),
            chip: token.chip.to_string(),
            state: token.state.name(),
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
    Ok(Json(app.queries.tokens_of(account)?.into_iter().map(TokenView::from).collect()))
}

async fn act(app: App, caller: Holder, id: &str, action: TokenAction) -> Result<Json<TokenView>, ApiError> {
    let token = TokenId::parse(id)?;
    let command = commands::ActOnToken { caller: caller.0, token, action, now_ms: now_ms() };
    Ok(Json(app.store.execute(command).await?.into()))
}

/// Stops a token at once: a lost watch pays nothing from the next payment on.
#[utoipa::path(post, path = "/v1/tokens/{token}/freeze", tag = "tokens", params(("token", description = "token id")),
    responses((status = 200, body = TokenView), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn freeze(
    State(app): State<App>,
    caller: Holder,
    Path(id): Path<String>,
) -> Result<Json<TokenView>, ApiError> {
    act(app, caller, &id, TokenAction::Freeze).await
}

/// Lets a frozen token pay again. Only the operator lifts a freeze set by a risk rule.
#[utoipa::path(post, path = "/v1/tokens/{token}/resume", tag = "tokens", params(("token", description = "token id")),
    responses((status = 200, body = TokenView), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn resume(
    State(app): State<App>,
    caller: Holder,
    Path(id): Path<String>,
) -> Result<Json<TokenView>, ApiError> {
    act(app, caller, &id, TokenAction::Resume).await
}

/// Ends a token for ever; its chip can then be bound anew.
#[utoipa::path(post, path = "/v1/tokens/{token}/revoke", tag = "tokens", params(("token", description = "token id")),
    responses((status = 200, body = TokenView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    caller: Holder,
    Path(id): Path<String>,
) -> Result<Json<TokenView>, ApiError> {
    act(app, caller, &id, TokenAction::Revoke).await
}
