//! Questions to the inbox, on a connection that cannot write.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};

use super::body::Unpacker;
use super::entry::{EntryState, state};
use super::lease::{Lease, Leased, SubmittedEntry, SubmittedProcess};
use super::schema::live;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EndpointName, EntryId, EventId, ProcessId};
use crate::domain::trace::TraceContext;

/// Number of entries in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Wait for an attempt.
    pub waiting: u64,
    /// Being worked on.
    pub leased: u64,
    /// With a process of a Colonies server.
    pub submitted: u64,
    /// Done and still kept.
    pub settled: u64,
    /// Given up.
    pub dead: u64,
    /// Held back.
    pub quarantined: u64,
    /// When the oldest entry that is not ended was received.
    pub oldest: Option<Timestamp>,
}

impl Counts {
    /// Entries on their way.
    pub fn backlog(&self) -> u64 {
        self.waiting + self.leased + self.submitted
    }
}

/// An entry without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryView {
    /// Row number.
    pub entry: EntryId,
    /// The endpoint it came in by.
    pub endpoint: EndpointName,
    /// The event's id.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// When it became durable.
    pub received: Timestamp,
    /// Failed attempts.
    pub attempts: u32,
    /// Where it stands.
    pub state: EntryState,
}

/// Adds the bodies to leases. All of it in one read transaction.
pub(super) fn load(connection: &mut Connection, leases: Vec<Lease>) -> rusqlite::Result<Vec<Leased>> {
    let transaction = connection.transaction()?;
    let mut statement = transaction.prepare_cached(
        "SELECT endpoint, event_id, event_type, attempts, MAX(received_at, COALESCE(replayed_at, 0),
                COALESCE(released_at, 0)), body, bytes, released_at, replayed_at IS NOT NULL, traceparent
         FROM entries JOIN bodies ON entry = id WHERE id = ?1",
    )?;
    let mut unpacker = Unpacker::default();
    leases
        .into_iter()
        .map(|lease| {
            statement.query_row([lease.entry.0], |row| {
                Ok(Leased {
                    endpoint: EndpointName::new(row.get::<_, String>(0)?),
                    event_id: EventId::new(row.get::<_, String>(1)?),
                    event_type: row.get(2)?,
                    attempts: row.get(3)?,
                    received: Timestamp::from_millis(row.get(4)?),
                    body: Bytes::from(unpacker.unpack(lease.entry.0, row.get_ref(5)?.as_blob()?, row.get(6)?)),
                    released: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
                    replayed: row.get(8)?,
                    trace: row.get::<_, Option<String>>(9)?.as_deref().and_then(TraceContext::parse),
                    lease,
                })
            })
        })
        .collect()
}

pub(super) fn counts(connection: &mut Connection) -> rusqlite::Result<Counts> {
    let transaction = connection.transaction()?;
    let mut tally = [0_u64; state::COUNT];
    {
        let mut statement = transaction.prepare_cached("SELECT state, entries FROM tally")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(slot) = tally.get_mut(row.get::<_, usize>(0)?) {
                *slot = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            }
        }
    }
    let oldest = transaction.prepare_cached(live::OLDEST)?.query_row([], |row| row.get(0)).optional()?;
    let [waiting, leased, submitted, settled, dead, quarantined] = tally;
    Ok(Counts { waiting, leased, submitted, settled, dead, quarantined, oldest: oldest.map(Timestamp::from_millis) })
}

pub(super) fn next_due(connection: &mut Connection) -> rusqlite::Result<Option<Timestamp>> {
    let due: Option<Option<i64>> =
        connection.prepare_cached(live::NEXT_DUE)?.query_row([], |row| row.get(0)).optional()?;
    Ok(due.flatten().map(Timestamp::from_millis))
}

/// When the oldest entry was received that nobody works on in this process: submitted, or waiting and never failed (one
/// that failed waits for its own reasons, one that a person asked for takes the direct route anyway).
pub(super) fn oldest_unattended(connection: &mut Connection) -> rusqlite::Result<Option<Timestamp>> {
    let oldest = connection.prepare_cached(live::OLDEST_UNATTENDED)?.query_row([], |row| row.get(0)).optional()?;
    Ok(oldest.map(Timestamp::from_millis))
}

/// Processes that hold entries, the ones to ask about first.
pub(super) fn submitted(connection: &mut Connection, limit: u32) -> rusqlite::Result<Vec<SubmittedProcess>> {
    let mut statement = connection.prepare_cached(
        "SELECT process_id, COUNT(*), MIN(received_at), MIN(due_at) AS poll FROM entries
         WHERE state = 2 GROUP BY process_id ORDER BY poll LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        Ok(SubmittedProcess {
            process: ProcessId::new(row.get::<_, Option<String>>(0)?.unwrap_or_default()),
            entries: row.get(1)?,
            oldest: Timestamp::from_millis(row.get(2)?),
            poll: Timestamp::from_millis(row.get::<_, Option<i64>>(3)?.unwrap_or(0)),
        })
    })?;
    rows.collect()
}

/// The entries that a process holds.
pub(super) fn entries_of(connection: &mut Connection, process: &ProcessId) -> rusqlite::Result<Vec<SubmittedEntry>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, event_id, event_type, attempts, received_at, traceparent FROM entries
         WHERE state = 2 AND process_id = ?1 ORDER BY id",
    )?;
    let rows = statement.query_map([process.as_str()], |row| {
        Ok(SubmittedEntry {
            entry: EntryId(row.get(0)?),
            event_id: EventId::new(row.get::<_, String>(1)?),
            event_type: row.get(2)?,
            attempts: row.get(3)?,
            received: Timestamp::from_millis(row.get(4)?),
            trace: row.get::<_, Option<String>>(5)?.as_deref().and_then(TraceContext::parse),
        })
    })?;
    rows.collect()
}

pub(super) fn newest(connection: &mut Connection, limit: u32) -> rusqlite::Result<Vec<EntryView>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, endpoint, event_id, event_type, received_at, attempts, state, due_at, ended_at, code, reason, process_id
         FROM entries ORDER BY id DESC LIMIT ?1",
    )?;
    statement.query_map([limit], view)?.collect()
}

fn view(row: &Row<'_>) -> rusqlite::Result<EntryView> {
    let time = |index: usize| row.get::<_, Option<i64>>(index).map(|at| Timestamp::from_millis(at.unwrap_or(0)));
    let text = |index: usize| row.get::<_, Option<String>>(index).map(Option::unwrap_or_default);
    let state = match row.get::<_, i64>(6)? {
        state::LEASED => EntryState::Leased { until: time(7)? },
        state::SUBMITTED => EntryState::Submitted { process: ProcessId::new(text(11)?), poll: time(7)? },
        state::SETTLED => EntryState::Settled { at: time(8)?, outcome: text(9)? },
        state::DEAD => EntryState::Dead { at: time(8)?, code: text(9)?, reason: text(10)? },
        state::QUARANTINED => EntryState::Quarantined { at: time(8)?, code: text(9)?, reason: text(10)? },
        _ => EntryState::Waiting { due: time(7)? },
    };
    Ok(EntryView {
        entry: EntryId(row.get(0)?),
        endpoint: EndpointName::new(row.get::<_, String>(1)?),
        event_id: EventId::new(row.get::<_, String>(2)?),
        event_type: row.get(3)?,
        received: Timestamp::from_millis(row.get(4)?),
        attempts: row.get(5)?,
        state,
    })
}
