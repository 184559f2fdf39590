//! Retention: settled bodies go first, settled entries later. What is not settled stays for ever, but for the bodies of entries
//! that wait for a person, where the operator sets a time for them: the entry, its code and its reason stay.

use std::time::Duration;

use super::{Inbox, InboxError, Store};

/// Rows looked at in one sweep, so that it never holds up the writer.
pub(super) const SWEEP_ROWS_MAX: usize = 500;

/// How long entries are kept after they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bodies of settled entries, including dropped ones.
    pub bodies: Duration,
    /// Bodies of dead and quarantined entries; `None`: for ever.
    pub held_bodies: Option<Duration>,
    /// Everything else. That is also how long the inbox recognises a duplicate (the ledger always does).
    pub entries: Duration,
}

/// What one sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub bodies: usize,
    /// Bodies of dead and quarantined entries.
    pub held_bodies: usize,
    pub entries: usize,
    /// Whether there is more to look at: then sweep again.
    pub more: bool,
}

impl Inbox {
    /// Removes what [`Retention`] no longer keeps, in one bounded batch. Call again while it removed something.
    pub async fn sweep(&self, retention: Retention) -> Result<Swept, InboxError> {
        match &self.store {
            Store::Local(local) => local.sweep(retention).await,
            Store::Postgres(postgres) => postgres.core.sweep(retention).await,
        }
    }
}
