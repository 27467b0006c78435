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

/// The store takes commands, and there are keys for them.
#[utoipa::path(get, path = "/ready", tag = "operations",
    responses((status = 200, body = String), (status = 503, body = ErrorAnswer)))]
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.store.is_running() && app.env.vault.is_ready() {
        return Ok("ready");
    }
    if app.store.is_running() {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "keys_unavailable",
            "Other servers use a master key that this one lacks.",
        ));
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
    /// How many other rows were read.
    rows: u64,
    /// What is wrong, a line each, at most a hundred; empty in sound books.
    findings: Vec<String>,
    /// One line a currency.
    trial_balance: Vec<TrialView>,
}

/// Follows the whole journal and adds everything up again.
#[utoipa::path(get, path = "/v1/audit", tag = "operations",
    responses((status = 200, body = AuditView), (status = 401, body = ErrorAnswer)))]
pub(crate) async fn audit(State(app): State<App>, _: Operator) -> Result<Json<AuditView>, ApiError> {
    // Reads the whole journal: not on a thread that others wait for.
    let queries = std::sync::Arc::clone(&app.queries);
    let audit = tokio::task::spawn_blocking(move || queries.audit()).await.map_err(ApiError::internal)??;
    let trial_balance = audit.trial.iter().map(|(currency, sums)| TrialView {
        currency: currency.to_string(),
        debit: sums.debit_minor.to_string(),
        credit: sums.credit_minor.to_string(),
    });
    Ok(Json(AuditView {
        sound: audit.findings.is_empty(),
        records: audit.records,
        rows: audit.rows,
        findings: audit.findings.iter().map(ToString::to_string).collect(),
        trial_balance: trial_balance.collect(),
    }))
}
