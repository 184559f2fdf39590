//! Retention: settled bodies go first, settled entries later. What is not settled stays for ever, but for the bodies of entries
//! that wait for a person, where the operator sets a time for them: the entry, its code and its reason stay.

use rusqlite::{Connection, params};

use super::file::{InboxFile, SweepCursor};
use super::queue::Request;
use super::{LocalInbox, event_ids, orders};
use crate::domain::clock::Timestamp;
use crate::inbox::error::InboxError;
use crate::inbox::retention::{Retention, SWEEP_ROWS_MAX, Swept};
use crate::inbox::state::StateName;

impl LocalInbox {
    /// Removes what [`Retention`] no longer keeps, in one bounded batch. Call again while it removed something.
    pub(in crate::inbox) async fn sweep(&self, retention: Retention) -> Result<Swept, InboxError> {
        self.ask(retention).await
    }
}

impl Request for Retention {
    type Done = Swept;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Swept> {
        let swept = sweep(&file.connection, &mut file.sweep, self, now)?;
        if swept.entries > 0 {
            file.count(StateName::Settled, -i64::try_from(swept.entries).unwrap_or(0));
            // The largest number may be among those removed, and is not given out again.
            file.connection
                .prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'next_entry'")?
                .execute([file.next_entry()])?;
        }
        Ok(swept)
    }
}

struct Row {
    id: i64,
    received: i64,
    state: StateName,
    ended: Option<i64>,
}

impl Row {
    /// Whether it came into one of these states at or before `cutoff`.
    fn has_ended(&self, states: &[StateName], cutoff: Timestamp) -> bool {
        states.contains(&self.state) && self.ended.is_some_and(|ended| ended <= cutoff.millis())
    }
}

const SETTLED: [StateName; 1] = [StateName::Settled];
const HELD: [StateName; 2] = [StateName::Dead, StateName::Quarantined];

fn sweep(
    connection: &Connection,
    cursor: &mut SweepCursor,
    retention: &Retention,
    now: Timestamp,
) -> rusqlite::Result<Swept> {
    let mut swept = Swept::default();
    let rows = rows(
        connection,
        "SELECT id, received_at, state, ended_at FROM bodies JOIN entries ON id = entry
         WHERE entry > ?1 ORDER BY entry LIMIT ?2",
        cursor.bodies,
    )?;
    let cutoff = now.minus(retention.bodies);
    let held_cutoff = retention.held_bodies.map_or(Timestamp::from_millis(i64::MIN), |keep| now.minus(keep));
    swept.more |= pass(&rows, &mut cursor.bodies, cutoff.max(held_cutoff), |row| {
        let removed = if row.has_ended(&SETTLED, cutoff) {
            &mut swept.bodies
        } else if row.has_ended(&HELD, held_cutoff) {
            &mut swept.held_bodies
        } else {
            return Ok(());
        };
        *removed += connection.prepare_cached("DELETE FROM bodies WHERE entry = ?1")?.execute([row.id])?;
        Ok(())
    })?;
    let rows = self::rows(
        connection,
        "SELECT id, received_at, state, ended_at FROM entries WHERE id > ?1 ORDER BY id LIMIT ?2",
        cursor.entries,
    )?;
    let cutoff = now.minus(retention.entries);
    swept.more |= pass(&rows, &mut cursor.entries, cutoff, |row| {
        let id = row.id;
        if !row.has_ended(&SETTLED, cutoff) || !orders::forget(connection, id)? {
            return Ok(());
        }
        connection.prepare_cached("DELETE FROM bodies WHERE entry = ?1")?.execute([id])?;
        event_ids::forget(connection, id)?;
        swept.entries += connection.prepare_cached("DELETE FROM entries WHERE id = ?1")?.execute([id])?;
        Ok(())
    })?;
    Ok(swept)
}

fn rows(connection: &Connection, sql: &str, after: i64) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![after, SWEEP_ROWS_MAX], |row| {
        Ok(Row { id: row.get(0)?, received: row.get(1)?, state: row.get(2)?, ended: row.get(3)? })
    })?;
    rows.collect()
}

