//! What reconciling asks of the SQLite file.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde_json::{Map, Value};

use super::fault::fault;
use crate::domain::clock::Timestamp;
use crate::ledger::LedgerError;
use crate::ledger::audit::{AUDIT_IDS_MAX, LeaseAnswer, LeaseAsk, SubscriptionFacts, SubscriptionKey};

/// The table of leases, also added to files of earlier releases that lack it.
pub(super) const LEASES: &str = "
CREATE TABLE IF NOT EXISTS leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until INTEGER NOT NULL,
    covered INTEGER
) STRICT;
";

/// Which of the events are recorded.
pub(super) fn known_events(connection: &mut Connection, ids: &[String]) -> Result<Vec<String>, LedgerError> {
    let read = |connection: &mut Connection| -> rusqlite::Result<Vec<String>> {
        let snapshot = connection.transaction()?;
        let mut statement = snapshot.prepare_cached("SELECT id FROM events WHERE id = ?1")?;
        let mut known = Vec::new();
        for id in ids.iter().take(AUDIT_IDS_MAX) {
            known.extend(statement.query_row([id], |row| row.get::<_, String>(0)).optional()?);
        }
        Ok(known)
    };
    read(connection).map_err(fault)
}

const FACTS: &str = "
    SELECT s.id, s.version, o.user_id,
        (SELECT json_group_array(c.user_id) FROM claims c WHERE c.subject = s.id AND c.rank = 80), o.doubted,
        NOT o.doubted OR EXISTS (SELECT 1 FROM vouched_subscriptions v WHERE v.id = s.id AND v.version = s.version),
        json_object(
        'account', s.account, 'livemode', json(iif(s.livemode, 'true', 'false')), 'customer', s.customer_id,
        'status', s.status, 'projected_status', s.projected_status,
        'entitles', json(iif(s.entitles, 'true', 'false')), 'tier', s.tier, 'price', s.price_id,
        'prices', (SELECT json_group_array(price) FROM (
            SELECT coalesce(i.value ->> '$.price.id', i.value ->> '$.plan.id', '-') || ' x '
                || coalesce(i.value ->> '$.quantity', '-') AS price
            FROM json_each(s.raw, '$.items.data') i ORDER BY price)),
        'quantity', s.quantity, 'currency', s.currency, 'unit_amount', s.unit_amount, 'interval', s.interval,
        'interval_count', s.interval_count, 'items', s.items, 'mrr_minor', s.mrr_minor,
        'current_period_start', s.current_period_start, 'current_period_end', s.current_period_end,
        'partial', json(iif(s.partial, 'true', 'false')), 'will_cancel', json(iif(s.will_cancel, 'true', 'false')),
        'will_renew', json(iif(s.will_renew, 'true', 'false')), 'collection_method', s.collection_method,
        'grace_days', s.grace_days, 'access_from', s.access_from, 'cancel_at', s.cancel_at,
        'canceled_at', s.canceled_at, 'ended_at', s.ended_at, 'trial_end', s.trial_end,
        'pause_behavior', s.pause_behavior, 'pause_resumes_at', s.pause_resumes_at,
        'latest_invoice', s.latest_invoice_id, 'metadata_user', s.metadata_user_id)
    FROM stripe_subscriptions s JOIN subscription_grants o ON o.id = s.id WHERE s.id = ?1";

/// What the ledger holds about the subscriptions.
pub(super) fn facts(connection: &mut Connection, ids: &[String]) -> Result<Vec<SubscriptionFacts>, LedgerError> {
    let read = |connection: &mut Connection| -> rusqlite::Result<Vec<SubscriptionFacts>> {
        let snapshot = connection.transaction()?;
        let mut statement = snapshot.prepare_cached(FACTS)?;
        let mut facts = Vec::new();
        for id in ids.iter().take(AUDIT_IDS_MAX) {
            facts.extend(statement.query_row([id], fact).optional()?);
        }
        Ok(facts)
    };
    read(connection).map_err(fault)
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn fact(row: &Row<'_>) -> rusqlite::Result<SubscriptionFacts> {
    let values: Map<String, Value> = json(row, 6)?;
    Ok(SubscriptionFacts {
        id: row.get(0)?,
        version: row.get(1)?,
        user_id: row.get(2)?,
        claimed_by: json(row, 3)?,
        doubted: row.get(4)?,
        vouched: row.get(5)?,
        values,
    })
}

/// The subscriptions of one mode whose identifiers come after `after`.
pub(super) fn after(
    connection: &mut Connection,
    after: &str,
    livemode: bool,
) -> Result<Vec<SubscriptionKey>, LedgerError> {
    let read = |connection: &mut Connection| -> rusqlite::Result<Vec<SubscriptionKey>> {
        connection
            .prepare_cached(
                "SELECT id, account, created FROM stripe_subscriptions WHERE id > ?1 AND livemode = ?2
                 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![after, livemode, AUDIT_IDS_MAX], |row| {
                Ok(SubscriptionKey { id: row.get(0)?, account: row.get(1)?, created_ms: row.get(2)? })
            })?
            .collect()
    };
    read(connection).map_err(fault)
}

/// Takes or keeps a lease, unless another holder has it.
pub(super) fn lease(connection: &mut Connection, ask: &LeaseAsk, now: Timestamp) -> Result<LeaseAnswer, LedgerError> {
    let write = |connection: &mut Connection| -> rusqlite::Result<LeaseAnswer> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let until = now.plus(std::time::Duration::from_secs(ask.seconds()));
        transaction
            .prepare_cached(
                "INSERT INTO leases (name, holder, until, covered) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET
                     until = iif(holder = excluded.holder OR until <= ?5, excluded.until, until),
                     holder = iif(holder = excluded.holder OR until <= ?5, excluded.holder, holder),
                     covered = nullif(max(coalesce(covered, -1), coalesce(excluded.covered, -1)), -1)",
            )?
            .execute(params![ask.name, ask.holder, until.millis(), ask.covered.map(Timestamp::millis), now.millis()])?;
        let answer = transaction
            .prepare_cached("SELECT holder = ?2 AND until > ?3, until, covered FROM leases WHERE name = ?1")?
            .query_row(params![ask.name, ask.holder, now.millis()], |row| {
                Ok(LeaseAnswer { mine: row.get(0)?, until_ms: row.get(1)?, covered_ms: row.get(2)? })
            })?;
        transaction.commit()?;
        Ok(answer)
    };
    write(connection).map_err(fault)
}
