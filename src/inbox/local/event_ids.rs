//! Which events have an entry: an index in two parts, so that a commit touches few of its pages.
//!
//! Within a second Stripe's ids come in any order. In one large index nearly every append of a busy gateway would change a
//! page of its own, and a commit writes each changed page to the log as a whole. So new ids go to a small table, which is
//! merged into the large one in the order of ids when it is full, as log-structured indexes do. Both tables are changed in
//! the transaction of the entry itself: there is no moment, and no state of the file, in which an entry lacks its id.

use rusqlite::{Connection, OptionalExtension, params};

/// How many ids the small table holds when it is merged. Merging so many takes about 2 ms, all within one commit.
const MERGED_AT: i64 = 512;

/// Selects the entries of the event with id `?1`, one per endpoint.
pub(super) const ENTRIES_OF_EVENT: &str =
    "SELECT entry FROM event_ids WHERE event_id = ?1 UNION ALL SELECT entry FROM event_ids_new WHERE event_id = ?1";

/// How many ids the small table holds.
pub(super) fn count_new(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT COUNT(*) FROM event_ids_new", [], |row| row.get(0))
}

/// Claims an event of an endpoint for an entry. If another entry already holds it, returns that entry and changes nothing.
pub(super) fn claim(
    connection: &Connection,
    event_id: &str,
    endpoint: &str,
    entry: i64,
) -> rusqlite::Result<Option<i64>> {
    let holder = connection
        .prepare_cached("SELECT entry FROM event_ids WHERE event_id = ?1 AND endpoint = ?2")?
        .query_row([event_id, endpoint], |row| row.get(0))
        .optional()?;
    if holder.is_some() {
        return Ok(holder);
    }
    let claimed = connection
        .prepare_cached(
            "INSERT INTO event_ids_new (event_id, endpoint, entry) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute(params![event_id, endpoint, entry])?;
    if claimed > 0 {
        return Ok(None);
    }
    connection
        .prepare_cached("SELECT entry FROM event_ids_new WHERE event_id = ?1 AND endpoint = ?2")?
        .query_row([event_id, endpoint], |row| row.get(0))
        .map(Some)
}

/// Forgets the event of an entry that will be removed.
pub(super) fn forget(connection: &Connection, entry: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM event_ids
             WHERE (event_id, endpoint) = (SELECT event_id, endpoint FROM entries WHERE id = ?1)",
        )?
        .execute([entry])?;
    connection
        .prepare_cached(
            "DELETE FROM event_ids_new
             WHERE (event_id, endpoint) = (SELECT event_id, endpoint FROM entries WHERE id = ?1)",
        )?
        .execute([entry])?;
    Ok(())
}

/// Merges the small table into the large one when it is full. Returns how many ids it then holds.
pub(super) fn merge_full(connection: &Connection, new: i64) -> rusqlite::Result<i64> {
    if new < MERGED_AT {
        return Ok(new);
    }
    connection
        .prepare_cached("INSERT INTO event_ids SELECT * FROM event_ids_new ORDER BY event_id, endpoint")?
        .execute([])?;
    connection.prepare_cached("DELETE FROM event_ids_new")?.execute([])?;
    Ok(0)
}
