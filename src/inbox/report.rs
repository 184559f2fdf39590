//! An entry as operators see it, on the command line and over the admin listener: everything but the body.

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::state::StateName;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;

/// Columns in the order in which [`EntryReport::of`] reads them.
pub(super) const COLUMNS: &str =
    "id, endpoint, event_id, event_type, account, livemode, source, secret, received_at, state,
    due_at, attempts, crashes, process_id, ended_at, code, reason, released_at, replayed_at, action, action_at,
    action_by, action_note";

/// What a person did to an entry last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// `replay`, `release` or `drop`.
    pub action: String,
    pub at: Timestamp,
    /// Who, as far as known.
    pub by: Option<String>,
    pub note: Option<String>,
}

/// An entry without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryReport {
    pub entry: EntryId,
    /// The endpoint it came in by.
    pub endpoint: String,
    /// The event's id; `sha256:…` for bytes that were no event.
    pub event_id: String,
    pub event_type: String,
    pub account: Option<String>,
    /// False in test mode.
    pub livemode: Option<bool>,
    /// How it came in.
    pub source: String,
    /// Which of the endpoint's secrets signed it.
    pub secret: String,
    /// When it became durable.
    pub received: Timestamp,
    pub state: StateName,
    /// When it wants attention: its next attempt, the end of its lease, or the next question about its process.
    pub due: Option<Timestamp>,
    /// Failed attempts.
    pub attempts: u32,
    /// Times that the gateway died while it was worked on.
    pub crashes: u32,
    /// The process of a Colonies server that has or had it.
    pub process: Option<String>,
    /// When it was settled, given up or held back.
    pub ended: Option<Timestamp>,
    /// What became of it, when settled: `applied`, `stale`, `duplicate`, `ignored` or `dropped`.
    pub outcome: Option<String>,
    /// Why it is dead or quarantined: a stable code.
    pub code: Option<String>,
    /// The same for people, without customer data.
    pub reason: Option<String>,
    /// When a person released it from quarantine.
    pub released: Option<Timestamp>,
    /// When a person last replayed it.
    pub replayed: Option<Timestamp>,
    /// What a person did to it last.
    pub intervention: Option<Intervention>,
}

impl EntryReport {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let time = |column: usize| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp::from_millis));
        let state: StateName = row.get(9)?;
        let (told, is_settled): (Option<String>, _) = (row.get(15)?, state == StateName::Settled);
        let is_held = matches!(state, StateName::Dead | StateName::Quarantined);
        let action: Option<String> = row.get(19)?;
        let (at, by, note) = (time(20)?, row.get(21)?, row.get(22)?);
        Ok(Self {
            entry: EntryId(row.get(0)?),
            endpoint: row.get(1)?,
            event_id: row.get(2)?,
            event_type: row.get(3)?,
            account: row.get(4)?,
            livemode: row.get(5)?,
            source: row.get(6)?,
            secret: row.get(7)?,
            received: Timestamp::from_millis(row.get(8)?),
            state,
            due: time(10)?,
            attempts: row.get(11)?,
            crashes: row.get(12)?,
            process: row.get(13)?,
            ended: time(14)?,
            outcome: told.clone().filter(|_| is_settled),
            code: told.filter(|_| is_held),
            reason: row.get(16)?,
            released: time(17)?,
            replayed: time(18)?,
            intervention: action.map(|action| Intervention { action, at: at.unwrap_or_default(), by, note }),
        })
    }
}
