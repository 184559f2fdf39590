//! Ending leases: what becomes of an entry that was worked on.

use std::time::Duration;

use super::lease::Lease;
use super::{Inbox, InboxError, Store};
use crate::domain::ids::ProcessId;
use crate::domain::outcome::Settled;

/// How a lease, or the stay with a process, ends.
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
        /// What it found.
        reason: String,
    },
    /// No retry can mend it.
    Dead { code: String, reason: String },
    /// Try again later. The wait begins when the inbox stores it, so that a clock that jumps before that cannot stretch it.
    Retry {
        /// Not before so much time has passed.
        after: Duration,
        /// Whether this counts as a failed attempt of this entry. It does not when a dependency was down.
        counted: bool,
        /// Why, shown with the entry until then.
        reason: String,
    },
    /// Try again later, alone: it was in a batch that failed, and must not take neighbours with it again. Counts as a
    /// failed attempt.
    RetryAlone {
        /// Not before so much time has passed.
        after: Duration,
        /// Why, shown with the entry until then.
        reason: String,
    },
    /// Try again later, because Stripe has still to answer about its object. Costs no attempt, and does not make the colony
    /// look slow.
    AwaitStripe {
        /// Not before so much time has passed.
        after: Duration,
        /// Why, shown with the entry until then.
        reason: String,
    },
    /// Try again later, because only a bee may be able to ask Stripe about its object. Costs no attempt, does not make the colony
    /// look slow, and is not too old for the colony.
    AwaitBee {
        /// Not before so much time has passed.
        after: Duration,
        /// Why, shown with the entry until then.
        reason: String,
    },
    /// A process of a Colonies server has it now. Nobody leases it until the process is concluded.
    Submitted {
        process: ProcessId,
        /// After how long to ask the server about it.
        poll_after: Duration,
    },
}

/// What a conclusion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concluded {
    /// The lease was held and the entry changed.
    Done,
    /// The lease had been lost: nothing changed, and the present holder of the entry decides.
    LeaseLost,
}

/// Conclusions that the inbox could not store. The leases still hold until they end.
#[derive(Debug)]
pub struct Refused {
    pub error: InboxError,
    /// What to offer again; empty when the inbox is closed.
    pub conclusions: Vec<(Lease, Conclusion)>,
}

impl Inbox {
    /// Ends leases. Tells per lease, in order, whether it was still held; one that was lost changes nothing. A refusal
    /// gives the leases back, to be concluded later.
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
            // Whoever waits for the next due time knows nothing of this one.
            self.wake();
        }
        Ok(concluded)
    }
}

impl Conclusion {
    /// Whether the entry is due again later.
    const fn waits(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::RetryAlone { .. } | Self::AwaitStripe { .. } | Self::AwaitBee { .. })
    }

    /// What became of an event is found out again: the ledger knows it. That a process has it is not: another would be
    /// submitted for the same events, and the colony work twice.
    pub(super) const fn must_survive(&self) -> bool {
        matches!(self, Self::Submitted { .. })
    }
}
