//! Which of the contents that were kept beside a row the row is, and until when a late payer has access.
//!
//! Kept are, for an object of which the greatest version is not enough:
//! - all contents of the newest moment and kind, where there are several; `revenue::order` tells the last of them, from
//!   what their events and those of the moment before say;
//! - where one of them lists only a part of its items, the newest content that listed all;
//! - of the vouched state, whose rows are made here alone, also a single one.
//!
//! Of several renderings of one event the newest is kept. All that depends on the set of contents alone, not on the order in
//! which they came. The finding about an undecided order is about the present row: it goes when something newer comes. Of the
//! vouched state there is one only where what the contents give differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

use super::truth::{Truth, is_told};
use crate::domain::ids::EventId;
use crate::ledger::expiry::is_reduced;
use crate::ledger::order::{ORDER_UNDECIDED, VOUCHED_UNDECIDED, finding, moment_of, vouched_finding};
use crate::revenue::order::{self, Moment, Proof, Told};
use crate::revenue::rows::{Rank, SORT_KEY_CLASS, SORT_KEY_EVENT, event_of_sort_key};

/// Settles an object's kept contents, after its events were recorded. Returns whether the row changed.
pub(super) fn settle(transaction: &Transaction<'_>, truth: &Truth, id: &str) -> rusqlite::Result<bool> {
    let (table, kept) = (truth.table, truth.kept);
    forget_finding(transaction, truth, id)?;
    trim(transaction, truth, id)?;
    let contents: Vec<(String, bool)> = {
        let partial = if truth.has_parts() { "partial" } else { "0" };
        let sql = format!("SELECT version, {partial} FROM {kept} WHERE id = ?1 ORDER BY version");
        let mut statement = transaction.prepare_cached(&sql)?;
        let rows = statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let class = |version: &str| version.get(..SORT_KEY_CLASS).unwrap_or_default().to_owned();
    let newest = contents.last().map(|(version, _)| class(version)).unwrap_or_default();
    let mut tied: Vec<&(String, bool)> = contents.iter().filter(|(version, _)| class(version) == newest).collect();
    if !is_told(&newest) {
        // Of fetched contents, the one whose request was sent last.
        tied.drain(..tied.len().saturating_sub(1));
    }
    if tied.is_empty() {
        return Ok(false);
    }
    if tied.len() < 2 && tied.iter().all(|(_, partial)| !partial) && !truth.is_vouched() {
        transaction.prepare_cached(&format!("DELETE FROM {kept} WHERE id = ?1"))?.execute([id])?;
        let sql = format!("UPDATE {table} SET tied = 0 WHERE id = ?1 AND tied");
        transaction.prepare_cached(&sql)?.execute([id])?;
        return Ok(false);
    }
    let versions: Vec<&str> = tied.iter().map(|(version, _)| version.as_str()).collect();
    let (winner, proof) = last_of(transaction, truth, id, &versions)?;
    let held = |transaction: &Transaction<'_>| -> rusqlite::Result<Option<(String, String)>> {
        let sql = format!("SELECT version, preference FROM {table} WHERE id = ?1");
        let sql = if truth.has_parts() { sql } else { sql.replace("preference", "''") };
        transaction.prepare_cached(&sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    };
    let before = held(transaction)?;
    transaction.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?.execute([id])?;
    let sql = format!("INSERT INTO {table} SELECT * FROM {kept} WHERE id = ?1 AND version = ?2");
    transaction.prepare_cached(&sql)?.execute([id, &winner])?;
    transaction
        .prepare_cached(&format!("UPDATE {table} SET tied = ?2 WHERE id = ?1"))?
        .execute(params![id, tied.len() > 1])?;
    if tied.iter().any(|(version, partial)| *partial && *version == winner) {
        complete(transaction, truth, id)?;
    }
    let found = match truth.is_vouched() {
        false => finding(proof, id),
        true if differs(transaction, id, &newest)? => vouched_finding(proof, id),
        true => None,
    };
    if let Some(row) = found {
        super::entries::record_finding(transaction, &EventId::new(event_of_sort_key(&winner)), &row)?;
    }
    Ok(before != held(transaction)?)
}

/// Removes contents that a newer content, or a newer rendering of the same event, made needless.
fn trim(transaction: &Transaction<'_>, truth: &Truth, id: &str) -> rusqlite::Result<()> {
    let kept = truth.kept;
    let same = format!("{} = {}", event_of("o.version"), event_of(&format!("{kept}.version")));
    let sql = format!(
        "DELETE FROM {kept} WHERE id = ?1 AND EXISTS (
             SELECT 1 FROM {kept} o WHERE o.id = ?1 AND o.version > {kept}.version AND {same})"
    );
    transaction.prepare_cached(&sql)?.execute([id])?;
    let newest = format!("(SELECT substr(max(version), 1, {SORT_KEY_CLASS}) FROM {kept} WHERE id = ?1)");
    let mut sql = format!("DELETE FROM {kept} WHERE id = ?1 AND substr(version, 1, {SORT_KEY_CLASS}) < {newest}");
    if truth.has_parts() {
        let _ = write!(
            sql,
            " AND NOT (version IS (SELECT max(version) FROM {kept} WHERE id = ?1 AND NOT partial)
              AND EXISTS (SELECT 1 FROM {kept} WHERE id = ?1 AND partial
                          AND substr(version, 1, {SORT_KEY_CLASS}) = {newest}))"
        );
    }
    transaction.prepare_cached(&sql)?.execute([id]).map(drop)
}

