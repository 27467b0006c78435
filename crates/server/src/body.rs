//! JSON bodies and query strings, read strictly: a wrong field is named, an unknown one refused, the size bounded.

use axum::extract::rejection::JsonRejection;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

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

fn explain(rejection: &JsonRejection) -> ApiError {
    match rejection {
        JsonRejection::JsonDataError(error) => {
            let text = error.body_text();
            let error = ApiError::new(
                StatusCode::BAD_REQUEST,
                "field_malformed",
                "A field is missing, unknown or of the wrong type.",
            );
            // serde names the field between back quotes; where it does not, the sentence must do.
            match text.split('`').nth(1) {
                Some(field) if field.len() < 40 => error.at(field),
                _ => error,
            }
        }
        JsonRejection::MissingJsonContentType(_) => {
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", "Send `Content-Type: application/json`.")
        }
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("A body may hold {MAX_BODY_BYTES} bytes."),
        ),
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
            let text = rejection.body_text();
            match text.split('`').nth(1) {
                Some(field) if field.len() < 40 => error.at(field),
                _ => error,
            }
        })
    }
}
