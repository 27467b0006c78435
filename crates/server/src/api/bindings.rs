//! `/v1/bindings`: the wearer's wallet starts a binding and carries its messages, which it can neither read nor
//! change. Messages are those of `spec/relay.md`, in hex.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use platform::bindings::{Binding, Offer, RelayAnswer, StartRequest};
use platform::{AccountId, BindingId, Caller, Reason, Refusal, TokenId};
use serde::{Deserialize, Serialize};
use store::commands::{RelayBinding, StartBinding};
use utoipa::ToSchema;

use crate::App;
use crate::auth::Holder;
use crate::body::{Body, PathPart};
use crate::entropy::{now_ms, random};
use crate::error::{ApiError, ErrorAnswer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBinding {
    /// The text of the binding code that the wearable shows.
    offer: String,
    /// The account to bind to; the caller's own when absent.
    account: Option<String>,
}

/// A binding, and the message for its wearable.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BindingView {
    id: String,
    account: String,
    chip: String,
    /// The token that is being bound.
    token: String,
    /// `opening`, `installing`, `done` or `failed`.
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
}

fn view(binding: &Binding, message: Option<&[u8]>) -> BindingView {
    BindingView {
        id: binding.id.to_string(),
        account: binding.account.to_string(),
        chip: binding.chip.to_string(),
        token: binding.token.to_string(),
        state: binding.state.name(),
        progress: binding.state.progress_percent(),
        failure: binding.failure.map(Reason::code),
        failure_message: binding.failure.map(Reason::message),
        message: message.map(hex::encode),
    }
}

fn answer(answer: &RelayAnswer) -> BindingView {
    view(&answer.binding, Some(&answer.message))
}

/// Starts a binding from a wearable's offer; the same offer again returns the same binding. An account begins 20 a day, after which
/// it is `too_many_bindings`.
#[utoipa::path(post, path = "/v1/bindings", tag = "bindings", request_body = NewBinding, responses(
    (status = 201, body = BindingView), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer),
    (status = 409, body = ErrorAnswer), (status = 429, body = ErrorAnswer)))]
pub(crate) async fn start(
    State(app): State<App>,
    caller: Holder,
    Body(new): Body<NewBinding>,
) -> Result<(StatusCode, Json<BindingView>), ApiError> {
    let account = match (new.account, caller.0) {
        (Some(id), _) => AccountId::parse(&id)?,
        (None, Caller::Wearer(own)) => own,
        (None, _) => return Err(Refusal::at(Reason::FieldMalformed, "account").into()),
    };
    caller.must_own(account)?;
    let now_ms = now_ms();
    let request = StartRequest {
        id: BindingId::new(now_ms, random()?),
        token: TokenId::new(now_ms, random()?),
        account,
        offer: Offer::parse(&new.offer)?,
        host_challenge: random()?,
        now_ms,
    };
    let started = app.store.execute(StartBinding(request)).await??;
    Ok((StatusCode::CREATED, Json(answer(&started))))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelayedMessage {
    /// The wearable's message, hex.
    pub(super) message: String,
}

/// The message that was relayed.
pub(super) fn message_of(hexadecimal: &str) -> Result<Vec<u8>, Refusal> {
    hex::decode(hexadecimal).map_err(|_| Refusal::at(Reason::MessageMalformed, "message"))
}

/// Hands over a message from the wearable and returns the next one for it. The same message twice gets the same
/// answer.
#[utoipa::path(post, path = "/v1/bindings/{binding}/relay", tag = "bindings", request_body = RelayedMessage,
    params(("binding", description = "binding id")), responses((status = 200, body = BindingView),
    (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn relay(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    Body(relayed): Body<RelayedMessage>,
) -> Result<Json<BindingView>, ApiError> {
    let message = message_of(&relayed.message)?;
    let command = RelayBinding {
        caller: caller.0,
        id: BindingId::parse(&id)?,
        message,
        host_challenge: random()?,
        now_ms: now_ms(),
    };
    Ok(Json(answer(&app.store.execute(command).await?)))
}

/// How far a binding is.
#[utoipa::path(get, path = "/v1/bindings/{binding}", tag = "bindings", params(("binding", description = "binding id")),
    responses((status = 200, body = BindingView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
) -> Result<Json<BindingView>, ApiError> {
    let binding = app.queries.binding(BindingId::parse(&id)?)?;
    let binding = binding
        .filter(|binding| caller.0.may_act_for(binding.account))
        .ok_or(Refusal::from(Reason::BindingNotFound))?;
    Ok(Json(view(&binding, None)))
}
