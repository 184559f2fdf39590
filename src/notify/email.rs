//! Mail over SMTP.

use std::fmt;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};

use super::fault::{SEND_MAX, SendError, SetupError};
use super::message::Message;
use crate::config::EmailConfig;
use crate::domain::causes::chain;
use crate::outbound;

/// A mail server, with sender and recipients.
pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").field("to", &self.to.len()).finish_non_exhaustive()
    }
}

impl Email {
    pub(super) fn new(config: &EmailConfig) -> Result<Self, SetupError> {
        let address = |text: &String| text.parse::<Mailbox>().map_err(|_| SetupError::Address(text.clone()));
        outbound::install_crypto();
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(config.url.expose().trim());
        let transport = transport.map_err(|_| SetupError::Smtp)?.timeout(Some(SEND_MAX)).build();
        let to = config.to.iter().map(address).collect::<Result<_, _>>()?;
        Ok(Self { transport, from: address(&config.from)?, to })
    }

    pub(super) async fn send(&self, message: &Message, gateway: &str) -> Result<(), SendError> {
        let fixed = |error: &(dyn std::error::Error + 'static)| SendError {
            said: chain(error),
            is_passing: false,
            retry_after: None,
        };
        let mut mail = Mail::builder()
            .from(self.from.clone())
            .subject(message.headline(gateway))
            // The same in each attempt, so that repeated attempts are one mail.
            .message_id(Some(format!("<{}@colony-gateway>", message.id)))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let mail = mail.body(message.text()).map_err(|error| fixed(&error))?;
        let sent = tokio::time::timeout(SEND_MAX, self.transport.send(mail)).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(SendError { is_passing: !error.is_permanent(), ..fixed(&error) }),
            Err(_) => {
                let said = format!("no answer within {} s", SEND_MAX.as_secs());
                Err(SendError { said, is_passing: true, retry_after: None })
            }
        }
    }
}
