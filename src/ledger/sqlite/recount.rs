//! Counting again. What is asked and how it is mended is [`crate::ledger::recount`]'s; the functions `gateway.recount_*` of
//! PostgreSQL do the same.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde_json::Value;

use super::fault::fault;
use super::truth::{CUSTOMERS, SUBSCRIPTIONS, VOUCHED, customer_differs, subscription_differs};
use super::{SqliteLedger, apply};
use crate::domain::clock::Timestamp;
use crate::ledger::recount::{
    Change, Content, Link, Mended, Mending, Money, RECOUNT_BYTES_MAX, RECOUNT_EVENTS_MAX, RECOUNT_ROWS_MAX, Recount,
    StoredEvent, TruthKind,
};
use crate::ledger::{BoxFuture, LedgerError, LedgerErrorKind};
use crate::revenue::rows::event_of_sort_key;
use crate::revenue::verdict::Plan;

impl Recount for SqliteLedger {
    fn stored_events<'a>(&'a self, after: &'a str) -> BoxFuture<'a, Result<Vec<StoredEvent>, LedgerError>> {
        let after = after.to_owned();
        Box::pin(self.call(move |connection| events(connection, &after).map_err(fault)))
    }

    fn held_money<'a>(&'a self, after: Option<&'a Money>) -> BoxFuture<'a, Result<Vec<Money>, LedgerError>> {
        let (kind, key) = after.map(|row| (row.kind.clone(), row.key.clone())).unwrap_or_default();
        Box::pin(self.call(move |connection| money(connection, &kind, &key).map_err(fault)))
    }

    fn held_links<'a>(&'a self, after: Option<&'a Link>) -> BoxFuture<'a, Result<Vec<Link>, LedgerError>> {
        let (payment, invoice) = after.map(|row| (row.payment_id.clone(), row.invoice_id.clone())).unwrap_or_default();
        Box::pin(self.call(move |connection| links(connection, &payment, &invoice).map_err(fault)))
    }

    fn differing<'a>(&'a self, plans: &'a [Plan]) -> BoxFuture<'a, Result<Vec<Content>, LedgerError>> {
        let plans = plans.to_vec();
        Box::pin(self.call(move |connection| differing(connection, &plans).map_err(fault)))
    }

    fn mend<'a>(&'a self, mending: &'a Mending) -> BoxFuture<'a, Result<Mended, LedgerError>> {
        let (mending, now) = (mending.clone(), self.clock.now());
        Box::pin(self.call(move |connection| mend(connection, &mending, now)))
    }
}

fn events(connection: &Connection, after: &str) -> rusqlite::Result<Vec<StoredEvent>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, object_id, iif(NOT reduced AND outcome IN ('applied', 'stale', 'ignored'), payload, NULL)
         FROM events WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, RECOUNT_EVENTS_MAX])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let payload: Option<String> = row.get(2)?;
        bytes += payload.as_ref().map_or(0, String::len);
        if !found.is_empty() && bytes > RECOUNT_BYTES_MAX {
            break;
        }
        // Text that is not JSON was never the payload of an event.
        let payload = payload.and_then(|payload| serde_json::from_str::<Value>(&payload).ok());
        found.push(StoredEvent { id: row.get(0)?, object_id: row.get(1)?, payload });
    }
    Ok(found)
}

const MONEY: &str = "kind, key, version, as_of, account, livemode, amount_minor, outside_minor, uncaptured_minor,
    voided_minor, currency, occurred_at, payment_id, charge_id, invoice_id, subscription_id, customer_id, user_id, status";

fn read_money(row: &Row<'_>) -> rusqlite::Result<Money> {
    Ok(Money {
        kind: row.get(0)?,
        key: row.get(1)?,
        version: row.get(2)?,
        as_of: row.get(3)?,
        account: row.get(4)?,
        livemode: row.get(5)?,
        amount_minor: row.get(6)?,
        outside_minor: row.get(7)?,
        uncaptured_minor: row.get(8)?,
        voided_minor: row.get(9)?,
        currency: row.get(10)?,
        occurred_at: row.get(11)?,
        payment_id: row.get(12)?,
        charge_id: row.get(13)?,
        invoice_id: row.get(14)?,
        subscription_id: row.get(15)?,
        customer_id: row.get(16)?,
        user_id: row.get(17)?,
        status: row.get(18)?,
    })
}

