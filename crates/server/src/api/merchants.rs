//! `/v1/merchants`: shops, what they are owed, and their books.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ledger::posting::payable;
use platform::merchants::{Merchant, TakeOn};
use platform::{KeyHash, MerchantId};
use serde::{Deserialize, Serialize};
use store::commands;
use utoipa::ToSchema;

use super::BookLineView;
use super::accounts::{BookQuery, default_currency};
use crate::App;
use crate::auth::{MERCHANT_KEY, Operator, Shop};
use crate::body::{Body, Params};
use crate::entropy::{fresh_key, now_ms, random};
use crate::error::{ApiError, ErrorAnswer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMerchant {
    /// The name wearers see, up to 100 bytes.
    name: String,
    /// ISO 4217 code; `CNY` when absent.
    #[serde(default = "default_currency")]
    currency: String,
}

/// A merchant.
// No Debug: it may hold a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct MerchantView {
    id: String,
    name: String,
    /// ISO 4217 code.
    currency: String,
    /// What the merchant is owed and has been posted to it, minor units.
    balance: i64,
    /// What waits for the next posting, minor units.
    pending: i64,
    created_ms: u64,
    /// The merchant's API key. Shown once, when it is taken on.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
}

fn view(app: &App, merchant: Merchant, api_key: Option<String>) -> Result<MerchantView, ApiError> {
    Ok(MerchantView {
        id: merchant.id.to_string(),
        currency: merchant.currency.to_string(),
        balance: app.queries.balance(&payable(merchant.id.0, merchant.currency))?,
        pending: app.queries.unposted_of(merchant.id, merchant.currency)?,
        name: merchant.name,
        created_ms: merchant.created_ms,
        api_key,
    })
}

/// Takes a merchant on. Its API key is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/merchants", tag = "merchants", request_body = NewMerchant, responses(
    (status = 201, body = MerchantView), (status = 400, body = ErrorAnswer), (status = 401, body = ErrorAnswer)))]
pub(crate) async fn take_on(
    State(app): State<App>,
    _: Operator,
    Body(new): Body<NewMerchant>,
) -> Result<(StatusCode, Json<MerchantView>), ApiError> {
    let (key, now_ms) = (fresh_key(MERCHANT_KEY)?, now_ms());
    let request = TakeOn {
        id: MerchantId::new(now_ms, random()?),
        name: new.name,
        currency: super::currency(&new.currency)?,
        api_key: KeyHash::of(&key),
        now_ms,
    };
    let merchant = app.store.execute(commands::TakeOnMerchant(request)).await?;
    Ok((StatusCode::CREATED, Json(view(&app, merchant, Some(key))?)))
}

/// The calling merchant.
#[utoipa::path(get, path = "/v1/merchants/me", tag = "merchants",
    responses((status = 200, body = MerchantView), (status = 401, body = ErrorAnswer)))]
pub(crate) async fn show(State(app): State<App>, Shop(merchant): Shop) -> Result<Json<MerchantView>, ApiError> {
    Ok(Json(view(&app, merchant, None)?))
}

/// The calling merchant's book, newest first.
#[utoipa::path(get, path = "/v1/merchants/me/book", tag = "merchants", params(BookQuery),
    responses((status = 200, body = Vec<BookLineView>), (status = 401, body = ErrorAnswer)))]
pub(crate) async fn book(
    State(app): State<App>,
    Shop(merchant): Shop,
    Params(query): Params<BookQuery>,
) -> Result<Json<Vec<BookLineView>>, ApiError> {
    let lines = app.queries.book(&payable(merchant.id.0, merchant.currency), query.page())?;
    Ok(Json(lines.into_iter().map(BookLineView::from).collect()))
}
