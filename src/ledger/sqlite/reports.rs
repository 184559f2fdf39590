//! Answers from the views of the SQLite file.

use rusqlite::{Connection, Row};

use super::fault::fault;
use crate::ledger::LedgerError;
use crate::ledger::report::{Counts, DayLine, RecurringLine, SubscriptionLine, Summary};

/// The state of record at a glance, from one snapshot.
pub(super) fn summary(connection: &mut Connection, days: u32) -> Result<Summary, LedgerError> {
    let read = |connection: &mut Connection| {
        let snapshot = connection.transaction()?;
        Ok(Summary { counts: counts(&snapshot)?, recurring: recurring(&snapshot)?, daily: daily(&snapshot, days)? })
    };
    read(connection).map_err(fault)
}

/// Subscriptions with their users, those of greatest preference first.
pub(super) fn subscriptions(connection: &mut Connection, limit: u32) -> Result<Vec<SubscriptionLine>, LedgerError> {
    let read = |connection: &mut Connection| -> rusqlite::Result<Vec<SubscriptionLine>> {
        connection
            .prepare_cached(
                "SELECT id, livemode, user_id, customer_id, status, projected_status, entitles, tier, currency, mrr_minor,
                        current_period_end, source, account, will_cancel, will_renew, grace_ends_at, partial, items
                 FROM subscription_access ORDER BY preference DESC, id LIMIT ?1",
            )?
            .query_map([limit], |row| {
                Ok(SubscriptionLine {
                    id: row.get(0)?,
                    livemode: row.get(1)?,
                    user_id: row.get(2)?,
                    customer_id: row.get(3)?,
                    status: row.get(4)?,
                    projected_status: row.get(5)?,
                    entitles: row.get(6)?,
                    tier: row.get(7)?,
                    currency: row.get(8)?,
                    mrr_minor: row.get(9)?,
                    current_period_end_ms: row.get(10)?,
                    source: row.get(11)?,
                    account: row.get(12)?,
                    will_cancel: row.get(13)?,
                    will_renew: row.get(14)?,
                    grace_ends_at_ms: row.get(15)?,
                    partial: row.get(16)?,
                    items: row.get(17)?,
                })
            })?
            .collect()
    };
    read(connection).map_err(fault)
}

fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM events),
                    (SELECT count(*) FROM events WHERE outcome = 'quarantined'),
                    (SELECT count(*) FROM stripe_subscriptions),
                    (SELECT count(*) FROM subscription_owners WHERE user_id IS NULL),
                    (SELECT count(*) FROM stripe_customers),
                    (SELECT count(*) FROM claims),
                    (SELECT count(*) FROM revenue_entries),
                    (SELECT count(*) FROM findings),
                    (SELECT count(*) FROM guardian_decisions)",
        )?
        .query_row([], |row| {
            Ok(Counts {
                events: count(row, 0)?,
                quarantined: count(row, 1)?,
                subscriptions: count(row, 2)?,
                orphans: count(row, 3)?,
                customers: count(row, 4)?,
                claims: count(row, 5)?,
                revenue_entries: count(row, 6)?,
                findings: count(row, 7)?,
                decisions: count(row, 8)?,
                not_shown: 0,
            })
        })
}

fn recurring(connection: &Connection) -> rusqlite::Result<Vec<RecurringLine>> {
    connection
        .prepare_cached(
            "SELECT livemode, account, tier, currency, subscriptions, mrr_minor FROM recurring_revenue
             ORDER BY livemode DESC, account, currency, tier",
        )?
        .query_map([], |row| {
            Ok(RecurringLine {
                livemode: row.get(0)?,
                account: row.get(1)?,
                tier: row.get(2)?,
                currency: row.get(3)?,
                subscriptions: count(row, 4)?,
                mrr_minor: row.get(5)?,
            })
        })?
        .collect()
}

fn daily(connection: &Connection, days: u32) -> rusqlite::Result<Vec<DayLine>> {
    connection
        .prepare_cached(
            "WITH daily AS MATERIALIZED (SELECT * FROM daily_revenue)
             SELECT account, livemode, day, currency, gross_minor, returned_minor, net_minor, outside_minor FROM daily
             WHERE day IN (SELECT DISTINCT day FROM daily ORDER BY day DESC LIMIT ?1)
             ORDER BY day DESC, account, livemode DESC, currency",
        )?
        .query_map([days], |row| {
            Ok(DayLine {
                account: row.get(0)?,
                livemode: row.get(1)?,
                day: row.get(2)?,
                currency: row.get(3)?,
                gross_minor: row.get(4)?,
                returned_minor: row.get(5)?,
                net_minor: row.get(6)?,
                outside_minor: row.get(7)?,
            })
        })?
        .collect()
}

/// A count is never negative.
fn count(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(index)?).unwrap_or(0))
}
