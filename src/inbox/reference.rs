//! What entries refer to, by ids: the index that leads a search to them, whichever store keeps it.
//!
//! Guarantees: an append costs nothing, since the index is filled later, step by step, behind a cursor; a search looks through the
//! index at what is behind the cursor and at the rest itself, so that it finds the same with and without. What is kept of an id is
//! a part of its digest: the index names no one. It is made of what is in the inbox, and may be lost.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::subject::Subject;
use super::{Inbox, InboxError, Store};

/// Most ids that lead to one entry.
pub const REFERENCES_MAX: usize = 64;

/// Most entries of one step.
pub const INDEX_STEP_MAX: usize = 1000;

/// How long the index waits for an entry to end, so that it knows the process that had it.
pub(super) const END_WAIT: Duration = Duration::from_mins(10);

/// Most entries from the index that are looked at in one go.
pub(super) const WINDOW_CANDIDATES: usize = 500;

/// How deep in a body the search for ids goes.
const DEPTH_MAX: usize = 12;

/// Prefixes of the ids of Stripe objects that people search by. Prices and products are in every event, so they are of no
/// use here.
const PREFIXES: [&str; 14] = ["ch", "cn", "cs", "cus", "dp", "du", "ii", "in", "pi", "py", "pyr", "re", "seti", "sub"];

/// Fields that people write: an id in them does not come from Stripe.
const WRITTEN: [&str; 4] = ["client_reference_id", "description", "metadata", "name"];

/// The trace of an id in the index. Capital letters make no difference, as with users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference(pub(super) i64);

impl Reference {
    pub(super) fn to(id: &str) -> Self {
        let digest = Sha256::new().chain_update("colony-gateway reference ").chain_update(id.to_ascii_lowercase());
        let digest = digest.finalize();
        Self(digest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes)))
    }
}

/// The references of an entry: the ids in its body, the users that it names, and the process that had it.
pub(super) fn references(process: Option<&str>, body: Option<&[u8]>) -> BTreeSet<Reference> {
    let mut found: BTreeSet<Reference> = process.map(Reference::to).into_iter().collect();
    let Some(body) = body else { return found };
    let subject = Subject::of(body);
    found.extend(subject.users.iter().map(|user| Reference::to(user)));
    let named = [&subject.object_id, &subject.customer, &subject.subscription];
    found.extend(named.into_iter().flatten().map(|id| Reference::to(id)));
    if let Ok(value) = serde_json::from_slice(body) {
        collect(&value, DEPTH_MAX, &mut |id| {
            if found.len() < REFERENCES_MAX && is_reference(id) {
                found.insert(Reference::to(id));
            }
            found.len() < REFERENCES_MAX
        });
    }
    found
}

/// The Stripe objects that the body of an event refers to, at most `most`: first its own object with customer and
/// subscription, then the others in the order of the body.
pub fn objects_of(body: &[u8], most: usize) -> Vec<String> {
    let subject = Subject::of(body);
    let mut found: Vec<String> = Vec::new();
    let mut add = |id: &str| {
        if found.len() < most && !found.iter().any(|known| known == id) {
            found.push(id.to_owned());
        }
        found.len() < most
    };
    for id in [&subject.object_id, &subject.customer, &subject.subscription].into_iter().flatten() {
        add(id);
    }
    if let Ok(value) = serde_json::from_slice(body) {
        collect(&value, DEPTH_MAX, &mut |id| !(is_reference(id) || is_part(id)) || add(id));
    }
    found
}

