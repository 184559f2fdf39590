//! A program of yours: JSON, signed as Stripe signs its webhooks, so that the code that checks those checks these.

use serde_json::{Value, json};
use stripe_events::simulator::sign;

use super::message::Message;
use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;

/// `t=<unix seconds>,v1=<hex of HMAC-SHA256 over "<seconds>.<body>">`
pub(super) const HEADER: &str = "Colony-Gateway-Signature";

pub(super) fn payload(message: &Message, gateway: &str) -> Value {
    let mut payload = json!(message);
    payload["gateway"] = json!(gateway);
    payload
}

pub(super) fn signature(secret: &Secret, now: Timestamp, body: &str) -> String {
    sign(secret.expose().trim(), now, body.as_bytes())
}
