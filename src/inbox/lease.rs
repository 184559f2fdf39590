//! Leases: the right to conclude an entry, good once and for a time.

use std::time::Duration;

use bytes::Bytes;

use super::InboxError;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EndpointName, EntryId, EventId, ProcessId};
use crate::domain::trace::TraceContext;

/// The right to conclude one entry. Cannot be copied; concluding consumes it.
///
/// The token is a fence: it grows with every lease, and a conclusion counts only while the store still holds the same
/// one. A holder that was stalled past its time therefore changes nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    pub(super) entry: EntryId,
    pub(super) token: i64,
}

impl Lease {
    /// The entry it is about.
    pub fn entry(&self) -> EntryId {
        self.entry
    }
}

/// How much to lease.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest {
    /// Most entries.
    pub entries_max: usize,
    /// Most bytes of bodies; the first entry is leased whatever its size.
    pub bytes_max: usize,
    /// How long the lease lasts.
    pub duration: Duration,
}

/// A leased entry with its body.
#[derive(Debug)]
pub struct Leased {
    /// The right to conclude it.
    pub lease: Lease,
    /// The endpoint it came in by.
    pub endpoint: EndpointName,
    /// The event's id.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When it became durable, or when a person last asked for it.
    pub received: Timestamp,
    /// When a person released it from quarantine.
    pub released: Option<Timestamp>,
    /// A person wants it applied again, though it may have been.
    pub replayed: bool,
    /// The delivery's position in its trace.
    pub trace: Option<TraceContext>,
    /// The raw body as it was signed.
    pub body: Bytes,
}

impl Leased {
    /// Whether a person asked for it: then it takes the direct route, which alone knows what was asked.
    pub fn is_asked_for(&self) -> bool {
        self.replayed || self.released.is_some()
    }
}

/// How a lease, or the stay with a process, ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Done: `applied`, `stale`, `duplicate` or `ignored`.
    Settle {
        /// What the ledger made of it.
        outcome: &'static str,
    },
    /// A rule wants a person to look.
    Quarantine {
        /// The rule.
        code: String,
        /// What it found.
        reason: String,
    },
    /// No retry can mend it.
    Dead {
        /// Stable code.
        code: String,
        /// Why.
        reason: String,
    },
    /// Try again later.
    Retry {
        /// Not before.
        due: Timestamp,
        /// Whether this counts as a failed attempt of this entry. It does not when a dependency was down.
        counted: bool,
        /// Why, for whoever looks at the entry meanwhile.
        reason: String,
    },
    /// Try again later, alone: it was in a batch that failed, and must not take neighbours with it again. Counts as a
    /// failed attempt.
    RetryAlone {
        /// Not before.
        due: Timestamp,
        /// Why, for whoever looks at the entry meanwhile.
        reason: String,
    },
    /// A process of a Colonies server has it now. Nobody leases it until the process is concluded.
    Submitted {
        /// The process.
        process: ProcessId,
        /// When to ask the server about it.
        poll: Timestamp,
    },
}

/// A process that holds entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedProcess {
    /// The process.
    pub process: ProcessId,
    /// How many entries it holds.
    pub entries: u64,
    /// When the oldest of them was received.
    pub oldest: Timestamp,
    /// When to ask the server about it.
    pub poll: Timestamp,
}

/// An entry that a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedEntry {
    /// Row number.
    pub entry: EntryId,
    /// The event's id.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When it became durable.
    pub received: Timestamp,
    /// The delivery's position in its trace.
    pub trace: Option<TraceContext>,
}

/// What a conclusion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concluded {
    /// The lease was held and the entry changed.
    Done,
    /// The lease had been lost: nothing changed, and whoever holds the entry now decides.
    LeaseLost,
}

/// Conclusions that the inbox could not store. The leases still hold until they end.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: InboxError,
    /// What to offer again; empty when the inbox is closed.
    pub conclusions: Vec<(Lease, Conclusion)>,
}
