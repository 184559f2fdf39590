//! Which gateway says that a problem opened, or is resolved: of those that share an inbox the first to notice, and no other.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Inbox, InboxError, Store};

/// Alerts of one kind, by the names of what they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertGroup {
    /// Entries that wait for a person.
    Problems,
    /// Subscriptions and users whose access is not as it should be.
    Access,
    /// What people are written to about.
    Messages,
}

impl AlertGroup {
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Problems => "alert:problems:",
            Self::Access => "alert:access:",
            Self::Messages => "alert:messages:",
        }
    }
}

/// A message that was claimed and not noted as sent is another gateway's after this time: its own may have died.
pub(super) const CLAIM: Duration = Duration::from_mins(5);

/// Which messages this gateway is to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageTurns {
    /// It, and no other.
    pub mine: BTreeSet<String>,
    /// Another gateway has claimed them and not sent them yet: ask again. All others were sent.
    pub pending: BTreeSet<String>,
}

impl Inbox {
    /// Claims messages about what opened and what is over. One that cannot ask sends all: twice is better than never.
    pub async fn claim_messages(&self, opened: BTreeSet<String>, resolved: BTreeSet<String>) -> MessageTurns {
        let all = || MessageTurns { mine: opened.union(&resolved).cloned().collect(), pending: BTreeSet::new() };
        match &self.store {
            Store::Local(_) => all(),
            Store::Postgres(postgres) => {
                postgres.core.claim_messages(&opened, &resolved).await.unwrap_or_else(|_| all())
            }
        }
    }

    /// Notes that messages about what opened were sent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn messages_sent(&self, opened: BTreeSet<String>) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(_) => Ok(()),
            Store::Postgres(postgres) => postgres.core.messages_sent(&opened).await,
        }
    }

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
