//! Pages of `GET /v2/core/events`, the list of thin events (Stripe's API reference, "List Events" of API v2).
//!
//! It is cut otherwise than the lists of `/v1`: moments are RFC 3339 text, and a page names the address of the next one
//! instead of having its last object named.

use reqwest::Url;
use serde_json::Value;

use super::{ApiError, Fetched, FetchedEvent, PAGE_MAX, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::limits::PAGE_TOKEN_BYTES_MAX;
use crate::stripe::object::Object;

/// Which thin events to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreEventsQuery {
    /// Only events made at this moment or later.
    pub created_from: Option<Timestamp>,
    /// Only events made before this moment.
    pub created_before: Option<Timestamp>,
    /// The page that the previous page named; without it, the first.
    pub page: Option<String>,
}

/// A page of thin events.
#[derive(Clone, Debug)]
pub struct CoreEventPage {
    /// The events, newest first.
    pub events: Vec<FetchedEvent>,
    /// Token of the next page; `None` after the last.
    pub next: Option<String>,
    /// When the request was sent, by Stripe's clock.
    pub began: Timestamp,
}

impl CoreEventsQuery {
    pub(super) fn write(&self, url: &mut Url) {
        let mut pairs = url.query_pairs_mut();
        pairs.append_pair("limit", &PAGE_MAX.to_string());
        if let Some(from) = self.created_from {
            pairs.append_pair("created[gte]", &from.to_string());
        }
        if let Some(before) = self.created_before {
            pairs.append_pair("created[lt]", &before.to_string());
        }
        if let Some(page) = &self.page {
            pairs.append_pair("page", page);
        }
    }
}

impl CoreEventPage {
    /// The page in an answer. An element that is not an event fails it: leaving it out would lose it.
    pub(super) fn read(fetched: Fetched, scope: &Scope) -> Result<Self, ApiError> {
        let next = match Object::new(&fetched.object).at("next_page_url").value() {
            None => None,
            Some(url) => Some(page_of(url).ok_or(ApiError::Unexpected)?),
        };
        let began = fetched.began;
        let Value::Object(mut fields) = fetched.object else { return Err(ApiError::Unexpected) };
        let Some(Value::Array(objects)) = fields.remove("data") else { return Err(ApiError::Unexpected) };
        let events = objects.into_iter().map(|object| FetchedEvent::read(object, scope));
        Ok(Self { events: events.collect::<Result<_, _>>()?, next, began })
    }
}

/// The token in the address of the next page. Only the token is taken, so that an answer cannot send the key to another
/// host.
fn page_of(url: &Value) -> Option<String> {
    let base = Url::parse(super::BASE_URL).ok()?;
    let url = base.join(url.as_str()?).ok()?;
    let (_, token) = url.query_pairs().find(|(name, _)| name == "page")?;
    (!token.is_empty() && token.len() <= PAGE_TOKEN_BYTES_MAX).then(|| token.into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(object: Value) -> Result<CoreEventPage, ApiError> {
        CoreEventPage::read(Fetched { object, began: Timestamp::from_seconds(1) }, &Scope::default())
    }

    #[test]
    fn a_page_names_the_next_one_by_its_token_alone() {
        let event = json!({"id": "evt_1", "object": "v2.core.event", "type": "v1.customer.created",
            "created": "2026-10-01T00:00:00.123Z", "livemode": true});
        let page =
            read(json!({"data": [event], "next_page_url": "https://elsewhere.example/v2/core/events?page=tok_2"}));
        let page = page.unwrap();
        assert_eq!((page.events.len(), page.next.as_deref()), (1, Some("tok_2")));
        assert_eq!(read(json!({"data": [], "next_page_url": null})).unwrap().next, None);
    }

    #[test]
    fn what_is_no_page_of_events_is_refused() {
        let long = format!("/v2/core/events?page={}", "t".repeat(PAGE_TOKEN_BYTES_MAX + 1));
        for object in [
            json!({}),
            json!({"data": {}}),
            json!({"data": [{"id": "evt_1"}]}),
            json!({"data": [], "next_page_url": "/v2/core/events"}),
            json!({"data": [], "next_page_url": 5}),
            json!({"data": [], "next_page_url": long}),
        ] {
            assert!(matches!(read(object.clone()), Err(ApiError::Unexpected)), "{object}");
        }
    }
}
