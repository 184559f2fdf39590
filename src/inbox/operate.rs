//! What a person does to entries: replay, release, drop. In small transactions of the writer, so that webhooks do not wait.
//!
//! Guarantees: nothing is deleted; an entry that is being worked on is not touched; who did what, when and why stays in
//! the row. What the changed entries mean for the ledger is decided by whoever leases them.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::body::{self, Unpacker};
use super::file::InboxFile;
use super::order::{Action, NOTE_BYTES_MAX, Order, Refusal};
use super::queue::Request;
use super::report::EntryReport;
use super::search::Direction;
use super::selection::Selection;
use super::state::StateName;
use super::{Inbox, InboxError};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::outcome::ProblemCode;
use crate::stripe::event::Event;

/// Most entries changed in one transaction.
pub const STEP_ENTRIES_MAX: usize = 200;

/// An entry that an order means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedEntry {
    pub entry: EntryId,
    pub event_id: String,
    pub event_type: String,
    pub state: StateName,
    pub code: Option<String>,
    /// Why it was left as it is; absent when it was changed.
    pub refused: Option<Refusal>,
}

/// What one step of an order did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderStep {
    /// The entries that the selection chose.
    pub entries: Vec<OrderedEntry>,
    /// The next step begins after this entry; absent when there is none.
    pub next: Option<EntryId>,
}

impl OrderStep {
    /// How many entries were changed, or would be.
    pub fn changed(&self) -> usize {
        self.entries.iter().filter(|entry| entry.refused.is_none()).count()
    }
}

impl Inbox {
    /// Does what is ordered to the next entries of a selection, oldest first: at most [`STEP_ENTRIES_MAX`] of them, in one
    /// transaction. Call again from `next` until there is none. With `dry_run` nothing is changed.
    ///
    /// A selection that names neither entries nor states means [`Action::usual_states`].
    pub async fn operate(
        &self,
        selection: &Selection,
        order: &Order,
        dry_run: bool,
        after: Option<EntryId>,
    ) -> Result<OrderStep, InboxError> {
        let mut selection = selection.clone();
        if selection.states.is_empty() && !selection.is_by_id() {
            selection.states = order.action.usual_states().to_vec();
        }
        let page = self.page(&selection, Direction::Oldest, after, STEP_ENTRIES_MAX).await?;
        let action = order.action;
        let entries = self.read(move |connection| consider(connection, page.entries, action)).await?;
        let mut step = OrderStep { entries, next: page.next };
        let entries: Vec<EntryId> =
            step.entries.iter().filter(|entry| entry.refused.is_none()).map(|entry| entry.entry).collect();
        if dry_run || entries.is_empty() {
            return Ok(step);
        }
        let operated = self.ask(Operate { entries, order: order.clone() }).await?;
        // What changed between the look and the transaction is told as it was found there.
        for (entry, done) in step.entries.iter_mut().filter(|entry| entry.refused.is_none()).zip(operated) {
            entry.refused = done.err();
        }
        self.wake();
        Ok(step)
    }

    /// Has entries that wait for their next attempt tried now. Tells how many.
    pub async fn hasten(&self, entries: Vec<EntryId>) -> Result<usize, InboxError> {
        let mut hastened = 0;
        for entries in entries.chunks(STEP_ENTRIES_MAX) {
            hastened += self.ask(Hasten { entries: entries.to_vec() }).await?;
        }
        Ok(hastened)
    }
}

