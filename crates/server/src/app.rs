//! The router: which path is which handler, and what holds for all of them.

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::App;
use crate::api::{
    accounts, bindings, chips, confirmations, devices, events, health, makers, merchants, payments, risk, shipments,
    sockets, syncs, tokens,
};
use crate::body::MAX_BODY_BYTES;
use crate::door::with_body_wait;
use crate::error::ApiError;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "paychip",
        description = "The open payment chip's cloud: accounts, wearables, payments.\n\nAmounts are whole minor units (1250 is 12.50 yuan). Times are Unix milliseconds. Every request but `/health` and `/ready` needs a key: `Authorization: Bearer KEY`. Errors are `{\"error\": {\"code\", \"message\", \"field\"}}` with stable codes."
    ),
    modifiers(&Keys),
    security(("key" = [])),
)]
struct Document;

/// Declares the bearer key.
struct Keys;

impl utoipa::Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`op_` operator, `sk_` merchant, `wk_` wallet"))
            .build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(key));
    }
}

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::audit))
        .routes(routes!(accounts::open))
        .routes(routes!(accounts::show))
        .routes(routes!(accounts::top_up))
        .routes(routes!(accounts::book))
        .routes(routes!(merchants::take_on))
        .routes(routes!(merchants::show))
        .routes(routes!(merchants::book))
        .routes(routes!(merchants::suspend))
        .routes(routes!(merchants::reinstate))
        .routes(routes!(chips::register))
        .routes(routes!(makers::take_on, makers::list))
        .routes(routes!(makers::show))
        .routes(routes!(makers::withdraw))
        .routes(routes!(makers::readmit))
        .routes(routes!(makers::put_chip_model))
        .routes(routes!(makers::put_device_model))
        .routes(routes!(makers::revoke).layer(DefaultBodyLimit::max(makers::MAX_LIST_BODY_BYTES)))
        .routes(routes!(shipments::open_batch))
        .routes(routes!(shipments::begin))
        .routes(routes!(shipments::show))
        .routes(routes!(shipments::take_in).layer(DefaultBodyLimit::max(shipments::MAX_PIECE_BODY_BYTES)))
        .routes(routes!(shipments::finish))
        .routes(routes!(shipments::give_up))
        .routes(routes!(events::trail))
        .routes(routes!(bindings::start))
        .routes(routes!(bindings::show))
        .routes(routes!(bindings::relay))
        .routes(routes!(syncs::start, syncs::show))
        .routes(routes!(syncs::relay))
        .routes(routes!(sockets::binding))
        .routes(routes!(sockets::sync))
        .routes(routes!(devices::bind))
        .routes(routes!(devices::sync))
        .routes(routes!(tokens::list))
        .routes(routes!(tokens::show))
        .routes(routes!(tokens::trail))
        .routes(routes!(tokens::results))
        .routes(routes!(tokens::freeze))
        .routes(routes!(tokens::resume))
        .routes(routes!(tokens::lost))
        .routes(routes!(tokens::renew))
        .routes(routes!(tokens::revoke))
        .routes(routes!(payments::pay, payments::list))
        .routes(routes!(payments::cancel))
        .routes(routes!(payments::show))
        .routes(routes!(payments::refund, payments::refunds))
        .routes(routes!(confirmations::list))
        .routes(routes!(risk::show, risk::set))
        .routes(routes!(risk::versions))
        .routes(routes!(risk::check))
        .routes(routes!(risk::dry_run))
        .routes(routes!(risk::explain))
        .routes(routes!(confirmations::confirm))
        .routes(routes!(confirmations::refuse))
}

/// Says of every operation what any wrong request gets: the error body, whatever the status.
fn with_errors(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let error = || {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorAnswer"))).build();
        let description = "Refused or failed; `error.code` says why.";
        RefOr::T(ResponseBuilder::new().description(description).content("application/json", content).build())
    };
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            operation.responses.responses.entry("default".to_owned()).or_insert_with(error);
        }
    }
    document
}

/// The OpenAPI 3.1 document, as it is served at `/openapi.json`.
///
/// # Errors
/// Never in practice: the document is built from types that serialise.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    with_errors(routes().to_openapi()).to_pretty_json()
}

/// The whole application.
pub(crate) fn router(app: App) -> Router {
    let (router, document) = routes().split_for_parts();
    let document = with_errors(document);
    router
        // What the server itself costs, for whoever measures it.
        .route("/ping", post(|| async { StatusCode::NO_CONTENT }))
        .route("/openapi.json", get(move || async move { Json(document) }))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "path_not_found", "There is nothing at this path.") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This path does not take that method.")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn(with_body_wait))
        .with_state(app)
}
