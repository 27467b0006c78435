//! Errors on the wire: `{"error": {"code", "message", "field"}}`, with the status that fits.
//!
//! Codes are stable; sentences may be improved. Nothing of keys, codes or money is ever in one.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::{Refusal, RefusalClass};
use serde::Serialize;
use store::{Failure, StoreError};
use utoipa::ToSchema;

use crate::api::payments::PaymentView;

/// When to come back after a 503 whose cause tells no time, seconds.
const RETRY_UNAVAILABLE_S: u64 = 1;

/// Why a request was not answered as asked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// A stable code, for programs.
    #[schema(example = "code_spent")]
    pub code: &'static str,
    /// A sentence for people.
    #[schema(example = "This code has been used already; ask for a new one.")]
    pub message: String,
    /// The field at fault, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// The body of every error answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorAnswer {
    /// What went wrong.
    pub error: ErrorBody,
    /// The declined payment, where the error is a decline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentView>,
}

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    answer: Box<ErrorAnswer>,
    retry_after_s: Option<u64>,
}

impl ApiError {
    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.answer.error.code
    }

    /// An error with a code and a sentence.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let error = ErrorBody { code, message: message.into(), field: None };
        Self { status, answer: Box::new(ErrorAnswer { error, payment: None }), retry_after_s: None }
    }

    /// The same error, at a field.
    #[must_use]
    pub(crate) fn at(mut self, field: impl Into<String>) -> Self {
        self.answer.error.field = Some(field.into());
        self
    }

    /// The same error, with the payment that was declined.
    #[must_use]
    pub(crate) fn with_payment(mut self, payment: PaymentView) -> Self {
        self.answer.payment = Some(payment);
        self
    }

    /// The same error, asking the client to come back after this many seconds.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// No key, or not one that is known.
    pub(crate) fn unauthenticated() -> Self {
        let message = "Send a valid key in the header `Authorization: Bearer KEY`.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }

    /// A valid key of someone who may not do this.
    pub(crate) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This key may not do that.")
    }

    /// Something failed inside; the cause is logged, not sent.
    pub(crate) fn internal(cause: impl core::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The platform could not do this; nothing is lost. Try again.",
        )
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.reason.class() {
            RefusalClass::Invalid => StatusCode::BAD_REQUEST,
            RefusalClass::Forbidden => StatusCode::FORBIDDEN,
            RefusalClass::NotFound => StatusCode::NOT_FOUND,
            RefusalClass::Conflict => StatusCode::CONFLICT,
            RefusalClass::TooMany => StatusCode::TOO_MANY_REQUESTS,
            RefusalClass::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let error = Self::new(status, refusal.reason.code(), refusal.reason.message());
        match refusal.field {
            Some(field) => error.at(field),
            None => error,
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Unreachable(_) => {
                let message = "Too many requests are waiting; try again in a second, with the same numbers.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(1)
            }
            StoreError::Stopped => {
                let message = "The store has stopped; ask again with the same numbers once the server is back.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", message).retry_after(5)
            }
            StoreError::Engine(_) | StoreError::Taken(_) | StoreError::Corrupt(_) => Self::internal(error),
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let is_unavailable = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let retry_after_s = self.retry_after_s.or(is_unavailable.then_some(RETRY_UNAVAILABLE_S));
        let mut response = (self.status, Json(self.answer)).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_may_be_tried_again_says_when() {
        let (busy, stopped) = (StoreError::Busy.into(), StoreError::Stopped.into());
        let without_keys = Refusal::from(platform::Reason::KeysUnavailable).into();
        let errors: [ApiError; 3] = [busy, stopped, without_keys];
        for error in errors {
            let code = error.code();
            let response = error.into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{code}");
            assert!(response.headers().contains_key(header::RETRY_AFTER), "{code}");
        }
        let refused: ApiError = Refusal::from(platform::Reason::OrderCancelled).into();
        assert!(!refused.into_response().headers().contains_key(header::RETRY_AFTER));
    }
}