/// What would become of entries.
fn consider(connection: &Connection, entries: Vec<EntryReport>, action: Action) -> rusqlite::Result<Vec<OrderedEntry>> {
    let mut unpacker = Unpacker::default();
    let consider = |entry: EntryReport| {
        let is_malformed = entry.code.as_deref() == Some(ProblemCode::Malformed.as_str());
        let refused = if action == Action::Release && is_malformed {
            let body = body::of_entry(connection, &mut unpacker, entry.entry.0)?.unwrap_or_default();
            Event::parse(&body).err().map(|_| Refusal::NothingToApply)
        } else {
            let has_body = has_body(connection, entry.entry.0)?;
            action.check(entry.state, entry.code.as_deref(), has_body).err()
        };
        Ok(OrderedEntry {
            entry: entry.entry,
            event_id: entry.event_id,
            event_type: entry.event_type,
            state: entry.state,
            code: entry.code.or(entry.outcome),
            refused,
        })
    };
    entries.into_iter().map(consider).collect()
}

/// Asks to do what a person ordered, to entries that stand as they have to.
struct Operate {
    entries: Vec<EntryId>,
    order: Order,
}

impl Request for Operate {
    /// In order: whether the entry was changed, or why not.
    type Done = Vec<Result<(), Refusal>>;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Self::Done> {
        self.entries.iter().map(|entry| operate(file, entry.0, &self.order, now)).collect()
    }
}

fn operate(file: &mut InboxFile, entry: i64, order: &Order, now: Timestamp) -> rusqlite::Result<Result<(), Refusal>> {
    let found: Option<(StateName, Option<String>, Option<String>)> = file
        .connection
        .prepare_cached("SELECT state, code, reason FROM entries WHERE id = ?1")?
        .query_row([entry], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((from, code, reason)) = found else { return Ok(Err(Refusal::Gone)) };
    if let Err(refusal) = order.action.check(from, code.as_deref(), has_body(&file.connection, entry)?) {
        return Ok(Err(refusal));
    }
    // How it stood before is part of its story.
    let before = match (code, reason) {
        (Some(code), Some(reason)) => format!("was {from}, {code}: {reason}"),
        (Some(code), None) => format!("was {from}, {code}"),
        (None, _) => format!("was {from}"),
    };
    let to = match order.action {
        Action::Replay | Action::Release => StateName::Waiting,
        Action::Drop => StateName::Settled,
    };
    let is = |action: Action| (order.action == action).then_some(now.millis());
    file.connection
        .prepare_cached(
            "UPDATE entries SET state = ?2, due_at = ?3, lease_token = NULL,
                 attempts = IIF(?3 IS NULL, attempts, 0), crashes = IIF(?3 IS NULL, crashes, 0),
                 process_id = NULL, ended_at = ?4, code = ?5, reason = ?6,
                 released_at = COALESCE(?7, released_at), replayed_at = COALESCE(?8, replayed_at),
                 action = ?9, action_at = ?10, action_by = ?11, action_note = ?12
             WHERE id = ?1",
        )?
        .execute(params![
            entry,
            to,
            (to == StateName::Waiting).then_some(now.millis()),
            is(Action::Drop),
            is(Action::Drop).map(|_| "dropped"),
            short(&before),
            is(Action::Release),
            is(Action::Replay),
            order.action.as_str(),
            now.millis(),
            order.by.as_deref().map(short),
            order.note.as_deref().map(short),
        ])?;
    file.moved(from, to);
    Ok(Ok(()))
}

fn has_body(connection: &Connection, entry: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM bodies WHERE entry = ?1)")?
        .query_row([entry], |row| row.get(0))
}

/// The beginning of a text that is not longer than may be kept.
fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(NOTE_BYTES_MAX)).unwrap_or(text)
}

/// Asks to try waiting entries now instead of later. Leaves no mark on them.
struct Hasten {
    entries: Vec<EntryId>,
}

impl Request for Hasten {
    /// How many waited.
    type Done = usize;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<usize> {
        let mut statement = file
            .connection
            .prepare_cached("UPDATE entries SET due_at = MIN(due_at, ?2) WHERE id = ?1 AND state = 0")?;
        let mut waited = 0;
        for entry in &self.entries {
            waited += statement.execute(params![entry.0, now.millis()])?;
        }
        Ok(waited)
    }
}