/// Offers the texts of a body to `take`, without those that people write, until it wants no more.
fn collect(value: &Value, depth: usize, take: &mut dyn FnMut(&str) -> bool) -> bool {
    if depth == 0 {
        return true;
    }
    match value {
        Value::String(text) => take(text),
        Value::Array(items) => items.iter().all(|item| collect(item, depth - 1, take)),
        Value::Object(fields) => {
            let mut own = fields.iter().filter(|(name, _)| !WRITTEN.contains(&name.as_str()));
            own.all(|(_, value)| collect(value, depth - 1, take))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Whether it looks like the id of an object that people search by.
pub fn is_reference(text: &str) -> bool {
    is_id(text, &PREFIXES)
}

/// Whether it looks like the id of an invoice payment.
fn is_part(text: &str) -> bool {
    is_id(text, &["inpay"])
}

fn is_id(text: &str, prefixes: &[&str]) -> bool {
    let Some((prefix, rest)) = text.split_once('_') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    prefixes.contains(&prefix) && !rest.is_empty() && rest.bytes().all(is_plain)
}

/// The result of a step of filling the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStep {
    /// Entries that the cursor passed in this step.
    pub entries: usize,
    /// Whether there are more that it could pass.
    pub more: bool,
}

impl Inbox {
    /// Takes the next entries into the index, at most [`INDEX_STEP_MAX`], if at least `least` wait for it.
    ///
    /// # Errors
    /// If the store does not take it. A search works without it.
    pub async fn index_step(&self, least: usize) -> Result<IndexStep, InboxError> {
        match &self.store {
            Store::Local(local) => local.index_step(least, self.clock.now()).await,
            Store::Postgres(postgres) => postgres.core.index_step(least).await,
        }
    }

    /// Forgets the references by these ids, and those to entries that are gone.
    pub async fn forget_references(&self, ids: Vec<String>) -> Result<(), InboxError> {
        let references = ids.iter().map(|id| Reference::to(id)).collect();
        match &self.store {
            Store::Local(local) => local.forget_references(references).await,
            Store::Postgres(postgres) => postgres.core.forget_references(references).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_of_objects_users_and_the_process_lead_to_an_entry_and_words_of_people_do_not() {
        let event = json!({"id": "evt_1", "data": {"object": {
            "id": "in_1", "object": "invoice", "customer": {"id": "cus_1", "email": "sub_x@example.com"},
            "payments": {"data": [{"payment": {"payment_intent": "pi_1", "charge": "ch_1"}}]},
            "lines": {"data": [{"price": {"id": "price_1"}, "description": "sub_written"}]},
            "metadata": {"userId": "User-7", "note": "cus_of_another_system"}}}});
        let found = references(Some("ab12"), Some(event.to_string().as_bytes()));
        for id in ["in_1", "cus_1", "pi_1", "ch_1", "user-7", "USER-7", "ab12"] {
            assert!(found.contains(&Reference::to(id)), "{id}");
        }
        for id in ["evt_1", "price_1", "sub_written", "cus_of_another_system", "sub_x@example.com", "invoice"] {
            assert!(!found.contains(&Reference::to(id)), "{id}");
        }
        assert_eq!(references(None, Some(b"no JSON")), BTreeSet::new());
    }

    #[test]
    fn the_objects_of_a_body_are_its_own_and_those_that_it_names_and_no_more_than_asked_for() {
        let event = json!({"id": "evt_1", "data": {"object": {
            "payments": {"data": [{"id": "inpay_1", "payment": {"payment_intent": "pi_1"}}]},
            "id": "in_1", "object": "invoice", "customer": "cus_1", "price": "price_1",
            "parent": {"subscription_details": {"subscription": "sub_1", "metadata": {"userId": "sub_of_a_person"}}}}}});
        let body = event.to_string();
        let objects = objects_of(body.as_bytes(), 50);
        assert_eq!(objects[..3], ["in_1", "cus_1", "sub_1"]);
        assert_eq!(objects[3..].iter().collect::<BTreeSet<_>>().len(), 2, "{objects:?}");
        assert!(["inpay_1", "pi_1"].iter().all(|id| objects[3..].iter().any(|known| known == id)), "{objects:?}");
        assert_eq!(objects_of(body.as_bytes(), 4).len(), 4);
        let thin =
            json!({"id": "evt_2", "object": "v2.core.event", "related_object": {"id": "cus_2", "type": "customer"}});
        assert_eq!(objects_of(thin.to_string().as_bytes(), 50), ["cus_2"]);
        assert_eq!(objects_of(b"no JSON", 50), Vec::<String>::new());
    }

    #[test]
    fn what_leads_to_one_entry_is_bounded() {
        let ids: Vec<String> = (0..REFERENCES_MAX * 2).map(|number| format!("in_{number}")).collect();
        let event = json!({"data": {"object": {"id": "in_0", "object": "invoice", "customer": "cus_1", "more": ids}}});
        let found = references(None, Some(event.to_string().as_bytes()));
        assert!(found.len() <= REFERENCES_MAX && found.contains(&Reference::to("cus_1")), "{}", found.len());
    }
}
