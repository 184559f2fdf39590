//! Pages of Stripe's lists.

use reqwest::Url;
use serde_json::Value;

use super::{ApiError, Fetched};
use crate::domain::clock::Timestamp;
use crate::stripe::object::Object;

/// Most objects on a page.
pub const PAGE_MAX: usize = 100;

/// Most event types that one query may name.
pub const EVENT_TYPES_MAX: usize = 20;

/// Which events to list. Acknowledged events are listed too, because reconciling looks for those that were lost afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsQuery {
    /// Only events made at this moment or later.
    pub created_from: Option<Timestamp>,
    /// Only events made at this moment or earlier.
    pub created_to: Option<Timestamp>,
    /// Only these types; all if empty. If there are more than [`EVENT_TYPES_MAX`], none is sent and all events are
    /// returned.
    pub types: Vec<String>,
    /// The page after (older than) this event.
    pub starting_after: Option<String>,
    /// The page before (newer than) this event.
    pub ending_before: Option<String>,
}

/// Which subscriptions to list. They may have any status, including canceled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionsQuery {
    pub customer: Option<String>,
    /// The page after this subscription.
    pub starting_after: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The objects, in Stripe's order.
    pub objects: Vec<Value>,
    /// Whether there is another page in the direction asked for.
    pub has_more: bool,
    /// When the request was sent.
    pub began: Timestamp,
}

impl EventsQuery {
    pub(super) fn write(&self, url: &mut Url) {
        let mut pairs = url.query_pairs_mut();
        pairs.append_pair("limit", &PAGE_MAX.to_string());
        if let Some(from) = self.created_from {
            pairs.append_pair("created[gte]", &from.seconds().to_string());
        }
        if let Some(to) = self.created_to {
            pairs.append_pair("created[lte]", &to.seconds().to_string());
        }
        if self.types.len() <= EVENT_TYPES_MAX {
            for kind in &self.types {
                pairs.append_pair("types[]", kind);
            }
        }
        if let Some(id) = &self.starting_after {
            pairs.append_pair("starting_after", id);
        }
        if let Some(id) = &self.ending_before {
            pairs.append_pair("ending_before", id);
        }
    }
}

impl SubscriptionsQuery {
    pub(super) fn write(&self, url: &mut Url) {
        let mut pairs = url.query_pairs_mut();
        pairs.append_pair("limit", &PAGE_MAX.to_string()).append_pair("status", "all");
        pairs.append_pair("expand[]", "data.customer");
        if let Some(customer) = &self.customer {
            pairs.append_pair("customer", customer);
        }
        if let Some(id) = &self.starting_after {
            pairs.append_pair("starting_after", id);
        }
    }
}

impl Page {
    /// The page in an answer.
    pub(super) fn read(fetched: Fetched) -> Result<Self, ApiError> {
        let has_more = Object::new(&fetched.object).at("has_more").flag().ok_or(ApiError::Unexpected)?;
        let began = fetched.began;
        match fetched.object {
            Value::Object(mut fields) => match fields.remove("data") {
                Some(Value::Array(objects)) => Ok(Self { objects, has_more, began }),
                Some(_) | None => Err(ApiError::Unexpected),
            },
            _ => Err(ApiError::Unexpected),
        }
    }

    /// Identifier of the last object: where the next page starts.
    pub fn last_id(&self) -> Option<&str> {
        self.objects.last().and_then(|object| Object::new(object).at("id").id())
    }
}
