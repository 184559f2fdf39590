//! Ending leases: what becomes of an entry that was worked on.

use std::time::Duration;

use super::lease::Lease;
use super::{Inbox, InboxError, Store};
use crate::domain::ids::ProcessId;
use crate::domain::outcome::Settled;

/// How a lease ends, or an entry's stay with a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Done.
    Settle {
        /// What the ledger made of it.
        outcome: Settled,
    },
    /// A rule wants a person to look.
    Quarantine {
        /// The rule.
        code: String,
        /// What the rule found.
        reason: String,
    },
    /// No retry can mend it.
    Dead { code: String, reason: String },
    /// Try again later. The wait begins when the inbox stores it, so that an earlier jump of the clock cannot stretch it.
    Retry {
        /// The shortest wait.
        after: Duration,
        /// Whether this counts as a failed attempt of this entry. It does not when a dependency was down.
        counted: bool,
        /// Why; shown with the entry until then.
        reason: String,
    },
    /// Try again later and alone: the entry was in a batch that failed, and must not take neighbours with it again. This
    /// counts as a failed attempt.
    RetryAlone {
        /// The shortest wait.
        after: Duration,
        /// Why; shown with the entry until then.
        reason: String,
    },
    /// Try again later, because Stripe has still to answer about its object. This costs no attempt, and does not make the
    /// colony look slow.
    AwaitStripe {
        /// The shortest wait.
        after: Duration,
        /// Why; shown with the entry until then.
        reason: String,
    },
    /// Try again later, because only a bee may be able to ask Stripe about its object. This costs no attempt and does not
    /// make the colony look slow, and the entry is never too old for the colony.
    AwaitBee {
        /// The shortest wait.
        after: Duration,
        /// Why; shown with the entry until then.
        reason: String,
    },
    /// A process of a Colonies server has it now. No worker leases it until the process is concluded.
    Submitted {
        process: ProcessId,
        /// How long to wait before asking the server about it.
        poll_after: Duration,
    },
}

/// What a conclusion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concluded {
    /// The lease was held and the entry changed.
    Done,
    /// The lease had been lost. Nothing changed, and the present holder of the entry decides.
    LeaseLost,
}

/// Conclusions that the inbox could not store. The leases hold until they end.
#[derive(Debug)]
pub struct Refused {
    pub error: InboxError,
    /// The conclusions to offer again; empty if the inbox is closed.
    pub conclusions: Vec<(Lease, Conclusion)>,
}

impl Inbox {
    /// Ends leases. Returns for each lease, in order, whether it was still held; a lost one changes nothing. A refusal
    /// returns the leases, to be concluded later.
    pub async fn conclude(&self, conclusions: Vec<(Lease, Conclusion)>) -> Result<Vec<Concluded>, Refused> {
        if conclusions.is_empty() {
            return Ok(Vec::new());
        }
        let waits = conclusions.iter().any(|(_, conclusion)| conclusion.waits());
        let concluded = match &self.store {
            Store::Local(local) => local.conclude(conclusions).await?,
            Store::Postgres(postgres) => match postgres.core.conclude(&conclusions).await {
                Ok(concluded) => concluded,
                Err(error) => return Err(Refused { error, conclusions }),
            },
        };
        if waits {
            // A worker that waits for the next due time does not know of this one.
            self.wake();
        }
        Ok(concluded)
    }
}

impl Conclusion {
    /// Whether the entry will be due again.
    const fn waits(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::RetryAlone { .. } | Self::AwaitStripe { .. } | Self::AwaitBee { .. })
    }

    /// The outcome of an event can be found out again, because the ledger knows it. That a process has the event cannot:
    /// another process would be submitted for it, and the colony would work twice.
    pub(super) const fn must_survive(&self) -> bool {
        matches!(self, Self::Submitted { .. })
    }
}
