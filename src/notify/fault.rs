//! Why a message did not arrive.

use std::time::Duration;

/// Longest attempt.
pub(super) const SEND_MAX: Duration = Duration::from_secs(15);

/// Why the settings do not give a channel.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
    /// The URL of the mail server. It is not shown, because it holds a password.
    #[error("GATEWAY_NOTIFY_SMTP_URL is refused: write smtps://user:password@host:465, or smtp://…:587?tls=required")]
    Smtp,
    #[error("{0} is not an email address")]
    Address(String),
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct SendError {
    pub said: String,
    /// Whether another attempt can succeed.
    pub is_passing: bool,
    /// How long the receiver asks to wait.
    pub retry_after: Option<Duration>,
}
