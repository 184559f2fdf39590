//! Ending leases: what becomes of an entry that was worked on.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::file::InboxFile;
use super::lease::{CRASHES_ALONE, Lease};
use super::queue::Request;
use super::state::StateName;
use super::{Inbox, InboxError};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProcessId;
use crate::domain::outcome::{Awaited, Settled};

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
        /// Why, for whoever looks at the entry meanwhile.
        reason: String,
    },
    /// Try again later, alone: it was in a batch that failed, and must not take neighbours with it again. Counts as a
    /// failed attempt.
    RetryAlone {
        /// Not before so much time has passed.
        after: Duration,
        /// Why, for whoever looks at the entry meanwhile.
        reason: String,
    },
    /// Try again later, because Stripe has still to answer about its object. Costs no attempt, and does not make the colony
    /// look slow.
    AwaitStripe {
        /// Not before so much time has passed.
        after: Duration,
        /// Why, for whoever looks at the entry meanwhile.
        reason: String,
    },
    /// Try again later, because only a bee may be able to ask Stripe about its object. Costs no attempt, does not make the colony
    /// look slow, and is not too old for the colony.
    AwaitBee {
        /// Not before so much time has passed.
        after: Duration,
        /// Why, for whoever looks at the entry meanwhile.
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
    /// The lease had been lost: nothing changed, and whoever holds the entry now decides.
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
        let closed = |error| Refused { error, conclusions: Vec::new() };
        let pending = self.send(Conclude { conclusions }).await.map_err(closed)?;
        let (Conclude { conclusions }, concluded) = pending.returned().await.map_err(closed)?;
        let waits = |(_, conclusion): &(Lease, Conclusion)| {
            matches!(
                conclusion,
                Conclusion::Retry { .. }
                    | Conclusion::RetryAlone { .. }
                    | Conclusion::AwaitStripe { .. }
                    | Conclusion::AwaitBee { .. }
            )
        };
        if concluded.is_ok() && conclusions.iter().any(waits) {
            // Whoever waits for the next due time knows nothing of this one.
            self.wake();
        }
        concluded.map_err(|error| Refused { error, conclusions })
    }
}

/// Asks to end leases.
struct Conclude {
    conclusions: Vec<(Lease, Conclusion)>,
}

impl Request for Conclude {
    type Done = Vec<Concluded>;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Vec<Concluded>> {
        self.conclusions.iter().map(|(lease, conclusion)| conclude(file, lease, conclusion, now)).collect()
    }

    fn must_survive(&self) -> bool {
        self.conclusions.iter().any(|(_, conclusion)| conclusion.must_survive())
    }
}

fn conclude(
    file: &mut InboxFile,
    lease: &Lease,
    conclusion: &Conclusion,
    now: Timestamp,
) -> rusqlite::Result<Concluded> {
    let held: Option<i64> = file
        .connection
        .prepare_cached("SELECT id FROM entries WHERE id = ?1 AND state = 1 AND lease_token = ?2")?
        .query_row(params![lease.entry.0, lease.token], |row| row.get(0))
        .optional()?;
    let Some(id) = held else { return Ok(Concluded::LeaseLost) };
    conclusion.apply(file, id, StateName::Leased, now)?;
    Ok(Concluded::Done)
}

impl Conclusion {
    /// What became of an event is found out again: the ledger knows it. That a process has it is not: another would be
    /// submitted for the same events, and the colony work twice.
    pub(super) const fn must_survive(&self) -> bool {
        matches!(self, Self::Submitted { .. })
    }

    /// Changes an entry whose holder was checked.
    pub(super) fn apply(&self, file: &mut InboxFile, id: i64, from: StateName, now: Timestamp) -> rusqlite::Result<()> {
        match self {
            Self::Settle { outcome } => file.end(id, (from, StateName::Settled), now, outcome.as_str(), None),
            Self::Quarantine { code, reason } => file.end(id, (from, StateName::Quarantined), now, code, Some(reason)),
            Self::Dead { code, reason } => file.end(id, (from, StateName::Dead), now, code, Some(reason)),
            Self::Retry { after, counted, reason } => {
                file.wait(id, from, now.plus(*after), (i64::from(*counted), 0), None, reason)
            }
            Self::RetryAlone { after, reason } => {
                file.wait(id, from, now.plus(*after), (1, CRASHES_ALONE), None, reason)
            }
            Self::AwaitStripe { after, reason } => {
                file.wait(id, from, now.plus(*after), (0, 0), Some(Awaited::Stripe), reason)
            }
            Self::AwaitBee { after, reason } => {
                file.wait(id, from, now.plus(*after), (0, 0), Some(Awaited::Bee), reason)
            }
            Self::Submitted { process, poll_after } => file.submit(id, from, process, now.plus(*poll_after)),
        }
    }
}
