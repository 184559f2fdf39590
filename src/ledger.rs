//! The state of record: one contract, several stores.
//!
//! A store applies a batch of verdicts in one transaction: all of its effects, or none. It is idempotent by event id and keeps
//! the row with the greatest version, so a batch whose outcome is unknown (a lost reply, a killed process) is simply applied
//! again.
//!
//! The stores decide nothing about what a row should be: that is done in [`crate::revenue`]. They keep, per key, the
//! row with the greatest version, keep claims as a set, and join on reading.

pub mod audit;
mod batch;
mod call;
pub mod desk;
mod driver;
pub mod erase;
pub mod expiry;
pub mod explain;
mod functions;
mod lines;
pub mod migrations;
mod order;
pub mod person;
pub mod postgres;
pub mod projections;
pub mod recount;
pub mod report;
pub mod shadow;
pub mod sqlite;
mod sqlstate;
pub mod supabase;
pub mod traced;
pub mod witness;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::domain::ledger_id::LedgerId;
use crate::domain::outcome::OutcomeName;
use crate::domain::secret::Secret;
use crate::revenue::verdict::Verdict;

/// A boxed future, so that stores can stand behind one pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The contract of every state of record.
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Name for logs, metrics and health: `sqlite`, `postgres` or `supabase`.
    fn name(&self) -> &'static str;

    /// Whether this program's own code applies batches. If not, another program does, and the caller waits for its answer.
    fn is_in_this_program(&self) -> bool {
        false
    }

    /// Applies a batch in one transaction and tells, in the same order, what became of each event. If it fails, nothing of
    /// the batch is applied. A ledger with another identity than `meant_for`, or than the settings name, refuses the batch with
    /// [`LedgerErrorKind::OtherLedger`]: behind the same address there may be another database than the one that was asked
    /// before.
    fn apply_for<'a>(
        &'a self,
        meant_for: Option<&'a LedgerId>,
        batch: &'a [Verdict],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, LedgerError>>;

    /// As [`Self::apply_for`], for a batch that is meant for the ledger that the settings lead to.
    fn apply<'a>(&'a self, batch: &'a [Verdict]) -> BoxFuture<'a, Result<Vec<Outcome>, LedgerError>> {
        self.apply_for(None, batch)
    }

    /// A cheap question whether the ledger would take a batch now. Changes nothing. A ledger that lacks migrations answers
    /// with [`LedgerErrorKind::Schema`] and names them.
    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>>;

    /// The role that uses the ledger, and what this role may do; `None` if there are no roles or the database does not
    /// report them.
    fn caller(&self) -> BoxFuture<'_, Result<Option<migrations::Caller>, LedgerError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Takes new credentials, in the form that it was made with, for later calls. On `Err` they cannot be right, and the
    /// old ones stay.
    fn renew(&self, _secret: &Secret) -> Result<Renewal, LedgerError> {
        Ok(Renewal::NeedsRestart)
    }

    /// Shows some of what time alone has changed, and tries again for some users whom the public tables could not take yet and
    /// whose turn has come. Each batch does this too; this call is for times without batches. Returns whether more is due. A
    /// store without public tables has nothing to do.
    fn upkeep(&self) -> BoxFuture<'_, Result<bool, LedgerError>> {
        Box::pin(std::future::ready(Ok(false)))
    }
}

/// What became of new credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// They are in use.
    Done,
    /// Only a restart can take them, because they lead to another place.
    NeedsRestart,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one row changed, or the event was recorded as having nothing left to change.
    Applied,
    /// Recorded; every row it would write was already newer.
    Stale,
    /// This event was applied before.
    Duplicate,
    /// Recorded; the gateway maps nothing from this type.
    Ignored,
    /// A rule wants a person to look first. The facts of a genuine event are written; it grants nothing.
    Quarantined {
        /// Identifier of the rule.
        rule: String,
        /// What the rule found, without customer data.
        reason: String,
    },
    /// Not applied: no retry can mend it.
    Failed {
        /// Stable code.
        code: String,
        /// Why, without customer data.
        reason: String,
    },
}

impl Outcome {
    /// Its name, in metrics, in job output and in the column `events.outcome`.
    pub const fn name(&self) -> OutcomeName {
        match self {
            Self::Applied => OutcomeName::Applied,
            Self::Stale => OutcomeName::Stale,
            Self::Duplicate => OutcomeName::Duplicate,
            Self::Ignored => OutcomeName::Ignored,
            Self::Quarantined { .. } => OutcomeName::Quarantined,
            Self::Failed { .. } => OutcomeName::Failed,
        }
    }

