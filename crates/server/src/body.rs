//! JSON bodies, query strings and parts of paths, read strictly: a wrong field is named, an unknown one refused, the size
//! bounded.

use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::door::is_too_slow;
use crate::error::ApiError;

/// The largest request body, bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// A JSON body of type `T`.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(explain(&rejection)),
        }
    }
}

/// A JSON body that may be absent: then it is `T`'s default.
pub(crate) struct MaybeBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MaybeBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        // Whoever sends something says what it is.
        if !request.headers().contains_key(axum::http::header::CONTENT_TYPE) {
            return Ok(Self(T::default()));
        }
        Body::from_request(request, state).await.map(|Body(value)| Self(value))
    }
}

fn explain(rejection: &JsonRejection) -> ApiError {
    match rejection {
        JsonRejection::JsonDataError(error) => {
            let message = "A field is missing, unknown or of the wrong type.";
            named(ApiError::new(StatusCode::BAD_REQUEST, "field_malformed", message), &error.body_text())
        }
        JsonRejection::MissingJsonContentType(_) => {
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", "Send `Content-Type: application/json`.")
        }
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!(
                "The body is longer than this path takes, which is {MAX_BODY_BYTES} bytes where nothing else is said."
            ),
        ),
        other if is_too_slow(other) => {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "The body took too long; send it at once.")
        }
        _ => ApiError::new(StatusCode::BAD_REQUEST, "body_malformed", "The body is not valid JSON."),
    }
}

/// A query string of type `T`.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|rejection| {
            let error = ApiError::new(
                StatusCode::BAD_REQUEST,
                "query_malformed",
                "A parameter is missing, unknown or of the wrong type.",
            );
            named(error, &rejection.body_text())
        })
    }
}

/// The part of the path that names a thing.
pub(crate) struct PathPart(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathPart {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let part: Result<Path<String>, _> = Path::from_request_parts(parts, state).await;
        part.map(|Path(part)| Self(part))
            .map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "path_malformed", "The path is not UTF-8."))
    }
}

/// The error at the field that the extractor's text names: either as a path before a colon (`amount: invalid
/// value …`) or between back quotes (`missing field `order``). Where it names none, the sentence must do.
fn named(error: ApiError, text: &str) -> ApiError {
    let is_name =
        |name: &&str| !name.is_empty() && name.len() < 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let detail = text.split_once(": ").map_or(text, |(_, detail)| detail);
    let path = detail.split_once(':').map(|(path, _)| path).filter(is_name);
    match path.or_else(|| detail.split('`').nth(1).filter(is_name)) {
        Some(field) => error.at(field),
        None => error,
    }
}
