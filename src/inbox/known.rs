//! Which events the inbox knows.

use std::collections::BTreeMap;

use super::{Inbox, InboxError, Store};
use crate::domain::ids::EntryId;

/// How the inbox holds an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Unfinished, or kept for a person.
    Open,
    /// Done. What the door holds back of it by another endpoint does not count.
    Settled,
    /// A person decided that it is never applied.
    Dropped,
}

impl Inbox {
    /// Which of these events the inbox holds, whatever endpoint they came by.
    pub async fn holds(&self, ids: Vec<String>) -> Result<BTreeMap<String, Held>, InboxError> {
        match &self.store {
            Store::Local(local) => local.holds(ids).await,
            Store::Postgres(postgres) => postgres.core.holds(&ids).await,
        }
    }

    /// The entries that hold an event, one per endpoint.
    pub async fn entries_of_event(&self, event_id: String) -> Result<Vec<EntryId>, InboxError> {
        match &self.store {
            Store::Local(local) => local.entries_of_event(event_id).await,
            Store::Postgres(postgres) => postgres.core.entries_of_event(&event_id).await,
        }
    }
}
