//! Carrying all entries of an inbox into another one, from a file into a database or back.
//!
//! Guarantees: a page of entries that is taken in again changes nothing, so that what was interrupted is simply done once more; an
//! event that the other inbox knows already stays as it is there, and the orders of people about it are added. Numbers of
//! entries change on the way, nothing else that is told of them. The order of a whole move is in [`super::moving`].

use super::deeds::{DEEDS_PAGE_MAX, PastDeed};
use super::state::StateName;
use super::steps::PastStep;
use super::{Inbox, InboxError, Store};

/// Most entries of a page.
pub(super) const PAGE_ENTRIES: usize = 200;

/// A page of a file ends once it has this many bytes of bodies.
pub(super) const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Which entries to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    /// Only those that are not settled.
    Unsettled,
}

/// An entry as a store has it. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    /// Its number in the inbox that it comes from.
    pub(super) number: i64,
    pub(super) endpoint: String,
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) account: Option<String>,
    pub(super) livemode: Option<bool>,
    pub(super) source: String,
    pub(super) secret: String,
    pub(super) received_at: i64,
    pub(super) traceparent: Option<String>,
    /// Never leased: a leased entry waits.
    pub(super) state: StateName,
    pub(super) due_at: Option<i64>,
    pub(super) ended_at: Option<i64>,
    pub(super) attempts: i64,
    pub(super) crashes: i64,
    pub(super) process_id: Option<String>,
    pub(super) code: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) released_at: Option<i64>,
    pub(super) replayed_at: Option<i64>,
    pub(super) action: Option<String>,
    pub(super) action_at: Option<i64>,
    pub(super) action_by: Option<String>,
    pub(super) action_note: Option<String>,
    /// As it is stored, with its length if it is compressed. `None`: retention or an erasure removed it.
    pub(super) body: Option<(Vec<u8>, Option<i64>)>,
    /// What people ordered for it, the oldest first.
    pub(super) orders: Vec<CarriedOrder>,
    /// Its steps so far, the oldest first.
    pub(super) steps: Vec<PastStep>,
}

/// An order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CarriedOrder {
    pub(super) action: String,
    pub(super) at: i64,
    pub(super) by: Option<String>,
    pub(super) note: Option<String>,
    pub(super) was: String,
    pub(super) untold: bool,
}

impl Inbox {
    /// The next entries after a number, in order.
    pub(super) async fn carried(&self, after: i64, extent: Extent) -> Result<Vec<Carried>, InboxError> {
        match &self.store {
            Store::Local(local) => local.carried(after, extent).await,
            Store::Postgres(postgres) => postgres.core.carried(after, extent).await,
        }
    }

    /// Stores entries of another inbox, and returns how many of them were new. Resolves when all of them are durable.
    pub(super) async fn take_in(&self, entries: Vec<Carried>) -> Result<u64, InboxError> {
        match &self.store {
            Store::Local(local) => local.take_in(entries).await,
            Store::Postgres(postgres) => postgres.core.take_in(&entries).await,
        }
    }

    /// Everything that people did, the oldest first.
    pub(super) async fn all_deeds(&self) -> Result<Vec<PastDeed>, InboxError> {
        let mut all = Vec::new();
        loop {
            let before = all.last().map(|deed: &PastDeed| deed.id);
            let page = self.deeds(before, DEEDS_PAGE_MAX).await?;
            if page.is_empty() {
                all.reverse();
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Stores what people did, the oldest first. Deeds that are already there are not stored again.
    pub(super) async fn take_in_deeds(&self, deeds: Vec<PastDeed>) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.take_in_deeds(deeds).await,
            Store::Postgres(postgres) => postgres.core.take_in_deeds(&deeds).await,
        }
    }

    pub(super) async fn marks(&self) -> Result<Vec<(String, i64)>, InboxError> {
        match &self.store {
            Store::Local(local) => local.marks().await,
            Store::Postgres(postgres) => postgres.core.marks().await,
        }
    }

    /// Stores marks of another inbox. Of two values the smaller stays: a cursor is then before everything that it is about.
    pub(super) async fn take_in_marks(&self, marks: Vec<(String, i64)>) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.take_in_marks(marks).await,
            Store::Postgres(postgres) => postgres.core.take_in_marks(&marks).await,
        }
    }
}
