//! Simulated events as Stripe sends them thin: what changed, and where the object is, which a stand-in of Stripe's API holds.

use serde_json::{Map, Value, json};

use super::life::Draft;
use super::{Life, Options};
use crate::Timestamp;

/// An object as Stripe holds it after an event, and the path to fetch it from.
#[derive(Clone, Debug)]
pub struct Held {
    /// `/v1/…`
    pub path: String,
    /// The object.
    pub content: Value,
}

/// The object of a draft, as Stripe holds it; `None` if it has no identifier (`invoice.upcoming`).
pub(super) fn held(draft: &Draft) -> Option<Held> {
    let word = |key: &str| draft.object.get(key).and_then(Value::as_str);
    Some(Held { path: path(word("object")?, word("id")?), content: draft.object.clone() })
}

fn path(kind: &str, id: &str) -> String {
    let list = match kind {
        "checkout.session" => "checkout/sessions".to_owned(),
        other => format!("{}s", other.replace('.', "/")),
    };
    format!("/v1/{list}/{id}")
}

/// The body of the event, with the fields in Stripe's order.
pub(super) fn body(options: &Options, life: &mut Life, draft: &Draft, id: &str) -> Vec<u8> {
    let related =
        held(draft).map(|held| json!({"id": draft.object["id"], "type": draft.object["object"], "url": held.path}));
    let reason = draft.requested.then(|| {
        let (request, key) = life.request();
        json!({"type": "request", "request": {"id": request, "idempotency_key": key}})
    });
    let mut event = json!({
        "id": id,
        "object": "v2.core.event",
        "type": format!("v1.{}", draft.kind),
        "created": Timestamp::from_seconds(draft.at),
        "context": options.account,
        "livemode": options.livemode,
        "reason": reason,
        "related_object": related,
    });
    if let Some(Value::Object(previous)) = &draft.previous {
        let now = |key: &str| draft.object.get(key).cloned().unwrap_or(Value::Null);
        let changed = previous.iter().filter(|(key, value)| now(key) != **value);
        let before: Map<String, Value> = changed.map(|(key, value)| (key.clone(), value.clone())).collect();
        let after: Map<String, Value> = before.keys().map(|key| (key.clone(), now(key))).collect();
        event["changes"] = json!({"before": before, "after": after});
    }
    serde_json::to_vec_pretty(&event).expect("maps with text keys serialise to memory")
}
