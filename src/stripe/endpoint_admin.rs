//! Making, changing and disabling webhook endpoints: the one place that writes to Stripe, for a person's command and under the key
//! that the person gives it. Nothing that serves can reach it.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::Value;

use super::api::{API_VERSION, ApiConfigError, WebhookEndpoint, base_url, bearer, mode_of};
use crate::domain::causes::chain;
use crate::domain::secret::Secret;
use crate::outbound;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Most bytes read of an answer.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Most attempts at one request that fails to get through.
const ATTEMPTS_MAX: u32 = 3;

/// Most endpoints of one page; an account has at most 16 per mode.
const PAGE: &str = "100";

/// Why Stripe did not do it.
#[derive(Debug, thiserror::Error)]
pub enum EndpointAdminError {
    #[error(transparent)]
    Settings(#[from] ApiConfigError),
    /// The key may not do this.
    #[error(
        "Stripe refused the key ({said}): make a restricted key with write access to webhook endpoints, for this command alone"
    )]
    Key { said: String },
    #[error("Stripe refused it: {said}")]
    Refused { said: String },
    #[error("Stripe did not answer: {said}")]
    Unanswered { said: String },
    #[error("Stripe's answer is not what was asked for")]
    Unexpected,
}

/// A new endpoint, with the secret that Stripe tells only once.
#[derive(Debug)]
pub struct MadeEndpoint {
    pub endpoint: WebhookEndpoint,
    pub secret: Secret,
}

/// Changes the account's webhook endpoints.
#[derive(Debug)]
pub struct EndpointAdmin {
    http: Client,
    base: Url,
    key: Secret,
}

type Fields<'a> = Vec<(&'a str, &'a str)>;

impl EndpointAdmin {
    /// Checks the key and the address, and sends nothing.
    pub fn new(key: Secret, base: &str) -> Result<Self, EndpointAdminError> {
        let base = base_url(base)?;
        bearer(&key)?;
        let mut http = outbound::client(ANSWER_MAX).https_only(base.scheme() == "https");
        if base.scheme() == "http" {
            http = http.no_proxy();
        }
        let http = http.build().map_err(ApiConfigError::Client)?;
        Ok(Self { http, base, key })
    }

    /// The mode that the key is for; `None` if it does not say.
    pub fn livemode(&self) -> Option<bool> {
        mode_of(self.key.expose())
    }

    /// All endpoints of the account.
    pub async fn list(&self) -> Result<Vec<WebhookEndpoint>, EndpointAdminError> {
        let answer = self.call(Method::GET, &format!("v1/webhook_endpoints?limit={PAGE}"), &[]).await?;
        let endpoints = answer["data"].as_array().ok_or(EndpointAdminError::Unexpected)?;
        Ok(endpoints.iter().map(WebhookEndpoint::read).collect())
    }

    /// Makes an endpoint that sends these events.
    pub async fn create(&self, url: &str, events: &[&str], connect: bool) -> Result<MadeEndpoint, EndpointAdminError> {
        let mut fields: Fields<'_> =
            vec![("url", url), ("api_version", API_VERSION), ("description", "colony-gateway")];
        fields.extend(events.iter().map(|event| ("enabled_events[]", *event)));
        if connect {
            fields.push(("connect", "true"));
        }
        let answer = self.call(Method::POST, "v1/webhook_endpoints", &fields).await?;
        let secret = answer["secret"].as_str().ok_or(EndpointAdminError::Unexpected)?;
        Ok(MadeEndpoint { endpoint: WebhookEndpoint::read(&answer), secret: Secret::new(secret) })
    }

    /// Makes an endpoint send exactly these events, and enables it.
    pub async fn adopt(&self, id: &str, events: &[&str]) -> Result<WebhookEndpoint, EndpointAdminError> {
        let mut fields: Fields<'_> = vec![("disabled", "false")];
        fields.extend(events.iter().map(|event| ("enabled_events[]", *event)));
        self.call(Method::POST, &path(id)?, &fields).await.map(|answer| WebhookEndpoint::read(&answer))
    }

    /// Notes at the endpoint which secret it signs with, by the secret's fingerprint.
    pub async fn note(&self, id: &str, fingerprint: &str) -> Result<(), EndpointAdminError> {
        self.call(Method::POST, &path(id)?, &[(FINGERPRINT_FIELD, fingerprint)]).await.map(drop)
    }

    /// Disables an endpoint.
    pub async fn disable(&self, id: &str) -> Result<(), EndpointAdminError> {
        self.call(Method::POST, &path(id)?, &[("disabled", "true")]).await.map(drop)
    }

    /// Removes an endpoint.
    pub async fn delete(&self, id: &str) -> Result<(), EndpointAdminError> {
        self.call(Method::DELETE, &path(id)?, &[]).await.map(drop)
    }

    /// Sends one request, and repeats it if it did not get through. The idempotency key makes Stripe do it only once.
    async fn call(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> Result<Value, EndpointAdminError> {
        let url = self.base.join(path).map_err(|_| EndpointAdminError::Unexpected)?;
        let once: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        let mut attempt = 1;
        loop {
            let mut request = self
                .http
                .request(method.clone(), url.clone())
                .header(AUTHORIZATION, bearer(&self.key)?)
                .header("stripe-version", API_VERSION)
                .header("user-agent", concat!("colony-gateway/", env!("CARGO_PKG_VERSION")));
            if method == Method::POST {
                let form = "application/x-www-form-urlencoded";
                request = request.header("idempotency-key", &once).header("content-type", form).body(encoded(fields));
            }
            match answer(request).await {
                Err(EndpointAdminError::Unanswered { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
                result => return result,
            }
        }
    }
}

/// Where an endpoint keeps the fingerprint of its secret.
const FINGERPRINT_FIELD: &str = "metadata[colony_gateway_secret]";

fn path(id: &str) -> Result<String, EndpointAdminError> {
    let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain { Ok(format!("v1/webhook_endpoints/{id}")) } else { Err(EndpointAdminError::Unexpected) }
}

fn encoded(fields: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| {
        format!("{}={}", utf8_percent_encode(name, NON_ALPHANUMERIC), utf8_percent_encode(value, NON_ALPHANUMERIC))
    };
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value, EndpointAdminError> {
    let unanswered = |error: reqwest::Error| EndpointAdminError::Unanswered { said: chain(&error.without_url()) };
    let answer = request.send().await.map_err(unanswered)?;
    let status = answer.status();
    let body = outbound::read(answer, ANSWER_BYTES_MAX).await;
    let body = body.map_err(|error| EndpointAdminError::Unanswered { said: chain(&error) })?;
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(value);
    }
    let said = value["error"]["message"].as_str().map_or_else(|| status.to_string(), str::to_owned);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(EndpointAdminError::Key { said }),
        status if status.is_server_error() => Err(EndpointAdminError::Unanswered { said }),
        _ => Err(EndpointAdminError::Refused { said }),
    }
}
