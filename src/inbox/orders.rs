//! All that people ordered about entries, and what of it the ledger has still to be told.
//!
//! Guarantees: an order is written in the transaction that carries it out; a drop is told until the ledger has taken it, over
//! restarts; orders stay as long as their entry.

use serde::{Deserialize, Serialize};

use super::{Inbox, InboxError, Store};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EventId;

/// Most drops that the ledger is told at once.
pub const DROPS_TOLD_MAX: usize = 100;

/// An order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastOrder {
    /// `replay`, `release`, `drop`, `refetch`, or `erase` where an erasure removed the body.
    pub action: String,
    pub at: Timestamp,
    /// The operator, as far as known.
    pub by: Option<String>,
    pub note: Option<String>,
    /// The state of the entry before, with its reason.
    pub was: String,
}

/// An event that a person dropped and that the ledger does not know of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntoldDrop {
    /// Number of the order.
    pub order: i64,
    pub event_id: EventId,
    pub event_type: String,
    pub account: Option<String>,
    pub livemode: Option<bool>,
    pub received: Timestamp,
    pub at: Timestamp,
    pub by: Option<String>,
    pub note: Option<String>,
}

impl Inbox {
    /// Drops that the ledger must still be told, the oldest first, at most [`DROPS_TOLD_MAX`].
    pub async fn untold_drops(&self) -> Result<Vec<UntoldDrop>, InboxError> {
        match &self.store {
            Store::Local(local) => local.untold_drops().await,
            Store::Postgres(postgres) => postgres.core.untold_drops().await,
        }
    }

    /// Notes that the ledger knows of these drops, by the numbers of their orders.
    pub async fn drops_told(&self, orders: Vec<i64>) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.drops_told(orders).await,
            Store::Postgres(postgres) => postgres.core.drops_told(&orders).await,
        }
    }

    /// Marks the drops of these events to be told again, because the ledger has lost them.
    pub async fn tell_drops_again(&self, events: Vec<String>) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.tell_drops_again(events).await?,
            Store::Postgres(postgres) => postgres.core.tell_drops_again(&events).await?,
        }
        self.bells.drops.notify_one();
        Ok(())
    }

    /// Resolves when there may be drops to tell.
    pub async fn dropped(&self) {
        self.bells.drops.notified().await;
    }
}