    pub const fn as_str(&self) -> &'static str {
        self.name().as_str()
    }

    /// The name, with code and reason for an event that a person should look at, to pass on to another process.
    pub fn into_parts(self) -> (OutcomeName, Option<String>, Option<String>) {
        let name = self.name();
        match self {
            Self::Applied | Self::Stale | Self::Duplicate | Self::Ignored => (name, None, None),
            Self::Quarantined { rule: code, reason } | Self::Failed { code, reason } => {
                (name, Some(code), Some(reason))
            }
        }
    }

    /// Puts together again what [`Self::into_parts`] took apart. Without a code, the outcome's name serves as one.
    pub fn from_parts(name: OutcomeName, code: Option<String>, reason: Option<String>) -> Self {
        let code = code.unwrap_or_else(|| name.as_str().to_owned());
        let reason = reason.unwrap_or_default();
        match name {
            OutcomeName::Applied => Self::Applied,
            OutcomeName::Stale => Self::Stale,
            OutcomeName::Duplicate => Self::Duplicate,
            OutcomeName::Ignored => Self::Ignored,
            OutcomeName::Quarantined => Self::Quarantined { rule: code, reason },
            OutcomeName::Failed => Self::Failed { code, reason },
        }
    }
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
#[error("{ledger} ledger: {kind}: {message}")]
pub struct LedgerError {
    /// Which store.
    pub ledger: &'static str,
    /// Class of the fault, which decides about retries.
    pub kind: LedgerErrorKind,
    /// What happened and, where it helps, what the operator does about it.
    pub message: String,
    /// The store's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Class of a ledger fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerErrorKind {
    /// Cannot be reached, or the connection broke.
    Unavailable,
    /// Reached, but too busy or told us to slow down.
    Overload,
    /// No answer in time; the batch may have been applied.
    TimedOut,
    /// Lost against a concurrent transaction.
    Conflict,
    /// Credentials refused.
    Auth,
    /// The gateway's schema or function is missing or too old.
    Schema,
    /// It is another ledger than the one that the batch is meant for.
    OtherLedger,
    /// The store refused the data of this batch.
    Rejected,
    /// The store is damaged or its disk is full.
    Storage,
    /// A code or status that no rule knows.
    Unknown,
}

impl fmt::Display for LedgerErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl LedgerErrorKind {
    /// Stable name for metrics and health.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Overload => "overload",
            Self::TimedOut => "timed_out",
            Self::Conflict => "conflict",
            Self::Auth => "auth",
            Self::Schema => "schema",
            Self::OtherLedger => "other_ledger",
            Self::Rejected => "rejected",
            Self::Storage => "storage",
            Self::Unknown => "unknown",
        }
    }
}

/// What the caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The dependency is at fault, not the events: try the same batch again, no sooner than `after`, for ever.
    Retry {
        /// Shortest wait.
        after: Duration,
    },
    /// The data is at fault: the same batch would fail again. Find the event that causes it.
    GiveUp,
    /// It is unknown what is at fault. Find out whether one event is; otherwise ask only now and then. This costs no event
    /// an attempt.
    Probe,
}

impl LedgerError {
    /// An error without a source.
    pub fn new(ledger: &'static str, kind: LedgerErrorKind, message: impl Into<String>) -> Self {
        Self { ledger, kind, message: message.into(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The retry decision.
    pub fn disposition(&self) -> Disposition {
        match self.kind {
            LedgerErrorKind::Conflict => Disposition::Retry { after: Duration::ZERO },
            LedgerErrorKind::Unavailable | LedgerErrorKind::TimedOut => {
                Disposition::Retry { after: Duration::from_millis(100) }
            }
            LedgerErrorKind::Overload => Disposition::Retry { after: Duration::from_secs(1) },
            LedgerErrorKind::Auth
            | LedgerErrorKind::Schema
            | LedgerErrorKind::OtherLedger
            | LedgerErrorKind::Storage => Disposition::Retry { after: Duration::from_secs(5) },
            LedgerErrorKind::Rejected => Disposition::GiveUp,
            LedgerErrorKind::Unknown => Disposition::Probe,
        }
    }
}
