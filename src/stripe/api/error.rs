//! What can go wrong with a request to Stripe, and what to do about it.

use std::time::Duration;

use crate::domain::breaker::BreakerOpen;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ApiConfigError {
    /// Not an address.
    #[error("`{0}` is not the address of an API: write scheme and host, such as https://api.stripe.com")]
    BaseUrl(String),
    /// Keys would travel in the clear.
    #[error("`{0}` would send the key unencrypted: use https, or a host on this machine")]
    Plaintext(String),
    /// Not a secret or restricted key.
    #[error("the Stripe key must begin with sk_ or rk_ and be one line")]
    Key,
    /// A key of test mode in place of one of live mode, or the reverse.
    #[error("the new Stripe key is of another mode than the old one: restart the gateway if that is meant")]
    OtherMode,
    /// The HTTP client cannot be made, mostly because the machine has no root certificates.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Not sent: Stripe was down a moment ago.
    #[error("Stripe is not asked for now")]
    Refused(#[source] BreakerOpen),
    /// Not sent: it would have had to wait for its turn beyond its deadline.
    #[error("too many requests to Stripe are waiting")]
    Busy,
    /// No answer before the deadline.
    #[error("Stripe did not answer in time")]
    TimedOut,
    /// The connection failed.
    #[error("Stripe cannot be reached")]
    Transport(#[source] reqwest::Error),
    /// Too many requests, says Stripe.
    #[error("Stripe limits requests ({})", reason.as_str())]
    RateLimited {
        /// Which limit.
        reason: RateLimit,
        /// Stripe's wish, if it has one.
        retry_after: Option<Duration>,
    },
    /// The key is wrong, or may not read this.
    #[error(
        "Stripe refused the key (status {status}, request {request_id}): a restricted key needs read access to \
             subscriptions, customers, invoices, checkout sessions, events and webhook endpoints"
    )]
    Auth {
        /// HTTP status, 401 or 403.
        status: u16,
        /// Stripe's name of the request, for its support.
        request_id: String,
    },
    /// There is no such object for this key.
    #[error("Stripe has no such object for this key")]
    NotFound,
    /// Any other refusal.
    #[error("Stripe answered with status {status} ({code}, request {request_id})")]
    Status {
        /// HTTP status.
        status: u16,
        /// `error.code` or `error.type` of the answer.
        code: String,
        /// Stripe's name of the request, for its support.
        request_id: String,
        /// What Stripe says about trying again.
        should_retry: Option<bool>,
    },
    /// An answer larger than is read.
    #[error("Stripe's answer is larger than {} bytes", super::RESPONSE_BYTES_MAX)]
    TooLarge,
    /// An answer that is not JSON.
    #[error("Stripe's answer is not JSON")]
    Json(#[source] serde_json::Error),
    /// JSON, but not what was asked for.
    #[error("Stripe's answer is not what was asked for")]
    Unexpected,
    /// An answer whose date is far from that of other answers: what it says cannot be put in order.
    #[error("the date of Stripe's answer is more than {} s from that of other answers", super::DATE_TOLERANCE.as_secs())]
    Clock,
    /// An event names an address outside of Stripe's API.
    #[error("the event names an address outside of Stripe's API; it was not followed")]
    OffHost,
    /// An identifier that cannot be part of an address.
    #[error("the identifier cannot be part of an address")]
    BadId,
}

/// What the caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiDisposition {
    /// Stripe or the way to it is at fault: try again, no sooner than `after`.
    Retry {
        /// Shortest wait.
        after: Duration,
    },
    /// The same request would fail again.
    GiveUp,
}

