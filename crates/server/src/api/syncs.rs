//! `/v1/tokens/{token}/sync`: the wearer's wallet lets the cloud do what there is to do at the chip, and carries its messages,
//! which it can neither read nor change. Messages are those of `spec/relay.md`, in hex.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use platform::syncs::{StartSync, SyncAnswer, TokenSync};
use platform::{Reason, Refusal, TokenId};
use serde::Serialize;
use store::commands::{RelaySync, StartTokenSync};
use utoipa::ToSchema;

use super::bindings::{RelayedMessage, message_of};
use super::tokens;
use crate::App;
use crate::auth::Holder;
use crate::body::{Body, PathPart};
use crate::entropy::{now_ms, random};
use crate::error::{ApiError, ErrorAnswer};

/// The newest sync of a token, and the message for its wearable.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SyncView {
    token: String,
    /// `refill`: new budget, clock and mask key for a token that pays. `wipe`: a revoked token leaves its chip.
    work: &'static str,
    /// `opening`, `ordering`, `announcing`, `telling`, `done` or `failed`.
    state: &'static str,
    /// Percent.
    progress: u8,
    /// Why it failed, as a stable code; absent where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    /// The same as a sentence for the wearer.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_message: Option<&'static str>,
    /// The next message for the wearable, hex; absent where none is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    created_ms: u64,
}

fn view(sync: &TokenSync, message: Option<&[u8]>) -> SyncView {
    SyncView {
        token: sync.token.to_string(),
        work: sync.work.name(),
        state: sync.state.name(),
        progress: sync.state.progress_percent(),
        failure: sync.failure.map(Reason::code),
        failure_message: sync.failure.map(Reason::message),
        message: message.map(hex::encode),
        created_ms: sync.created_ms,
    }
}

fn answer(answer: &SyncAnswer) -> SyncView {
    view(&answer.sync, Some(&answer.message))
}

/// Starts a sync of a token with its chip; it takes the place of the one before. Its chip confirms 200 a day, after which it is
/// `too_many_syncs`; those that end without its word do not count.
#[utoipa::path(post, path = "/v1/tokens/{token}/sync", tag = "tokens", params(("token", description = "token id")),
    responses((status = 201, body = SyncView), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer),
    (status = 429, body = ErrorAnswer)))]
pub(crate) async fn start(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
) -> Result<(StatusCode, Json<SyncView>), ApiError> {
    let request = StartSync {
        caller: caller.0,
        token: TokenId::parse(&id)?,
        session: random()?,
        host_challenge: random()?,
        now_ms: now_ms(),
    };
    let started = app.store.execute(StartTokenSync(request)).await?;
    Ok((StatusCode::CREATED, Json(answer(&started))))
}

/// Hands over a message from the wearable and returns the next one for it. The same message twice gets the same
/// answer.
#[utoipa::path(post, path = "/v1/tokens/{token}/sync/relay", tag = "tokens", request_body = RelayedMessage,
    params(("token", description = "token id")), responses((status = 200, body = SyncView),
    (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn relay(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    Body(relayed): Body<RelayedMessage>,
) -> Result<Json<SyncView>, ApiError> {
    let command = RelaySync {
        caller: caller.0,
        token: TokenId::parse(&id)?,
        message: message_of(&relayed.message)?,
        host_challenge: random()?,
        now_ms: now_ms(),
    };
    Ok(Json(answer(&app.store.execute(command).await?)))
}

/// How far the newest sync of a token is.
#[utoipa::path(get, path = "/v1/tokens/{token}/sync", tag = "tokens", params(("token", description = "token id")),
    responses((status = 200, body = SyncView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
) -> Result<Json<SyncView>, ApiError> {
    let token = tokens::found(&app, &caller, &id)?;
    let sync = app.queries.sync_of(token.id)?.ok_or(Refusal::from(Reason::SyncNotFound))?;
    Ok(Json(view(&sync, None)))
}
