//! A Stripe event of any API version, snapshot or thin.
//!
//! [`Event::parse`] guarantees what everything after it relies on: an identifier, a type and a moment that a store can
//! hold, and no NUL in any text. It says nothing about whether the event's object makes sense.

use serde_json::Value;

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
    /// Connected account.
    pub account: Option<String>,
    /// Value for the header `Stripe-Context` of requests about the event.
    pub context: Option<String>,
    /// False for test mode; `None` when the event does not say.
    pub livemode: Option<bool>,
    /// When Stripe made it.
    pub created: Timestamp,
    /// API version it was rendered in.
    pub api_version: Option<String>,
    /// Where the object of a thin event is; `None` for a snapshot, which holds it.
    pub related: Option<Related>,
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
}

/// What an event is about, as far as the gateway maps it.
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
    /// Nothing that is mapped.
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

    /// What the identifiers of the family's objects begin with.
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

/// Why some bytes are no event.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, or nested too deeply, or numbers out of range.
    #[error("the body is not JSON that can be read")]
    Json(#[source] serde_json::Error),
    /// JSON, but not an event.
    #[error("the body is not an event: its `object` is neither `event` nor `v2.core.event`")]
    NotAnEvent,
    /// Without a usable identifier.
    #[error("the event's `id` is missing, longer than 255 bytes or not plain text")]
    Id,
    /// Without a usable type.
    #[error("the event's `type` is missing, longer than 255 bytes or not plain text")]
    Kind,
    /// Without a usable moment.
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
        let related = event.at("related_object");
        let related = match (related.at("id").id(), related.at("type").word(), related.at("url").text()) {
            (Some(id), Some(kind), Some(url)) if thin => {
                Some(Related { id: id.to_owned(), kind: kind.to_owned(), url: url.to_owned() })
            }
            _ => None,
        };
        let (account, context, api_version) = (word("account"), word("context"), word("api_version"));
        let (family, livemode) = (Family::of(&kind), event.at("livemode").flag());
        Ok(Self { id, kind, family, account, context, livemode, created, api_version, related, thin, value })
    }

    /// The event's object; empty for a thin event.
    pub fn object(&self) -> Object<'_> {
        Object::new(&self.value).path("data.object")
    }

    /// What the values of the object were before the event, where the event says it.
    pub fn previous(&self) -> Object<'_> {
        Object::new(&self.value).path("data.previous_attributes")
    }

    /// Type without the prefix of thin events about classic objects.
    pub fn classic_kind(&self) -> &str {
        self.kind.strip_prefix("v1.").unwrap_or(&self.kind)
    }
}

/// Whether JSON text can hold a NUL: only as an escape. A false alarm costs a copy and nothing else.
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
