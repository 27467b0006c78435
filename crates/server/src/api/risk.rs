//! `/v1/risk`: the operator's rules: shown, checked, set, tried on the past; and why a payment was decided as it was.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use platform::payments::Payment;
use platform::risk::replay::Replayed;
use platform::risk::{Fired, RuleFault, RuleSet};
use platform::{PaymentId, Reason, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{RulesRow, commands};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::auth::Operator;
use crate::body::{Body, Params, PathPart};
use crate::entropy::now_ms;
use crate::error::{ApiError, ErrorAnswer};

/// How far a dry run looks back where nobody says, milliseconds: seven days.
const DRY_RUN_MS: u64 = 7 * 86_400_000;

impl From<RuleFault> for ApiError {
    fn from(fault: RuleFault) -> Self {
        Self::new(StatusCode::BAD_REQUEST, fault.code, fault.message).at(fault.field)
    }
}

/// A version of the risk rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RulesView {
    /// Counted up with each change; 0 are the limits of the settings, before anybody has set rules.
    version: u32,
    /// When it was set: Unix time, milliseconds; absent of version 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Why, where something was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The rules (`docs/risk.md`).
    rules: Value,
}

fn view(row: RulesRow) -> RulesView {
    let document: Value = serde_json::from_str(&row.text).unwrap_or_default();
    RulesView {
        version: row.version,
        at_ms: Some(row.at_ms),
        by: Some(row.by),
        why: Some(row.why).filter(|why| !why.is_empty()),
        rules: document.get("rules").cloned().unwrap_or_default(),
    }
}

fn built_in(rules: &RuleSet) -> RulesView {
    let rules_of = rules.to_json().get("rules").cloned().unwrap_or_default();
    RulesView { version: rules.version, at_ms: None, by: None, why: None, rules: rules_of }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionQuery {
    /// The version wanted; the newest when absent.
    version: Option<u32>,
}

/// The risk rules in force, or those of a version.
#[utoipa::path(get, path = "/v1/risk/rules", tag = "risk", params(VersionQuery),
    responses((status = 200, body = RulesView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn show(
    State(app): State<App>,
    _: Operator,
    Params(query): Params<VersionQuery>,
) -> Result<Json<RulesView>, ApiError> {
    let row = match query.version {
        Some(0) => None,
        Some(version) => {
            Some(app.queries.rules(version)?.ok_or_else(|| Refusal::at(Reason::RulesNotFound, "version"))?)
        }
        None => app.queries.rules_after(0)?,
    };
    Ok(Json(row.map_or_else(|| built_in(&RuleSet::built_in(&app.env.settings)), view)))
}

/// The versions of the risk rules, newest first, at most a hundred.
#[utoipa::path(get, path = "/v1/risk/versions", tag = "risk", responses((status = 200, body = Vec<RulesView>)))]
pub(crate) async fn versions(State(app): State<App>, _: Operator) -> Result<Json<Vec<RulesView>>, ApiError> {
    Ok(Json(app.queries.rules_history()?.into_iter().map(view).collect()))
}

/// Rules, as the operator writes them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRules {
    /// A list of rules (`docs/risk.md`).
    rules: Value,
    /// Why, for the audit trail, up to 100 bytes; may be absent.
    #[serde(default)]
    why: String,
    /// Only if this is the newest version; may be absent.
    after: Option<u32>,
}

fn parsed(rules: &Value, app: &App) -> Result<RuleSet, ApiError> {
    let text = serde_json::json!({ "rules": rules }).to_string();
    Ok(RuleSet::parse(&text, 0, &app.env.settings)?)
}

/// Looks for mistakes in rules; sets nothing.
#[utoipa::path(post, path = "/v1/risk/rules/check", tag = "risk", request_body = NewRules,
    responses((status = 200, body = RulesView, description = "no mistakes"), (status = 400, body = ErrorAnswer)))]
pub(crate) async fn check(
    State(app): State<App>,
    _: Operator,
    Body(new): Body<NewRules>,
) -> Result<Json<RulesView>, ApiError> {
    Ok(Json(built_in(&parsed(&new.rules, &app)?)))
}

/// Sets new rules: another version, beside all before it. This server decides by it at once, every other one within half a
/// second.
#[utoipa::path(post, path = "/v1/risk/rules", tag = "risk", request_body = NewRules,
    responses((status = 201, body = RulesView), (status = 400, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn set(
    State(app): State<App>,
    _: Operator,
    Body(new): Body<NewRules>,
) -> Result<(StatusCode, Json<RulesView>), ApiError> {
    let rules = parsed(&new.rules, &app)?;
    let command = commands::SetRules { rules, after: new.after, why: new.why, now_ms: now_ms() };
    let rules = app.store.execute(command).await?;
    let version = rules.version;
    app.env.rules.put(rules);
    let row = app.queries.rules(version)?.ok_or_else(|| Refusal::from(Reason::RulesNotFound))?;
    Ok((StatusCode::CREATED, Json(view(row))))
}

/// Rules to be tried, and on what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDryRun {
    /// A list of rules (`docs/risk.md`).
    rules: Value,
    /// Payments from this moment on, Unix time in milliseconds; of the last seven days when absent.
    since_ms: Option<u64>,
}

/// Why a rule fired.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FiredView {
    /// The rule's name.
    rule: String,
    /// `decline` or `confirm`.
    effect: &'static str,
    /// What for, as a sentence.
    why: String,
    /// What was seen.
    seen: u64,
    /// What the rule allows, or fires from.
    bound: u64,
}

