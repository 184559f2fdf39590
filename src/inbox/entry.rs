//! New entries, and the receipt that proves one durable.

use std::sync::Arc;

use bytes::Bytes;

use super::body::Packed;
use crate::domain::ids::{EndpointName, EntryId};
use crate::domain::outcome::ProblemCode;
use crate::domain::trace::TraceContext;
use crate::stripe::api::FetchedEvent;
use crate::stripe::envelope::Envelope;
use crate::stripe::signature::VerifiedDelivery;

const MALFORMED: &str = ProblemCode::Malformed.as_str();

/// The beginning of an entry's id if the entry has no event.
pub(super) const DIGEST_PREFIX: &str = "sha256:";

/// Where an entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A delivery by Stripe.
    Webhook,
    /// Stripe's list of events, for an event that was never delivered.
    Reconcile,
}

impl Source {
    /// Name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Reconcile => "reconcile",
        }
    }
}

/// What the door already knows about the further way of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// To be worked on.
    Open,
    /// Stored and acknowledged, but a person has to look first.
    Hold {
        /// Stable code, such as `misrouted` or `malformed`.
        code: &'static str,
        /// Why, without customer data.
        reason: String,
    },
}

/// How we know that an event is Stripe's.
#[derive(Debug)]
pub(super) enum Origin {
    /// It was signed.
    Delivery(VerifiedDelivery),
    /// Stripe's API listed it, over TLS and for the gateway's key.
    Listed(FetchedEvent),
}

impl Origin {
    fn body(&self) -> &Bytes {
        match self {
            Self::Delivery(delivery) => delivery.body(),
            Self::Listed(event) => event.body(),
        }
    }

    fn source(&self) -> Source {
        match self {
            Self::Delivery(_) => Source::Webhook,
            Self::Listed(_) => Source::Reconcile,
        }
    }

    /// The evidence: the fingerprint of the secret, or the API.
    pub(super) fn voucher(&self) -> String {
        match self {
            Self::Delivery(delivery) => delivery.secret().to_string(),
            Self::Listed(_) => "api".to_owned(),
        }
    }
}

/// What the head of an event tells.
#[derive(Debug)]
enum Head {
    Read(Arc<Envelope>),
    /// Signed bytes that are not an event, identified by their digest.
    Malformed(String),
}

/// An event for the inbox. It can be made only from a [`VerifiedDelivery`] or a [`FetchedEvent`].
#[derive(Debug)]
pub struct NewEntry {
    pub(super) endpoint: EndpointName,
    head: Head,
    pub(super) source: Source,
    pub(super) door: Door,
    pub(super) origin: Origin,
    pub(super) trace: Option<TraceContext>,
    packed: Packed,
}

impl NewEntry {
    /// With the position in a trace that the work on it continues.
    #[must_use]
    pub fn traced(self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self }
    }

    pub fn event(
        endpoint: EndpointName,
        envelope: impl Into<Arc<Envelope>>,
        door: Door,
        delivery: VerifiedDelivery,
    ) -> Self {
        Self::new(endpoint, Head::Read(envelope.into()), door, Origin::Delivery(delivery))
    }

    /// An event that Stripe lists and the ledger does not know. If the inbox holds it as settled, the ledger has lost it
    /// since, and the entry is worked on once more.
    pub fn listed(endpoint: EndpointName, event: FetchedEvent) -> Self {
        let head = Head::Read(Arc::new(event.envelope().clone()));
        Self::new(endpoint, head, Door::Open, Origin::Listed(event))
    }

    /// Signed bytes that are not an event. The inbox keeps them under their digest, for a person to look at.
    pub fn malformed(endpoint: EndpointName, reason: String, delivery: VerifiedDelivery) -> Self {
        use sha2::{Digest, Sha256};
        let digest = hex::encode(Sha256::digest(delivery.body()));
        let (head, door) =
            (Head::Malformed(format!("{DIGEST_PREFIX}{digest}")), Door::Hold { code: MALFORMED, reason });
        Self::new(endpoint, head, door, Origin::Delivery(delivery))
    }

    /// The appending thread compresses the body here. The writer does not, because all threads wait for it.
    fn new(endpoint: EndpointName, head: Head, door: Door, origin: Origin) -> Self {
        let packed = Packed::new(origin.body());
        Self { endpoint, head, source: origin.source(), door, origin, trace: None, packed }
    }

    /// The body as it came.
    pub(super) fn body(&self) -> &Bytes {
        self.origin.body()
    }

    pub(super) fn stored_body(&self) -> (&[u8], Option<usize>) {
        self.packed.columns(self.origin.body())
    }

    pub(super) fn event_id(&self) -> &str {
        match &self.head {
            Head::Read(envelope) => envelope.id.as_str(),
            Head::Malformed(digest) => digest,
        }
    }

    pub(super) fn event_type(&self) -> &str {
        self.envelope().map_or(MALFORMED, |envelope| &envelope.kind)
    }

    pub(super) fn account(&self) -> Option<&str> {
        self.envelope()?.account.as_deref()
    }

    pub(super) fn livemode(&self) -> Option<bool> {
        self.envelope()?.livemode
    }

    fn envelope(&self) -> Option<&Envelope> {
        match &self.head {
            Head::Read(envelope) => Some(envelope),
            Head::Malformed(_) => None,
        }
    }
}

/// Proof that an entry is durable. Made only after the commit; nothing else becomes a 200.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    entry: EntryId,
    duplicate: bool,
}

impl Receipt {
    /// For the writer, after the commit.
    pub(super) fn after_commit(entry: EntryId, duplicate: bool) -> Self {
        Self { entry, duplicate }
    }

    /// The entry that holds the event.
    pub fn entry(&self) -> EntryId {
        self.entry
    }

    /// Whether the event was already durable before this delivery.
    pub fn is_duplicate(&self) -> bool {
        self.duplicate
    }
}
