//! How many entries there are, and how long they wait. Cheap at any size.

use super::state::StateName;
use super::{Inbox, InboxError, Store};
use crate::domain::clock::Timestamp;

/// Number of entries in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that wait for an attempt.
    pub waiting: u64,
    /// Entries that are being worked on.
    pub leased: u64,
    /// Entries with a process of a Colonies server.
    pub submitted: u64,
    /// Done and still kept.
    pub settled: u64,
    /// Given up.
    pub dead: u64,
    /// Held back.
    pub quarantined: u64,
    /// When the oldest unfinished entry was received.
    pub oldest: Option<Timestamp>,
    /// Whether some of these numbers are estimates, because there are so many.
    pub is_estimate: bool,
}

impl Counts {
    pub const fn of(&self, state: StateName) -> u64 {
        match state {
            StateName::Waiting => self.waiting,
            StateName::Leased => self.leased,
            StateName::Submitted => self.submitted,
            StateName::Settled => self.settled,
            StateName::Dead => self.dead,
            StateName::Quarantined => self.quarantined,
        }
    }

    pub(super) const fn of_mut(&mut self, state: StateName) -> &mut u64 {
        match state {
            StateName::Waiting => &mut self.waiting,
            StateName::Leased => &mut self.leased,
            StateName::Submitted => &mut self.submitted,
            StateName::Settled => &mut self.settled,
            StateName::Dead => &mut self.dead,
            StateName::Quarantined => &mut self.quarantined,
        }
    }

    /// Unfinished entries.
    pub fn backlog(&self) -> u64 {
        self.waiting + self.leased + self.submitted
    }
}

impl Inbox {
    /// The number of entries in each state, and the age of the oldest waiting one.
    pub async fn counts(&self) -> Result<Counts, InboxError> {
        match &self.store {
            Store::Local(local) => local.counts().await,
            Store::Postgres(postgres) => postgres.core.counts().await,
        }
    }

    /// When the oldest entry was received that is submitted, or waits without having failed. It tells whether entries get
    /// stuck on their route.
    pub async fn oldest_unattended(&self) -> Result<Option<Timestamp>, InboxError> {
        match &self.store {
            Store::Local(local) => local.oldest_unattended().await,
            Store::Postgres(postgres) => postgres.core.oldest_unattended().await,
        }
    }
}
