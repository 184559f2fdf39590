//! Reducing payloads that are older than the operator keeps them. The rule is [`crate::ledger::expiry`]'s.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde_json::Value;

use super::SqliteLedger;
use super::erase::zeroing;
use super::fault::fault;
use super::truth::{CUSTOMERS, SUBSCRIPTIONS, Truth, VOUCHED, is_told};
use crate::domain::clock::Timestamp;
use crate::ledger::expiry::{EXPIRE_EVENTS_MAX, Expired, Expiry, Moment, Place, expired_event, needed};
use crate::ledger::order::moment_of;
use crate::ledger::{BoxFuture, LedgerError};
use crate::revenue::rows::Rank;

/// Marks the events that no longer have their payload. The column is also added to files of earlier releases that lack it.
pub(super) fn prepare(transaction: &Transaction<'_>) -> Result<(), LedgerError> {
    let add = || -> rusqlite::Result<()> {
        let there: bool = transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info('events') WHERE name = 'reduced')",
            [],
            |row| row.get(0),
        )?;
        if !there {
            transaction.execute_batch("ALTER TABLE events ADD COLUMN reduced INTEGER NOT NULL DEFAULT 0")?;
        }
        transaction
            .execute_batch("CREATE INDEX IF NOT EXISTS events_with_payload ON events (created, id) WHERE reduced = 0")
    };
    add().map_err(fault)
}

impl Expiry for SqliteLedger {
    fn expire_payloads<'a>(
        &'a self,
        before: Timestamp,
        after: Option<&'a Place>,
    ) -> BoxFuture<'a, Result<Expired, LedgerError>> {
        let after = after.cloned();
        Box::pin(self.call(move |connection| {
            zeroing(connection, |connection| expire(connection, before, after.as_ref())).map_err(fault)
        }))
    }
}

/// An event with its payload.
struct Event {
    id: String,
    created: i64,
    kind: String,
    object: Option<String>,
    payload: Value,
}

impl Event {
    /// The table of the truth about its object, if that table puts contents of one second in order.
    fn truth(&self) -> Option<&'static Truth> {
        if self.kind.starts_with("customer.subscription.") {
            Some(&SUBSCRIPTIONS)
        } else {
            matches!(self.kind.as_str(), "customer.created" | "customer.updated" | "customer.deleted")
                .then_some(&CUSTOMERS)
        }
    }

    fn moment(&self) -> Moment {
        (self.created, Rank::of_payload(&self.kind) as u8)
    }
}

fn expire(connection: &mut Connection, before: Timestamp, after: Option<&Place>) -> rusqlite::Result<Expired> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let events = next(&transaction, before, after)?;
    let mut spans: BTreeMap<(&str, &str), Vec<(Moment, Moment)>> = BTreeMap::new();
    let objects: BTreeMap<(&str, &str), &Truth> = events
        .iter()
        .filter_map(|event| event.truth().zip(event.object.as_deref()))
        .map(|(truth, object)| ((truth.table, object), truth))
        .collect();
    for ((table, object), truth) in objects {
        spans.insert((table, object), needed_of(&transaction, truth, object, before)?);
    }
    let is_needed = |event: &Event| {
        let object = event.truth().zip(event.object.as_deref());
        let spans = object.and_then(|(truth, object)| spans.get(&(truth.table, object)));
        spans.into_iter().flatten().any(|(since, until)| (*since..=*until).contains(&event.moment()))
    };
    let mut expired = Expired { last: None, reduced: 0 };
    for event in &events {
        expired.last = Some(Place { at: event.created.saturating_mul(1000), id: event.id.clone() });
        if is_needed(event) {
            continue;
        }
        let erased = event.payload.get("erased").is_some();
        let left = if erased { event.payload.clone() } else { expired_event(&event.payload) };
        transaction
            .prepare_cached("UPDATE events SET payload = ?2, reduced = 1 WHERE id = ?1")?
            .execute(params![event.id, left.to_string()])?;
        expired.reduced += 1;
    }
    transaction.commit()?;
    Ok(expired)
}

/// The next events that still have a payload.
fn next(transaction: &Transaction<'_>, before: Timestamp, after: Option<&Place>) -> rusqlite::Result<Vec<Event>> {
    let (at, id) = after.map_or((i64::MIN, ""), |place| (place.at.div_euclid(1000), place.id.as_str()));
    let mut statement = transaction.prepare_cached(
        "SELECT id, created, type, object_id, payload FROM events INDEXED BY events_with_payload
         WHERE reduced = 0 AND created <= ?1 AND (created, id) > (?2, ?3) ORDER BY created, id LIMIT ?4",
    )?;
    let rows = statement.query_map(params![before.millis(), at, id, EXPIRE_EVENTS_MAX], |row| {
        let payload = serde_json::from_str(row.get_ref(4)?.as_str()?).unwrap_or_default();
        Ok(Event { id: row.get(0)?, created: row.get(1)?, kind: row.get(2)?, object: row.get(3)?, payload })
    })?;
    rows.collect()
}

/// The spans of an object's moments whose payloads are needed.
fn needed_of(
    transaction: &Transaction<'_>,
    truth: &Truth,
    object: &str,
    before: Timestamp,
) -> rusqlite::Result<Vec<(Moment, Moment)>> {
    let mut moments: BTreeMap<Moment, usize> = BTreeMap::new();
    {
        let sql =
            format!("SELECT type, created FROM events WHERE object_id = ?1 AND {} AND created <= ?2", truth.kinds);
        let mut statement = transaction.prepare_cached(&sql)?;
        let mut rows = statement.query(params![object, before.millis()])?;
        while let Some(row) = rows.next()? {
            let kind: String = row.get(0)?;
            *moments.entry((row.get(1)?, Rank::of_payload(&kind) as u8)).or_default() += 1;
        }
    }
    let vouched = (truth.table == SUBSCRIPTIONS.table).then_some(VOUCHED.kept);
    let mut reaching = Vec::new();
    for table in [truth.kept].into_iter().chain(vouched) {
        let mut statement = transaction.prepare_cached(&format!("SELECT version FROM {table} WHERE id = ?1"))?;
        for version in statement.query_map([object], |row| row.get::<_, String>(0))? {
            let version = version?;
            // Fetched contents are not compared with events.
            reaching.extend(moment_of(&version).filter(|_| is_told(&version)));
        }
    }
    Ok(needed(&moments, &reaching))
}
