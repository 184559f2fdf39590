//! A person whose data is to be erased: who it is, which identifiers lead there, and what is left of a document.
//!
//! The legal records of accounting stay: amounts, currencies, dates and Stripe's identifiers. What goes is the rest of
//! Stripe's objects (names, e-mail and postal addresses, cards, metadata) and the link from Stripe's customer to the user.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Most identifiers that lead to one person.
pub const PERSON_IDS_MAX: usize = 50_000;

/// Longest identifier, in bytes.
const ID_BYTES_MAX: usize = 255;

/// The fields in which the seller's code names the user.
const USER_FIELDS: [&str; 3] = ["userId", "user_id", "client_reference_id"];

/// The subject of an erasure.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Subject {
    /// A user of the app, with all of the user's customers and subscriptions.
    User(String),
    /// One Stripe customer, `cus_…`.
    Customer(String),
}

impl Subject {
    /// A user. A UUID becomes lower case, as in events.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn user(id: &str) -> Result<Self, String> {
        let id = id.trim();
        if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("must be the id of a user, one word".to_owned());
        }
        Ok(Self::User(normal(id)))
    }

    /// A customer.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn customer(id: &str) -> Result<Self, String> {
        let id = id.trim();
        let tail = id.strip_prefix("cus_").unwrap_or_default();
        let fits = !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if fits && id.len() <= ID_BYTES_MAX {
            Ok(Self::Customer(id.to_owned()))
        } else {
            Err("must be the id of a Stripe customer, cus_…".to_owned())
        }
    }

    /// `user` or `customer`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Customer(_) => "customer",
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::User(id) | Self::Customer(id) => id,
        }
    }

    /// The trace that stays of the identifier: enough to recognise it, not to read it. SHA-256 as hexadecimal text.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.kind(), self.id())
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.fingerprint())
    }
}

/// The fingerprint of an identifier of a kind. `gateway.fingerprint` of the migrations computes the same.
pub fn fingerprint(kind: &str, id: &str) -> String {
    hex::encode(Sha256::digest(format!("colony-gateway erasure {kind} {id}")))
}

/// All identifiers that lead to a person.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    pub users: BTreeSet<String>,
    pub customers: BTreeSet<String>,
    pub subscriptions: BTreeSet<String>,
    /// Their invoices, payments, refunds and disputes.
    pub objects: BTreeSet<String>,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "person of {} ids", self.len())
    }
}

impl Person {
    /// A person of whom only the subject is known.
    pub fn of(subject: &Subject) -> Self {
        let mut person = Self::default();
        match subject {
            Subject::User(id) => person.users.insert(id.clone()),
            Subject::Customer(id) => person.customers.insert(id.clone()),
        };
        person
    }

    /// Takes in what else leads to the person. Returns whether there was something new.
    pub fn take_in(&mut self, other: Self) -> bool {
        let before = self.len();
        self.users.extend(other.users);
        self.customers.extend(other.customers);
        self.subscriptions.extend(other.subscriptions);
        self.objects.extend(other.objects);
        self.len() > before
    }

    /// How many users, customers, subscriptions and other objects.
    pub fn counts(&self) -> [usize; 4] {
        [self.users.len(), self.customers.len(), self.subscriptions.len(), self.objects.len()]
    }

    pub fn len(&self) -> usize {
        self.users.len() + self.customers.len() + self.subscriptions.len() + self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn ids(&self) -> Vec<String> {
        let all = [&self.users, &self.customers, &self.subscriptions, &self.objects];
        all.into_iter().flatten().cloned().collect()
    }

    /// Users and customers, whose return later events may show.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        let users = self.users.iter().cloned().map(Subject::User);
        users.chain(self.customers.iter().cloned().map(Subject::Customer))
    }

    /// Whether a document leads to the person: any text in it is one of the Stripe ids, or a field that names users names
    /// one of the users. Bytes that are not JSON are searched for the ids in quotes.
    pub fn is_in(&self, document: &[u8]) -> bool {
        if let Ok(value) = serde_json::from_slice(document) {
            return self.is_in_value(&value);
        }
        let text = String::from_utf8_lossy(document);
        text.split('"').any(|part| self.has_stripe_id(part) || self.users.contains(&normal(part)))
    }

