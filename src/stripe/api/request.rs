//! One request, from leave to answer.

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::{
    API_VERSION_2, ATTEMPT_TIME_MAX, ATTEMPTS_MAX, ApiDisposition, ApiError, Fetched, RESPONSE_BYTES_MAX, RateLimit,
    Scope, StripeApi,
};
use crate::domain::clock::Timestamp;
use crate::outbound::{self, ReadError};
use crate::stripe::event::holds_nul;
use crate::stripe::object::{Object, without_nul};

/// Longest code or request name taken from an answer into an error, in bytes.
const DETAIL_BYTES_MAX: usize = 100;

impl StripeApi {
    /// Reads an object, with as many attempts as help within the given time.
    pub(super) async fn get(&self, url: Url, scope: &Scope, within: Duration) -> Result<Fetched, ApiError> {
        let begin = self.clock.instant();
        let left = |begin: Instant| within.saturating_sub(self.clock.instant().saturating_duration_since(begin));
        let mut attempt = 1;
        loop {
            let error = match self.attempt(url.clone(), scope, left(begin)).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            let after = match error.disposition() {
                ApiDisposition::Retry { after } => after,
                ApiDisposition::GiveUp => return Err(error),
            };
            let wait = after.max(self.backoff.wait(attempt, &mut fastrand::Rng::new()));
            // An open breaker or a full bucket will not recover in time, and the caller may have another way.
            let hopeless = matches!(error, ApiError::Refused(_) | ApiError::Busy);
            if hopeless || attempt >= ATTEMPTS_MAX || wait >= left(begin) {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, url: Url, scope: &Scope, within: Duration) -> Result<Fetched, ApiError> {
        let permit = self.breaker.admit().map_err(ApiError::Refused)?;
        let wait = self.bucket.take(within).ok_or(ApiError::Busy)?;
        tokio::time::sleep(wait).await;
        let within = within.saturating_sub(wait).min(ATTEMPT_TIME_MAX);
        let result = self.send(url, scope, within).await;
        if let Err(ApiError::RateLimited { reason, retry_after }) = &result
            && reason.concerns_all()
        {
            self.bucket.pause(retry_after.unwrap_or(Duration::from_secs(1)));
        }
        match &result {
            Err(error) if error.is_outage() => permit.fail(),
            Ok(_) | Err(_) => permit.succeed(),
        }
        result
    }

    async fn send(&self, url: Url, scope: &Scope, within: Duration) -> Result<Fetched, ApiError> {
        let bearer = self.bearer.get().as_ref().clone();
        let second = url.path().starts_with("/v2/");
        let mut request = self.http.get(url).timeout(within).header(AUTHORIZATION, bearer);
        if second {
            request = request.header("stripe-version", API_VERSION_2);
        }
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| ApiError::BadId);
        if let Some(context) = &scope.context {
            request = request.header("stripe-context", header(context)?);
        } else if let Some(account) = &scope.account {
            request = request.header("stripe-account", header(account)?);
        }
        let (began, sent) = (self.clock.now(), self.clock.instant());
        let response = request.send().await.map_err(fault)?;
        let (took, answered) = (self.clock.instant().saturating_duration_since(sent), self.clock.now());
        let (status, headers) = (response.status(), response.headers().clone());
        let body = outbound::read(response, RESPONSE_BYTES_MAX).await.map_err(|error| match error {
            ReadError::TooLarge => ApiError::TooLarge,
            ReadError::Broken(error) => fault(error),
        })?;
        if !status.is_success() {
            return Err(refusal(status, &headers, &body));
        }
        let object: Value = serde_json::from_slice(&body).map_err(ApiError::Json)?;
        let object = if holds_nul(&body) { without_nul(&object) } else { object };
        // Stripe dates its answers. A proxy in between may remove the date; then only our own clock is left.
        let date = headers.get(DATE).and_then(|value| Timestamp::parse_http_date(value.to_str().ok()?));
        let began = match date {
            Some(date) => self.stripe_clock.fence(date, sent, took, answered).map_err(|_| ApiError::Clock)?,
            None => began,
        };
        Ok(Fetched { object, began })
    }
}

fn fault(error: reqwest::Error) -> ApiError {
    // The address holds identifiers and nothing secret, but an error need not repeat it.
    if error.is_timeout() { ApiError::TimedOut } else { ApiError::Transport(error.without_url()) }
}

/// The error in an answer other than success.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = clipped(header("request-id").unwrap_or("unknown"));
    match status.as_u16() {
        401 | 403 => ApiError::Auth { status: status.as_u16(), request_id },
        404 => ApiError::NotFound,
        429 => {
            let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let reason = RateLimit::parse(header("stripe-rate-limited-reason"));
            ApiError::RateLimited { reason, retry_after: seconds.map(Duration::from_secs) }
        }
        status => {
            let answer: Value = serde_json::from_slice(body).unwrap_or_default();
            let error = Object::new(&answer).at("error");
            let code = error.at("code").word().or_else(|| error.at("type").word()).unwrap_or("no code");
            let should_retry = header("stripe-should-retry").and_then(|text| text.trim().parse().ok());
            ApiError::Status { status, code: clipped(code), request_id, should_retry }
        }
    }
}

/// The printable ASCII of a text, up to the bound.
fn clipped(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(DETAIL_BYTES_MAX).collect()
}
