//! What can go wrong with a request to Stripe, and what to do about it.

use std::time::Duration;

use crate::domain::breaker::BreakerOpen;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ApiConfigError {
    /// It is not an address.
    #[error("`{0}` is not the address of an API: write scheme and host, such as https://api.stripe.com")]
    BaseUrl(String),
    /// Keys would travel unencrypted.
    #[error("`{0}` would send the key unencrypted: use https, or a host on this machine")]
    Plaintext(String),
    /// It is not a secret or restricted key.
    #[error("the Stripe key must begin with sk_ or rk_ and be one line")]
    Key,
    /// The key is for test mode and should be for live mode, or the reverse.
    #[error("the new Stripe key is of another mode than the old one: restart the gateway if that is meant")]
    OtherMode,
    /// The HTTP client cannot be made, usually because the machine has no root certificates.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It was not sent, because Stripe was down a moment ago.
    #[error("Stripe is not asked for now")]
    Refused(#[source] BreakerOpen),
    /// It was not sent, because its turn would have come after its deadline.
    #[error("too many requests to Stripe are waiting")]
    Busy,
    /// No answer before the deadline.
    #[error("Stripe did not answer in time")]
    TimedOut,
    /// The connection failed.
    #[error("Stripe cannot be reached")]
    Transport(#[source] reqwest::Error),
    /// Stripe says that there were too many requests.
    #[error("Stripe limits requests ({})", reason.as_str())]
    RateLimited {
        reason: RateLimit,
        /// The wait that Stripe asks for, if any.
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
        /// Stripe's id of the request, for its support.
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
        /// Stripe's id of the request, for its support.
        request_id: String,
        /// What Stripe says about trying again.
        should_retry: Option<bool>,
    },
    /// The answer is larger than the bound.
    #[error("Stripe's answer is larger than {} bytes", super::RESPONSE_BYTES_MAX)]
    TooLarge,
    /// The answer is not JSON.
    #[error("Stripe's answer is not JSON")]
    Json(#[source] serde_json::Error),
    /// The answer is JSON, but not of the expected form.
    #[error("Stripe's answer is not what was asked for")]
    Unexpected,
    /// The answer's date is far from that of other answers, so its content cannot be placed in order.
    #[error("the date of Stripe's answer is more than {} s from that of other answers", super::DATE_TOLERANCE.as_secs())]
    Clock,
    /// An event names an address outside Stripe's API.
    #[error("the event names an address outside of Stripe's API; it was not followed")]
    OffHost,
    /// The identifier cannot be part of an address.
    #[error("the identifier cannot be part of an address")]
    BadId,
}

/// What the caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiDisposition {
    /// Stripe or the network is at fault: try again, but not before `after`.
    Retry {
        /// Shortest wait.
        after: Duration,
    },
    /// The same request would fail again.
    GiveUp,
}

impl ApiError {
    /// The retry decision, according to Stripe where it gives one.
    pub fn disposition(&self) -> ApiDisposition {
        let soon = ApiDisposition::Retry { after: Duration::ZERO };
        match self {
            Self::Refused(open) => ApiDisposition::Retry { after: open.retry_after },
            Self::RateLimited { retry_after, .. } => {
                ApiDisposition::Retry { after: retry_after.unwrap_or(Duration::from_secs(1)) }
            }
            Self::Status { status, should_retry, .. } => {
                // If Stripe does not say: a conflict with another request passes, and so do its own faults.
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

    /// Whether the error is about the object itself and will repeat: Stripe's own refusal, or an identifier that cannot be
    /// requested. Any other error is no answer, and time may bring one.
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::NotFound | Self::Unexpected | Self::TooLarge | Self::OffHost | Self::BadId => true,
            // Refusals that are about the request, and requests to slow down, do not count.
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

    /// Whether it shows that Stripe cannot serve this gateway now, which is what the circuit breaker counts. A refused key
    /// is refused for every request, so asking on is pointless.
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

/// The limit of Stripe's that was reached: the header `Stripe-Rate-Limited-Reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// Concurrent requests, over the whole API.
    GlobalConcurrency,
    /// Requests per second, over the whole API.
    GlobalRate,
    /// Concurrent requests to one endpoint.
    EndpointConcurrency,
    /// Requests per second to one endpoint.
    EndpointRate,
    /// A limit of one resource, or a lock on an object.
    ResourceSpecific,
    /// Stripe does not say, or names a new limit.
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

    /// Whether all requests must slow down, not only those for this object.
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