impl ApiError {
    /// The retry decision, by Stripe's word where it gives one.
    pub fn disposition(&self) -> ApiDisposition {
        let soon = ApiDisposition::Retry { after: Duration::ZERO };
        match self {
            Self::Refused(open) => ApiDisposition::Retry { after: open.retry_after },
            Self::RateLimited { retry_after, .. } => {
                ApiDisposition::Retry { after: retry_after.unwrap_or(Duration::from_secs(1)) }
            }
            Self::Status { status, should_retry, .. } => {
                // Without a word from Stripe: a conflict with another request passes, as do faults of its own.
                if should_retry.unwrap_or(*status == 409 || *status >= 500) { soon } else { ApiDisposition::GiveUp }
            }
            Self::Busy | Self::TimedOut | Self::Transport(_) => soon,
            Self::Auth { .. }
            | Self::NotFound
            | Self::TooLarge
            | Self::Json(_)
            | Self::Unexpected
            | Self::Clock
            | Self::OffHost
            | Self::BadId => ApiDisposition::GiveUp,
        }
    }

    /// Whether it says something about the thing that was asked for, and will say so again: Stripe's own "no", or an
    /// identifier that no request can be made of. All else is no answer: time may bring one.
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::NotFound | Self::Unexpected | Self::TooLarge | Self::OffHost | Self::BadId => true,
            // What Stripe refuses about the request, and what it asks to be left alone with.
            Self::Status { status, should_retry, .. } => {
                (400..500).contains(status) && *status != 409 && *should_retry != Some(true)
            }
            Self::Refused(_)
            | Self::Busy
            | Self::TimedOut
            | Self::Transport(_)
            | Self::RateLimited { .. }
            | Self::Auth { .. }
            | Self::Json(_)
            | Self::Clock => false,
        }
    }

    /// Whether it tells that Stripe cannot serve this gateway now, which is what the circuit breaker counts. A key that
    /// is refused is refused for every request, so there is no use in asking on.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::TimedOut | Self::Transport(_) | Self::Auth { .. } | Self::Json(_) => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Refused(_)
            | Self::Busy
            | Self::RateLimited { .. }
            | Self::NotFound
            | Self::TooLarge
            | Self::Unexpected
            | Self::Clock
            | Self::OffHost
            | Self::BadId => false,
        }
    }

    /// Stable code for metrics and health.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "breaker_open",
            Self::Busy => "busy",
            Self::TimedOut => "timed_out",
            Self::Transport(_) => "unreachable",
            Self::RateLimited { .. } => "rate_limited",
            Self::Auth { .. } => "auth",
            Self::NotFound => "not_found",
            Self::Status { .. } => "status",
            Self::TooLarge => "too_large",
            Self::Json(_) | Self::Unexpected => "unexpected_answer",
            Self::Clock => "clock",
            Self::OffHost => "off_host",
            Self::BadId => "bad_id",
        }
    }
}

/// Which of Stripe's limits was reached: the header `Stripe-Rate-Limited-Reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// Requests at once, over all of the API.
    GlobalConcurrency,
    /// Requests a second, over all of the API.
    GlobalRate,
    /// Requests at once to one endpoint.
    EndpointConcurrency,
    /// Requests a second to one endpoint.
    EndpointRate,
    /// A limit of one resource; also a lock on an object.
    ResourceSpecific,
    /// Stripe does not say, or says something new.
    Unknown,
}

impl RateLimit {
    /// Reads the header.
    pub(super) fn parse(text: Option<&str>) -> Self {
        match text {
            Some("global-concurrency") => Self::GlobalConcurrency,
            Some("global-rate") => Self::GlobalRate,
            Some("endpoint-concurrency") => Self::EndpointConcurrency,
            Some("endpoint-rate") => Self::EndpointRate,
            Some("resource-specific") => Self::ResourceSpecific,
            Some(_) | None => Self::Unknown,
        }
    }

    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GlobalConcurrency => "global-concurrency",
            Self::GlobalRate => "global-rate",
            Self::EndpointConcurrency => "endpoint-concurrency",
            Self::EndpointRate => "endpoint-rate",
            Self::ResourceSpecific => "resource-specific",
            Self::Unknown => "unknown",
        }
    }

    /// Whether everybody has to slow down, not only who asks for this one object.
    pub(super) const fn concerns_all(self) -> bool {
        match self {
            Self::GlobalConcurrency
            | Self::GlobalRate
            | Self::EndpointConcurrency
            | Self::EndpointRate
            | Self::Unknown => true,
            Self::ResourceSpecific => false,
        }
    }
}
