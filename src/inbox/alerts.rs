//! Which gateway says that a problem opened, or is resolved: of those that share an inbox the first to notice, and no other.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Inbox, InboxError, Store};

/// Alerts of one kind. The names say what each is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertGroup {
    /// Entries that wait for a person.
    Problems,
    /// Subscriptions and users whose access is not as it should be.
    Access,
    /// Matters of the messages that people get.
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

/// How long a claim on a message holds. If its gateway has not noted it as sent by then, that gateway may have died, and
/// another takes over.
pub(super) const CLAIM: Duration = Duration::from_mins(5);

/// The messages that this gateway should send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageTurns {
    /// This gateway sends them, and no other does.
    pub mine: BTreeSet<String>,
    /// Another gateway has claimed them but not sent them yet: ask again. All others were sent.
    pub pending: BTreeSet<String>,
}

impl Inbox {
    /// Claims messages about matters that opened or are over. A gateway that cannot ask sends all: twice is better than
    /// never.
    pub async fn claim_messages(&self, opened: BTreeSet<String>, resolved: BTreeSet<String>) -> MessageTurns {
        let all = || MessageTurns { mine: opened.union(&resolved).cloned().collect(), pending: BTreeSet::new() };
        match &self.store {
            Store::Local(_) => all(),
            Store::Postgres(postgres) => {
                postgres.core.claim_messages(&opened, &resolved).await.unwrap_or_else(|_| all())
            }
        }
    }

    /// Notes that messages about these open matters were sent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn messages_sent(&self, opened: BTreeSet<String>) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(_) => Ok(()),
            Store::Postgres(postgres) => postgres.core.messages_sent(&opened).await,
        }
    }

    /// Which of the alerts that opened or were resolved this gateway should report. A gateway that cannot ask reports all:
    /// twice is better than never.
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

    /// Forgets which alerts were reported, except the open ones given here. If an alert was resolved while no gateway ran,
    /// it is then reported when it opens again.
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
