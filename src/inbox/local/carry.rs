//! Carrying entries out of an inbox file and into one. What is noted of a whole move is in [`super::leave`].

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::erase::overwriting;
use super::file::InboxFile;
use super::queue::{Request, Weight};
use super::{LocalInbox, event_ids, steps};
use crate::domain::clock::Timestamp;
use crate::inbox::carry::{Carried, CarriedOrder, Extent, PAGE_BYTES, PAGE_ENTRIES};
use crate::inbox::deeds::{Deed, PastDeed};
use crate::inbox::error::InboxError;
use crate::inbox::state::StateName;

const ENTRIES: &str = "
    SELECT id, endpoint, event_id, event_type, account, livemode, source, secret, received_at, traceparent, state, due_at, ended_at,
        attempts, crashes, process_id, code, reason, released_at, replayed_at, action, action_at, action_by, action_note, body, bytes
    FROM entries LEFT JOIN bodies ON entry = id WHERE id > ?1 AND (?3 OR state <> ?4)
    ORDER BY id LIMIT ?2";

impl LocalInbox {
    pub(in crate::inbox) async fn carried(&self, after: i64, extent: Extent) -> Result<Vec<Carried>, InboxError> {
        self.read(move |connection| {
            let transaction = connection.transaction()?;
            carried(&transaction, after, extent)
        })
        .await
    }

    pub(in crate::inbox) async fn take_in(&self, entries: Vec<Carried>) -> Result<u64, InboxError> {
        self.ask(TakeIn { entries }).await
    }

    /// Removes entries that are now stored elsewhere. Returns how many were there.
    pub(in crate::inbox) async fn remove(&self, numbers: Vec<i64>) -> Result<u64, InboxError> {
        self.ask(Remove { numbers }).await
    }

    pub(in crate::inbox) async fn take_in_deeds(&self, deeds: Vec<PastDeed>) -> Result<(), InboxError> {
        self.ask(Deeds { deeds }).await
    }

    pub(in crate::inbox) async fn marks(&self) -> Result<Vec<(String, i64)>, InboxError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT substr(name, 6), value FROM counters WHERE name LIKE 'mark.%'")?;
            let marks = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            marks.collect()
        })
        .await
    }

    pub(in crate::inbox) async fn take_in_marks(&self, marks: Vec<(String, i64)>) -> Result<(), InboxError> {
        self.ask(Marks { marks }).await
    }
}

fn carried(connection: &Connection, after: i64, extent: Extent) -> rusqlite::Result<Vec<Carried>> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    let mut statement = connection.prepare_cached(ENTRIES)?;
    let mut rows = statement.query(params![after, PAGE_ENTRIES, extent == Extent::All, StateName::Settled])?;
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let mut entry = read(row)?;
        entry.orders = orders(connection, entry.number)?;
        entry.steps = steps::of_entry(connection, entry.number)?;
        bytes += entry.body.as_ref().map_or(0, |(body, _)| body.len());
        page.push(entry);
    }
    Ok(page)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Carried> {
    let body: Option<Vec<u8>> = row.get(24)?;
    let bytes: Option<i64> = row.get(25)?;
    Ok(Carried {
        number: row.get(0)?,
        endpoint: row.get(1)?,
        event_id: row.get(2)?,
        event_type: row.get(3)?,
        account: row.get(4)?,
        livemode: row.get(5)?,
        source: row.get(6)?,
        secret: row.get(7)?,
        received_at: row.get(8)?,
        traceparent: row.get(9)?,
        // Opening the file ended all leases.
        state: row.get(10)?,
        due_at: row.get(11)?,
        ended_at: row.get(12)?,
        attempts: row.get(13)?,
        crashes: row.get(14)?,
        process_id: row.get(15)?,
        code: row.get(16)?,
        reason: row.get(17)?,
        released_at: row.get(18)?,
        replayed_at: row.get(19)?,
        action: row.get(20)?,
        action_at: row.get(21)?,
        action_by: row.get(22)?,
        action_note: row.get(23)?,
        body: body.map(|body| (body, bytes)),
        orders: Vec::new(),
        steps: Vec::new(),
    })
}

fn orders(connection: &Connection, entry: i64) -> rusqlite::Result<Vec<CarriedOrder>> {
    let mut statement = connection
        .prepare_cached("SELECT action, at, by, note, was, untold FROM orders WHERE entry = ?1 ORDER BY id")?;
    let orders = statement.query_map([entry], |row| {
        Ok(CarriedOrder {
            action: row.get(0)?,
            at: row.get(1)?,
            by: row.get(2)?,
            note: row.get(3)?,
            was: row.get(4)?,
            untold: row.get(5)?,
        })
    })?;
    orders.collect()
}

/// Entries of another inbox.
struct TakeIn {
    entries: Vec<Carried>,
}

