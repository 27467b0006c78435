//! `/v1/makers`: who makes chips and devices, which models of theirs are taken, which certificates are ended.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use paycode::Suite;
use platform::makers::{
    AppletVersion, ChipModel, DeviceKind, DeviceLink, DeviceModel, DeviceScreen, Maker, MakerCode, MakerKind,
    ModelName, RevokedList, Standing, TakeOnMaker as Request,
};
use platform::{Reason, Refusal};
use serde::{Deserialize, Serialize};
use store::commands::{PutChipModel, PutDeviceModel, SetMakerStanding, TakeInList, TakeOnMaker};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::auth::Operator;
use crate::body::{Body, MAX_BODY_BYTES, Params, PathPart};
use crate::entropy::now_ms;
use crate::error::{ApiError, ErrorAnswer};

/// The longest body with a revocation list: the list in hex, and the rest.
pub(crate) const MAX_LIST_BODY_BYTES: usize = 2 * pki::MAX_LIST_BYTES + MAX_BODY_BYTES;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMaker {
    /// A short code: 1 to 32 of `a-z`, `0-9`, `-`. It never changes.
    code: String,
    /// The name, for people.
    name: String,
    /// `chips` or `devices`.
    kind: String,
    /// The root certificate, PEM.
    root: String,
}

/// A maker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MakerView {
    code: String,
    name: String,
    /// `chips` or `devices`.
    kind: &'static str,
    /// `active` or `withdrawn`.
    standing: &'static str,
    /// `p256` or `sm2`: how its root signs.
    scheme: &'static str,
    /// SHA-256 of its root certificate, hex.
    root_sha256: String,
    /// The last second its root is valid, Unix time.
    root_valid_until_s: u64,
    created_ms: u64,
}

impl From<Maker> for MakerView {
    fn from(maker: Maker) -> Self {
        Self {
            code: maker.code.to_string(),
            name: maker.name,
            kind: maker.kind.name(),
            standing: maker.standing.name(),
            scheme: maker.root.key().scheme().name(),
            root_sha256: hex::encode(maker.root.fingerprint()),
            root_valid_until_s: maker.root.not_after_s(),
            created_ms: maker.created_ms,
        }
    }
}

/// A chip model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChipModelView {
    name: String,
    /// `international` or `chinese`.
    suite: &'static str,
    /// Flash for keys and tokens, KiB.
    flash_kib: u16,
    /// The applet versions that may be bound.
    applets: Vec<String>,
    /// `active` or `withdrawn`.
    standing: &'static str,
    changed_ms: u64,
}

impl From<ChipModel> for ChipModelView {
    fn from(model: ChipModel) -> Self {
        Self {
            name: model.name.to_string(),
            suite: suite_name(model.suite),
            flash_kib: model.flash_kib,
            applets: model.applets.iter().map(ToString::to_string).collect(),
            standing: model.standing.name(),
            changed_ms: model.changed_ms,
        }
    }
}

/// A device model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceModelView {
    name: String,
    /// `watch`, `band`, `card` or `iot_terminal`.
    kind: &'static str,
    /// `none`, `round` or `rectangular`.
    screen: &'static str,
    /// `phone`, `network` or `reader`.
    link: &'static str,
    /// Whether a passcode can be entered on it.
    passcode: bool,
    /// Whether it notices that it was taken off.
    wear_detection: bool,
    /// `active` or `withdrawn`.
    standing: &'static str,
    changed_ms: u64,
}

impl From<DeviceModel> for DeviceModelView {
    fn from(model: DeviceModel) -> Self {
        Self {
            name: model.name.to_string(),
            kind: model.kind.name(),
            screen: model.screen.name(),
            link: model.link.name(),
            passcode: model.passcode,
            wear_detection: model.wear_detection,
            standing: model.standing.name(),
            changed_ms: model.changed_ms,
        }
    }
}

/// A maker and its models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MakerPage {
    maker: MakerView,
    /// At most a hundred.
    chip_models: Vec<ChipModelView>,
    /// At most a hundred.
    device_models: Vec<DeviceModelView>,
}

/// Every suite, and what it is called.
const SUITES: [(Suite, &str); 2] = [(Suite::International, "international"), (Suite::Chinese, "chinese")];

fn suite_name(suite: Suite) -> &'static str {
    SUITES.iter().find(|(known, _)| *known == suite).map_or("unknown", |(_, name)| name)
}

