//! What became of an entry that was not settled at its first try: a row each time that it had to wait again, was left by what worked
//! on it, was given up or held back. Beside the orders of people, this is the entry's history.
//!
//! Guarantees: an entry that is settled at once has none; the same thing several times in a row is one row with a count; an entry
//! has at most [`STEPS_MAX`]; none stays longer than [`STEPS_KEPT`]. A crash of the machine may forget the last ones, as it does the
//! outcome that they tell of.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conclude::Conclusion;
use crate::domain::clock::Timestamp;
use crate::domain::named::named;

/// Most rows of an entry. Later steps show only in its state.
pub const STEPS_MAX: u32 = 64;

/// How long a step is kept.
pub const STEPS_KEPT: Duration = Duration::from_hours(24 * 90);

/// Most of the oldest rows that one new row removes.
pub(super) const STEPS_REMOVED_MAX: u32 = 100;

named! {
    /// What happened to it.
    pub enum StepKind {
        /// It will be tried again.
        Retry = "retry",
        /// It will be tried again, without neighbours.
        RetryAlone = "retry_alone",
        AwaitsStripe = "awaits_stripe",
        AwaitsBee = "awaits_bee",
        /// Its lease had ended without a result.
        LeaseEnded = "lease_ended",
        Dead = "dead",
        Quarantined = "quarantined",
    }
}

/// One step, or several in a row that are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastStep {
    pub at: Timestamp,
    /// When it last happened in a row.
    pub last: Timestamp,
    pub times: u64,
    pub kind: StepKind,
    pub code: Option<String>,
    pub reason: String,
}

/// A step to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    pub(super) kind: StepKind,
    pub(super) code: Option<&'a str>,
    pub(super) reason: &'a str,
}

impl Step<'_> {
    /// The step of an entry whose holder said nothing more. It is noted when that is found out: at the next lease, or at
    /// the next start.
    pub(super) const LEASE_ENDED: Self = Self {
        kind: StepKind::LeaseEnded,
        code: None,
        reason: "the process that worked on it died, was stopped, or took longer than its lease",
    };
}

impl Conclusion {
    /// The step that a conclusion is; `None` if it settles the entry or gives it to the colony.
    pub(super) fn step(&self) -> Option<Step<'_>> {
        let step = |kind, code, reason| Some(Step { kind, code, reason });
        match self {
            Self::Settle { .. } | Self::Submitted { .. } => None,
            Self::Retry { reason, .. } => step(StepKind::Retry, None, reason),
            Self::RetryAlone { reason, .. } => step(StepKind::RetryAlone, None, reason),
            Self::AwaitStripe { reason, .. } => step(StepKind::AwaitsStripe, None, reason),
            Self::AwaitBee { reason, .. } => step(StepKind::AwaitsBee, None, reason),
            Self::Dead { code, reason } => step(StepKind::Dead, Some(code), reason),
            Self::Quarantine { code, reason } => step(StepKind::Quarantined, Some(code), reason),
        }
    }
}
