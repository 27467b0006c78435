//! `/v1/merchants`: shops, what they are owed, and their books.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ledger::posting::payable;
use platform::merchants::{Category, Merchant, MerchantAction, Position, TakeOn};
use platform::{KeyHash, MerchantId};
use serde::{Deserialize, Serialize};
use store::commands;
use utoipa::ToSchema;

use super::BookLineView;
use super::accounts::{BookQuery, default_currency};
use super::events::Why;
use crate::App;
use crate::auth::{MERCHANT_KEY, Operator, Shop};
use crate::body::{Body, MaybeBody, Params, PathPart};
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
    /// What it sells: the four digits of its merchant category code (ISO 18245), such as `5411`; may be absent.
    category: Option<String>,
    /// Where its tills stand; may be absent.
    position: Option<PositionView>,
}

/// A place on earth. It is kept to a ten-thousandth of a degree, about 11 metres.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PositionView {
    /// Degrees, north positive, -90 to 90.
    latitude: f64,
    /// Degrees, east positive, -180 to 180.
    longitude: f64,
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
    /// `active`, or `suspended`: then it takes no payments until the operator reinstates it.
    state: &'static str,
    /// Its merchant category code, where the operator has said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// Where its tills stand, where the operator has said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<PositionView>,
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
        state: if merchant.suspended_ms.is_some() { "suspended" } else { "active" },
        category: merchant.category.map(|category| category.to_string()),
        position: merchant.position.map(|position| {
            let (latitude, longitude) = position.degrees();
            PositionView { latitude, longitude }
        }),
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
        category: new.category.as_deref().map(Category::parse).transpose()?,
        position: new.position.map(|place| Position::from_degrees(place.latitude, place.longitude)).transpose()?,
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
    // What the door knows of it may be some seconds old.
    let merchant = app.queries.merchant(merchant.id)?.unwrap_or(merchant);
    Ok(Json(view(&app, merchant, None)?))
}

async fn act(app: App, id: &str, action: MerchantAction, why: Why) -> Result<Json<MerchantView>, ApiError> {
    let merchant = MerchantId::parse(id)?;
    let command = commands::ActOnMerchant { merchant, action, why: why.why, now_ms: now_ms() };
    let merchant = app.store.execute(command).await?;
    Ok(Json(view(&app, merchant, None)?))
}

/// Takes no payments of a merchant any more, from the next one on. Its refunds and cancels go on.
#[utoipa::path(post, path = "/v1/merchants/{merchant}/suspend", tag = "merchants", request_body = Option<Why>,
    params(("merchant", description = "merchant id")),
    responses((status = 200, body = MerchantView), (status = 403, body = ErrorAnswer), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn suspend(
    State(app): State<App>,
    _: Operator,
    PathPart(id): PathPart,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<MerchantView>, ApiError> {
    act(app, &id, MerchantAction::Suspend, why).await
}

/// Takes payments of a suspended merchant again; its wrong codes are counted anew.
#[utoipa::path(post, path = "/v1/merchants/{merchant}/reinstate", tag = "merchants", request_body = Option<Why>,
    params(("merchant", description = "merchant id")),
    responses((status = 200, body = MerchantView), (status = 403, body = ErrorAnswer), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn reinstate(
    State(app): State<App>,
    _: Operator,
    PathPart(id): PathPart,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<MerchantView>, ApiError> {
    act(app, &id, MerchantAction::Reinstate, why).await
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