    /// As [`Self::is_in`].
    pub fn is_in_value(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.has_stripe_id(text),
            Value::Array(items) => items.iter().any(|item| self.is_in_value(item)),
            Value::Object(fields) => fields.iter().any(|(name, value)| {
                named_user(name, value).is_some_and(|user| self.users.contains(&user)) || self.is_in_value(value)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    fn has_stripe_id(&self, text: &str) -> bool {
        self.customers.contains(text) || self.subscriptions.contains(text) || self.objects.contains(text)
    }
}

/// Adds the users and customers that a document names.
pub fn subjects_in(value: &Value, found: &mut BTreeSet<Subject>) {
    match value {
        Value::String(text) => found.extend(Subject::customer(text)),
        Value::Array(items) => items.iter().for_each(|item| subjects_in(item, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                found.extend(named_user(name, value).map(Subject::User));
                subjects_in(value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn named_user(field: &str, value: &Value) -> Option<String> {
    let text = value.as_str().filter(|_| USER_FIELDS.contains(&field))?.trim();
    (!text.is_empty()).then(|| normal(text))
}

/// A UUID in lower case; anything else as it is.
fn normal(id: &str) -> String {
    let is_uuid = id.len() == 36
        && id.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if is_uuid { id.to_ascii_lowercase() } else { id.to_owned() }
}

/// What is left of an event: its id, type and time, and the id of its object.
pub fn reduced_event(event: &Value) -> Value {
    let mut left = kept(event, &["id", "object", "type", "created", "livemode", "api_version", "account"]);
    let object = event.get("data").and_then(|data| data.get("object")).unwrap_or(&Value::Null);
    left.insert("data".to_owned(), json!({"object": kept(object, &["id", "object"])}));
    left.insert("erased".to_owned(), Value::Bool(true));
    Value::Object(left)
}

/// What is left of a Stripe object: its id and kind.
pub fn reduced_object(object: &Value) -> Value {
    let mut left = kept(object, &["id", "object"]);
    left.insert("erased".to_owned(), Value::Bool(true));
    Value::Object(left)
}

fn kept(value: &Value, fields: &[&str]) -> Map<String, Value> {
    let field = |name: &&str| Some(((*name).to_owned(), value.get(*name).filter(|value| !value.is_null())?.clone()));
    fields.iter().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "6f1c2f1e-77c1-4a8e-9f7a-0d5c4f7f5f10";

    fn person() -> Person {
        let set = |id: &str| [id.to_owned()].into();
        Person { users: set(USER), customers: set("cus_1"), subscriptions: set("sub_1"), objects: set("pi_1") }
    }

    #[test]
    fn a_document_leads_to_the_person_by_any_id_and_by_the_fields_that_name_users() {
        let upper = USER.to_ascii_uppercase();
        for yes in [
            json!({"customer": "cus_1"}),
            json!({"data": {"object": [{"subscription": {"id": "sub_1"}}]}}),
            json!({"payment_intent": "pi_1"}),
            json!({"metadata": {"userId": format!(" {USER} ")}}),
            json!({"client_reference_id": upper}),
        ] {
            assert!(person().is_in(yes.to_string().as_bytes()), "{yes}");
        }
        for no in [
            json!({"customer": "cus_12"}),
            json!({"description": format!("for {USER}"), "id": USER}),
            json!({"cus_1": "x"}),
            json!(7),
        ] {
            assert!(!person().is_in(no.to_string().as_bytes()), "{no}");
        }
        assert!(person().is_in(br#"{"customer": "cus_1", cut"#));
        assert!(!person().is_in(br#"{"customer": "cus_2", cut"#));
    }

    #[test]
    fn what_is_left_of_an_event_names_nobody_and_is_stable() {
        let event = json!({
            "id": "evt_1", "object": "event", "type": "customer.updated", "created": 5, "livemode": true, "account": null,
            "request": {"id": "req_1"},
            "data": {"object": {"id": "cus_1", "object": "customer", "email": "a@b.example"},
                     "previous_attributes": {"name": "Ann"}},
        });
        let left = reduced_event(&event);
        assert_eq!(
            left,
            json!({"id": "evt_1", "object": "event", "type": "customer.updated", "created": 5, "livemode": true,
                   "data": {"object": {"id": "cus_1", "object": "customer"}}, "erased": true})
        );
        assert_eq!(reduced_event(&left), left);
        let object = json!({"id": "sub_1", "object": "subscription", "metadata": {"userId": USER}});
        assert_eq!(reduced_object(&object), json!({"id": "sub_1", "object": "subscription", "erased": true}));
    }

    #[test]
    fn subjects_are_read_as_events_name_them_and_never_shown() {
        assert_eq!(Subject::user(&USER.to_ascii_uppercase()), Subject::user(USER));
        for bad in ["", " ", "a b", "a\nb"] {
            assert!(Subject::user(bad).is_err(), "{bad:?}");
        }
        for bad in ["cus_", "sub_1", "cus_1 ", "cus_é"] {
            assert_eq!(Subject::customer(bad).is_ok(), bad == "cus_1 ", "{bad:?}");
        }
        let shown = format!("{:?} {:?}", Subject::user(USER).unwrap(), person());
        assert!(!shown.contains(USER) && !shown.contains("cus_1"), "{shown}");
        let mut found = BTreeSet::new();
        subjects_in(&json!({"customer": "cus_1", "metadata": {"user_id": USER, "plan": "cus_ 1"}}), &mut found);
        assert_eq!(found, [Subject::User(USER.to_owned()), Subject::Customer("cus_1".to_owned())].into());
    }
}
