//! `/v1/chips`: the factory line registers a chip and receives the keys to put into it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use platform::ChipId;
use platform::chips::Chip;
use serde::{Deserialize, Serialize};
use store::commands::RegisterChip;
use utoipa::ToSchema;

use crate::App;
use crate::auth::Operator;
use crate::body::Body;
use crate::entropy::now_ms;
use crate::error::{ApiError, ErrorAnswer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewChip {
    /// The chip's id: 32 hex digits.
    chip_id: String,
}

/// The SCP03 keys of a chip, for the factory to put into it. Handed out once.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChipKeys {
    /// The chip's id.
    chip_id: String,
    /// The key version number, 1 to 127.
    key_version: u8,
    /// S-ENC static key, hex.
    enc: String,
    /// S-MAC static key, hex.
    mac: String,
    /// Data encryption key, hex.
    dek: String,
}

/// Registers a chip and hands out its keys, once.
#[utoipa::path(post, path = "/v1/chips", tag = "chips", request_body = NewChip, responses(
    (status = 201, body = ChipKeys), (status = 400, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn register(
    State(app): State<App>,
    _: Operator,
    Body(new): Body<NewChip>,
) -> Result<(StatusCode, Json<ChipKeys>), ApiError> {
    let id = ChipId::parse(&new.chip_id)?;
    let key_version = app.env.vault.versions().chip;
    let keys = app.env.vault.chip_keys(id, key_version).map_err(platform::Refusal::from)?;
    app.store.execute(RegisterChip(Chip { id, key_version, registered_ms: now_ms(), origin: None })).await?;
    let answer = ChipKeys {
        chip_id: id.to_string(),
        key_version,
        enc: hex::encode(keys.enc().as_bytes()),
        mac: hex::encode(keys.mac().as_bytes()),
        dek: hex::encode(keys.dek().as_bytes()),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}
