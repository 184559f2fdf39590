//! Which events the inbox knows.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::LocalInbox;
use super::event_ids::ENTRIES_OF_EVENT;
use crate::domain::ids::EntryId;
use crate::inbox::error::InboxError;
use crate::inbox::known::Held;
use crate::inbox::order::HELD_AT_DOOR;
use crate::inbox::state::StateName;

impl LocalInbox {
    /// Which of these events the inbox holds, whatever endpoint they came by.
    pub(in crate::inbox) async fn holds(&self, ids: Vec<String>) -> Result<BTreeMap<String, Held>, InboxError> {
        self.read(move |connection| holds(connection, &ids)).await
    }

    /// The entries that hold an event, one per endpoint.
    pub(in crate::inbox) async fn entries_of_event(&self, event_id: String) -> Result<Vec<EntryId>, InboxError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(ENTRIES_OF_EVENT)?;
            let entries = statement.query_map([event_id], |row| row.get(0).map(EntryId))?;
            let mut entries: Vec<EntryId> = entries.collect::<rusqlite::Result<_>>()?;
            entries.sort_unstable();
            Ok(entries)
        })
        .await
    }
}

fn holds(connection: &mut Connection, ids: &[String]) -> rusqlite::Result<BTreeMap<String, Held>> {
    let transaction = connection.transaction()?;
    // What the door holds back says nothing about an event that came to its end by another endpoint.
    let at_door = HELD_AT_DOOR.map(|code| format!("'{}'", code.as_str())).join(", ");
    let question = format!(
        "SELECT max(state <> ?2 AND coalesce(code NOT IN ({at_door}), true))
             OR max(state <> ?2) AND NOT max(state = ?2 AND code IS NOT 'dropped'), max(code IS NOT 'dropped')
         FROM entries WHERE id IN ({ENTRIES_OF_EVENT})"
    );
    let mut statement = transaction.prepare_cached(&question)?;
    let mut held = BTreeMap::new();
    for id in ids {
        let found: (Option<bool>, Option<bool>) =
            statement.query_row((id, StateName::Settled), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let how = match found {
            (Some(true), _) => Held::Open,
            (Some(false), Some(false)) => Held::Dropped,
            (Some(false), _) => Held::Settled,
            (None, _) => continue,
        };
        held.insert(id.clone(), how);
    }
    Ok(held)
}