/// Removes the rows that are due and moves the cursor. Returns true if the next sweep has more to do. Ids grow with the
/// time of receipt, so the first row received after the cutoff ends the pass.
fn pass(
    rows: &[Row],
    cursor: &mut i64,
    cutoff: Timestamp,
    mut remove: impl FnMut(&Row) -> rusqlite::Result<()>,
) -> rusqlite::Result<bool> {
    for row in rows {
        if row.received > cutoff.millis() {
            *cursor = 0;
            return Ok(false);
        }
        remove(row)?;
        *cursor = row.id;
    }
    let more = rows.len() == SWEEP_ROWS_MAX;
    if !more {
        *cursor = 0;
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::clock::Clock;
    use crate::domain::ids::EndpointName;
    use crate::inbox::{Door, Inbox, InboxOptions, NewEntry};
    use crate::stripe::envelope::Envelope;
    use crate::stripe::tests::delivery;

    /// Writes settled entries with bodies, without the writer.
    fn fill(options: &InboxOptions, entries: i64, settled: Timestamp) {
        let mut connection = Connection::open(options.directory.join("inbox.db")).unwrap();
        let transaction = connection.transaction().unwrap();
        for number in 0..entries {
            transaction
                .prepare_cached(
                    "INSERT INTO entries (id, endpoint, event_id, event_type, source, secret, received_at, state, ended_at,
                                          code)
                     VALUES (?1, 'stripe', 'evt_old_' || ?1, 'x', 'webhook', 's', ?2, 3, ?2, 'applied')",
                )
                .unwrap()
                .execute(params![number + 1, settled.millis()])
                .unwrap();
            transaction
                .prepare_cached("INSERT INTO bodies (entry, body) VALUES (?1, zeroblob(2000))")
                .unwrap()
                .execute([number + 1])
                .unwrap();
        }
        transaction.execute("UPDATE tally SET entries = ?1 WHERE state = 3", [entries]).unwrap();
        transaction.commit().unwrap();
    }

    fn entry(number: u64) -> NewEntry {
        let body = format!(r#"{{"id":"evt_new_{number}","object":"event","type":"x","livemode":true}}"#);
        let envelope = Envelope::read(body.as_bytes()).unwrap();
        NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body.as_bytes()))
    }

    #[tokio::test]
    async fn webhooks_are_made_durable_between_the_bounded_batches_of_a_long_sweep() {
        const ENTRIES: i64 = 20_000;
        let directory = tempfile::tempdir().unwrap();
        let options = InboxOptions::new(directory.path());
        let now = Timestamp::from_seconds(1_800_000_000);
        let day = Duration::from_hours(24);
        let (inbox, threads) = Inbox::open(&options, Clock::manual(now)).unwrap();
        drop(inbox);
        threads.join();
        fill(&options, ENTRIES, now.minus(day * 500));
        let (inbox, threads) = Inbox::open(&options, Clock::manual(now)).unwrap();
        let retention = Retention { bodies: day * 35, held_bodies: None, entries: day * 400 };
        let (mut rounds, mut bodies, mut entries) = (0, 0, 0);
        loop {
            // Both wait for the writer. The webhook gets its answer before the next batch can be asked for.
            let (swept, receipt) = tokio::join!(inbox.sweep(retention), inbox.append(entry(rounds)));
            let swept = swept.unwrap();
            assert!(!receipt.unwrap().is_duplicate());
            assert!(swept.bodies <= SWEEP_ROWS_MAX && swept.entries <= SWEEP_ROWS_MAX, "{swept:?}");
            (rounds, bodies, entries) = (rounds + 1, bodies + swept.bodies, entries + swept.entries);
            if !swept.more {
                break;
            }
        }
        assert!(rounds >= 40, "{rounds} rounds");
        assert_eq!(entries, usize::try_from(ENTRIES).unwrap());
        assert!(bodies <= entries);
        let counts = inbox.counts().await.unwrap();
        assert_eq!((counts.settled, counts.waiting), (0, rounds), "what waits is never removed");
        drop(inbox);
        threads.join();
    }
}
