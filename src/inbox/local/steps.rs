//! Steps of entries, in the inbox file.

use rusqlite::{Connection, params};

use crate::domain::clock::Timestamp;
use crate::inbox::steps::{PastStep, STEPS_KEPT, STEPS_MAX, STEPS_REMOVED_MAX, Step, StepKind};

/// Records a step of an entry. If it is the same as the last one, that one is counted up.
pub(super) fn note(connection: &Connection, entry: i64, step: Step<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let Step { kind, code, reason } = step;
    let again = connection
        .prepare_cached(
            "UPDATE steps SET times = times + 1, last = ?5
             WHERE id = (SELECT MAX(id) FROM steps WHERE entry = ?1) AND kind = ?2 AND code IS ?3 AND reason = ?4",
        )?
        .execute(params![entry, kind.as_str(), code, reason, now.millis()])?;
    if again > 0 {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO steps (entry, at, last, times, kind, code, reason)
             SELECT ?1, ?5, ?5, 1, ?2, ?3, ?4 WHERE (SELECT COUNT(*) FROM steps WHERE entry = ?1) < ?6",
        )?
        .execute(params![entry, kind.as_str(), code, reason, now.millis(), STEPS_MAX])?;
    connection
        .prepare_cached("DELETE FROM steps WHERE last < ?1 AND id IN (SELECT id FROM steps ORDER BY id LIMIT ?2)")?
        .execute(params![now.minus(STEPS_KEPT).millis(), STEPS_REMOVED_MAX])?;
    Ok(())
}

/// All steps of an entry, the oldest first.
pub(super) fn of_entry(connection: &Connection, entry: i64) -> rusqlite::Result<Vec<PastStep>> {
    let mut statement = connection
        .prepare_cached("SELECT at, last, times, kind, code, reason FROM steps WHERE entry = ?1 ORDER BY id")?;
    let steps = statement.query_map([entry], |row| {
        let kind: String = row.get(3)?;
        Ok(PastStep {
            at: Timestamp::from_millis(row.get(0)?),
            last: Timestamp::from_millis(row.get(1)?),
            times: row.get(2)?,
            kind: kind.parse().unwrap_or(StepKind::Retry),
            code: row.get(4)?,
            reason: row.get(5)?,
        })
    })?;
    steps.collect()
}
