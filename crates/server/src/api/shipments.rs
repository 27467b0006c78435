//! `/v1/shipments` and batches: the keys a maker's line gives its chips, and the manifests that come back (spec/manifest.md).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use pki::{PublicKey, SIGNATURE_BYTES, Scheme};
use platform::makers::manifest::{BadLine, LINE_BYTES, ManifestHeader, ShippedChip};
use platform::makers::shipments::{MAX_PIECE, Shipment, ShipmentState};
use platform::makers::{Batch, BatchId, MakerCode, seal_context};
use platform::{Reason, Refusal, ShipmentId};
use serde::{Deserialize, Serialize};
use store::commands::{BeginShipment, FinishShipment, GiveUpShipment, OpenBatch, TakeInChips};
use utoipa::ToSchema;

use crate::App;
use crate::auth::Operator;
use crate::body::{Body, MAX_BODY_BYTES, PathPart};
use crate::entropy::{now_ms, random};
use crate::error::{ApiError, ErrorAnswer};

/// The longest body with lines of a manifest; in JSON the end of a line is two characters.
pub(crate) const MAX_PIECE_BODY_BYTES: usize = MAX_PIECE * (LINE_BYTES + 2) + MAX_BODY_BYTES;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBatch {
    /// The factory's public key on P-256: an uncompressed point, 65 bytes in hex. Only its owner can open the batch's key.
    factory_key: String,
}

/// A batch, and its key for the factory alone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchView {
    /// The batch's id, 32 hex digits.
    batch: String,
    maker: String,
    /// The version of its key, and of its chips' keys.
    key_version: u8,
    /// The batch's key, sealed to the factory's (spec/manifest.md §4), hex.
    sealed_key: String,
}

/// Opens a batch for a maker of chips: a new key, sealed to its factory.
#[utoipa::path(post, path = "/v1/makers/{maker}/batches", tag = "makers", request_body = NewBatch,
    params(("maker", description = "the maker's code")), responses((status = 201, body = BatchView),
    (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn open_batch(
    State(app): State<App>,
    _: Operator,
    PathPart(maker): PathPart,
    Body(new): Body<NewBatch>,
) -> Result<(StatusCode, Json<BatchView>), ApiError> {
    let malformed = Refusal::at(Reason::FieldMalformed, "factory_key");
    let point = hex::decode(&new.factory_key).map_err(|_| malformed)?;
    let factory = PublicKey::new(Scheme::P256, &point).map_err(|_| malformed)?;
    let batch = Batch {
        id: BatchId(random()?),
        maker: MakerCode::parse(&maker)?,
        key_version: app.env.vault.versions().chip,
        created_ms: now_ms(),
    };
    let key = app.env.vault.batch_key(batch.id, batch.key_version).map_err(Refusal::from)?;
    let context = seal_context(batch.id, batch.key_version);
    let fresh = zeroize::Zeroizing::new(random()?);
    let sealed = pki::seal::seal(&factory, &fresh, &context, &key).map_err(ApiError::internal)?;
    let batch = app.store.execute(OpenBatch(batch)).await?;
    let view = BatchView {
        batch: batch.id.to_string(),
        maker: batch.maker.to_string(),
        key_version: batch.key_version,
        sealed_key: hex::encode(sealed),
    };
    Ok((StatusCode::CREATED, Json(view)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewShipment {
    /// The manifest's text up to and with its line `chips:`.
    header: String,
}

/// A shipment of chips.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShipmentView {
    id: String,
    maker: String,
    model: String,
    /// The maker's number.
    shipment: String,
    /// `receiving`, `complete` or `refused`.
    state: &'static str,
    /// How many chips the manifest holds.
    count: u32,
    /// How many have come in. They can be bound once it is complete.
    received: u32,
}

impl From<Shipment> for ShipmentView {
    fn from(shipment: Shipment) -> Self {
        Self {
            id: shipment.id.to_string(),
            maker: shipment.header.maker.to_string(),
            model: shipment.header.model.to_string(),
            shipment: shipment.header.shipment.as_str().to_owned(),
            state: shipment.state.name(),
            count: shipment.header.count,
            received: shipment.running.chips,
        }
    }
}

/// A bad line as an answer: its code, its number, its reason.
fn bad_line(bad: BadLine) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, bad.fault.code(), bad.to_string()).at(format!("line {}", bad.number))
}

/// Begins a shipment from the head of its manifest. The same head again returns the same shipment, to go on with.
#[utoipa::path(post, path = "/v1/shipments", tag = "makers", request_body = NewShipment, responses(
    (status = 201, body = ShipmentView), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer),
    (status = 409, body = ErrorAnswer)))]