fn known<T>(found: Option<T>, field: &'static str) -> Result<T, Refusal> {
    found.ok_or(Refusal::at(Reason::FieldMalformed, field))
}

fn standing(withdrawn: Option<bool>) -> Standing {
    if withdrawn == Some(true) { Standing::Withdrawn } else { Standing::Active }
}

/// Takes a maker on. The same request again returns the same maker.
#[utoipa::path(post, path = "/v1/makers", tag = "makers", request_body = NewMaker, responses(
    (status = 201, body = MakerView), (status = 400, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn take_on(
    State(app): State<App>,
    _: Operator,
    Body(new): Body<NewMaker>,
) -> Result<(StatusCode, Json<MakerView>), ApiError> {
    let request = Request {
        code: MakerCode::parse_at(&new.code, "code")?,
        name: new.name,
        kind: known(MakerKind::named(&new.kind), "kind")?,
        root: new.root.into_bytes(),
        now_ms: now_ms(),
    };
    Ok((StatusCode::CREATED, Json(app.store.execute(TakeOnMaker(request)).await?.into())))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakersQuery {
    /// Only makers with codes behind this one.
    #[serde(default)]
    after: String,
}

/// The makers, by their codes, at most a hundred.
#[utoipa::path(get, path = "/v1/makers", tag = "makers", params(MakersQuery),
    responses((status = 200, body = Vec<MakerView>), (status = 401, body = ErrorAnswer)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Params(query): Params<MakersQuery>,
) -> Result<Json<Vec<MakerView>>, ApiError> {
    Ok(Json(app.queries.makers(&query.after)?.into_iter().map(Into::into).collect()))
}

/// A maker and its models.
#[utoipa::path(get, path = "/v1/makers/{maker}", tag = "makers", params(("maker", description = "the maker's code")),
    responses((status = 200, body = MakerPage), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn show(
    State(app): State<App>,
    _: Operator,
    PathPart(code): PathPart,
) -> Result<Json<MakerPage>, ApiError> {
    let code = MakerCode::parse(&code)?;
    let maker = app.queries.maker(&code)?.ok_or(Refusal::at(Reason::MakerNotFound, "maker"))?;
    Ok(Json(MakerPage {
        maker: maker.into(),
        chip_models: app.queries.chip_models(&code)?.into_iter().map(Into::into).collect(),
        device_models: app.queries.device_models(&code)?.into_iter().map(Into::into).collect(),
    }))
}

async fn set_standing(app: &App, code: &str, standing: Standing) -> Result<Json<MakerView>, ApiError> {
    let command = SetMakerStanding { maker: MakerCode::parse(code)?, standing, now_ms: now_ms() };
    Ok(Json(app.store.execute(command).await?.into()))
}

/// Withdraws a maker: nothing new of it is taken. What is bound goes on paying.
#[utoipa::path(post, path = "/v1/makers/{maker}/withdraw", tag = "makers",
    params(("maker", description = "the maker's code")),
    responses((status = 200, body = MakerView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn withdraw(
    State(app): State<App>,
    _: Operator,
    PathPart(code): PathPart,
) -> Result<Json<MakerView>, ApiError> {
    set_standing(&app, &code, Standing::Withdrawn).await
}

/// Takes a withdrawn maker back.
#[utoipa::path(post, path = "/v1/makers/{maker}/readmit", tag = "makers",
    params(("maker", description = "the maker's code")),
    responses((status = 200, body = MakerView), (status = 404, body = ErrorAnswer)))]
pub(crate) async fn readmit(
    State(app): State<App>,
    _: Operator,
    PathPart(code): PathPart,
) -> Result<Json<MakerView>, ApiError> {
    set_standing(&app, &code, Standing::Active).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewChipModel {
    /// The name, as it stands in the chips' certificates: 1 to 32 letters, digits, `-`, `.`, `_`.
    name: String,
    /// `international` or `chinese`.
    suite: String,
    /// Flash for keys and tokens, KiB.
    flash_kib: u16,
    /// The applet versions that may be bound, such as `0.1.0`, at most 32.
    applets: Vec<String>,
    /// Whether the model is taken no more.
    withdrawn: Option<bool>,
}

/// Sets a chip model of a maker, new or known.
#[utoipa::path(post, path = "/v1/makers/{maker}/chip-models", tag = "makers", request_body = NewChipModel,
    params(("maker", description = "the maker's code")), responses((status = 200, body = ChipModelView),
    (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn put_chip_model(
    State(app): State<App>,
    _: Operator,
    PathPart(maker): PathPart,
    Body(new): Body<NewChipModel>,
) -> Result<Json<ChipModelView>, ApiError> {
    let model = ChipModel {
        maker: MakerCode::parse(&maker)?,
        name: ModelName::parse_at(&new.name, "name")?,
        suite: known(SUITES.iter().find(|(_, name)| *name == new.suite), "suite")?.0,
        flash_kib: new.flash_kib,
        applets: new.applets.iter().map(|text| AppletVersion::parse(text)).collect::<Result<_, _>>()?,
        standing: standing(new.withdrawn),
        changed_ms: now_ms(),
    };
    Ok(Json(app.store.execute(PutChipModel(model)).await?.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDeviceModel {
    /// The name: 1 to 32 letters, digits, `-`, `.`, `_`.
    name: String,
    /// `watch`, `band`, `card` or `iot_terminal`.
    kind: String,
    /// `none`, `round` or `rectangular`.
    screen: String,
    /// How it reaches the cloud: `phone`, `network` or `reader`.
    link: String,
    /// Whether a passcode can be entered on it.
    passcode: bool,
    /// Whether it notices that it was taken off.
    wear_detection: bool,
    /// Whether the model is taken no more.
    withdrawn: Option<bool>,
}

/// Sets a device model of a maker, new or known.
#[utoipa::path(post, path = "/v1/makers/{maker}/device-models", tag = "makers", request_body = NewDeviceModel,
    params(("maker", description = "the maker's code")), responses((status = 200, body = DeviceModelView),
    (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn put_device_model(
    State(app): State<App>,
    _: Operator,
    PathPart(maker): PathPart,
    Body(new): Body<NewDeviceModel>,
) -> Result<Json<DeviceModelView>, ApiError> {
    let model = DeviceModel {
        maker: MakerCode::parse(&maker)?,
        name: ModelName::parse_at(&new.name, "name")?,
        kind: known(DeviceKind::named(&new.kind), "kind")?,
        screen: known(DeviceScreen::named(&new.screen), "screen")?,
        link: known(DeviceLink::named(&new.link), "link")?,
        passcode: new.passcode,
        wear_detection: new.wear_detection,
        standing: standing(new.withdrawn),
        changed_ms: now_ms(),
    };
    Ok(Json(app.store.execute(PutDeviceModel(model)).await?.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewList {
    /// The list, DER, in hex; at most 1 MiB of DER.
    list: String,
    /// The certificate of the line that has signed it, PEM; the maker's root where it is absent.
    authority: Option<String>,
}

/// The newest revocation list of an authority.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevokedListView {
    maker: String,
    /// SHA-256 of the authority's certificate, hex.
    authority_sha256: String,
    /// The list's number.
    number: u64,
    /// When it was made, Unix seconds.
    this_update_s: u64,
    /// When the next one is due, Unix seconds.
    next_update_s: u64,
    /// How many certificates it ends.
    revoked: usize,
}

impl From<RevokedList> for RevokedListView {
    fn from(list: RevokedList) -> Self {
        Self {
            maker: list.maker.to_string(),
            authority_sha256: hex::encode(list.authority),
            number: list.number,
            this_update_s: list.this_update_s,
            next_update_s: list.next_update_s,
            revoked: list.revoked.len(),
        }
    }
}

/// Takes in a revocation list of a maker's root, or of one of its lines. Only a list with a higher number takes the place
/// of the one before.
#[utoipa::path(post, path = "/v1/makers/{maker}/revocations", tag = "makers", request_body = NewList,
    params(("maker", description = "the maker's code")), responses((status = 200, body = RevokedListView),
    (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    _: Operator,
    PathPart(maker): PathPart,
    Body(new): Body<NewList>,
) -> Result<Json<RevokedListView>, ApiError> {
    let command = TakeInList {
        maker: MakerCode::parse(&maker)?,
        authority: new.authority.map(String::into_bytes),
        list: hex::decode(&new.list).map_err(|_| Refusal::at(Reason::FieldMalformed, "list"))?,
        now_ms: now_ms(),
    };
    Ok(Json(app.store.execute(command).await?.into()))
}
