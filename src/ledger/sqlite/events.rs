//! The table `events`: which events this ledger has seen, and what became of each.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::domain::clock::Timestamp;
use crate::domain::ids::EventId;
use crate::domain::outcome::OutcomeName;
use crate::ledger::Outcome;
use crate::revenue::rows::EventFacts;

/// The answer for an event that is already recorded: `Quarantined` again, or `Duplicate`.
pub(super) fn known(transaction: &Transaction<'_>, id: &EventId) -> rusqlite::Result<Option<Outcome>> {
    transaction
        .prepare_cached("SELECT outcome, rule, reason FROM events WHERE id = ?1")?
        .query_row([id.as_str()], |row| {
            let outcome: String = row.get(0)?;
            if outcome != OutcomeName::Quarantined.as_str() {
                return Ok(Outcome::Duplicate);
            }
            let (rule, reason): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
            Ok(Outcome::Quarantined { rule: rule.unwrap_or_default(), reason: reason.unwrap_or_default() })
        })
        .optional()
}

/// Records the event, or what became of it now that it was released.
pub(super) fn record(
    transaction: &Transaction<'_>,
    event: &EventFacts,
    outcome: &Outcome,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (rule, reason) = match outcome {
        Outcome::Quarantined { rule, reason } => (Some(rule), Some(reason)),
        Outcome::Applied | Outcome::Stale | Outcome::Duplicate | Outcome::Ignored | Outcome::Failed { .. } => {
            (None, None)
        }
    };
    transaction
        .prepare_cached(
            "INSERT INTO events (id, type, account, livemode, created, api_version, object_id, payload,
                                 outcome, rule, reason, recorded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, rule = excluded.rule,
                 reason = excluded.reason, recorded_at = excluded.recorded_at",
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
            outcome.as_str(),
            rule,
            reason,
            now.millis(),
        ])?;
    Ok(())
}
