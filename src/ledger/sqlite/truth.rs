//! The tables `stripe_subscriptions` and `stripe_customers`: one row per Stripe object, the greatest version wins.

use rusqlite::{Transaction, params};

use crate::domain::clock::Timestamp;
use crate::revenue::rows::{CustomerRow, ProjectedStatus, SubscriptionRow};

fn millis(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::millis)
}

/// Columns of `stripe_subscriptions` in the order of the parameters below.
fn merge_statement(table: &str) -> String {
    format!(
        "
    INSERT INTO {table} (
        id, version, source, account, livemode, customer_id, status, projected_status, entitles, preference, tier,
        price_id, product_id, quantity, currency, unit_amount, interval, interval_count, items, mrr_minor, created,
        started_at, current_period_start, current_period_end, will_cancel, cancel_at_period_end, cancel_at,
        canceled_at, ended_at, trial_start, trial_end, pause_behavior, pause_resumes_at, latest_invoice_id,
        metadata_user_id, raw)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
        ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36)
    ON CONFLICT (id) DO UPDATE SET
        version = excluded.version, source = excluded.source, account = excluded.account,
        livemode = excluded.livemode, customer_id = excluded.customer_id, status = excluded.status,
        projected_status = excluded.projected_status, entitles = excluded.entitles,
        preference = excluded.preference, tier = excluded.tier, price_id = excluded.price_id,
        product_id = excluded.product_id, quantity = excluded.quantity, currency = excluded.currency,
        unit_amount = excluded.unit_amount, interval = excluded.interval, interval_count = excluded.interval_count,
        items = excluded.items, mrr_minor = excluded.mrr_minor, created = excluded.created,
        started_at = excluded.started_at, current_period_start = excluded.current_period_start,
        current_period_end = excluded.current_period_end, will_cancel = excluded.will_cancel,
        cancel_at_period_end = excluded.cancel_at_period_end, cancel_at = excluded.cancel_at,
        canceled_at = excluded.canceled_at, ended_at = excluded.ended_at, trial_start = excluded.trial_start,
        trial_end = excluded.trial_end, pause_behavior = excluded.pause_behavior,
        pause_resumes_at = excluded.pause_resumes_at, latest_invoice_id = excluded.latest_invoice_id,
        metadata_user_id = excluded.metadata_user_id, raw = excluded.raw
    WHERE excluded.version > {table}.version"
    )
}

/// The newest contents of all events.
pub(super) const TRUTH: &str = "stripe_subscriptions";

/// The newest contents of events that no rule holds, of subscriptions of which a rule held one.
pub(super) const VOUCHED: &str = "vouched_subscriptions";

/// Keeps the subscription with the greatest version in one of the two tables; returns the number of rows that changed.
pub(super) fn merge_subscription(
    transaction: &Transaction<'_>,
    table: &'static str,
    row: &SubscriptionRow,
) -> rusqlite::Result<usize> {
    transaction.prepare_cached(&merge_statement(table))?.execute(params![
        row.id,
        row.version.sort_key(),
        row.source.as_str(),
        row.account,
        row.livemode,
        row.customer_id,
        row.status,
        row.projected_status.map(ProjectedStatus::as_str),
        row.entitles,
        row.preference,
        row.tier,
        row.price_id,
        row.product_id,
        row.quantity,
        row.currency,
        row.unit_amount,
        row.interval,
        row.interval_count,
        row.items,
        row.mrr_minor,
        millis(row.created),
        millis(row.started_at),
        millis(row.current_period_start),
        millis(row.current_period_end),
        row.will_cancel,
        row.cancel_at_period_end,
        millis(row.cancel_at),
        millis(row.canceled_at),
        millis(row.ended_at),
        millis(row.trial_start),
        millis(row.trial_end),
        row.pause_behavior,
        millis(row.pause_resumes_at),
        row.latest_invoice_id,
        row.metadata_user_id,
        row.raw.as_str(),
    ])
}

/// Keeps the customer with the greatest version; returns the number of rows that changed.
pub(super) fn merge_customer(transaction: &Transaction<'_>, row: &CustomerRow) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "INSERT INTO stripe_customers (id, version, source, account, livemode, deleted, currency, delinquent,
                                           balance_minor, metadata_user_id, raw)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET version = excluded.version, source = excluded.source,
                 account = excluded.account, livemode = excluded.livemode, deleted = excluded.deleted,
                 currency = excluded.currency, delinquent = excluded.delinquent,
                 balance_minor = excluded.balance_minor, metadata_user_id = excluded.metadata_user_id,
                 raw = excluded.raw
             WHERE excluded.version > stripe_customers.version",
        )?
        .execute(params![
            row.id,
            row.version.sort_key(),
            row.source.as_str(),
            row.account,
            row.livemode,
            row.deleted,
            row.currency,
            row.delinquent,
            row.balance_minor,
            row.metadata_user_id,
            row.raw.as_str(),
        ])
}
