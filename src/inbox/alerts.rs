//! Which gateway says that a problem opened, or is resolved: of those that share an inbox the first to notice, and no other.

use std::collections::BTreeSet;

use super::{Inbox, InboxError, Store};

/// Alerts of one kind, by the names of what they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertGroup {
    /// Entries that wait for a person.
    Problems,
    /// Subscriptions and users whose access is not as it should be.
    Access,
}

impl AlertGroup {
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Problems => "alert:problems:",
            Self::Access => "alert:access:",
        }
    }
}

impl Inbox {
    /// Which of the alerts that opened or were resolved this gateway is to say. One that cannot ask says all: twice is better than
    /// never.
    pub async fn alerts_to_say(
        &self,
        group: AlertGroup,
        opened: BTreeSet<String>,
        resolved: BTreeSet<String>,
    ) -> BTreeSet<String> {
        let all = || opened.union(&resolved).cloned().collect();
        match &self.store {
            Store::Local(_) => all(),
            Store::Postgres(_) if opened.is_empty() && resolved.is_empty() => BTreeSet::new(),
            Store::Postgres(postgres) => {
                postgres.core.alerts_to_say(group, &opened, &resolved).await.unwrap_or_else(|_| all())
            }
        }
    }

    /// Forgets what was said of alerts other than these, which are open: what was resolved while no gateway ran is said when it
    /// opens again.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget_alerts(&self, group: AlertGroup, open: BTreeSet<String>) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(_) => Ok(()),
            Store::Postgres(postgres) => postgres.core.forget_alerts(group, &open).await,
        }
    }
}