fn money(connection: &Connection, kind: &str, key: &str) -> rusqlite::Result<Vec<Money>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {MONEY} FROM revenue_entries WHERE (kind, key) > (?1, ?2) ORDER BY kind, key LIMIT ?3"
    ))?;
    statement.query_map(params![kind, key, RECOUNT_ROWS_MAX], read_money)?.collect()
}

fn links(connection: &Connection, payment: &str, invoice: &str) -> rusqlite::Result<Vec<Link>> {
    let mut statement = connection.prepare_cached(
        "SELECT payment_id, invoice_id, evidence, version FROM payment_links WHERE (payment_id, invoice_id) > (?1, ?2)
         ORDER BY payment_id, invoice_id LIMIT ?3",
    )?;
    statement.query_map(params![payment, invoice, RECOUNT_ROWS_MAX], read_link)?.collect()
}

fn read_link(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link { payment_id: row.get(0)?, invoice_id: row.get(1)?, evidence: row.get(2)?, version: row.get(3)? })
}

fn differing(connection: &Connection, plans: &[Plan]) -> rusqlite::Result<Vec<Content>> {
    let mut found = Vec::new();
    for row in plans.iter().flat_map(|plan| &plan.subscriptions) {
        if subscription_differs(connection, row)? {
            let (id, version) = (row.id.clone(), row.version.sort_key());
            found.push(Content { truth: TruthKind::Subscriptions, id, version });
        }
    }
    for row in plans.iter().flat_map(|plan| &plan.customers) {
        if customer_differs(connection, row)? {
            let (id, version) = (row.id.clone(), row.version.sort_key());
            found.push(Content { truth: TruthKind::Customers, id, version });
        }
    }
    Ok(found)
}

fn mend(connection: &mut Connection, mending: &Mending, now: Timestamp) -> Result<Mended, LedgerError> {
    let mended = mend_within(connection, mending, now).map_err(fault)?;
    mended.ok_or_else(|| {
        let message =
            "the replays of this step left out a content that they had to write: nothing of the step was changed";
        LedgerError::new(super::NAME, LedgerErrorKind::Unknown, message)
    })
}

/// `None`, and nothing is changed, if the replays do not write what they had to write.
fn mend_within(connection: &mut Connection, mending: &Mending, now: Timestamp) -> rusqlite::Result<Option<Mended>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let money = mending.money.iter().map(|change| mend_money(&transaction, change));
    let links = mending.links.iter().map(|change| mend_link(&transaction, change));
    let mut mended = Mended {
        money: money.collect::<rusqlite::Result<_>>()?,
        links: links.collect::<rusqlite::Result<_>>()?,
        contents: Vec::with_capacity(mending.contents.len()),
    };
    for content in &mending.contents {
        mended.contents.push(forget(&transaction, content)?);
    }
    if mended.contents.contains(&true) {
        apply::apply_within(&transaction, &mending.batch, now)?;
        for content in &mending.contents {
            // The replay may have kept the row without a version once more beside the new one.
            for kept in kept_tables(content.truth) {
                let sql = format!("DELETE FROM {kept} WHERE id = ?1 AND version = ''");
                transaction.prepare_cached(&sql)?.execute([&content.id])?;
            }
            let table = truth_table(content.truth);
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE id = ?1 AND version = '')");
            if transaction.prepare_cached(&sql)?.query_row([&content.id], |row| row.get(0))? {
                return Ok(None);
            }
        }
    }
    transaction.commit()?;
    Ok(Some(mended))
}

