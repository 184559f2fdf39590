//! The one mapping from errors to answers: RFC 9457 problem documents with a stable `code`.
//!
//! The answer helps an honest sender and no attacker. The inner reason goes to the log line and the metrics through
//! [`LoggedReason`], never into the body.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::inbox::InboxError;
use crate::stripe::signature::SignatureError;

/// Seconds after which a rejected sender may try again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// An answer that is not a success.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The signature is missing or wrong, for whatever reason.
    #[error("invalid signature")]
    InvalidSignature(#[source] SignatureError),
    /// The body is larger than allowed.
    #[error("body too large")]
    BodyTooLarge,
    /// The connection broke inside the body.
    #[error("body incomplete")]
    BodyIncomplete,
    /// The body did not arrive in time.
    #[error("request timed out")]
    RequestTimeout,
    /// Too many requests are in hand.
    #[error("overloaded")]
    Overloaded,
    /// The sender alone has as many requests in hand as one sender may have.
    #[error("too much from one sender")]
    PeerOverShare,
    /// The endpoint takes webhooks only from listed addresses, and this is not one.
    #[error("sender not listed")]
    PeerNotListed,
    /// The event could not be made durable.
    #[error("inbox unavailable")]
    InboxUnavailable(#[source] InboxError),
    /// The event was not durable within the request's time; it may still become so.
    #[error("inbox did not answer in time")]
    InboxTimeout,
    /// The process is about to end.
    #[error("shutting down")]
    ShuttingDown,
    /// The request used a host name that is not the admin listener's.
    #[error("unknown host")]
    UnknownHost,
    #[error("method not allowed")]
    MethodNotAllowed {
        /// The allowed methods, for the `Allow` header.
        allow: &'static str,
    },
    #[error("not found")]
    NotFound,
    /// The token is missing or wrong.
    #[error("unauthorized")]
    Unauthorized,
    /// Too many wrong tokens came from this address, so none is checked now.
    #[error("too many attempts")]
    TooManyAttempts,
    /// The operator may look, but not do this.
    #[error("forbidden")]
    Forbidden,
    /// The body of an admin request does not match what the path takes.
    #[error("invalid request")]
    InvalidRequest,
    /// An admin request that can be read but makes no sense.
    #[error("invalid request: {detail}")]
    Invalid {
        /// The fault, for the operator.
        detail: String,
    },
    /// There is no entry with this number.
    #[error("no such entry")]
    NoSuchEntry,
    /// The same operation is already in progress.
    #[error("busy")]
    Busy,
    /// A setting that the request needs is missing.
    #[error("not configured")]
    NotConfigured,
    /// The ledger did not answer an operator's question.
    #[error("ledger silent")]
    LedgerSilent,
    /// The ledger answered an operator's question with an error, which is in the log.
    #[error("ledger failed")]
    LedgerFailed,
    #[error("internal error")]
    Internal,
}

/// What the log line and the metrics say about an answer, and its body does not.
#[derive(Clone, Debug)]
pub(super) struct LoggedReason {
    pub(super) code: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Serialize)]
