//! What a person does to entries: replay, release, drop. In small transactions of the writer, so that webhooks do not wait.
//!
//! Guarantees: nothing is deleted; what was dropped stays so until an order names it; an entry that is being
//! worked on is not touched; who did what, when and why stays in the row, and all orders in `orders`. The worker that leases
//! the changed entries decides what they mean for the ledger.

use serde::{Deserialize, Serialize};

use super::entry::{DIGEST_PREFIX, NewEntry};
use super::order::{Action, NOTE_BYTES_MAX, Order, Refusal};
use super::reference::references;
use super::search::Direction;
use super::selection::Selection;
use super::state::StateName;
use super::{Inbox, InboxError, Store};
use crate::domain::ids::EntryId;

/// Most entries changed in one transaction.
pub const STEP_ENTRIES_MAX: usize = 200;

/// An entry that an order applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedEntry {
    pub entry: EntryId,
    pub event_id: String,
    pub event_type: String,
    pub state: StateName,
    pub code: Option<String>,
    /// Why it was not changed; absent if it was.
    pub refused: Option<Refusal>,
}

/// What one step of an order did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderStep {
    /// The entries that the selection chose.
    pub entries: Vec<OrderedEntry>,
    /// The next step begins after this entry; absent if there is none.
    pub next: Option<EntryId>,
}

impl OrderStep {
    /// How many entries were changed, or would be.
    pub fn changed(&self) -> usize {
        self.entries.iter().filter(|entry| entry.refused.is_none()).count()
    }
}

/// Whether an entry has the id of an event, and not the digest of bytes that are not one.
pub(super) fn is_event(event_id: &str) -> bool {
    !event_id.starts_with(DIGEST_PREFIX)
}

/// The text, cut to the longest that is kept.
pub(super) fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(NOTE_BYTES_MAX)).unwrap_or(text)
}

impl Inbox {
    /// Carries out an order for the next entries of a selection, oldest first: at most [`STEP_ENTRIES_MAX`] of them, in one
    /// transaction. Call again from `next` until there is none. With `dry_run` nothing changes.
    ///
    /// A selection that names neither entries nor states means [`Action::usual_states`].
    pub async fn operate(
        &self,
        selection: &Selection,
        order: &Order,
        dry_run: bool,
        after: Option<EntryId>,
    ) -> Result<OrderStep, InboxError> {
        let mut selection = selection.clone();
        if selection.states.is_empty() && !selection.is_by_id() {
            selection.states = order.action.usual_states().to_vec();
        }
        let page = self.page(&selection, Direction::Oldest, after, STEP_ENTRIES_MAX).await?;
        let action = order.action;
        let is_named = selection.is_by_id();
        let entries = match &self.store {
            Store::Local(local) => local.consider(page.entries, action, is_named).await?,
            Store::Postgres(postgres) => {
                let entries: Vec<EntryId> = page.entries.iter().map(|entry| entry.entry).collect();
                postgres.core.consider(&entries, action, is_named).await?
            }
        };
        let mut step = OrderStep { entries, next: page.next };
        let entries: Vec<EntryId> =
            step.entries.iter().filter(|entry| entry.refused.is_none()).map(|entry| entry.entry).collect();
        // Bodies to fetch come one by one, through `refetched`.
        if dry_run || action == Action::Refetch || entries.is_empty() {
            return Ok(step);
        }
        let operated = match &self.store {
            Store::Local(local) => local.operate(entries, order.clone(), is_named).await?,
            Store::Postgres(postgres) => postgres.core.operate(&entries, order, is_named).await?,
        };
        // An entry that changed between the look and the transaction is reported as the transaction found it.
        for (entry, done) in step.entries.iter_mut().filter(|entry| entry.refused.is_none()).zip(operated) {
            entry.refused = done.err();
        }
        self.urge();
        if action == Action::Drop {
            self.bells.drops.notify_one();
        }
        Ok(step)
    }

    /// Takes up an entry again with the body that Stripe gave for its event.
    pub async fn refetched(
        &self,
        entry: EntryId,
        fetched: NewEntry,
        order: &Order,
        is_named: bool,
    ) -> Result<Result<(), Refusal>, InboxError> {
        let references = references(None, Some(fetched.body()));
        let done = match &self.store {
            Store::Local(local) => local.refetched(entry, fetched, order.clone(), is_named).await?,
            Store::Postgres(postgres) => postgres.core.refetched(entry, &fetched, order, is_named).await?,
        };
        self.urge();
        if done.is_ok() {
            let indexed = match &self.store {
                Store::Local(local) => local.index_again(entry.0, references).await,
                Store::Postgres(postgres) => postgres.core.index_again(entry.0, references).await,
            };
            if let Err(error) = indexed {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(entry = entry.0, error, "inbox: ids of the new body do not lead to its entry");
            }
        }
        Ok(done)
    }

    /// Makes entries that wait for their next attempt due now. Returns how many.
    pub async fn hasten(&self, entries: Vec<EntryId>) -> Result<usize, InboxError> {
        let mut hastened = 0;
        for entries in entries.chunks(STEP_ENTRIES_MAX) {
            hastened += match &self.store {
                Store::Local(local) => local.hasten(entries.to_vec()).await?,
                Store::Postgres(postgres) => postgres.core.hasten(entries).await?,
            };
        }
        Ok(hastened)
    }
}
