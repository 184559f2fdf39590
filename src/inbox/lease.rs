//! Leases: the right to conclude an entry, good once and for a time.

use std::time::Duration;

use bytes::Bytes;

use super::{Inbox, InboxError, Store};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EndpointName, EntryId, EventId};
use crate::domain::trace::TraceContext;

/// An entry that was held during this many crashes is leased alone from then on.
pub(super) const CRASHES_ALONE: i64 = 2;

/// An entry that was worked on during this many crashes, in the end alone, is given up as `crash_loop`.
pub const CRASHES_MAX: i64 = 8;

/// The right to conclude one entry. Cannot be copied; concluding consumes it.
///
/// The token is a fence: no other lease got it, and a conclusion counts only while the store still holds the same token. So
/// a holder that was stalled past its time changes nothing.
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

#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest {
    pub entries_max: usize,
    /// Most bytes of bodies; the first entry is leased whatever its size.
    pub bytes_max: usize,
    /// How long the lease lasts.
    pub duration: Duration,
}

/// The result of leasing.
#[derive(Debug)]
pub struct Taken {
    /// The leased entries; those due first come first.
    pub entries: Vec<Leased>,
    /// When the next of the remaining entries is due, if one waits.
    pub next_due: Option<Timestamp>,
}

/// A leased entry with its body.
#[derive(Debug)]
pub struct Leased {
    /// The right to conclude it.
    pub lease: Lease,
    /// The endpoint it came in by.
    pub endpoint: EndpointName,
    pub event_id: EventId,
    pub event_type: String,
    /// Failed attempts so far.
    pub attempts: u32,
    /// How often its holder died since it was last concluded.
    pub crashes: u32,
    /// Whether it waited for Stripe's answer about its object.
    pub awaited_stripe: bool,
    /// Whether only a bee may be able to ask Stripe about its object.
    pub awaits_bee: bool,
    /// When it became durable, or when a person last asked for it.
    pub received: Timestamp,
    /// When a person released it from quarantine.
    pub released: Option<Timestamp>,
    /// Whether a person wants it applied again, even if it was applied before.
    pub replayed: bool,
    /// The delivery's position in its trace.
    pub trace: Option<TraceContext>,
    /// The raw body as it was signed.
    pub body: Bytes,
}

impl Leased {
    /// Whether a person asked for it. Then it takes the direct route, because only that knows what was asked.
    pub fn is_asked_for(&self) -> bool {
        self.replayed || self.released.is_some()
    }
}

impl Inbox {
    /// Says that the caller waits and will lease with this request. A shared inbox then keeps what arrives here meanwhile for
    /// it, as far as the request has room, instead of offering it to all gateways.
    pub fn keep_arrivals(&self, request: LeaseRequest) {
        if let Store::Postgres(postgres) = &self.store {
            postgres.core.keep_arrivals(request);
        }
    }

    /// Leases the entries that are due, with their bodies; those due first come first. An entry that was held during
    /// several crashes is leased alone, so that it cannot take neighbours with it.
    pub async fn lease(&self, request: LeaseRequest) -> Result<Taken, InboxError> {
        match &self.store {
            Store::Local(local) => local.lease(request).await,
            Store::Postgres(postgres) => postgres.core.lease(request).await,
        }
    }
}
