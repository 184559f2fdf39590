//! Taking in events. An answer comes after the commit that made the entry durable.

use rusqlite::params;

use super::file::InboxFile;
use super::queue::{Asked, Message, Request, Weight};
use super::{LocalInbox, event_ids};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::inbox::entry::{Door, NewEntry, Receipt, Source};
use crate::inbox::error::InboxError;
use crate::inbox::state::StateName;

impl LocalInbox {
    pub(in crate::inbox) async fn append(&self, entry: NewEntry) -> Result<Receipt, InboxError> {
        let (asked, receipt) = Asked::new(entry);
        self.try_send(Message::Request(asked))?;
        receipt.done().await
    }

    pub(in crate::inbox) async fn append_listed(&self, entries: Vec<NewEntry>) -> Result<Vec<Receipt>, InboxError> {
        let mut receipts = Vec::with_capacity(entries.len());
        let mut pending = Vec::with_capacity(entries.len());
        for entry in entries {
            pending.push(self.send(entry).await?);
        }
        for receipt in pending {
            receipts.push(receipt.done().await?);
        }
        Ok(receipts)
    }
}

impl Request for NewEntry {
    type Done = Receipt;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Receipt> {
        let id = file.next_entry();
        if let Some(known) = event_ids::claim(&file.connection, self.event_id(), self.endpoint.as_str(), id)? {
            let again = self.source == Source::Reconcile && work_again(file, known, self, now)?;
            return Ok(Receipt::after_commit(EntryId(known), !again));
        }
        let (body, bytes) = self.stored_body();
        file.check_room(body.len())?;
        let (state, due, ended, code, reason) = match &self.door {
            Door::Open => (StateName::Waiting, Some(now.millis()), None, None, None),
            Door::Hold { code, reason } => {
                (StateName::Quarantined, None, Some(now.millis()), Some(*code), Some(reason))
            }
        };
        file.connection
            .prepare_cached(
                "INSERT INTO entries (id, endpoint, event_id, event_type, account, livemode, source, secret, received_at,
                                      state, due_at, ended_at, code, reason, traceparent)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                id,
                self.endpoint.as_str(),
                self.event_id(),
                self.event_type(),
                self.account(),
                self.livemode(),
                self.source.as_str(),
                self.origin.voucher(),
                now.millis(),
                state,
                due,
                ended,
                code,
                reason,
                self.trace.map(|trace| trace.to_string()),
            ])?;
        file.connection
            .prepare_cached("INSERT INTO bodies (entry, body, bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![id, body, bytes])?;
        file.entered(state);
        Ok(Receipt::after_commit(EntryId(id), false))
    }

    fn weight(&self) -> Weight {
        Weight::Append(self.stored_body().0.len())
    }
}

/// Puts a settled entry back to waiting, with the body that Stripe lists; tells whether it was settled. One that a person
/// dropped stays so.
fn work_again(file: &mut InboxFile, id: i64, new: &NewEntry, now: Timestamp) -> rusqlite::Result<bool> {
    let changed = file
        .connection
        .prepare_cached(
            "UPDATE entries SET state = 0, due_at = ?2, ended_at = NULL, code = NULL, reason = NULL, attempts = 0
             WHERE id = ?1 AND state = 3 AND code IS NOT 'dropped'",
        )?
        .execute(params![id, now.millis()])?;
    if changed == 0 {
        return Ok(false);
    }
    let (body, bytes) = new.stored_body();
    file.connection
        .prepare_cached("INSERT OR REPLACE INTO bodies (entry, body, bytes) VALUES (?1, ?2, ?3)")?
        .execute(params![id, body, bytes])?;
    file.moved(StateName::Settled, StateName::Waiting);
    Ok(true)
}
