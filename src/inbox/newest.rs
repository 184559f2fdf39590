//! The newest entries with their states, at a glance.

use super::{Inbox, InboxError, Store};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EndpointName, EntryId, EventId, ProcessId};

/// An entry without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryView {
    pub entry: EntryId,
    /// The endpoint it came in by.
    pub endpoint: EndpointName,
    pub event_id: EventId,
    pub event_type: String,
    /// When it became durable.
    pub received: Timestamp,
    /// Failed attempts.
    pub attempts: u32,
    pub state: EntryState,
}

/// State of an entry, each with its own data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Waits for `due`.
    Waiting {
        /// Earliest time of the next attempt.
        due: Timestamp,
    },
    /// A worker has it.
    Leased {
        /// When the lease ends.
        until: Timestamp,
    },
    /// A process of a Colonies server has it.
    Submitted {
        process: ProcessId,
        /// When to ask the server about it.
        poll: Timestamp,
    },
    /// Done.
    Settled {
        at: Timestamp,
        /// What the ledger made of it: `applied`, `stale`, `duplicate` or `ignored`.
        outcome: String,
    },
    /// Given up; kept until a person replays it.
    Dead { at: Timestamp, code: String, reason: String },
    /// Held back by a rule; kept until a person releases it.
    Quarantined {
        at: Timestamp,
        /// The rule.
        code: String,
        /// What the rule found.
        reason: String,
    },
}

impl Inbox {
    /// The newest entries, at most `limit`, newest first, without bodies.
    pub async fn newest(&self, limit: u32) -> Result<Vec<EntryView>, InboxError> {
        match &self.store {
            Store::Local(local) => local.newest(limit).await,
            Store::Postgres(postgres) => postgres.core.newest(limit).await,
        }
    }
}
