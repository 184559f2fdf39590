//! The few fields of an event that the request path needs. Everything else is skipped without being built.
//!
//! Snapshot events are `"object": "event"`; thin events `"object": "v2.core.event"` carry no `data` and an RFC 3339
//! `created` (Stripe documentation, "Event destinations"). Meaning is not read here: that is `revenue`'s.

use std::borrow::Cow;

use serde::Deserialize;

use crate::EventId;
use crate::ID_BYTES_MAX;

/// Stripe's two forms of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// The event carries its object.
    Snapshot,
    /// The event only names its object.
    Thin,
}

/// The head of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `evt_…`
    pub id: EventId,
    /// `invoice.paid` and the like.
    pub kind: String,
    /// Snapshot or thin.
    pub payload: PayloadKind,
    /// False in test mode; `None` if the event does not say.
    pub livemode: Option<bool>,
    /// Connected account.
    pub account: Option<String>,
    /// The snapshot event of the same change, which a thin event names.
    pub snapshot_event: Option<EventId>,
}

/// Why signed bytes are not an event. The gateway stores them all the same.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not a JSON object with the fields of an event: which, and where, without a word of the body.
    #[error("not a Stripe event: {0}")]
    Shape(String),
    /// `object` is neither `event` nor `v2.core.event`.
    #[error("not a Stripe event: its `object` is something else")]
    Object,
    /// The id is empty, longer than Stripe's 255 or not printable ASCII.
    #[error("not a Stripe event: its id is empty, too long or not plain text")]
    Id,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    object: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    livemode: Option<bool>,
    #[serde(borrow)]
    account: Option<Cow<'a, str>>,
    #[serde(borrow)]
    context: Option<Cow<'a, str>>,
    #[serde(borrow)]
    snapshot_event: Option<Cow<'a, str>>,
}

/// Whether the context of a thin event is an account. It is one if the event belongs to a connected account.
pub(super) fn is_account(context: &str) -> bool {
    context.starts_with("acct_")
}

/// What the library says of a field that has another type repeats its value, which may be a person's name.
fn shape(error: &serde_json::Error) -> EnvelopeError {
    let said = error.to_string();
    let names_a_field = ["missing field", "duplicate field"].iter().any(|words| said.starts_with(words));
    EnvelopeError::Shape(if error.is_data() && !names_a_field {
        format!("a field of its head has another type at line {} column {}", error.line(), error.column())
    } else {
        said
    })
}

impl Envelope {
    /// Reads the head of an event from its raw bytes.
    pub fn read(body: &[u8]) -> Result<Self, EnvelopeError> {
        let head: Head<'_> = serde_json::from_slice(body).map_err(|error| shape(&error))?;
        let payload = match head.object.as_ref() {
            "event" => PayloadKind::Snapshot,
            "v2.core.event" => PayloadKind::Thin,
            _ => return Err(EnvelopeError::Object),
        };
        let plain = |text: &str| {
            !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !plain(&head.id) || !plain(&head.kind) || head.account.as_deref().is_some_and(|account| !plain(account)) {
            return Err(EnvelopeError::Id);
        }
        let thin = payload == PayloadKind::Thin;
        // A thin event has in its context what a snapshot has in `account`.
        let context = head.context.filter(|context| thin && is_account(context) && plain(context));
        Ok(Self {
            id: EventId::new(head.id),
            kind: head.kind.into_owned(),
            payload,
            livemode: head.livemode,
            account: head.account.or(context).map(Cow::into_owned),
            snapshot_event: head.snapshot_event.filter(|id| thin && plain(id)).map(EventId::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        let snapshot = br#"{"id":"evt_1","object":"event","type":"invoice.paid","livemode":true,"account":"acct_1",
            "created":1,"data":{"object":{"id":"in_1"}}}"#;
        let read = Envelope::read(snapshot).unwrap();
        assert_eq!(
            (read.id.as_str(), read.kind.as_str(), read.payload),
            ("evt_1", "invoice.paid", PayloadKind::Snapshot)
        );
        assert_eq!((read.livemode, read.account.as_deref()), (Some(true), Some("acct_1")));
        let thin = br#"{"id":"evt_2","object":"v2.core.event","type":"v1.billing.meter.error","created":"2026-01-01T00:00:00.000Z"}"#;
        let thin = Envelope::read(thin).unwrap();
        assert_eq!((thin.payload, thin.account, thin.snapshot_event), (PayloadKind::Thin, None, None));
        let both = br#"{"id":"evt_2","object":"v2.core.event","type":"v1.customer.created","context":"acct_1",
            "snapshot_event":"evt_1","created":"2026-10-01T00:00:00.000Z"}"#;
        let both = Envelope::read(both).unwrap();
        assert_eq!((both.account.as_deref(), both.snapshot_event), (Some("acct_1"), Some(EventId::new("evt_1"))));
    }

    #[test]
    fn what_is_not_an_event_says_so() {
        for body in ["", "{}", "[]", "null", "{\"id\":1}", "\u{0}", "{\"id\":\"evt_1\",\"object\":\"event\"}"] {
            assert!(matches!(Envelope::read(body.as_bytes()), Err(EnvelopeError::Shape(_))), "{body}");
        }
        for body in [r#"{"id":"evt_1","livemode":"Ada Ro"}"#, r#"["Ada Ro"]"#, "\"Ada Ro\"", r#"{"id":{"Ada Ro":1}}"#] {
            let said = Envelope::read(body.as_bytes()).unwrap_err().to_string();
            assert!(said.contains("line 1") && !said.contains("Ada"), "{said}");
        }
        let other = br#"{"id":"in_1","object":"invoice","type":"x"}"#;
        assert!(matches!(Envelope::read(other), Err(EnvelopeError::Object)));
    }

    #[test]
    fn ids_up_to_255_bytes_of_plain_text_are_read() {
        let body = |id: &str| format!(r#"{{"id":"{id}","object":"event","type":"x"}}"#);
        assert!(Envelope::read(body(&"e".repeat(ID_BYTES_MAX)).as_bytes()).is_ok());
        for id in [String::new(), "e".repeat(ID_BYTES_MAX + 1), "evt 1".into(), "evt_é".into(), "a\\n".into()] {
            assert!(matches!(Envelope::read(body(&id).as_bytes()), Err(EnvelopeError::Id)), "{id}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_overflow() {
        let body = format!(r#"{{"id":"evt_1","object":"event","type":"x","data":{}"#, "[".repeat(500_000));
        assert!(Envelope::read(body.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::read(&body);
        }
    }
}
