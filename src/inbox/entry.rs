//! Entries, their states, and the receipt that proves one durable.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::body::Packed;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EndpointName, EntryId, ProcessId};
use crate::domain::trace::TraceContext;
use crate::stripe::api::FetchedEvent;
use crate::stripe::envelope::Envelope;
use crate::stripe::signature::VerifiedDelivery;

/// Where an entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A delivery by Stripe.
    Webhook,
    /// Stripe's list of events: no delivery of it had come in.
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

/// What the door already knows about a delivery's fate.
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

/// How an event is known to be Stripe's.
#[derive(Debug)]
pub(super) enum Origin {
    /// By its signature.
    Delivery(VerifiedDelivery),
    /// Stripe's API listed it, over TLS and under the gateway's key.
    Listed(FetchedEvent),
}

impl Origin {
    fn body(&self) -> &[u8] {
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

    /// What vouches for it: the fingerprint of the secret, or the API.
    pub(super) fn voucher(&self) -> String {
        match self {
            Self::Delivery(delivery) => delivery.secret().to_string(),
            Self::Listed(_) => "api".to_owned(),
        }
    }
}

/// What is known of an event by its head.
#[derive(Debug)]
enum Head {
    Read(Arc<Envelope>),
    /// Signed bytes that are no event go by their digest.
    Malformed(String),
}

/// An event on its way into the inbox. Made from a [`VerifiedDelivery`] or a [`FetchedEvent`], and from nothing else.
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
    /// With the position in a trace from which the work on it follows.
    #[must_use]
    pub fn traced(self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self }
    }

    /// An event.
    pub fn event(
        endpoint: EndpointName,
        envelope: impl Into<Arc<Envelope>>,
        door: Door,
        delivery: VerifiedDelivery,
    ) -> Self {
        Self::new(endpoint, Head::Read(envelope.into()), door, Origin::Delivery(delivery))
    }

    /// An event that Stripe lists and the ledger does not know. Where the inbox holds it as settled, the ledger has lost
    /// it since, and the entry is worked on once more.
    pub fn listed(endpoint: EndpointName, event: FetchedEvent) -> Self {
        let head = Head::Read(Arc::new(event.envelope().clone()));
        Self::new(endpoint, head, Door::Open, Origin::Listed(event))
    }

    /// Signed bytes that are not an event. Kept under their digest, for a person to look at.
    pub fn malformed(endpoint: EndpointName, reason: String, delivery: VerifiedDelivery) -> Self {
        use sha2::{Digest, Sha256};
        let digest = hex::encode(Sha256::digest(delivery.body()));
        let (head, door) = (Head::Malformed(format!("sha256:{digest}")), Door::Hold { code: "malformed", reason });
        Self::new(endpoint, head, door, Origin::Delivery(delivery))
    }

    /// The body is compressed here, by whoever appends, and not by the writer, for whom everybody waits.
    fn new(endpoint: EndpointName, head: Head, door: Door, origin: Origin) -> Self {
        let packed = Packed::new(origin.body());
        Self { endpoint, head, source: origin.source(), door, origin, trace: None, packed }
    }

    /// The columns `body` and `bytes` of `bodies`.
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
        self.envelope().map_or("malformed", |envelope| &envelope.kind)
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

/// Proof that an entry is durable. Made after the commit and nowhere else; only this becomes a 200.
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

    /// The event was already durable before this delivery.
    pub fn is_duplicate(&self) -> bool {
        self.duplicate
    }
}

/// State of an entry, each with its own data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Waits for `due`.
    Waiting {
        /// Earliest time of the next attempt.
        due: Timestamp,
    },
    /// Somebody works on it.
    Leased {
        /// When the lease ends.
        until: Timestamp,
    },
    /// A process of a Colonies server has it.
    Submitted {
        /// The process.
        process: ProcessId,
        /// When to ask the server about it.
        poll: Timestamp,
    },
    /// Done.
    Settled {
        /// When.
        at: Timestamp,
        /// What the ledger made of it: `applied`, `stale`, `duplicate` or `ignored`.
        outcome: String,
    },
    /// Given up; kept until a person replays it.
    Dead {
        /// When.
        at: Timestamp,
        /// Stable code.
        code: String,
        /// Why.
        reason: String,
    },
    /// Held back by a rule; kept until a person releases it.
    Quarantined {
        /// When.
        at: Timestamp,
        /// The rule.
        code: String,
        /// What it found.
        reason: String,
    },
}

/// The name of a state, in answers and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateName {
    /// Waits for an attempt.
    Waiting,
    /// Somebody works on it.
    Leased,
    /// A process of a Colonies server has it.
    Submitted,
    /// Done.
    Settled,
    /// Given up.
    Dead,
    /// Held back.
    Quarantined,
}

impl StateName {
    /// Every state, by its number in the store.
    pub const ALL: [Self; state::COUNT] =
        [Self::Waiting, Self::Leased, Self::Submitted, Self::Settled, Self::Dead, Self::Quarantined];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Leased => "leased",
            Self::Submitted => "submitted",
            Self::Settled => "settled",
            Self::Dead => "dead",
            Self::Quarantined => "quarantined",
        }
    }

    /// The state with a number of the store.
    pub(super) fn of_number(number: i64) -> Self {
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number).copied()).unwrap_or(Self::Waiting)
    }
}

impl std::str::FromStr for StateName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or("must be waiting, leased, submitted, settled, dead or quarantined")
    }
}

/// Numbers of the states in the store.
pub(super) mod state {
    pub(in super::super) const WAITING: i64 = 0;
    pub(in super::super) const LEASED: i64 = 1;
    pub(in super::super) const SUBMITTED: i64 = 2;
    pub(in super::super) const SETTLED: i64 = 3;
    pub(in super::super) const DEAD: i64 = 4;
    pub(in super::super) const QUARANTINED: i64 = 5;
    /// Number of states.
    pub(in super::super) const COUNT: usize = 6;
}
