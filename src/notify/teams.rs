//! Microsoft Teams: a workflow "when a Teams webhook request is received", which takes an Adaptive Card
//! (<https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>).

use serde_json::{Value, json};

use super::message::{Message, clipped};

/// Far below the 28 KB that Teams accepts.
const TEXT_CHARS_MAX: usize = 4000;

pub(super) fn payload(message: &Message, gateway: &str) -> Value {
    let block = |text: &str| json!({"type": "TextBlock", "text": clipped(text, TEXT_CHARS_MAX), "wrap": true});
    let mut headline = block(&message.headline(gateway));
    headline["weight"] = json!("Bolder");
    let mut body = vec![headline, block(&message.detail)];
    if !message.action.is_empty() {
        body.push(block(&message.action));
    }
    body.extend(message.link.as_deref().map(|link| block(&format!("[Open it in the console]({link})"))));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}
