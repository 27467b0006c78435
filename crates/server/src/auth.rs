//! Who is calling: a key in `Authorization: Bearer`, looked up by its hash.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use platform::merchants::Merchant;
use platform::{AccountId, Caller, KeyHash, Reason};

use crate::App;
use crate::error::ApiError;

/// What operator keys begin with.
pub const OPERATOR_KEY: &str = "op_";
/// What merchants' API keys begin with.
pub const MERCHANT_KEY: &str = "sk_";
/// What wallet keys begin with.
pub const WALLET_KEY: &str = "wk_";

/// The operator, by its key.
pub(crate) struct Operator;

/// A merchant, by its API key.
pub(crate) struct Shop(pub(crate) Merchant);

/// A wearer by the wallet key, or the operator.
pub(crate) struct Holder(pub(crate) Caller);

impl Holder {
    /// Refuses everyone whom this account does not belong to, as if it did not exist.
    pub(crate) fn must_own(&self, account: AccountId) -> Result<(), ApiError> {
        if self.0.may_act_for(account) { Ok(()) } else { Err(platform::Refusal::from(Reason::AccountNotFound).into()) }
    }
}

fn bearer(parts: &Parts) -> Result<&str, ApiError> {
    let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, key) = value.and_then(|value| value.split_once(' ')).ok_or_else(ApiError::unauthenticated)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(key.trim()) } else { Err(ApiError::unauthenticated()) }
}

fn is_operator(key: &str, app: &App) -> bool {
    // Hashes are compared, so the time it takes tells nothing of the key.
    key.starts_with(OPERATOR_KEY) && KeyHash::of(key) == app.operator_key
}

impl FromRequestParts<App> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let key = bearer(parts)?;
        if is_operator(key, app) {
            return Ok(Self);
        }
        let known = (key.starts_with(MERCHANT_KEY) && app.queries.merchant_by_key(KeyHash::of(key))?.is_some())
            || (key.starts_with(WALLET_KEY) && app.queries.account_by_key(KeyHash::of(key))?.is_some());
        Err(if known { ApiError::forbidden() } else { ApiError::unauthenticated() })
    }
}

impl FromRequestParts<App> for Shop {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let key = bearer(parts)?;
        if !key.starts_with(MERCHANT_KEY) {
            return Err(if is_operator(key, app) { ApiError::forbidden() } else { ApiError::unauthenticated() });
        }
        let hash = KeyHash::of(key);
        if let Some((merchant, turn)) = app.known.find(hash) {
            if let Some(turn) = turn {
                app.known.look_up_again(&app.queries, hash, turn);
            }
            return Ok(Self(merchant));
        }
        let merchant = app.queries.merchant_by_key(hash)?.ok_or_else(ApiError::unauthenticated)?;
        app.known.remember(&merchant);
        Ok(Self(merchant))
    }
}

impl FromRequestParts<App> for Holder {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let key = bearer(parts)?;
        if is_operator(key, app) {
            return Ok(Self(Caller::Operator));
        }
        if !key.starts_with(WALLET_KEY) {
            return Err(ApiError::unauthenticated());
        }
        let account = app.queries.account_by_key(KeyHash::of(key))?.ok_or_else(ApiError::unauthenticated)?;
        Ok(Self(Caller::Wearer(account.id)))
    }
}
