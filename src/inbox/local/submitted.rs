//! Processes of a Colonies server that hold entries. They survive a restart; only the process that holds an entry ends its
//! stay.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::LocalInbox;
use super::file::InboxFile;
use super::queue::Request;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EntryId, EventId, ProcessId};
use crate::domain::trace::TraceContext;
use crate::inbox::conclude::{Concluded, Conclusion};
use crate::inbox::error::InboxError;
use crate::inbox::state::StateName;
use crate::inbox::submitted::{SubmittedEntry, SubmittedProcess};

impl LocalInbox {
    /// Processes that hold entries, at most `limit`, by the time of the next question about them.
    pub(in crate::inbox) async fn submitted(&self, limit: u32) -> Result<Vec<SubmittedProcess>, InboxError> {
        self.read(move |connection| submitted(connection, limit)).await
    }

    /// The entries that a process holds.
    pub(in crate::inbox) async fn entries_of(&self, process: ProcessId) -> Result<Vec<SubmittedEntry>, InboxError> {
        self.read(move |connection| entries_of(connection, &process)).await
    }

    /// Ends the stay of entries with a process. Returns for each entry, in order, whether that process still held it. An
    /// entry that another process or none holds is not changed.
    pub(in crate::inbox) async fn conclude_submitted(
        &self,
        process: ProcessId,
        conclusions: Vec<(EntryId, Conclusion)>,
    ) -> Result<Vec<Concluded>, InboxError> {
        self.ask(ConcludeSubmitted { process, conclusions }).await
    }

    /// Sets how long to wait before asking about processes again.
    pub(in crate::inbox) async fn postpone(&self, polls: Vec<(ProcessId, Duration)>) -> Result<(), InboxError> {
        self.ask(Postpone { polls }).await
    }
}

/// Asks to end the stay of entries with a process.
struct ConcludeSubmitted {
    process: ProcessId,
    conclusions: Vec<(EntryId, Conclusion)>,
}

impl Request for ConcludeSubmitted {
    type Done = Vec<Concluded>;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Vec<Concluded>> {
        let conclude = |(entry, conclusion): &(EntryId, Conclusion)| {
            let held: Option<i64> = file
                .connection
                .prepare_cached("SELECT id FROM entries WHERE id = ?1 AND state = 2 AND process_id = ?2")?
                .query_row(params![entry.0, self.process.as_str()], |row| row.get(0))
                .optional()?;
            let Some(id) = held else { return Ok(Concluded::LeaseLost) };
            conclusion.apply(file, id, StateName::Submitted, now)?;
            Ok(Concluded::Done)
        };
        self.conclusions.iter().map(conclude).collect()
    }

    /// If this is forgotten, the server is asked about the process again.
    fn must_survive(&self) -> bool {
        self.conclusions.iter().any(|(_, conclusion)| conclusion.must_survive())
    }
}

/// Asks to poll processes at other times.
struct Postpone {
    polls: Vec<(ProcessId, Duration)>,
}

impl Request for Postpone {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<()> {
        let mut statement =
            file.connection.prepare_cached("UPDATE entries SET due_at = ?2 WHERE state = 2 AND process_id = ?1")?;
        for (process, after) in &self.polls {
            statement.execute(params![process.as_str(), now.plus(*after).millis()])?;
        }
        Ok(())
    }

    fn must_survive(&self) -> bool {
        false
    }
}

/// Processes that hold entries, with those to ask about first.
fn submitted(connection: &mut Connection, limit: u32) -> rusqlite::Result<Vec<SubmittedProcess>> {
    let mut statement = connection.prepare_cached(
        "SELECT process_id, COUNT(*), MIN(iif(code IS 'awaits_bee', NULL, received_at)), MIN(due_at) AS poll FROM entries
         WHERE state = 2 GROUP BY process_id ORDER BY poll LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        Ok(SubmittedProcess {
            process: ProcessId::new(row.get::<_, Option<String>>(0)?.unwrap_or_default()),
            entries: row.get(1)?,
            oldest: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis),
            poll: Timestamp::from_millis(row.get::<_, Option<i64>>(3)?.unwrap_or(0)),
        })
    })?;
    rows.collect()
}

/// The entries that a process holds.
fn entries_of(connection: &mut Connection, process: &ProcessId) -> rusqlite::Result<Vec<SubmittedEntry>> {
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
