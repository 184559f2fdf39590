//! A Stripe event of any API version, snapshot or thin.
//!
//! [`Event::parse`] guarantees what everything after it relies on: an identifier, a type and a moment that a store can
//! hold, and no NUL in any text. It says nothing about whether the event's object makes sense.

use serde_json::Value;

use super::envelope::is_account;
use super::object::{Object, without_nul};
use crate::EventId;
use crate::Timestamp;

/// A Stripe event.
#[derive(Clone, Debug)]
pub struct Event {
    /// `evt_…`
    pub id: EventId,
    /// Type as Stripe names it.
    pub kind: String,
    /// What the type is about.
    pub family: Family,
    /// Connected account that the event belongs to.
    pub account: Option<String>,
    /// Value of the header `Stripe-Context` in requests about the event.
    pub context: Option<String>,
    /// False for test mode; `None` if the event does not say.
    pub livemode: Option<bool>,
    /// When Stripe made it.
    pub created: Timestamp,
    /// The API version in which Stripe rendered it.
    pub api_version: Option<String>,
    /// Where to find the object of a thin event; `None` for a snapshot, which holds it.
    pub related: Option<Related>,
    /// The snapshot event of the same change. A thin event names it while both styles are subscribed to.
    pub snapshot_event: Option<EventId>,
    /// Whether it is a thin event.
    pub thin: bool,
    /// The whole event.
    pub value: Value,
}

/// The object that a thin event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Related {
    /// Identifier of the object.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Path (or address) to fetch it from.
    pub url: String,
    /// The event that it was the object of, if Stripe could not make that event.
    pub lost: Option<Box<Lost>>,
}

/// What Stripe tells of an event that it could not make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// Its type.
    pub kind: String,
    /// Its context, which only events of connected accounts have.
    pub context: Option<String>,
}

impl Related {
    /// The object that a thin event names. A generation failure instead names the object of the missing event,
    /// inside its `data`, and only if the event was fetched.
    pub fn of(event: Object<'_>) -> Option<Self> {
        let read = |place: Object<'_>| {
            let (id, kind, url) = (place.at("id").id()?, place.at("type").word()?, place.at("url").text()?);
            Some(Self { id: id.to_owned(), kind: kind.to_owned(), url: url.to_owned(), lost: None })
        };
        let missing = || {
            let impact = event.path("data.impact");
            let text = |key: &str| impact.at(key).id().map(str::to_owned);
            let lost = text("event_type").map(|kind| Box::new(Lost { kind, context: text("context") }));
            Some(Self { lost, ..read(impact.at("related_object"))? })
        };
        let failure = event.at("type").text() == Some(GENERATION_FAILURE);
        read(event.at("related_object")).or_else(|| if failure { missing() } else { None })
    }

    /// The context of the event that Stripe could not make.
    pub fn lost_context(&self) -> Option<&str> {
        self.lost.as_ref().and_then(|lost| lost.context.as_deref())
    }

    /// The connected account of that event.
    pub fn lost_account(&self) -> Option<&str> {
        self.lost_context().filter(|context| is_account(context))
    }
}

/// The kind of object that an event is about, as far as the gateway maps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `customer.subscription.*`
    Subscription,
    /// `customer.created|updated|deleted`
    Customer,
    /// `checkout.session.*`
    Session,
    /// `invoice.*`
    Invoice,
    /// `invoice_payment.paid`
    InvoicePayment,
    /// `charge.succeeded|captured|refunded`
    Charge,
    /// `refund.*`, `charge.refund.updated`
    Refund,
    /// `charge.dispute.*`
    Dispute,
    /// `payment_intent.succeeded|payment_failed`
    PaymentIntent,
    /// Anything that the gateway does not map.
    Other,
}

