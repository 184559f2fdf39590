//! Slack's incoming webhooks (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).

use serde_json::{Value, json};

use super::message::{Message, clipped};

/// Longest text of a message that Slack shows in full.
const TEXT_CHARS_MAX: usize = 3000;

pub(super) fn payload(message: &Message, gateway: &str) -> Value {
    let headline = escaped(&message.headline(gateway));
    json!({"text": clipped(&format!("*{headline}*\n{}", escaped(&message.text())), TEXT_CHARS_MAX)})
}

/// Escapes the three characters that have a meaning in Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
