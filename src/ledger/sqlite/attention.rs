//! What a person should look at beside events, and the findings, from the views of the SQLite file.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, named_params, params};

use super::fault::fault;
use crate::domain::clock::Timestamp;
use crate::ledger::LedgerError;
use crate::ledger::report::{Attention, FindingLine, FindingsWanted, Reason, Unowned};
use crate::revenue::rows::Severity;

/// Mirrors `gateway.is_dropped`, of the subscription `s`. Stands for `IS_DROPPED` in other statements.
const IS_DROPPED: &str = "(EXISTS (SELECT 1 FROM events e WHERE e.outcome = 'dropped'
            AND e.id = substr(s.version, 47, instr(substr(s.version, 47) || ' ', ' ') - 1))
        AND NOT EXISTS (SELECT 1 FROM events e WHERE e.object_id = s.id AND e.outcome = 'quarantined'))";

/// Puts [`IS_DROPPED`] into a statement.
pub(super) fn with_dropped(statement: &str) -> String {
    statement.replace("IS_DROPPED", IS_DROPPED)
}

/// Mirrors `gateway.attention`. A file has no public tables, so every user fits. `:now` is the time in milliseconds. Where a table
/// without an index for the question is joined, it comes second, so that nothing of it is read while nothing is unseen.
const UNOWNED: &str = "
    WITH unseen AS MATERIALIZED (
        SELECT from_id AS id, to_id AS customer_id, evidence, version FROM customer_bindings
        WHERE kind = 'subscription_customer' AND from_id NOT IN (SELECT id FROM stripe_subscriptions)
    ), bought AS (
        SELECT u.id, r.version FROM unseen u CROSS JOIN revenue_entries r
        WHERE r.subscription_id = u.id AND r.amount_minor > 0
        UNION ALL SELECT id, version FROM unseen WHERE evidence = 'checkout.session'
        UNION ALL SELECT u.id, c.version FROM unseen u JOIN claims c ON c.subject = u.id AND c.evidence LIKE 'checkout.session%'
    ), untold AS (
        SELECT u.id, u.customer_id, min(e.account) AS account, max(e.livemode) AS livemode
        FROM unseen u JOIN bought b ON b.id = u.id
        JOIN events e ON e.id = substr(b.version, 47, instr(substr(b.version, 47) || ' ', ' ') - 1)
        GROUP BY u.id, u.customer_id
        HAVING min(e.recorded_at) <= :now - 600000 AND max(e.created) > :now - 34560000000
    )
    SELECT s.id, s.customer_id, s.account, s.livemode, s.status, s.tier, g.user_id,
        CASE WHEN g.user_id IS NULL AND json_extract(s.raw, '$.erased') THEN 'erased'
            WHEN g.withheld THEN 'withheld' WHEN g.claimed THEN 'contested' ELSE 'unnamed' END AS reason,
        g.preference AS preference
    FROM stripe_subscriptions s JOIN subscription_grants g ON g.id = s.id
    WHERE s.entitles AND (g.withheld OR g.entitles AND g.user_id IS NULL)
        AND NOT (g.withheld AND IS_DROPPED)
    UNION ALL
    SELECT id, customer_id, account, livemode, 'unknown', NULL, NULL, 'untold', '' FROM untold
    ORDER BY preference DESC, id";

/// Subscriptions that should give a user access and do not, and the number of findings, from one snapshot.
pub(super) fn attention(connection: &mut Connection, most: u32, now: Timestamp) -> Result<Attention, LedgerError> {
    let now = now.millis();
    let read = |connection: &mut Connection| -> rusqlite::Result<Attention> {
        let snapshot = connection.transaction()?;
        let all = with_dropped(UNOWNED);
        let mut unowned = snapshot.prepare_cached(&format!("{all} LIMIT :most"))?;
        let unowned =
            unowned.query_map(named_params! {":now": now, ":most": most}, line)?.collect::<rusqlite::Result<_>>()?;
        let mut reasons = snapshot.prepare_cached(&format!("SELECT reason, count(*) FROM ({all}) GROUP BY 1"))?;
        let reasons = reasons.query_map(named_params! {":now": now}, |row| Ok((reason(row, 0)?, row.get(1)?)))?;
        let reasons = reasons.collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
        let mut findings = snapshot.prepare_cached("SELECT severity, count(*) FROM findings GROUP BY 1")?;
        let findings = findings.query_map([], |row| Ok((severity(row, 0)?, row.get(1)?)))?;
        let findings = findings.collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
        let orphans = snapshot
            .prepare_cached("SELECT count(*) FROM subscription_grants WHERE user_id IS NULL")?
            .query_row([], |row| row.get(0))?;
        Ok(Attention { unowned, reasons, findings, orphans, ..Attention::default() })
    };
    read(connection).map_err(fault)
}

/// Findings that match everything that is asked for, those of the latest events first.
pub(super) fn findings(
    connection: &mut Connection,
    wanted: &FindingsWanted,
    most: u32,
) -> Result<Vec<FindingLine>, LedgerError> {
    let read = |connection: &mut Connection| -> rusqlite::Result<Vec<FindingLine>> {
        connection
            .prepare_cached(
                "SELECT f.event_id, e.type, e.created, f.code, f.severity, f.subject, f.detail
                 FROM findings f JOIN events e ON e.id = f.event_id
                 WHERE (?1 IS NULL OR f.code = ?1) AND (?2 IS NULL OR f.severity = ?2)
                   AND (?3 IS NULL OR f.subject = ?3)
                 ORDER BY e.created DESC, f.event_id, f.code, f.subject LIMIT ?4",
            )?
            .query_map(params![wanted.code, wanted.severity.map(Severity::as_str), wanted.subject, most], |row| {
                Ok(FindingLine {
                    event_id: row.get(0)?,
                    event_type: row.get(1)?,
                    created_ms: row.get(2)?,
                    code: row.get(3)?,
                    severity: severity(row, 4)?,
                    subject: row.get(5)?,
                    detail: row.get(6)?,
                })
            })?
            .collect()
    };
    read(connection).map_err(fault)
}

fn line(row: &Row<'_>) -> rusqlite::Result<Unowned> {
    Ok(Unowned {
        id: row.get(0)?,
        customer_id: row.get(1)?,
        account: row.get(2)?,
        livemode: row.get(3)?,
        status: row.get(4)?,
        tier: row.get(5)?,
        user_id: row.get(6)?,
        reason: reason(row, 7)?,
    })
}

fn reason(row: &Row<'_>, column: usize) -> rusqlite::Result<Reason> {
    named(row, column, Reason::ALL.map(|reason| (reason.as_str(), reason)))
}

fn severity(row: &Row<'_>, column: usize) -> rusqlite::Result<Severity> {
    let all = [Severity::Info, Severity::Warning, Severity::Critical];
    named(row, column, all.map(|severity| (severity.as_str(), severity)))
}

fn named<T: Copy, const N: usize>(row: &Row<'_>, column: usize, names: [(&str, T); N]) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    let found = names.into_iter().find(|(name, _)| *name == text);
    let unknown = || rusqlite::Error::InvalidColumnType(column, text.clone(), rusqlite::types::Type::Text);
    found.map(|(_, value)| value).ok_or_else(unknown)
}
