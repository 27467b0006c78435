//! `/v1/accounts`: wearers' accounts, their money and their books.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ledger::posting::wallet;
use platform::accounts::{Account, OpenAccount, TopUp};
use platform::{AccountId, KeyHash, Reason, Refusal, TopUpId};
use serde::{Deserialize, Serialize};
use store::{MAX_PAGE, Page, commands};
use utoipa::{IntoParams, ToSchema};

use super::BookLineView;
use crate::App;
use crate::auth::{Holder, Operator, WALLET_KEY};
use crate::body::{Body, Params, PathPart};
use crate::entropy::{fresh_key, now_ms, random};
use crate::error::{ApiError, ErrorAnswer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    /// The holder's name, up to 100 bytes.
    name: String,
    /// ISO 4217 code; `CNY` when absent.
    #[serde(default = "default_currency")]
    currency: String,
}

pub(super) fn default_currency() -> String {
    "CNY".to_owned()
}

/// A wearer's account.
// No Debug: it may hold a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccountView {
    /// Its id.
    id: String,
    /// The holder's name.
    name: String,
    /// ISO 4217 code.
    currency: String,
    /// What it holds, minor units.
    balance: i64,
    /// When it was opened: Unix time, milliseconds.
    created_ms: u64,
    /// The key of the holder's wallet. Shown once, when the account is opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_key: Option<String>,
}

fn view(account: Account, balance: i64, wallet_key: Option<String>) -> AccountView {
    AccountView {
        id: account.id.to_string(),
        name: account.name,
        currency: account.currency.to_string(),
        balance,
        created_ms: account.created_ms,
        wallet_key,
    }
}

/// Opens an account. Its wallet key is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", request_body = NewAccount, responses(
    (status = 201, body = AccountView), (status = 400, body = ErrorAnswer), (status = 401, body = ErrorAnswer)))]
pub(crate) async fn open(
    State(app): State<App>,
    _: Operator,
    Body(new): Body<NewAccount>,
) -> Result<(StatusCode, Json<AccountView>), ApiError> {
    let (key, now_ms) = (fresh_key(WALLET_KEY)?, now_ms());
    let request = OpenAccount {
        id: AccountId::new(now_ms, random()?),
        name: new.name,
        currency: super::currency(&new.currency)?,
        wallet_key: KeyHash::of(&key),
        now_ms,
    };
    let account = app.store.execute(commands::OpenAccount(request)).await?;
    Ok((StatusCode::CREATED, Json(view(account, 0, Some(key)))))
}

fn found(app: &App, caller: &Holder, id: &str) -> Result<Account, ApiError> {
    let id = AccountId::parse(id)?;
    caller.must_own(id)?;
    app.queries.account(id)?.ok_or_else(|| Refusal::from(Reason::AccountNotFound).into())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct MomentQuery {
    /// A past moment whose balance is wanted, Unix time in milliseconds; now when absent.
    at_ms: Option<u64>,
}

/// An account with its balance, now or at a past moment.
#[utoipa::path(get, path = "/v1/accounts/{account}", tag = "accounts",
    params(("account", description = "account id"), MomentQuery),
    responses((status = 200, body = AccountView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    Params(query): Params<MomentQuery>,
) -> Result<Json<AccountView>, ApiError> {
    let account = found(&app, &caller, &id)?;
    let wallet = wallet(account.id.0, account.currency);
    let balance = match query.at_ms {
        None => app.queries.balance(&wallet)?,
        Some(at_ms) => {
            let too_long_ago = Refusal::at(Reason::MomentTooLongAgo, "at_ms");
            // Walks back through the book: not on a thread that others wait for.
            let queries = std::sync::Arc::clone(&app.queries);
            let found = tokio::task::spawn_blocking(move || queries.balance_at(&wallet, at_ms)).await;
            found.map_err(ApiError::internal)??.ok_or(too_long_ago)?
        }
    };
    Ok(Json(view(account, balance, None)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTopUp {
    /// Minor units, 1 to 10,000,000,000,000.
    amount: u64,
    /// ISO 4217 code; `CNY` when absent.
    #[serde(default = "default_currency")]
    currency: String,
    /// Your own reference, up to 64 bytes: the same one again tops up once.
    reference: String,
}

/// Money put into an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopUpView {
    id: String,
    account: String,
    amount: u64,
    currency: String,
    reference: String,
    created_ms: u64,
    /// The account's balance now, minor units.
    balance: i64,
}

/// Puts money into an account; a repeat with the same reference puts it in once.
#[utoipa::path(post, path = "/v1/accounts/{account}/top-ups", tag = "accounts", request_body = NewTopUp,
    params(("account", description = "account id")), responses(
    (status = 200, body = TopUpView), (status = 400, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn top_up(
    State(app): State<App>,
    _: Operator,
    PathPart(id): PathPart,
    Body(new): Body<NewTopUp>,
) -> Result<Json<TopUpView>, ApiError> {
    let now_ms = now_ms();
    let request = TopUp {
        id: TopUpId::new(now_ms, random()?),
        account: AccountId::parse(&id)?,
        reference: new.reference,
        amount: super::amount(new.amount, &new.currency)?,
        created_ms: now_ms,
    };
    let top_up = app.store.execute(commands::TopUpAccount(request)).await?;
    Ok(Json(TopUpView {
        id: top_up.id.to_string(),
        account: top_up.account.to_string(),
        amount: top_up.amount.minor(),
        currency: top_up.amount.currency().to_string(),
        reference: top_up.reference,
        created_ms: top_up.created_ms,
        balance: app.queries.balance(&wallet(top_up.account.0, top_up.amount.currency()))?,
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct BookQuery {
    /// Only records before this number.
    pub(super) before: Option<u64>,
    /// How many lines, at most 100.
    pub(super) limit: Option<usize>,
}

impl BookQuery {
    pub(super) fn page(&self) -> Page {
        Page { before: self.before, limit: self.limit.unwrap_or(MAX_PAGE) }
    }
}

/// The book of an account, newest first.
#[utoipa::path(get, path = "/v1/accounts/{account}/book", tag = "accounts", params(BookQuery, ("account", description = "account id")),
    responses((status = 200, body = Vec<BookLineView>), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn book(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    Params(query): Params<BookQuery>,
) -> Result<Json<Vec<BookLineView>>, ApiError> {
    let account = found(&app, &caller, &id)?;
    let lines = app.queries.book(&wallet(account.id.0, account.currency), query.page())?;
    Ok(Json(lines.into_iter().map(BookLineView::from).collect()))
}
