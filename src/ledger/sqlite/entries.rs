//! The tables `revenue_entries` and `payment_links` (merged by version), `findings` and `guardian_decisions` (each
//! event has its own, so nothing to merge).

use rusqlite::{Transaction, params};

use crate::domain::ids::EventId;
use crate::revenue::rows::{Decision, Finding, PaymentLink, RevenueRow};

/// Keeps the amount with the greatest version, and the names and the amount around Stripe that any version has. Returns the
/// number of rows whose version changed.
pub(super) fn merge_revenue(transaction: &Transaction<'_>, row: &RevenueRow) -> rusqlite::Result<usize> {
    let changed = transaction.prepare_cached(MERGE_REVENUE)?.execute(params![
        row.kind.as_str(),
        row.key,
        row.version.sort_key(),
        row.as_of.millis(),
        row.account,
        row.livemode,
        row.amount_minor,
        row.outside_minor,
        row.uncaptured_minor,
        row.voided_minor,
        row.currency,
        row.occurred_at.millis(),
        row.payment_id,
        row.charge_id,
        row.invoice_id,
        row.subscription_id,
        row.customer_id,
        row.user_id,
        row.status,
    ])?;
    if changed == 0 {
        let names =
            params![row.kind.as_str(), row.key, row.payment_id, row.charge_id, row.customer_id, row.outside_minor];
        transaction.prepare_cached(MERGE_NAMES)?.execute(names)?;
    }
    Ok(changed)
}

const MERGE_REVENUE: &str = "
INSERT INTO revenue_entries AS t (kind, key, version, as_of, account, livemode, amount_minor, outside_minor,
    uncaptured_minor, voided_minor, currency, occurred_at, payment_id, charge_id, invoice_id, subscription_id,
    customer_id, user_id, status)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
ON CONFLICT (kind, key) DO UPDATE SET version = excluded.version, as_of = excluded.as_of, account = excluded.account,
    livemode = excluded.livemode, amount_minor = excluded.amount_minor,
    outside_minor = max(t.outside_minor, excluded.outside_minor),
    uncaptured_minor = excluded.uncaptured_minor, voided_minor = excluded.voided_minor, currency = excluded.currency,
    occurred_at = excluded.occurred_at, invoice_id = excluded.invoice_id, subscription_id = excluded.subscription_id,
    user_id = excluded.user_id, status = excluded.status,
    payment_id = coalesce(max(t.payment_id, excluded.payment_id), t.payment_id, excluded.payment_id),
    charge_id = coalesce(max(t.charge_id, excluded.charge_id), t.charge_id, excluded.charge_id),
    customer_id = coalesce(max(t.customer_id, excluded.customer_id), t.customer_id, excluded.customer_id)
WHERE excluded.version > t.version";

/// The other objects that a row names never change, nor does the amount that came around Stripe. One version may lack what
/// another has.
const MERGE_NAMES: &str = "
UPDATE revenue_entries SET payment_id = coalesce(max(payment_id, ?3), payment_id, ?3),
    charge_id = coalesce(max(charge_id, ?4), charge_id, ?4),
    customer_id = coalesce(max(customer_id, ?5), customer_id, ?5), outside_minor = max(outside_minor, ?6)
WHERE kind = ?1 AND key = ?2";

/// Keeps the link with the greatest version; returns the number of rows that changed.
pub(super) fn merge_link(transaction: &Transaction<'_>, row: &PaymentLink) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "INSERT INTO payment_links (payment_id, invoice_id, evidence, version) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (payment_id, invoice_id)
             DO UPDATE SET evidence = excluded.evidence, version = excluded.version
             WHERE excluded.version > payment_links.version",
        )?
        .execute(params![row.payment_id, row.invoice_id, row.evidence as u8, row.version.sort_key()])
}

/// Records a finding of the checks.
pub(super) fn record_finding(transaction: &Transaction<'_>, event: &EventId, row: &Finding) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO findings (event_id, code, subject, severity, detail) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (event_id, code, subject) DO NOTHING",
        )?
        .execute(params![event.as_str(), row.code, row.subject, row.severity.as_str(), row.detail])?;
    Ok(())
}

/// Records what a rule said. A later decision of the same rule replaces the earlier one.
pub(super) fn record_decision(transaction: &Transaction<'_>, event: &EventId, row: &Decision) -> rusqlite::Result<()> {
    insert_decision(transaction, event, row, "true")
}

/// Records what a rule said of another rendering of the event. Where several renderings meet one rule, the graver decision
/// stands, whichever came first.
pub(super) fn record_decision_of_rendering(
    transaction: &Transaction<'_>,
    event: &EventId,
    row: &Decision,
) -> rusqlite::Result<()> {
    let is_graver = "(excluded.action, excluded.reason) > (guardian_decisions.action, guardian_decisions.reason)";
    insert_decision(transaction, event, row, is_graver)
}

fn insert_decision(
    transaction: &Transaction<'_>,
    event: &EventId,
    row: &Decision,
    replaces: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(&format!(
            "INSERT INTO guardian_decisions (event_id, rule, severity, action, reason) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (event_id, rule) DO UPDATE SET severity = excluded.severity, action = excluded.action,
                 reason = excluded.reason
             WHERE {replaces}"
        ))?
        .execute(params![event.as_str(), row.rule, row.severity.as_str(), row.action.as_str(), row.reason])?;
    Ok(())
}