impl Family {
    /// The family of an event type. Thin events about classic objects carry the prefix `v1.`.
    pub fn of(kind: &str) -> Self {
        let kind = kind.strip_prefix("v1.").unwrap_or(kind);
        match kind {
            "customer.created" | "customer.updated" | "customer.deleted" => Self::Customer,
            "checkout.session.completed"
            | "checkout.session.async_payment_succeeded"
            | "checkout.session.async_payment_failed"
            | "checkout.session.expired" => Self::Session,
            "invoice.paid"
            | "invoice.payment_succeeded"
            | "invoice.payment_failed"
            | "invoice.payment_action_required"
            | "invoice.finalized"
            | "invoice.voided"
            | "invoice.marked_uncollectible" => Self::Invoice,
            "invoice_payment.paid" => Self::InvoicePayment,
            "charge.succeeded" | "charge.captured" | "charge.refunded" => Self::Charge,
            "charge.refund.updated" => Self::Refund,
            "payment_intent.succeeded" | "payment_intent.payment_failed" => Self::PaymentIntent,
            _ if kind.starts_with("customer.subscription.") => Self::Subscription,
            _ if kind.starts_with("refund.") => Self::Refund,
            _ if kind.starts_with("charge.dispute.") => Self::Dispute,
            _ => Self::Other,
        }
    }

    /// The family of the objects whose `object` field says `name`. A thin event says only that its object changed,
    /// so its family follows from that object and not from the event's type.
    pub fn of_object(name: &str) -> Self {
        Self::MAPPED.into_iter().find(|family| family.object_name() == Some(name)).unwrap_or(Self::Other)
    }

    /// All families that the gateway maps.
    pub const MAPPED: [Self; 9] = [
        Self::Subscription,
        Self::Customer,
        Self::Session,
        Self::Invoice,
        Self::InvoicePayment,
        Self::Charge,
        Self::Refund,
        Self::Dispute,
        Self::PaymentIntent,
    ];

    /// The value of `object` that the family's objects carry.
    pub const fn object_name(self) -> Option<&'static str> {
        match self {
            Self::Subscription => Some("subscription"),
            Self::Customer => Some("customer"),
            Self::Session => Some("checkout.session"),
            Self::Invoice => Some("invoice"),
            Self::InvoicePayment => Some("invoice_payment"),
            Self::Charge => Some("charge"),
            Self::Refund => Some("refund"),
            Self::Dispute => Some("dispute"),
            Self::PaymentIntent => Some("payment_intent"),
            Self::Other => None,
        }
    }

    /// The prefixes that the identifiers of the family's objects have.
    pub const fn id_prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Subscription => &["sub_"],
            Self::Customer => &["cus_"],
            Self::Session => &["cs_"],
            Self::Invoice => &["in_"],
            Self::InvoicePayment => &["inpay_"],
            Self::Charge => &["ch_", "py_"],
            Self::Refund => &["re_", "pyr_"],
            Self::Dispute => &["dp_", "du_", "pdp_"],
            Self::PaymentIntent => &["pi_"],
            Self::Other => &[],
        }
    }
}

/// Type of the thin event with which Stripe reports that it could not make another event. That event is in no list,
/// so its object has to be fetched (Stripe's documentation, "Handle webhook event generation failures").
pub const GENERATION_FAILURE: &str = "v2.core.health.event_generation_failure.resolved";

/// Why some bytes are not an event.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, or nested too deeply, or numbers out of range.
    #[error("the body is not JSON that can be read")]
    Json(#[source] serde_json::Error),
    /// JSON, but not an event.
    #[error("the body is not an event: its `object` is neither `event` nor `v2.core.event`")]
    NotAnEvent,
    /// There is no usable identifier.
    #[error("the event's `id` is missing, longer than 255 bytes or not plain text")]
    Id,
    /// There is no usable type.
    #[error("the event's `type` is missing, longer than 255 bytes or not plain text")]
    Kind,
    /// There is no usable moment.
    #[error("the event's `created` is missing or out of range")]
    Created,
}

impl ParseError {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "malformed_json",
            Self::NotAnEvent => "not_an_event",
            Self::Id => "event_id",
            Self::Kind => "event_type",
            Self::Created => "event_created",
        }
    }
}