impl From<Fired> for FiredView {
    fn from(fired: Fired) -> Self {
        Self {
            why: fired.to_string(),
            effect: fired.effect.name(),
            seen: fired.seen,
            bound: fired.bound,
            rule: fired.rule,
        }
    }
}

/// A payment that would have been decided otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DifferenceView {
    payment: String,
    created_ms: u64,
    /// Minor units.
    amount: Option<u64>,
    /// What the rules of its day said: `passed`, `asked` or `declined`.
    then: &'static str,
    /// What these rules say.
    now: &'static str,
    /// The rule that decides now, where one fires.
    #[serde(skip_serializing_if = "Option::is_none")]
    fired: Option<FiredView>,
}

fn difference((payment, replayed): (Payment, Replayed)) -> DifferenceView {
    DifferenceView {
        payment: payment.id.to_string(),
        created_ms: payment.created_ms,
        amount: payment.amount.map(ledger::Amount::minor),
        then: replayed.then.name(),
        now: replayed.now.name(),
        fired: replayed.fired.map(FiredView::from),
    }
}

/// What rules would have changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRunView {
    /// Payments from this moment on.
    since_ms: u64,
    /// Payments that the rules were asked about.
    payments: u64,
    /// Those that would have been decided otherwise.
    differ: u64,
    /// Of those, that would be declined.
    now_declined: u64,
    /// Of those, that the phone would be asked about.
    now_asked: u64,
    /// Of those, that would pass.
    now_passed: u64,
    /// The first of them, oldest first, at most a hundred.
    first: Vec<DifferenceView>,
}

/// Runs rules over stored payments and tells which would have been decided otherwise; sets nothing.
#[utoipa::path(post, path = "/v1/risk/dry-runs", tag = "risk", request_body = NewDryRun,
    responses((status = 200, body = DryRunView), (status = 400, body = ErrorAnswer)))]
pub(crate) async fn dry_run(
    State(app): State<App>,
    _: Operator,
    Body(new): Body<NewDryRun>,
) -> Result<Json<DryRunView>, ApiError> {
    let rules = parsed(&new.rules, &app)?;
    let since_ms = new.since_ms.unwrap_or_else(|| now_ms().saturating_sub(DRY_RUN_MS));
    // Reads many payments: not on a thread that others wait for.
    let (queries, settings) = (std::sync::Arc::clone(&app.queries), std::sync::Arc::clone(&app.env.settings));
    let run = tokio::task::spawn_blocking(move || queries.dry_run(&rules, &settings, since_ms)).await;
    let run = run.map_err(ApiError::internal)??.ok_or_else(|| Refusal::at(Reason::HistoryTooLong, "since_ms"))?;
    Ok(Json(DryRunView {
        since_ms,
        payments: run.payments,
        differ: run.differ,
        now_declined: run.declined,
        now_asked: run.asked,
        now_passed: run.passed,
        first: run.first.into_iter().map(difference).collect(),
    }))
}

/// Why a payment was decided as it was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplanationView {
    payment: String,
    /// `succeeded`, `requires_confirmation`, `failed` or `cancelled`.
    state: &'static str,
    /// The code of its failure, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    /// The version of the rules it was decided under; absent where rules were not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    /// The rule that decided, where one fired.
    #[serde(skip_serializing_if = "Option::is_none")]
    fired: Option<FiredView>,
    /// Wrong codes that had named the wearable since its genuine code before this one.
    wrong_codes: u32,
}

/// Tells under which version of the rules a payment was decided, which rule fired, and why.
#[utoipa::path(get, path = "/v1/risk/payments/{payment}", tag = "risk", params(("payment", description = "payment id")),
    responses((status = 200, body = ExplanationView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn explain(
    State(app): State<App>,
    _: Operator,
    PathPart(id): PathPart,
) -> Result<Json<ExplanationView>, ApiError> {
    let payment = app.queries.payment(PaymentId::parse(&id)?)?;
    let payment = payment.ok_or_else(|| Refusal::from(Reason::PaymentNotFound))?;
    let failure = match payment.state {
        platform::payments::PaymentState::Failed(decline) => Some(decline.code()),
        _ => None,
    };
    let (version, wrong_codes, fired) = match payment.decision {
        Some(decision) => (Some(decision.version), decision.wrong_codes, decision.fired),
        None => (None, 0, None),
    };
    Ok(Json(ExplanationView {
        payment: payment.id.to_string(),
        state: payment.state.name(),
        failure,
        version,
        fired: fired.map(FiredView::from),
        wrong_codes,
    }))
}
