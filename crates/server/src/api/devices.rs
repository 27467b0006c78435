//! `/v1/devices`: devices with a connection of their own, and no wallet in them. What they say proves nothing and needs to
//! prove nothing: messages are sealed for the chip, and what a device is bound to, its wearer has confirmed. An offer, and
//! the id of a binding, are known to the device, its wallet and the cloud.

use axum::Json;
use axum::extract::State;
use platform::bindings::Offer;
use platform::syncs::StartSync;
use platform::{BindingId, Caller, Reason, Refusal};
use serde::{Deserialize, Serialize};
use store::commands::StartTokenSync;
use utoipa::ToSchema;

use super::bindings::message_of;
use super::relayed::{Due, Work};
use crate::App;
use crate::body::Body;
use crate::entropy::{now_ms, random};
use crate::error::{ApiError, ErrorAnswer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceBinding {
    /// The text of the binding code that the device shows.
    offer: String,
    /// The device's message, hex; absent to ask what is due.
    message: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceSync {
    /// The id of the binding that the device was bound by.
    binding: String,
    /// The device's message, hex; absent to begin.
    message: Option<String>,
}

/// What is due for a device.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceView {
    /// The id of the device's binding, which it needs to be synced.
    binding: String,
    /// As that of a binding or a sync.
    state: &'static str,
    /// Percent.
    progress: u8,
    /// Why it failed, as a stable code; absent where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    /// The next message for the device, hex.
    message: String,
}

fn view(binding: BindingId, due: &Due) -> DeviceView {
    DeviceView {
        binding: binding.to_string(),
        state: due.state,
        progress: due.progress,
        failure: due.failure.map(Reason::code),
        message: hex::encode(&due.message),
    }
}

/// Carries a binding from the device itself, once its wearer has confirmed the offer; `binding_not_found` until then.
#[utoipa::path(post, path = "/v1/devices/binding", tag = "devices", request_body = DeviceBinding, security(()),
    responses((status = 200, body = DeviceView), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn bind(
    State(app): State<App>,
    Body(asked): Body<DeviceBinding>,
) -> Result<Json<DeviceView>, ApiError> {
    let offer = Offer::parse(&asked.offer)?;
    let binding = app.queries.binding_by_offer(offer.chip, offer.nonce)?;
    let binding = binding.ok_or(Refusal::at(Reason::BindingNotFound, "offer"))?;
    let (work, carrier) = (Work::Binding(binding.id), Caller::Wearer(binding.account));
    let due = match asked.message {
        None => work.due(&app, carrier).await?,
        Some(message) => work.relay(&app, carrier, message_of(&message)?).await?,
    };
    Ok(Json(view(binding.id, &due)))
}

/// Syncs a device that carries its messages itself, within the bounds of every sync (`too_many_syncs`).
#[utoipa::path(post, path = "/v1/devices/sync", tag = "devices", request_body = DeviceSync, security(()),
    responses((status = 200, body = DeviceView), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer),
    (status = 409, body = ErrorAnswer), (status = 429, body = ErrorAnswer)))]
pub(crate) async fn sync(State(app): State<App>, Body(asked): Body<DeviceSync>) -> Result<Json<DeviceView>, ApiError> {
    let binding = app.queries.binding(BindingId::parse(&asked.binding)?)?;
    let binding = binding.ok_or(Refusal::at(Reason::BindingNotFound, "binding"))?;
    let carrier = Caller::Wearer(binding.account);
    let due = match asked.message {
        Some(message) => Work::Sync(binding.token).relay(&app, carrier, message_of(&message)?).await?,
        None => {
            let request = StartSync {
                caller: carrier,
                token: binding.token,
                session: random()?,
                host_challenge: random()?,
                now_ms: now_ms(),
            };
            app.store.execute(StartTokenSync(request)).await?.into()
        }
    };
    Ok(Json(view(binding.id, &due)))
}
