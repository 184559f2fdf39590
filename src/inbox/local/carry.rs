//! Carrying entries out of an inbox file and into one. A file that is left says where its entries went, in a table of its own that no
//! other file has, and is opened by no gateway.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::checks::{self, FILE_NAME, classify};
use super::erase::overwriting;
use super::file::InboxFile;
use super::queue::{Request, Weight};
use super::{LocalInbox, event_ids, steps};
use crate::domain::clock::Timestamp;
use crate::inbox::carry::{Carried, CarriedOrder, MovedTo, PAGE_BYTES, PAGE_ENTRIES, shown};
use crate::inbox::deeds::{Deed, PastDeed};
use crate::inbox::error::{InboxError, OpenError};
use crate::inbox::state::StateName;

/// Whether a file is opened whose entries were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::inbox) enum AfterAMove {
    Refuse,
    Open,
}

/// How long a look waits for a program that holds the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

const ENTRIES: &str = "
    SELECT id, endpoint, event_id, event_type, account, livemode, source, secret, received_at, traceparent, state, due_at, ended_at,
        attempts, crashes, process_id, code, reason, released_at, replayed_at, action, action_at, action_by, action_note, body, bytes
    FROM entries LEFT JOIN bodies ON entry = id WHERE id > ?1 ORDER BY id LIMIT ?2";

impl LocalInbox {
    pub(in crate::inbox) async fn moved_to(&self) -> Result<Option<MovedTo>, InboxError> {
        self.read(|connection| moved_to(connection)).await
    }

    pub(in crate::inbox) async fn begin_leaving(&self, to: String) -> Result<(), InboxError> {
        self.ask(Leave::Begin(to)).await
    }

    pub(in crate::inbox) async fn end_leaving(&self) -> Result<(), InboxError> {
        self.ask(Leave::End).await
    }

    pub(in crate::inbox) async fn give_up_leaving(&self) -> Result<(), InboxError> {
        self.ask(Leave::GiveUp).await
    }

    pub(in crate::inbox) async fn empty(&self) -> Result<(), InboxError> {
        self.ask(Leave::Empty).await
    }

    pub(in crate::inbox) async fn carried(&self, after: i64) -> Result<Vec<Carried>, InboxError> {
        self.read(move |connection| {
            let transaction = connection.transaction()?;
            carried(&transaction, after)
        })
        .await
    }

    pub(in crate::inbox) async fn take_in(&self, entries: Vec<Carried>) -> Result<u64, InboxError> {
        self.ask(TakeIn { entries }).await
    }

    /// Removes entries that are stored elsewhere; how many were there.
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

/// Where the entries of a file went, or are on their way to.
pub(super) fn moved_to(connection: &Connection) -> rusqlite::Result<Option<MovedTo>> {
    let question = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'moved')";
    if !connection.query_row(question, [], |row| row.get::<_, bool>(0))? {
        return Ok(None);
    }
    let read = |row: &Row<'_>| Ok(MovedTo { place: row.get(0)?, is_done: row.get(1)? });
    connection.query_row("SELECT place, is_done FROM moved", [], read).optional()
}

/// Refuses a file whose entries were moved, or are being.
pub(super) fn refuse_moved(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    match moved_to(connection).map_err(|source| classify(path, source))? {
        None => Ok(()),
        Some(MovedTo { place, is_done }) => {
            let (path, place) = (path.to_owned(), shown(&place));
            Err(if is_done { OpenError::Moved { path, place } } else { OpenError::Moving { path, place } })
        }
    }
}

/// Where the entries of the file in a directory went. Changes nothing, and blocks.
///
/// # Errors
/// When there is no inbox in the directory, or none that this version reads.
pub fn moved_from(directory: &Path) -> Result<Option<MovedTo>, OpenError> {
    let path = directory.join(FILE_NAME);
    let connection = checks::read_only(&path, BUSY_TIMEOUT)?;
    checks::format(&path, &connection)?;
    let moved = moved_to(&connection).map_err(|source| classify(&path, source))?;
    Ok(moved.map(|to| MovedTo { place: shown(&to.place), ..to }))
}

fn carried(connection: &Connection, after: i64) -> rusqlite::Result<Vec<Carried>> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    let mut statement = connection.prepare_cached(ENTRIES)?;
    let mut rows = statement.query(params![after, PAGE_ENTRIES])?;
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
        // A lease ended when the file was opened.
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

/// What is noted of a move away.
enum Leave {
    /// To this place.
    Begin(String),
    End,
    GiveUp,
    /// All entries are elsewhere, and come back from there.
    Empty,
}

impl Request for Leave {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<()> {
        match self {
            Self::Begin(place) => {
                let table = "CREATE TABLE IF NOT EXISTS moved (place TEXT NOT NULL, is_done INTEGER NOT NULL, at INTEGER NOT NULL)";
                file.connection.execute_batch(table)?;
                let insert = "INSERT INTO moved SELECT ?1, 0, ?2 WHERE NOT EXISTS (SELECT 1 FROM moved)";
                file.connection.execute(insert, params![place, now.millis()]).map(|_| ())
            }
            Self::End => file.connection.execute("UPDATE moved SET is_done = 1, at = ?1", [now.millis()]).map(|_| ()),
            // A caller that went away may have had this done already.
            Self::GiveUp => file.connection.execute_batch("DROP TABLE IF EXISTS moved"),
            Self::Empty => {
                for state in StateName::ALL {
                    let question = "SELECT count(*) FROM entries WHERE state = ?1";
                    let entries: i64 = file.connection.query_row(question, [state], |row| row.get(0))?;
                    file.count(state, -entries);
                }
                file.connection.execute_batch(
                    "UPDATE counters SET value = max(value, (SELECT coalesce(max(id), 0) + 1 FROM entries)) WHERE name = 'next_entry';
                     DELETE FROM entries; DELETE FROM bodies; DELETE FROM orders; DELETE FROM event_ids;
                     DELETE FROM event_ids_new;
                     DELETE FROM steps; DELETE FROM deeds;
                     DELETE FROM counters WHERE name LIKE 'mark.%' AND name <> 'mark.identity'; DROP TABLE IF EXISTS moved;",
                )
            }
        }
    }
}

/// Entries of another inbox.
struct TakeIn {
    entries: Vec<Carried>,
}

impl Request for TakeIn {
    /// How many were not known.
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

/// Adds an order, unless it is there: an entry has one of a kind at a time.
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

/// Entries that are stored elsewhere.
struct Remove {
    numbers: Vec<i64>,
}

impl Request for Remove {
    /// How many were there.
    type Done = u64;

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<u64> {
        // An erasure does not look here for what is removed already.
        let removed = overwriting(file, |file| self.remove(file))?;
        // A number that was removed is not given out again.
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