/// The event of a version, as an expression. See [`event_of_sort_key`].
fn event_of(version: &str) -> String {
    format!("substr({version}, {SORT_KEY_EVENT} + 1, instr(substr({version}, {SORT_KEY_EVENT} + 1) || ' ', ' ') - 1)")
}

/// Removes the finding about an order. It is recorded under one of the events whose contents are kept.
fn forget_finding(transaction: &Transaction<'_>, truth: &Truth, id: &str) -> rusqlite::Result<()> {
    let code = if truth.is_vouched() { VOUCHED_UNDECIDED } else { ORDER_UNDECIDED };
    let sql = format!(
        "DELETE FROM findings WHERE code = ?2 AND subject = ?1
         AND event_id IN (SELECT {} FROM {} WHERE id = ?1)",
        event_of("version"),
        truth.kept
    );
    transaction.prepare_cached(&sql)?.execute([id, code]).map(drop)
}

/// Whether the vouched contents of a subscription of this moment and kind give different access.
fn differs(transaction: &Transaction<'_>, id: &str, class: &str) -> rusqlite::Result<bool> {
    let sql = format!(
        "SELECT count(DISTINCT preference) > 1 FROM kept_vouched WHERE id = ?1 AND substr(version, 1, {SORT_KEY_CLASS}) = ?2"
    );
    transaction.prepare_cached(&sql)?.query_row([id, class], |row| row.get(0))
}

/// The last of several contents of one moment.
fn last_of(
    transaction: &Transaction<'_>,
    truth: &Truth,
    id: &str,
    versions: &[&str],
) -> rusqlite::Result<(String, Proof)> {
    let tied: Vec<Told> = versions.iter().map(|version| told(transaction, version)).collect::<rusqlite::Result<_>>()?;
    let earlier = match versions.first().and_then(|version| moment_of(version)) {
        Some((at, rank)) if tied.len() > 1 => earlier(transaction, truth, id, at, rank)?,
        _ => Vec::new(),
    };
    let last = order::last(&earlier, &tied);
    Ok(last.map_or_else(
        || (versions.last().map(|&version| version.to_owned()).unwrap_or_default(), Proof::Whole),
        |last| (last.version, last.proof),
    ))
}

/// What the event of a content says.
fn told(transaction: &Transaction<'_>, version: &str) -> rusqlite::Result<Told> {
    let event = event_of_sort_key(version);
    let payload: Option<String> = transaction
        .prepare_cached("SELECT payload FROM events WHERE id = ?1")?
        .query_row([event], |row| row.get(0))
        .optional()?;
    let payload = payload.and_then(|payload| serde_json::from_str(&payload).ok()).unwrap_or_default();
    Ok(read(version.to_owned(), &payload))
}

fn read(version: String, payload: &Value) -> Told {
    let data = payload.get("data").unwrap_or(&Value::Null);
    Told::new(version, data.get("object").unwrap_or(&Value::Null), data.get("previous_attributes"))
}