struct ProblemDocument {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Problem {
    /// Stable code in the document and in metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidSignature(_) => "invalid_signature",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyIncomplete => "body_incomplete",
            Self::RequestTimeout => "request_timeout",
            Self::Overloaded | Self::InboxUnavailable(InboxError::Overloaded) => "overloaded",
            Self::PeerOverShare => "peer_over_share",
            Self::PeerNotListed => "peer_not_listed",
            Self::InboxUnavailable(_) | Self::InboxTimeout => "inbox_unavailable",
            Self::ShuttingDown => "shutting_down",
            Self::UnknownHost => "unknown_host",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NotFound => "not_found",
            Self::Unauthorized => "unauthorized",
            Self::TooManyAttempts => "too_many_attempts",
            Self::Forbidden => "forbidden",
            Self::InvalidRequest | Self::Invalid { .. } => "invalid_request",
            Self::NoSuchEntry => "no_such_entry",
            Self::Busy => "busy",
            Self::NotConfigured => "not_configured",
            Self::LedgerSilent => "ledger_unavailable",
            Self::LedgerFailed => "ledger_failed",
            Self::Internal => "internal",
        }
    }

    pub const fn status(&self) -> StatusCode {
        match self {
            Self::InvalidSignature(_) | Self::BodyIncomplete | Self::InvalidRequest | Self::Invalid { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::PeerOverShare | Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::PeerNotListed | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded
            | Self::InboxUnavailable(_)
            | Self::InboxTimeout
            | Self::LedgerSilent
            | Self::LedgerFailed
            | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound | Self::NoSuchEntry => StatusCode::NOT_FOUND,
            Self::Busy | Self::NotConfigured => StatusCode::CONFLICT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What it means, for people.
    pub const fn title(&self) -> &'static str {
        match self {
            Self::InvalidSignature(_) => {
                "The request is not signed with a secret of this endpoint. Check the endpoint's signing secret and the clock."
            }
            Self::BodyTooLarge => "The body is larger than 1 MiB.",
            Self::BodyIncomplete => "The body ended early.",
            Self::RequestTimeout => "The request did not arrive in time, or its body did not go on.",
            Self::Overloaded => "Too many requests at once. Try again later.",
            Self::UnknownHost => "Not answered under this name. GATEWAY_ADMIN_HOSTS lists further names.",
            Self::PeerOverShare => "Too many requests at once from one address. Try again later.",
            Self::PeerNotListed => "Webhooks are not taken from this address.",
            Self::InboxUnavailable(_) | Self::InboxTimeout => "The event cannot be stored now. Try again later.",
            Self::ShuttingDown => "The gateway is restarting. Try again later.",
            Self::MethodNotAllowed { .. } => "This path does not take this method.",
            Self::NotFound => "There is nothing at this path.",
            Self::TooManyAttempts => "Too many wrong tokens came from this address. Try again in some seconds.",
            Self::Forbidden => "This operator may look, and not do this: it needs the role `operator`.",
            Self::Unauthorized => "This path needs the admin token: Authorization: Bearer <token>.",
            Self::NoSuchEntry => "There is no entry with this number.",
            Self::Invalid { .. } => "The request makes no sense.",
            Self::InvalidRequest => "The body is not what this path takes; openapi.yaml describes it.",
            Self::Busy => "The gateway is at work of this kind already. Try again when it has ended.",
            Self::NotConfigured => {
                "The gateway has no STRIPE_SECRET_KEY: set one (a restricted key that may read), and restart it."
            }
            Self::LedgerSilent => {
                "The ledger gave no answer in time. Webhooks are taken all the same; `check` says what is wrong. Try again later."
            }
            Self::LedgerFailed => {
                "The ledger answered with an error, which stands in the log; `check` says what is wrong. Webhooks are taken all the same."
            }
            Self::Internal => "Something went wrong here. Try again later.",
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidSignature(error) => error.reason(),
            Self::InboxUnavailable(error) => error.code(),
            Self::InboxTimeout => "timed_out",
            Self::BodyTooLarge
            | Self::BodyIncomplete
            | Self::RequestTimeout
            | Self::Overloaded
            | Self::PeerOverShare
            | Self::PeerNotListed
            | Self::UnknownHost
            | Self::ShuttingDown
            | Self::MethodNotAllowed { .. }
            | Self::NotFound
            | Self::Unauthorized
            | Self::TooManyAttempts
            | Self::Forbidden
            | Self::InvalidRequest
            | Self::Invalid { .. }
            | Self::NoSuchEntry
            | Self::Busy
            | Self::NotConfigured
            | Self::LedgerSilent
            | Self::LedgerFailed
            | Self::Internal => "",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = (self.status(), self.code());
        let detail = if let Self::Invalid { detail } = &self { Some(detail.clone()) } else { None };
        let (r#type, status_code) = ("about:blank", status.as_u16());
        let document = ProblemDocument { r#type, title: self.title(), status: status_code, code, detail };
        let mut response = (status, axum::Json(document)).into_response();
        response.extensions_mut().insert(LoggedReason { code, reason: self.reason() });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_fault_gets_the_same_answer() {
        let answer = |error| {
            let response = Problem::InvalidSignature(error).into_response();
            (response.status(), response.headers().clone())
        };
        assert_eq!(answer(SignatureError::NoMatch), answer(SignatureError::Stale));
        assert_eq!(answer(SignatureError::Missing), answer(SignatureError::Future));
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for (problem, status) in [
            (Problem::Overloaded, StatusCode::SERVICE_UNAVAILABLE),
            (Problem::InboxTimeout, StatusCode::SERVICE_UNAVAILABLE),
            (Problem::ShuttingDown, StatusCode::SERVICE_UNAVAILABLE),
            (Problem::PeerOverShare, StatusCode::TOO_MANY_REQUESTS),
        ] {
            let response = problem.into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        }
    }
}
