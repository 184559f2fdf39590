//! Taking up entries again with the bodies that Stripe has, in place of those that are damaged or gone.
//!
//! Guarantees: the body comes from Stripe's API alone, under the gateway's key, and is that of the entry's event; what Stripe
//! does not have leaves the entry as it is.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::ids::{EndpointName, EntryId};
use crate::inbox::{EntryReport, Inbox, InboxError, NewEntry, Order, OrderStep, Refusal, Selection};
use crate::stripe::api::{ApiError, FetchedEvent, Scope, StripeApi};

/// Most entries in one step, because each is a question to Stripe.
pub const REFETCH_ENTRIES_MAX: usize = 20;

/// Longest wait for one event.
const FETCH_TIME_MAX: Duration = Duration::from_secs(10);

/// Fetches events again. Clones share the client.
#[derive(Clone, Debug)]
pub struct Refetcher {
    pub api: Arc<StripeApi>,
    pub inbox: Inbox,
}

impl Refetcher {
    /// Carries out an order for the next entries of a selection, as [`Inbox::operate`] does.
    pub async fn operate(
        &self,
        selection: &Selection,
        order: &Order,
        dry_run: bool,
        after: Option<EntryId>,
    ) -> Result<OrderStep, InboxError> {
        let mut step = self.inbox.operate(selection, order, dry_run, after).await?;
        if dry_run {
            return Ok(step);
        }
        if step.entries.len() > REFETCH_ENTRIES_MAX {
            step.entries.truncate(REFETCH_ENTRIES_MAX);
            step.next = step.entries.last().map(|entry| entry.entry);
        }
        for entry in step.entries.iter_mut().filter(|entry| entry.refused.is_none()) {
            entry.refused = self.refetch(entry.entry, order, selection.is_by_id()).await?.err();
        }
        Ok(step)
    }

    async fn refetch(&self, entry: EntryId, order: &Order, is_named: bool) -> Result<Result<(), Refusal>, InboxError> {
        let Some(story) = self.inbox.story(entry, false).await? else { return Ok(Err(Refusal::Gone)) };
        let event = match self.event(&story.entry).await {
            Ok(event) => event,
            Err(error) => {
                let event_id = &story.entry.event_id;
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(event_id, error = cause, "Stripe has no event to replace the one here");
                return Ok(Err(if error.is_verdict() { Refusal::NotAtStripe } else { Refusal::StripeSilent }));
            }
        };
        let endpoint = EndpointName::new(&story.entry.endpoint);
        self.inbox.refetched(entry, NewEntry::listed(endpoint, event), order, is_named).await
    }

    /// The event of an entry: a snapshot, or else a thin one.
    async fn event(&self, entry: &EntryReport) -> Result<FetchedEvent, ApiError> {
        let scope = Scope { account: entry.account.clone(), context: None };
        match self.api.event(&entry.event_id, &scope, FETCH_TIME_MAX).await {
            Err(ApiError::NotFound) => self.api.core_event(&entry.event_id, &scope, FETCH_TIME_MAX).await,
            answer => answer,
        }
    }
}