/// What events say of the object's moments before the one at `at` (in milliseconds) of the rank `rank`, the oldest first.
/// It goes back to a moment of a single event that is not a mere announcement of a change in its own second.
fn earlier(transaction: &Transaction<'_>, truth: &Truth, id: &str, at: i64, rank: u8) -> rusqlite::Result<Vec<Moment>> {
    let sql = format!(
        "SELECT id, type, created FROM events
         WHERE object_id = ?1 AND {} AND created <= ?2",
        truth.kinds
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map(params![id, at], |row| {
        let (event, kind, created): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(((created, Rank::of_payload(&kind) as u8), event))
    })?;
    let before = rows.filter(|row| !row.as_ref().is_ok_and(|(moment, _)| *moment >= (at, rank)));
    let before: Vec<((i64, u8), String)> = before.collect::<rusqlite::Result<_>>()?;
    let mut moments: BTreeMap<(i64, u8), Vec<String>> = BTreeMap::new();
    for (moment, event) in before {
        moments.entry(moment).or_default().push(event);
    }
    let (announced, updated) = (Rank::Announced as u8, Rank::Updated as u8);
    let asides: Vec<(i64, u8)> = moments
        .keys()
        .copied()
        .filter(|&(second, of)| {
            let changed = (second, updated);
            of == announced && (changed == (at, rank) || moments.contains_key(&changed))
        })
        .collect();
    let is_start = |moment: &(i64, u8), events: &[String]| events.len() == 1 && !asides.contains(moment);
    let single = moments.iter().rev().find(|(moment, events)| is_start(moment, events)).map(|(moment, _)| *moment);
    let needed = moments.into_iter().filter(|(moment, _)| Some(*moment) >= single);
    let payload = |event: String| {
        let mut statement = transaction.prepare_cached("SELECT payload FROM events WHERE id = ?1")?;
        let payload: String = statement.query_row([&event], |row| row.get(0))?;
        let payload = serde_json::from_str(&payload).unwrap_or_default();
        Ok((!is_reduced(&payload)).then(|| read(event, &payload)))
    };
    needed
        .map(|(moment, events)| {
            let contents =
                events.into_iter().filter_map(|event| payload(event).transpose()).collect::<rusqlite::Result<_>>()?;
            Ok(Moment { contents, is_aside: asides.contains(&moment) })
        })
        // Events without their payload tell nothing.
        .filter(|moment| !moment.as_ref().is_ok_and(|moment| moment.contents.is_empty()))
        .collect()
}

/// Takes over what the newest content that listed all items says and the present one may lack.
fn complete(transaction: &Transaction<'_>, truth: &Truth, id: &str) -> rusqlite::Result<()> {
    let Truth { table, kept, .. } = truth;
    let whole = format!("FROM {kept} WHERE id = ?1 AND NOT partial ORDER BY version DESC LIMIT 1");
    let sql = format!(
        "UPDATE {table} AS s SET
            mrr_minor = CASE WHEN s.status IN ('active', 'past_due') AND s.pause_behavior IS NULL
                THEN max(s.mrr_minor, w.mrr_minor) ELSE s.mrr_minor END,
            tier = CASE WHEN w.tier_rank > s.tier_rank THEN w.tier ELSE s.tier END,
            preference = CASE WHEN w.tier_rank <= s.tier_rank THEN s.preference
                WHEN s.entitles THEN substr(s.preference, 1, 4) || printf('%02d', w.tier_rank) || substr(s.preference, 7)
                ELSE substr(s.preference, 1, 7) || printf('%02d', w.tier_rank) || substr(s.preference, 10) END,
            tier_rank = max(w.tier_rank, s.tier_rank)
         FROM (SELECT mrr_minor, tier, tier_rank {whole}) AS w
         WHERE s.id = ?1"
    );
    transaction.prepare_cached(&sql)?.execute([id]).map(drop)
}

/// Works out until when a late payer has access, by the truth and by the vouched state. The grace lasts `grace_days` from
/// the first late event after the last event that told of another status: as its own, or as the one before it. If no event
/// tells it, it starts where the content says, or else at the content's own moment. Events that a rule holds tell nothing
/// about the vouched state.
pub(super) fn set_grace(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<()> {
    for (table, told) in [("stripe_subscriptions", "1"), ("vouched_subscriptions", "e.outcome <> 'quarantined'")] {
        let limited: bool = transaction
            .prepare_cached(&format!(
                "SELECT EXISTS (SELECT 1 FROM {table} WHERE id = ?1 AND status = 'past_due' AND grace_days IS NOT NULL)"
            ))?
            .query_row([id], |row| row.get(0))?;
        if limited {
            set_grace_of(transaction, table, told, id)?;
        }
    }
    Ok(())
}

/// As [`set_grace`], for a row in `table`; `told` says which events `e` count for it.
fn set_grace_of(transaction: &Transaction<'_>, table: &str, told: &str, id: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(&format!(
            "WITH told AS (
                SELECT e.created, json_extract(e.payload, '$.data.object.status') = 'past_due' AS late,
                    json_extract(e.payload, '$.data.previous_attributes.status') IS NOT NULL AS turned
                FROM events e JOIN {table} s ON s.id = ?1
                WHERE e.object_id = ?1 AND e.type LIKE 'customer.subscription.%' AND {told}
                  AND e.created <= CAST(substr(s.version, 3, 20) AS INTEGER)
             ), fine AS (SELECT max(created) AS at FROM told WHERE NOT late),
             became AS (SELECT max(created) AS at FROM told WHERE late AND turned)
             UPDATE {table} SET
                late_since = coalesce(
                    (SELECT min(t.created) FROM told t, fine f, became b
                     WHERE t.late AND (f.at IS NULL OR t.created > f.at OR t.created = f.at AND t.turned)
                       AND (b.at IS NULL OR t.created >= b.at)),
                    late_hint, CAST(substr(version, 3, 20) AS INTEGER))
             WHERE id = ?1"
        ))?
        .execute([id])?;
    transaction
        .prepare_cached(&format!(
            "UPDATE {table} SET grace_ends_at = late_since + grace_days * 86400000 WHERE id = ?1"
        ))?
        .execute([id])
        .map(drop)
}