pub(crate) async fn begin(
    State(app): State<App>,
    _: Operator,
    Body(new): Body<NewShipment>,
) -> Result<(StatusCode, Json<ShipmentView>), ApiError> {
    let header = ManifestHeader::parse(&new.header).map_err(bad_line)?;
    let now_ms = now_ms();
    let command = BeginShipment { id: ShipmentId::new(now_ms, random()?), header, now_ms };
    Ok((StatusCode::CREATED, Json(app.store.execute(command).await?.into())))
}

/// How far a shipment is.
#[utoipa::path(get, path = "/v1/shipments/{shipment}", tag = "makers", params(("shipment", description = "shipment id")),
    responses((status = 200, body = ShipmentView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn show(
    State(app): State<App>,
    _: Operator,
    PathPart(id): PathPart,
) -> Result<Json<ShipmentView>, ApiError> {
    let shipment = app.queries.shipment(ShipmentId::parse(&id)?)?;
    Ok(Json(shipment.ok_or(Refusal::from(Reason::ShipmentNotFound))?.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lines {
    /// How many chips of the manifest come before the first of these.
    first: u32,
    /// Lines of the manifest, each with its end, at most 4,096.
    lines: String,
}

/// Takes in the chips that come next; none of them where one line is wrong. Lines that came before change nothing: the
/// answer says how far the shipment is.
#[utoipa::path(post, path = "/v1/shipments/{shipment}/lines", tag = "makers", request_body = Lines,
    params(("shipment", description = "shipment id")), responses((status = 200, body = ShipmentView),
    (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn take_in(
    State(app): State<App>,
    _: Operator,
    PathPart(id): PathPart,
    Body(piece): Body<Lines>,
) -> Result<Json<ShipmentView>, ApiError> {
    let mut chips = Vec::with_capacity(MAX_PIECE);
    for (index, line) in (u64::from(piece.first)..).zip(piece.lines.lines()) {
        if chips.len() == MAX_PIECE {
            return Err(Refusal::at(Reason::FieldTooLong, "lines").into());
        }
        let number = ManifestHeader::line_of(index);
        chips.push(ShippedChip::parse(line).map_err(|fault| bad_line(BadLine { number, fault }))?);
    }
    let command = TakeInChips { id: ShipmentId::parse(&id)?, first: piece.first, chips, now_ms: now_ms() };
    Ok(Json(app.store.execute(command).await?.map_err(bad_line)?.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signature {
    /// The manifest's signature, 128 hex digits.
    signature: String,
}

/// Ends a shipment: with the right signature its chips can be bound, all at once; with a wrong one none ever was here.
#[utoipa::path(post, path = "/v1/shipments/{shipment}/finish", tag = "makers", request_body = Signature,
    params(("shipment", description = "shipment id")), responses((status = 200, body = ShipmentView),
    (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn finish(
    State(app): State<App>,
    _: Operator,
    PathPart(id): PathPart,
    Body(end): Body<Signature>,
) -> Result<Json<ShipmentView>, ApiError> {
    let mut signature = [0; SIGNATURE_BYTES];
    hex::decode_to_slice(&end.signature, &mut signature)
        .map_err(|_| Refusal::at(Reason::FieldMalformed, "signature"))?;
    let command = FinishShipment { id: ShipmentId::parse(&id)?, signature, now_ms: now_ms() };
    let shipment = app.store.execute(command).await?;
    if shipment.state == ShipmentState::Refused {
        let number = ManifestHeader::line_of(shipment.header.count.into());
        return Err(bad_line(BadLine { number, fault: platform::makers::manifest::LineFault::Signature }));
    }
    Ok(Json(shipment.into()))
}

/// Gives up a shipment that has not come in whole: its chips never were here.
#[utoipa::path(post, path = "/v1/shipments/{shipment}/give-up", tag = "makers",
    params(("shipment", description = "shipment id")), responses((status = 200, body = ShipmentView),
    (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn give_up(
    State(app): State<App>,
    _: Operator,
    PathPart(id): PathPart,
) -> Result<Json<ShipmentView>, ApiError> {
    let command = GiveUpShipment { id: ShipmentId::parse(&id)?, now_ms: now_ms() };
    Ok(Json(app.store.execute(command).await?.into()))
}
