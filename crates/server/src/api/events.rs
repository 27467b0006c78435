//! `/v1/events`: the audit trail of one thing.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::auth::Operator;
use crate::body::Params;
use crate::error::{ApiError, ErrorAnswer};

/// One line of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// When: Unix time, milliseconds.
    at_ms: u64,
    /// To what.
    subject: String,
    /// What happened: a stable name.
    name: String,
    /// By whom: `operator`, `risk`, `clock`, or an id.
    actor: String,
    /// Why, where something was said.
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

/// Why something is done, for the audit trail.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// In your words, up to 100 bytes; may be absent.
    #[serde(default)]
    pub(crate) why: String,
}

/// The trail of one thing, newest first.
pub(super) fn of(app: &App, subject: &str) -> Result<Json<Vec<EventView>>, ApiError> {
    let lines = app.queries.events_of(subject)?;
    let views = lines.into_iter().map(|line| EventView {
        at_ms: line.at_ms,
        subject: line.subject,
        name: line.name,
        actor: line.actor,
        why: line.why,
    });
    Ok(Json(views.collect()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrailQuery {
    /// The thing: an id, `maker:CODE`, or `model:CODE/NAME`.
    subject: String,
}

/// What has been done to one thing, newest first, at most a hundred lines.
#[utoipa::path(get, path = "/v1/events", tag = "operations", params(TrailQuery),
    responses((status = 200, body = Vec<EventView>), (status = 401, body = ErrorAnswer)))]
pub(crate) async fn trail(
    State(app): State<App>,
    _: Operator,
    Params(query): Params<TrailQuery>,
) -> Result<Json<Vec<EventView>>, ApiError> {
    of(&app, &query.subject)
}
