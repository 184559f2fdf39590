//! An entry as operators see it, on the command line and over the admin listener: everything but the body.

use serde::{Deserialize, Serialize};

use super::state::StateName;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;

/// What a person last did to an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// `replay`, `release` or `drop`.
    pub action: String,
    pub at: Timestamp,
    /// The operator, as far as known.
    pub by: Option<String>,
    pub note: Option<String>,
}

/// An entry without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryReport {
    pub entry: EntryId,
    /// The endpoint it came in by.
    pub endpoint: String,
    /// The event's id; `sha256:…` for bytes that are not an event.
    pub event_id: String,
    pub event_type: String,
    pub account: Option<String>,
    /// False for test mode.
    pub livemode: Option<bool>,
    /// How it came in.
    pub source: String,
    /// Which of the endpoint's secrets signed it.
    pub secret: String,
    /// When it became durable.
    pub received: Timestamp,
    pub state: StateName,
    /// When it needs attention: for its next attempt, the end of its lease, or the next question about its process.
    pub due: Option<Timestamp>,
    /// Failed attempts.
    pub attempts: u32,
    /// How often the gateway died while working on it.
    pub crashes: u32,
    /// The process of a Colonies server that has or had it.
    pub process: Option<String>,
    /// When it was settled, given up or held back.
    pub ended: Option<Timestamp>,
    /// Its outcome once settled: `applied`, `stale`, `duplicate`, `ignored` or `dropped`.
    pub outcome: Option<String>,
    /// Why it is dead or quarantined: a stable code.
    pub code: Option<String>,
    /// The same for people, without customer data.
    pub reason: Option<String>,
    /// When a person released it from quarantine.
    pub released: Option<Timestamp>,
    /// When a person last replayed it.
    pub replayed: Option<Timestamp>,
    /// What a person last did to it.
    pub intervention: Option<Intervention>,
}
