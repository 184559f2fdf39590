//! The table `events`: which events this ledger has seen, and what became of each.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::domain::clock::Timestamp;
use crate::domain::ids::EventId;
use crate::domain::outcome::{DROPPED, OutcomeName};
use crate::ledger::Outcome;
use crate::revenue::rows::EventFacts;

/// What is recorded of an event.
pub(super) struct Known {
    pub(super) state: State,
    api_version: Option<String>,
}

/// What became of an event.
pub(super) enum State {
    Quarantined {
        rule: String,
        reason: String,
    },
    /// A person decided that it is never applied.
    Dropped,
    Applied,
}

impl Known {
    /// Whether the payload comes in another API version than the one that is recorded.
    pub(super) fn is_rendered_otherwise(&self, event: &EventFacts) -> bool {
        self.api_version != event.api_version
    }
}

impl State {
    /// The answer for the event when it comes again.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Quarantined { rule, reason } => Outcome::Quarantined { rule, reason },
            Self::Dropped | Self::Applied => Outcome::Duplicate,
        }
    }
}

/// What is recorded of an event, if it is known.
pub(super) fn known(transaction: &Transaction<'_>, id: &EventId) -> rusqlite::Result<Option<Known>> {
    transaction
        .prepare_cached("SELECT outcome, rule, reason, api_version FROM events WHERE id = ?1")?
        .query_row([id.as_str()], |row| {
            let (outcome, api_version): (String, Option<String>) = (row.get(0)?, row.get(3)?);
            let (rule, reason): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
            let state = if outcome == DROPPED {
                State::Dropped
            } else if outcome == OutcomeName::Quarantined.as_str() {
                State::Quarantined { rule: rule.unwrap_or_default(), reason: reason.unwrap_or_default() }
            } else {
                State::Applied
            };
            Ok(Known { state, api_version })
        })
        .optional()
}

/// Records the payload of the newest API version in which the event came. Returns whether this is the newest.
pub(super) fn take_newer_rendering(transaction: &Transaction<'_>, event: &EventFacts) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached(
            "UPDATE events SET api_version = ?2, payload = ?3, reduced = 0
             WHERE id = ?1 AND coalesce(api_version, '') < coalesce(?2, '')",
        )?
        .execute(params![event.id.as_str(), event.api_version, event.payload.as_str()])
        .map(|changed| changed > 0)
}

/// Records the event, or what became of it now that it was released.
pub(super) fn record(
    transaction: &Transaction<'_>,
    event: &EventFacts,
    outcome: &Outcome,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (rule, reason) = match outcome {
        Outcome::Quarantined { rule, reason } => (Some(rule.as_str()), Some(reason.as_str())),
        Outcome::Applied | Outcome::Stale | Outcome::Duplicate | Outcome::Ignored | Outcome::Failed { .. } => {
            (None, None)
        }
    };
    write(transaction, event, (outcome.as_str(), rule, reason), now)
}

/// Records that a person decided that the event is never applied.
pub(super) fn record_drop(
    transaction: &Transaction<'_>,
    event: &EventFacts,
    reason: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    write(transaction, event, (DROPPED, None, Some(reason)), now)
}

fn write(
    transaction: &Transaction<'_>,
    event: &EventFacts,
    (outcome, rule, reason): (&str, Option<&str>, Option<&str>),
    now: Timestamp,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO events (id, type, account, livemode, created, api_version, object_id, payload,
                                 outcome, rule, reason, recorded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, rule = excluded.rule,
                 reason = excluded.reason, recorded_at = excluded.recorded_at,
                 livemode = iif(events.outcome = 'dropped', excluded.livemode, livemode),
                 created = iif(events.outcome = 'dropped', excluded.created, created),
                 api_version = iif(events.outcome = 'dropped', excluded.api_version, api_version),
                 object_id = iif(events.outcome = 'dropped', excluded.object_id, object_id),
                 reduced = iif(events.outcome = 'dropped', 0, reduced),
                 payload = iif(events.outcome = 'dropped', excluded.payload, payload)",
        )?
        .execute(params![
            event.id.as_str(),
            event.kind,
            event.account,
            event.livemode,
            event.created.millis(),
            event.api_version,
            event.object_id,
            event.payload.as_str(),
            outcome,
            rule,
            reason,
            now.millis(),
        ])?;
    Ok(())
}