impl Event {
    /// Reads an event.
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        let mut value: Value = serde_json::from_slice(body).map_err(ParseError::Json)?;
        if holds_nul(body) {
            value = without_nul(&value);
        }
        let event = Object::new(&value);
        let thin = match event.at("object").text() {
            Some("event") => false,
            Some("v2.core.event") => true,
            Some(_) | None => return Err(ParseError::NotAnEvent),
        };
        let id = EventId::new(plain(event.at("id")).ok_or(ParseError::Id)?);
        let kind = plain(event.at("type")).ok_or(ParseError::Kind)?.to_owned();
        let created = event.at("created").time().ok_or(ParseError::Created)?;
        let word = |key: &str| event.at(key).id().map(str::to_owned);
        let related = if thin { Related::of(event) } else { None };
        let snapshot_event = event.at("snapshot_event").id().filter(|_| thin).map(EventId::new);
        let of_lost = related.as_ref().and_then(Related::lost_context).map(str::to_owned);
        let (context, api_version) = (of_lost.or_else(|| word("context")), word("api_version"));
        let named = || context.clone().filter(|context| thin && is_account(context));
        let account = word("account").or_else(named);
        let livemode = event.at("livemode").flag();
        let family = match &related {
            Some(related) => Family::of_object(&related.kind),
            None => Family::of(&kind),
        };
        Ok(Self {
            id,
            kind,
            family,
            account,
            context,
            livemode,
            created,
            api_version,
            related,
            snapshot_event,
            thin,
            value,
        })
    }

    /// The changed fields of the object, with their values before the change: `data.previous_attributes`, or
    /// `changes.before` of a thin event. A field that was absent is `null`.
    pub fn previous(&self) -> Object<'_> {
        let event = Object::new(&self.value);
        event.path(if self.thin { "changes.before" } else { "data.previous_attributes" })
    }

    /// Whether Stripe reports with this event that it could not make another one, but the event does not say which
    /// object that one was about.
    pub fn is_unresolved_failure(&self) -> bool {
        self.thin && self.kind == GENERATION_FAILURE && self.related.is_none()
    }

    /// The same event, but about this object, which Stripe named on request, and of the account of the lost event.
    #[must_use]
    pub fn about(&self, related: Related) -> Self {
        let account = related.lost_account().map(str::to_owned).or_else(|| self.account.clone());
        let context = related.lost_context().map(str::to_owned).or_else(|| self.context.clone());
        Self { family: Family::of_object(&related.kind), related: Some(related), account, context, ..self.clone() }
    }

    /// The event's object; empty for a thin event.
    pub fn object(&self) -> Object<'_> {
        Object::new(&self.value).path("data.object")
    }

    /// Type without the prefix of thin events about classic objects. For the report of an event that Stripe could not
    /// make, the type of that event.
    pub fn classic_kind(&self) -> &str {
        let lost = self.related.as_ref().and_then(|related| related.lost.as_deref());
        let kind = lost.map_or(&self.kind, |lost| &lost.kind);
        kind.strip_prefix("v1.").unwrap_or(kind)
    }
}

/// Whether JSON text can hold a NUL, which it can only as an escape. A false alarm costs a copy and nothing else.
pub fn holds_nul(body: &[u8]) -> bool {
    body.windows(6).any(|window| window == b"\\u0000")
}