impl Request for TakeIn {
    /// How many were new.
    type Done = u64;

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<u64> {
        let mut fresh = 0;
        for entry in &self.entries {
            let number = file.next_entry();
            let known = event_ids::claim(&file.connection, &entry.event_id, &entry.endpoint, number)?;
            if known.is_none() {
                insert(file, number, entry)?;
                fresh += 1;
            }
            for order in &entry.orders {
                add_order(&file.connection, known.unwrap_or(number), order)?;
            }
        }
        Ok(fresh)
    }

    fn weight(&self) -> Weight {
        Weight::Append(self.entries.iter().filter_map(|entry| entry.body.as_ref()).map(|(body, _)| body.len()).sum())
    }
}

fn insert(file: &mut InboxFile, number: i64, entry: &Carried) -> rusqlite::Result<()> {
    file.check_room(entry.body.as_ref().map_or(0, |(body, _)| body.len()))?;
    file.connection
        .prepare_cached(
            "INSERT INTO entries (id, endpoint, event_id, event_type, account, livemode, source, secret, received_at, traceparent,
                                  state, due_at, ended_at, attempts, crashes, process_id, code, reason, released_at, replayed_at,
                                  action, action_at, action_by, action_note)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
        )?
        .execute(params![
            number,
            entry.endpoint,
            entry.event_id,
            entry.event_type,
            entry.account,
            entry.livemode,
            entry.source,
            entry.secret,
            entry.received_at,
            entry.traceparent,
            entry.state,
            entry.due_at,
            entry.ended_at,
            entry.attempts,
            entry.crashes,
            entry.process_id,
            entry.code,
            entry.reason,
            entry.released_at,
            entry.replayed_at,
            entry.action,
            entry.action_at,
            entry.action_by,
            entry.action_note,
        ])?;
    if let Some((body, bytes)) = &entry.body {
        file.connection
            .prepare_cached("INSERT INTO bodies (entry, body, bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![number, body, bytes])?;
    }
    for step in &entry.steps {
        file.connection
            .prepare_cached(
                "INSERT INTO steps (entry, at, last, times, kind, code, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                number,
                step.at.millis(),
                step.last.millis(),
                i64::try_from(step.times).unwrap_or(i64::MAX),
                step.kind.as_str(),
                step.code,
                step.reason,
            ])?;
    }
    file.entered(entry.state);
    Ok(())
}

/// Adds an order unless it is there: an entry has one order of a kind at a time.
fn add_order(connection: &Connection, entry: i64, order: &CarriedOrder) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO orders (entry, action, at, by, note, was, untold) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
             WHERE NOT EXISTS (SELECT 1 FROM orders WHERE entry = ?1 AND action = ?2 AND at = ?3)",
        )?
        .execute(params![entry, order.action, order.at, order.by, order.note, order.was, order.untold])?;
    Ok(())
}

/// What people did elsewhere.
struct Deeds {
    deeds: Vec<PastDeed>,
}

impl Request for Deeds {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<()> {
        let mut statement = file.connection.prepare_cached(
            "INSERT INTO deeds (at, who, role, peer, via, action, what, dry_run, result, note)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
             WHERE NOT EXISTS (SELECT 1 FROM deeds WHERE at = ?1 AND who = ?2 AND action = ?6 AND what = ?7)",
        )?;
        for PastDeed { at, deed, .. } in &self.deeds {
            let Deed { who, role, peer, via, action, what, dry_run, result, note } = deed;
            statement.execute(params![at.millis(), who, role, peer, via, action, what, dry_run, result, note])?;
        }
        Ok(())
    }
}

/// Entries that are now stored elsewhere.
struct Remove {
    numbers: Vec<i64>,
}

impl Request for Remove {
    /// How many were there.
    type Done = u64;

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<u64> {
        // An erasure does not look here for bodies that are already removed.
        let removed = overwriting(file, |file| self.remove(file))?;
        // The number of a removed entry is not given out again.
        file.connection
            .prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'next_entry'")?
            .execute([file.next_entry()])?;
        Ok(removed)
    }
}

impl Remove {
    fn remove(&self, file: &mut InboxFile) -> rusqlite::Result<u64> {
        let mut removed = 0;
        for number in &self.numbers {
            let question = "SELECT state FROM entries WHERE id = ?1";
            let state = file.connection.prepare_cached(question)?.query_row([number], |row| row.get(0)).optional()?;
            let Some(state) = state else { continue };
            event_ids::forget(&file.connection, *number)?;
            for table in ["bodies WHERE entry", "orders WHERE entry", "entries WHERE id"] {
                file.connection.prepare_cached(&format!("DELETE FROM {table} = ?1"))?.execute([number])?;
            }
            file.count(state, -1);
            removed += 1;
        }
        Ok(removed)
    }
}

/// Marks of another inbox.
struct Marks {
    marks: Vec<(String, i64)>,
}

impl Request for Marks {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<()> {
        let mut statement = file.connection.prepare_cached(
            "INSERT INTO counters (name, value) VALUES ('mark.' || ?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = min(value, excluded.value)",
        )?;
        self.marks.iter().try_for_each(|(name, value)| statement.execute(params![name, value]).map(|_| ()))
    }
}
