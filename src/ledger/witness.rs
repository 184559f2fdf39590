//! The ledger's word, for those who are told things by others: which ledger it is, and what it has recorded of events.
//!
//! Nothing that came over a Colonies server proves that an event took effect; this does. Changes nothing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{BoxFuture, LedgerError};
use crate::domain::ledger_id::LedgerId;
use crate::domain::outcome::OutcomeName;

/// A ledger that tells what it has recorded. A question has at most [`super::audit::AUDIT_IDS_MAX`] events.
pub trait Witness: Send + Sync + fmt::Debug {
    /// Which ledger this is, and what it has recorded of these events, in no order. Unknown events are left out.
    fn witness<'a>(&'a self, events: &'a [String]) -> BoxFuture<'a, Result<Testimony, LedgerError>>;
}

/// The answer of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testimony {
    pub ledger: LedgerId,
    pub events: Vec<Recorded>,
}

/// What is recorded of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub id: String,
    /// Applied, stale, ignored or quarantined; duplicate for a dropped event.
    pub outcome: OutcomeName,
    /// The rule that holds it in quarantine.
    pub rule: Option<String>,
    /// What the rule found, without customer data.
    pub reason: Option<String>,
}

/// The identity of a ledger, which is asked only once. Clones share the answer.
#[derive(Clone, Debug)]
pub struct Identity {
    ledger: Arc<dyn Witness>,
    known: Arc<Mutex<Option<LedgerId>>>,
}

impl Identity {
    pub fn of(ledger: Arc<dyn Witness>) -> Self {
        Self { ledger, known: Arc::default() }
    }

    /// The identity, if it is known.
    pub fn known(&self) -> Option<LedgerId> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The identity. Asks the ledger the first time.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn get(&self) -> Result<LedgerId, LedgerError> {
        match self.known() {
            Some(known) => Ok(known),
            None => self.testify(&[]).await.map(|testimony| testimony.ledger),
        }
    }

    /// As [`Witness::witness`]. Takes note of the identity.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn testify(&self, events: &[String]) -> Result<Testimony, LedgerError> {
        let testimony = self.ledger.witness(events).await?;
        let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).replace(testimony.ledger.clone());
        if let Some(before) = before.filter(|before| *before != testimony.ledger) {
            let now = testimony.ledger.as_str();
            tracing::error!(before = before.as_str(), now, "the ledger has changed: jobs are now for the new one");
        }
        Ok(testimony)
    }
}
