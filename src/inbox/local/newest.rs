//! The newest entries with their states, at a glance.

use rusqlite::{Connection, Row};

use super::LocalInbox;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EndpointName, EntryId, EventId, ProcessId};
use crate::inbox::error::InboxError;
use crate::inbox::newest::{EntryState, EntryView};
use crate::inbox::state::StateName;

impl LocalInbox {
    /// The newest entries, at most `limit`, newest first, without bodies.
    pub(in crate::inbox) async fn newest(&self, limit: u32) -> Result<Vec<EntryView>, InboxError> {
        self.read(move |connection| newest(connection, limit)).await
    }
}

fn newest(connection: &mut Connection, limit: u32) -> rusqlite::Result<Vec<EntryView>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, endpoint, event_id, event_type, received_at, attempts, state, due_at, ended_at, code, reason, process_id
         FROM entries ORDER BY id DESC LIMIT ?1",
    )?;
    statement.query_map([limit], view)?.collect()
}

fn view(row: &Row<'_>) -> rusqlite::Result<EntryView> {
    let time = |index: usize| row.get::<_, Option<i64>>(index).map(|at| Timestamp::from_millis(at.unwrap_or(0)));
    let text = |index: usize| row.get::<_, Option<String>>(index).map(Option::unwrap_or_default);
    let state = match row.get(6)? {
        StateName::Waiting => EntryState::Waiting { due: time(7)? },
        StateName::Leased => EntryState::Leased { until: time(7)? },
        StateName::Submitted => EntryState::Submitted { process: ProcessId::new(text(11)?), poll: time(7)? },
        StateName::Settled => EntryState::Settled { at: time(8)?, outcome: text(9)? },
        StateName::Dead => EntryState::Dead { at: time(8)?, code: text(9)?, reason: text(10)? },
        StateName::Quarantined => EntryState::Quarantined { at: time(8)?, code: text(9)?, reason: text(10)? },
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
