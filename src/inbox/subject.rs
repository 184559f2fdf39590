//! Whom and what the body of an event is about, as far as a search or a short account of it needs.
//!
//! Reads ids, names of types and states only: nothing that names or describes a person, but for the seller's own user
//! ids, which an account of a body contains only on request. What events mean is `revenue`'s.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stripe::invoice::Invoice;
use crate::stripe::metadata;
use crate::stripe::object::Object;

/// Most users named for one event.
const USERS_MAX: usize = 16;

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Type of its object, such as `invoice`.
    pub object: Option<String>,
    pub object_id: Option<String>,
    /// The object's status.
    pub status: Option<String>,
    pub customer: Option<String>,
    pub subscription: Option<String>,
    /// API version of the event.
    pub api_version: Option<String>,
    /// The seller's users that it names.
    pub users: Vec<String>,
}

impl Subject {
    /// The subject of an event's body; empty for anything else.
    pub fn of(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let event = Object::new(&value);
        // A thin event names its object but does not include it.
        let related = event.at("related_object");
        let object = event.path("data.object");
        let word = |place: Object<'_>| place.word().map(str::to_owned);
        let id = |place: Object<'_>| place.id().map(str::to_owned);
        let kind = word(object.at("object")).or_else(|| word(related.at("type")));
        let object_id = id(object).or_else(|| id(related));
        let is = |name: &str| kind.as_deref() == Some(name);
        let customer = if is("customer") { object_id.clone() } else { id(object.customer()) };
        let subscription = match kind.as_deref() {
            Some("subscription") => object_id.clone(),
            Some("invoice") => Invoice(object).subscription_id().map(str::to_owned),
            _ => id(object.at("subscription")),
        };
        Self {
            status: word(object.at("status")),
            api_version: word(event.at("api_version")),
            users: users(object),
            object: kind,
            object_id,
            customer,
            subscription,
        }
    }
}

/// The users named by metadata and by a session's reference, each once.
fn users(object: Object<'_>) -> Vec<String> {
    let places =
        [object.at("metadata"), Invoice(object).subscription_metadata(), object.path("subscription_data.metadata")];
    let lines = object.at("lines").items().map(|line| line.at("metadata"));
    let named = places.into_iter().chain(lines).filter_map(|place| metadata::user(place).map(|user| user.id));
    let reference = metadata::user_id(object.at("client_reference_id"));
    let mut users: Vec<String> = Vec::new();
    for user in named.chain(reference) {
        if users.len() < USERS_MAX && !users.iter().any(|known| *known == user) {
            users.push(user.into_owned());
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(object: &Value) -> Subject {
        Subject::of(
            json!({"id": "evt_1", "api_version": "2025-03-31.basil", "data": {"object": object}})
                .to_string()
                .as_bytes(),
        )
    }

    #[test]
    fn users_are_found_wherever_the_seller_writes_them() {
        let session =
            of(&json!({"id": "cs_1", "object": "checkout.session", "customer": "cus_1", "subscription": "sub_1",
            "client_reference_id": "u2", "metadata": {"userId": "u1"}}));
        assert_eq!(session.users, ["u1", "u2"]);
        assert_eq!((session.customer.as_deref(), session.subscription.as_deref()), (Some("cus_1"), Some("sub_1")));
        let invoice = of(&json!({"id": "in_1", "object": "invoice", "customer": {"id": "cus_2"},
            "parent": {"subscription_details": {"metadata": {"user_id": "u3"}, "subscription": "sub_2"}},
            "lines": {"data": [{"metadata": {"userId": "u3"}}, {"metadata": {"userId": "u4"}}]}}));
        assert_eq!(
            (invoice.users.as_slice(), invoice.customer.as_deref()),
            (&["u3".into(), "u4".into()][..], Some("cus_2"))
        );
        assert_eq!(invoice.subscription.as_deref(), Some("sub_2"));
        let customer = of(&json!({"id": "cus_3", "object": "customer", "email": "ada@example.com"}));
        assert_eq!(customer.customer.as_deref(), Some("cus_3"));
        assert!(!format!("{customer:?}").contains("ada"));
    }

    #[test]
    fn what_is_no_event_is_about_nothing() {
        for body in [&b""[..], b"no json", b"[]", b"{}"] {
            assert_eq!(Subject::of(body), Subject::default());
        }
        let thin = br#"{"related_object": {"id": "in_1", "type": "invoice"}}"#;
        assert_eq!(Subject::of(thin).object_id.as_deref(), Some("in_1"));
    }
}
