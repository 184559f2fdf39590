//! Events as Stripe's API lists them: the second way in which an event can be known to be Stripe's.
//!
//! The first is a signature ([`crate::stripe::signature`]); here it is the connection, which is TLS to Stripe's own
//! address under the gateway's key. So a [`FetchedEvent`] is made here and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::{ApiError, Page, Scope, StripeApi};
use crate::domain::clock::Timestamp;
use crate::stripe::envelope::Envelope;
use crate::stripe::event::{Family, GENERATION_FAILURE, Related};
use crate::stripe::object::Object;

/// An event that Stripe's API listed.
#[derive(Clone, Debug)]
pub struct FetchedEvent {
    envelope: Envelope,
    created: Timestamp,
    is_mapped: bool,
    body: Bytes,
}

/// A page of events.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events, newest first.
    pub events: Vec<FetchedEvent>,
    /// Whether there is another page in the direction asked for.
    pub has_more: bool,
    /// When the request was sent, by Stripe's clock.
    pub began: Timestamp,
}

impl FetchedEvent {
    /// Reads a listed object. Webhooks of a connected account name the account, but its list does not, so the name is
    /// added.
    pub(super) fn read(mut object: Value, scope: &Scope) -> Result<Self, ApiError> {
        if let (Some(account), Some(fields)) = (&scope.account, object.as_object_mut())
            && fields.get("account").is_none_or(Value::is_null)
        {
            fields.insert("account".to_owned(), Value::String(account.clone()));
        }
        let created = Object::new(&object).at("created").time().ok_or(ApiError::Unexpected)?;
        let is_mapped = is_mapped(Object::new(&object));
        let body = Bytes::from(object.to_string());
        let envelope = Envelope::read(&body).map_err(|_| ApiError::Unexpected)?;
        Ok(Self { envelope, created, is_mapped, body })
    }

    /// Its head.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// When Stripe made it.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Whether rows can result from it.
    pub fn is_mapped(&self) -> bool {
        self.is_mapped
    }

    /// The whole event as JSON.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Whether rows can result from a listed event: by its type, or for a thin event by the object that it names. The subject
/// of a lost event has to be asked for first.
fn is_mapped(event: Object<'_>) -> bool {
    let kind = event.at("type").text().unwrap_or_default();
    let family = match Related::of(event) {
        Some(related) => Family::of_object(&related.kind),
        None if kind == GENERATION_FAILURE => return true,
        None => Family::of(kind),
    };
    family != Family::Other
}

impl StripeApi {
    /// An event of the last 30 days.
    pub async fn event(&self, id: &str, scope: &Scope, within: Duration) -> Result<FetchedEvent, ApiError> {
        self.event_at(&["v1", "events", id], id, scope, within).await
    }

    /// A thin event of the last 30 days.
    pub async fn core_event(&self, id: &str, scope: &Scope, within: Duration) -> Result<FetchedEvent, ApiError> {
        self.event_at(&["v2", "core", "events", id], id, scope, within).await
    }

    async fn event_at(
        &self,
        segments: &[&str],
        id: &str,
        scope: &Scope,
        within: Duration,
    ) -> Result<FetchedEvent, ApiError> {
        let event = FetchedEvent::read(self.get(self.address(segments)?, scope, within).await?.object, scope)?;
        if event.envelope.id.as_str() == id { Ok(event) } else { Err(ApiError::Unexpected) }
    }
}

impl EventPage {
    /// The events of a page. A listed object that is not an event fails the page: leaving it out would lose it.
    pub(super) fn read(page: Page, scope: &Scope) -> Result<Self, ApiError> {
        let events = page.objects.into_iter().map(|object| FetchedEvent::read(object, scope));
        Ok(Self { events: events.collect::<Result<_, _>>()?, has_more: page.has_more, began: page.began })
    }

    /// Identifier of the last event: where the next page starts.
    pub fn last_id(&self) -> Option<&str> {
        self.events.last().map(|event| event.envelope.id.as_str())
    }
}
