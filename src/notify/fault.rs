//! Why a message did not arrive.

use std::time::Duration;

/// Longest attempt.
pub(super) const SEND_MAX: Duration = Duration::from_secs(15);

/// Why no channel can be made of the settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
    /// The URL of the mail server. It is not shown, since it holds a password.
    #[error("GATEWAY_NOTIFY_SMTP_URL is refused: write smtps://user:password@host:465, or smtp://…:587?tls=required")]
    Smtp,
    #[error("{0} is not an email address")]
    Address(String),
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct SendError {
    pub said: String,
    /// Whether another attempt can do better.
    pub is_passing: bool,
    /// How long the receiver wants to be left alone.
    pub retry_after: Option<Duration>,
}
