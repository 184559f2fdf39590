//! Where messages go, and one attempt to send one there.

use std::fmt;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, StatusCode};

use super::email::Email;
use super::fault::{SEND_MAX, SendError, SetupError};
use super::message::Message;
use super::{discord, slack, teams, webhook};
use crate::config::NotifyConfig;
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;
use crate::outbound;

/// Longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// Most bytes that are read from an answer.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// Most characters of an answer in an error.
const SAID_CHARS_MAX: usize = 200;

/// A place to which messages are sent.
#[derive(Debug)]
pub enum Channel {
    Slack(Hook),
    Discord(Hook),
    Teams(Hook),
    Webhook(Hook, Secret),
    Email(Box<Email>),
}

/// A secret address that accepts JSON.
pub struct Hook {
    client: Client,
    url: Secret,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// The channels of the settings.
///
/// # Errors
/// What is wrong with the settings, or that no HTTP client could be made.
pub fn channels(config: &NotifyConfig) -> Result<Vec<Channel>, SetupError> {
    let mut channels = Vec::new();
    let hook = |url: &Secret| {
        let mut client = outbound::client(SEND_MAX);
        if url.expose().starts_with("http://") {
            // A host in the same network is not behind a proxy, and needs no certificates.
            client = client.no_proxy().tls_certs_only([]);
        }
        let client = client.build().map_err(SetupError::Client)?;
        Ok::<_, SetupError>(Hook { client, url: url.clone() })
    };
    if let Some(url) = &config.slack {
        channels.push(Channel::Slack(hook(url)?));
    }
    if let Some(url) = &config.discord {
        channels.push(Channel::Discord(hook(url)?));
    }
    if let Some(url) = &config.teams {
        channels.push(Channel::Teams(hook(url)?));
    }
    if let Some((url, secret)) = &config.webhook {
        channels.push(Channel::Webhook(hook(url)?, secret.clone()));
    }
    if let Some(email) = &config.email {
        channels.push(Channel::Email(Box::new(Email::new(email)?)));
    }
    Ok(channels)
}

impl Channel {
    /// Its name in settings, health and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Discord(_) => "discord",
            Self::Teams(_) => "teams",
            Self::Webhook(..) => "webhook",
            Self::Email(_) => "email",
        }
    }

    /// One attempt.
    pub async fn send(&self, message: &Message, gateway: &str, clock: &Clock) -> Result<(), SendError> {
        match self {
            Self::Slack(hook) => post(hook.json(slack::payload(message, gateway).to_string())).await,
            Self::Discord(hook) => post(hook.json(discord::payload(message, gateway).to_string())).await,
            Self::Teams(hook) => post(hook.json(teams::payload(message, gateway).to_string())).await,
            Self::Webhook(hook, secret) => {
                let body = webhook::payload(message, gateway).to_string();
                let signature = webhook::signature(secret, clock.now(), &body);
                post(hook.json(body).header(webhook::HEADER, signature)).await
            }
            Self::Email(email) => email.send(message, gateway).await,
        }
    }
}

impl Hook {
    fn json(&self, body: String) -> RequestBuilder {
        let agent = concat!("colony-gateway/", env!("CARGO_PKG_VERSION"));
        let request = self.client.post(self.url.expose().trim());
        request.header("content-type", "application/json").header("user-agent", agent).body(body)
    }
}

/// Sends a request. No error repeats the address, because it is a secret.
async fn post(request: RequestBuilder) -> Result<(), SendError> {
    let passing = |said: String| SendError { said, is_passing: true, retry_after: None };
    let answer = request.send().await.map_err(|error| {
        if error.is_builder() {
            let said = "its address is no URL".to_owned();
            return SendError { said, is_passing: false, retry_after: None };
        }
        if error.is_timeout() {
            return passing(format!("no answer within {} s", SEND_MAX.as_secs()));
        }
        passing(format!("cannot be reached: {}", chain(&error.without_url())))
    })?;
    let status = answer.status();
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    let wait = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let body = outbound::read(answer, ANSWER_BYTES_MAX).await.unwrap_or_default();
    if status.is_success() {
        return Ok(());
    }
    let is_passing = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT);
    let body = String::from_utf8_lossy(&body);
    let words = super::message::clipped(body.trim(), SAID_CHARS_MAX);
    let said = if words.is_empty() { format!("answers {status}") } else { format!("answers {status}: {words}") };
    Err(SendError { said, is_passing, retry_after: wait.map(|wait| wait.min(RETRY_AFTER_MAX)) })
}