/// A text of printable ASCII without spaces, within Stripe's bound for identifiers.
fn plain(object: Object<'_>) -> Option<&str> {
    object.id().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Result<Event, ParseError> {
        Event::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_snapshot_is_read() {
        let event = parse(&json!({
            "id": "evt_1", "object": "event", "type": "invoice.paid", "created": 1_700_000_000, "livemode": true,
            "api_version": "2020-08-27", "account": "acct_1", "data": {"object": {"id": "in_1"}}
        }))
        .unwrap();
        assert_eq!(event.family, Family::Invoice);
        assert_eq!(event.object().at("id").id(), Some("in_1"));
        assert_eq!((event.account.as_deref(), event.livemode, event.thin), (Some("acct_1"), Some(true), false));
    }

    #[test]
    fn a_thin_event_is_read() {
        let event = parse(&json!({
            "id": "evt_2", "object": "v2.core.event", "type": "v1.customer.created", "livemode": false,
            "created": "2026-01-02T03:04:05.678901234Z", "context": "acct_2",
            "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}
        }))
        .unwrap();
        assert_eq!((event.family, event.thin), (Family::Customer, true));
        assert_eq!(event.created.millis() % 1000, 678);
        assert_eq!(event.related.map(|related| related.url).as_deref(), Some("/v1/customers/cus_1"));
    }

    fn thin(kind: &str, more: &Value) -> Event {
        let mut event = json!({"id": "evt_2", "object": "v2.core.event", "type": kind, "livemode": false,
            "created": "2026-01-02T03:04:05Z", "related_object": null});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        parse(&event).unwrap()
    }

    #[test]
    fn a_thin_event_is_about_the_object_that_it_names() {
        let related = |kind: &str| json!({"related_object": {"id": "x_1", "type": kind, "url": "/v1/x/x_1"}});
        for (kind, object, family) in [
            ("v1.customer.subscription.item_price_changed", "subscription", Family::Subscription),
            ("v1.invoice.created", "invoice", Family::Invoice),
            ("v1.charge.captured", "charge", Family::Charge),
            ("v1.customer.updated", "tax_id", Family::Other),
            (GENERATION_FAILURE, "refund", Family::Refund),
        ] {
            assert_eq!(thin(kind, &related(object)).family, family, "{kind}");
        }
    }

    #[test]
    fn a_thin_event_names_its_snapshot_and_what_changed() {
        let event = thin(
            "v1.customer.updated",
            &json!({"snapshot_event": "evt_1", "changes": {"before": {"name": "A"}, "after": {"name": "B"}},
                "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}}),
        );
        assert_eq!(event.snapshot_event, Some(EventId::new("evt_1")));
        assert_eq!(event.previous().at("name").text(), Some("A"));
        let snapshot = parse(&json!({"id": "evt_1", "object": "event", "type": "customer.updated", "created": 1,
            "data": {"object": {}, "previous_attributes": {"name": "A"}}, "snapshot_event": "evt_0"}))
        .unwrap();
        assert_eq!((snapshot.previous().at("name").text(), &snapshot.snapshot_event), (Some("A"), &None));
    }

    #[test]
    fn a_generation_failure_is_about_the_object_of_the_lost_event() {
        let bare = thin(GENERATION_FAILURE, &json!({}));
        assert!(bare.is_unresolved_failure());
        let fetched = json!({"data": {"impact": {"event_type": "invoice.paid",
            "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"}}}});
        let event = thin(GENERATION_FAILURE, &fetched);
        assert_eq!((event.family, event.is_unresolved_failure()), (Family::Invoice, false));
        assert_eq!(event.classic_kind(), "invoice.paid", "it means what the lost event would have meant");
        assert_eq!(bare.about(event.related.unwrap()).family, Family::Invoice);
        let theirs = json!({"data": {"impact": {"event_type": "invoice.paid", "context": "acct_7", "related_object":
            {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"}}}});
        let theirs = thin(GENERATION_FAILURE, &theirs);
        let about = bare.about(theirs.related.clone().unwrap());
        for event in [theirs, about] {
            assert_eq!((event.account.as_deref(), event.context.as_deref()), (Some("acct_7"), Some("acct_7")));
        }
    }

    #[test]
    fn what_is_no_event_is_refused_with_a_code() {
        let good = json!({"id": "evt_1", "object": "event", "type": "x.y", "created": 1});
        assert!(parse(&good).is_ok());
        for (key, value, code) in [
            ("object", json!("list"), "not_an_event"),
            ("object", json!(null), "not_an_event"),
            ("id", json!(5), "event_id"),
            ("id", json!(""), "event_id"),
            ("id", json!("evt 1"), "event_id"),
            ("id", json!("e".repeat(256)), "event_id"),
            ("type", json!({}), "event_type"),
            ("created", json!("soon"), "event_created"),
            ("created", json!(1e30), "event_created"),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            assert_eq!(parse(&bad).unwrap_err().code(), code, "{bad}");
        }
        assert_eq!(Event::parse(b"\xff\xfe").unwrap_err().code(), "malformed_json");
        assert_eq!(Event::parse(&b"[".repeat(100_000)).unwrap_err().code(), "malformed_json");
    }

    #[test]
    fn an_escaped_nul_is_replaced_everywhere() {
        let body = br#"{"id":"evt_1","object":"event","type":"x","created":1,"data":{"object":{"a\u0000":"b\u0000"}}}"#;
        let event = Event::parse(body).unwrap();
        assert_eq!(event.object().at("a\u{fffd}").text(), Some("b\u{fffd}"));
    }

    #[test]
    fn types_that_are_not_mapped_are_other() {
        for kind in ["invoice.created", "charge.updated", "customer.source.created", "payout.paid", "", "v1.", "refund"]
        {
            assert_eq!(Family::of(kind), Family::Other, "{kind}");
        }
    }
}
