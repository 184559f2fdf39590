//! Discord's webhooks (<https://discord.com/developers/docs/resources/webhook#execute-webhook>).

use serde_json::{Value, json};

use super::message::{Message, clipped};

/// Longest content that Discord takes.
const CONTENT_CHARS_MAX: usize = 2000;

pub(super) fn payload(message: &Message, gateway: &str) -> Value {
    let content = format!("**{}**\n{}", message.headline(gateway), message.text());
    // No text in a message may mention people.
    json!({"content": clipped(&content, CONTENT_CHARS_MAX), "allowed_mentions": {"parse": []}})
}