const fn truth_table(truth: TruthKind) -> &'static str {
    match truth {
        TruthKind::Subscriptions => SUBSCRIPTIONS.table,
        TruthKind::Customers => CUSTOMERS.table,
    }
}

const fn kept_tables(truth: TruthKind) -> &'static [&'static str] {
    match truth {
        TruthKind::Subscriptions => &[SUBSCRIPTIONS.kept, VOUCHED.kept],
        TruthKind::Customers => &[CUSTOMERS.kept],
    }
}

/// Removes the version of a content, so that a replay writes it again. Returns whether the ledger held it.
fn forget(transaction: &Transaction<'_>, content: &Content) -> rusqlite::Result<bool> {
    let table = truth_table(content.truth);
    let mut changed = transaction
        .prepare_cached(&format!("UPDATE {table} SET version = '' WHERE id = ?1 AND version = ?2"))?
        .execute([&content.id, &content.version])?;
    for kept in kept_tables(content.truth) {
        changed += transaction
            .prepare_cached(&format!("DELETE FROM {kept} WHERE id = ?1 AND version = ?2"))?
            .execute([&content.id, &content.version])?;
    }
    Ok(changed > 0)
}

/// Whether the payload that a version stands on is here.
fn stands(transaction: &Transaction<'_>, version: Option<&String>) -> rusqlite::Result<bool> {
    let Some(version) = version else { return Ok(false) };
    transaction
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM events WHERE id = ?1 AND NOT reduced AND payload ->> '$.erased' IS NULL)",
        )?
        .query_row([event_of_sort_key(version)], |row| row.get(0))
}

fn mend_money(transaction: &Transaction<'_>, Change { held, now }: &Change<Money>) -> rusqlite::Result<bool> {
    if !stands(transaction, now.as_ref().or(held.as_ref()).map(|row| &row.version))? {
        return Ok(false);
    }
    if let Some(held) = held {
        let found = transaction
            .prepare_cached(&format!("SELECT {MONEY} FROM revenue_entries WHERE kind = ?1 AND key = ?2"))?
            .query_row([&held.kind, &held.key], read_money)
            .optional()?;
        if found.as_ref() != Some(held) {
            return Ok(false);
        }
        transaction
            .prepare_cached("DELETE FROM revenue_entries WHERE kind = ?1 AND key = ?2")?
            .execute([&held.kind, &held.key])?;
    }
    let Some(now) = now else { return Ok(true) };
    let places: Vec<String> = (1..=MONEY.split(',').count()).map(|place| format!("?{place}")).collect();
    let sql = format!("INSERT OR IGNORE INTO revenue_entries ({MONEY}) VALUES ({})", places.join(", "));
    let written = transaction.prepare_cached(&sql)?.execute(params![
        now.kind,
        now.key,
        now.version,
        now.as_of,
        now.account,
        now.livemode,
        now.amount_minor,
        now.outside_minor,
        now.uncaptured_minor,
        now.voided_minor,
        now.currency,
        now.occurred_at,
        now.payment_id,
        now.charge_id,
        now.invoice_id,
        now.subscription_id,
        now.customer_id,
        now.user_id,
        now.status,
    ])?;
    Ok(written > 0)
}

fn mend_link(transaction: &Transaction<'_>, Change { held, now }: &Change<Link>) -> rusqlite::Result<bool> {
    if !stands(transaction, now.as_ref().or(held.as_ref()).map(|row| &row.version))? {
        return Ok(false);
    }
    if let Some(held) = held {
        let found = transaction
            .prepare_cached(
                "DELETE FROM payment_links WHERE payment_id = ?1 AND invoice_id = ?2 AND evidence = ?3 AND version = ?4",
            )?
            .execute(params![held.payment_id, held.invoice_id, held.evidence, held.version])?;
        if found == 0 {
            return Ok(false);
        }
    }
    let Some(now) = now else { return Ok(true) };
    let written = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO payment_links (payment_id, invoice_id, evidence, version) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![now.payment_id, now.invoice_id, now.evidence, now.version])?;
    Ok(written > 0)
}
