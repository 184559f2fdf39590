//! What reconciling needs of the inbox: which events it holds, taking in those that it does not, and marks.
//!
//! A mark is a number under a name in the same file as the entries, written by the same thread. A cursor kept here speaks
//! of the entries that are here: whoever restores an older copy of the file has the older cursor with it, and whoever
//! loses the file loses the cursor too.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::Inbox;
use super::entry::{NewEntry, Receipt, state};
use super::error::InboxError;
use super::event_ids::ENTRIES_OF_EVENT;
use super::write::Writes;
use super::writer::Command;
use crate::domain::clock::Timestamp;

/// How the inbox holds an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// On its way, or kept for a person.
    Open,
    /// Done.
    Settled,
}

impl Inbox {
    /// Which of these events are here, by whichever endpoint they came.
    pub async fn holds(&self, ids: Vec<String>) -> Result<BTreeMap<String, Held>, InboxError> {
        self.read(move |connection| holds(connection, &ids)).await
    }

    /// Stores listed events in this order, and resolves when all of them are durable. Waits for room in the queue, so
    /// that webhooks are not refused for it. After an error some of them may be durable; storing them again does no harm.
    pub async fn append_listed(&self, entries: Vec<NewEntry>) -> Result<Vec<Receipt>, InboxError> {
        let mut receipts = Vec::with_capacity(entries.len());
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            let (reply, receipt) = oneshot::channel();
            self.send(Command::Append { entry: Box::new(entry), reply }).await?;
            replies.push(receipt);
        }
        for reply in replies {
            let (receipt, _) = reply.await.map_err(|_| InboxError::Closed)??;
            receipts.push(receipt);
        }
        if !receipts.is_empty() {
            self.wake();
        }
        Ok(receipts)
    }

    /// The number under a name, if it was ever set.
    pub async fn mark(&self, name: impl Into<String>) -> Result<Option<i64>, InboxError> {
        let name = name.into();
        let question = "SELECT value FROM counters WHERE name = 'mark.' || ?1";
        self.read(move |connection| connection.query_row(question, [&name], |row| row.get(0)).optional()).await
    }

    /// Sets the number under a name. Resolves when it is durable, and with it everything that was before.
    pub async fn set_mark(&self, name: impl Into<String>, value: i64) -> Result<(), InboxError> {
        let (reply, marked) = oneshot::channel();
        self.send(Command::Mark { name: name.into(), value, reply }).await?;
        marked.await.map_err(|_| InboxError::Closed)?
    }
}

fn holds(connection: &mut Connection, ids: &[String]) -> rusqlite::Result<BTreeMap<String, Held>> {
    let transaction = connection.transaction()?;
    let question = format!("SELECT max(state <> ?2) FROM entries WHERE id IN ({ENTRIES_OF_EVENT})");
    let mut statement = transaction.prepare_cached(&question)?;
    let mut held = BTreeMap::new();
    for id in ids {
        let open: Option<bool> = statement.query_row((id, state::SETTLED), |row| row.get(0))?;
        if let Some(open) = open {
            held.insert(id.clone(), if open { Held::Open } else { Held::Settled });
        }
    }
    Ok(held)
}

impl Writes {
    /// Puts a settled entry back to waiting, with the body that Stripe lists; tells whether it was settled.
    pub(super) fn work_again(&mut self, id: i64, new: &NewEntry, now: Timestamp) -> rusqlite::Result<bool> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE entries SET state = 0, due_at = ?2, ended_at = NULL, code = NULL, reason = NULL, attempts = 0
                 WHERE id = ?1 AND state = 3",
            )?
            .execute(params![id, now.millis()])?;
        if changed == 0 {
            return Ok(false);
        }
        let (body, bytes) = new.stored_body();
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO bodies (entry, body, bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![id, body, bytes])?;
        self.moved(state::SETTLED, state::WAITING);
        Ok(true)
    }

    /// Keeps a number under a name, beside the entries that it speaks of.
    pub(super) fn mark(&mut self, name: &str, value: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO counters (name, value) VALUES ('mark.' || ?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![name, value])?;
        Ok(())
    }
}
