//! The ledger's word, for those who are told things by others: which ledger it is, and what it has recorded of events.
//!
//! Nothing that came over a Colonies server proves that an event took effect; this does. Changes nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BoxFuture, LedgerError};
use crate::domain::ledger_id::LedgerId;
use crate::domain::outcome::OutcomeName;

/// A ledger that says what it knows. No more than [`super::audit::AUDIT_IDS_MAX`] events are asked about at once.
pub trait Witness: Send + Sync + fmt::Debug {
    /// Which ledger this is, and what is recorded of those of these events that it knows, in no order.
    fn witness<'a>(&'a self, events: &'a [String]) -> BoxFuture<'a, Result<Testimony, LedgerError>>;
}

/// What a ledger says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testimony {
    pub ledger: LedgerId,
    pub events: Vec<Recorded>,
}

/// What is recorded of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub id: String,
    /// Applied, stale, ignored or quarantined; duplicate for what was dropped.
    pub outcome: OutcomeName,
    /// The rule that holds it in quarantine.
    pub rule: Option<String>,
    /// What the rule found, without customer data.
    pub reason: Option<String>,
}
