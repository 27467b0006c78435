//! `/health`, `/ready` and `/v1/audit`: whether the process lives, whether it takes payments, whether the books are
//! sound.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::auth::Operator;
use crate::error::{ApiError, ErrorAnswer};

/// The process answers.
#[utoipa::path(get, path = "/health", tag = "operations", responses((status = 200, body = String)))]
pub(crate) async fn health() -> &'static str {
    "ok"
}

/// The store takes commands.
#[utoipa::path(get, path = "/ready", tag = "operations",
    responses((status = 200, body = String), (status = 503, body = ErrorAnswer)))]
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.store.is_running() {
        return Ok("ready");
    }
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "The store has stopped."))
}

/// Debits and credits of one currency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrialView {
    /// ISO 4217 code.
    currency: String,
    /// The balances of accounts that grow on the debit side, minor units, as text: they may pass 64 bits.
    debit: String,
    /// The balances of accounts that grow on the credit side.
    credit: String,
}

/// The state of the books.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    /// Whether everything below is as it must be.
    sound: bool,
    /// How many records the journal holds.
    records: u64,
    /// The first record that is altered, missing or out of place.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_record: Option<u64>,
    /// Whether every balance is the sum of its journal lines.
    balances_match: bool,
    /// Whether what is in clearing is what waits to be posted.
    clearing_matches: bool,
    /// One line a currency.
    trial_balance: Vec<TrialView>,
}

/// Follows the whole journal and adds everything up again.
#[utoipa::path(get, path = "/v1/audit", tag = "operations",
    responses((status = 200, body = AuditView), (status = 401, body = ErrorAnswer)))]
pub(crate) async fn audit(State(app): State<App>, _: Operator) -> Result<Json<AuditView>, ApiError> {
    // Reads the whole journal: not on a thread that others wait for.
    let queries = std::sync::Arc::clone(&app.queries);
    let totals = tokio::task::spawn_blocking(move || queries.audit()).await.map_err(ApiError::internal)??;
    let balanced = totals.trial.values().all(ledger::TrialBalance::is_balanced);
    let trial_balance = totals.trial.iter().map(|(currency, sums)| TrialView {
        currency: currency.to_string(),
        debit: sums.debit_minor.to_string(),
        credit: sums.credit_minor.to_string(),
    });
    Ok(Json(AuditView {
        sound: balanced && totals.broken_record.is_none() && totals.balances_match && totals.clearing_matches,
        records: totals.records,
        broken_record: totals.broken_record,
        balances_match: totals.balances_match,
        clearing_matches: totals.clearing_matches,
        trial_balance: trial_balance.collect(),
    }))
}
