//! What a person does to entries: replay, release, drop. In small transactions of the writer, so that webhooks do not wait.
//!
//! Guarantees: nothing is deleted; what was dropped stays so until an order names it; an entry that is being
//! worked on is not touched; who did what, when and why stays in the row, and all orders in `orders`. The worker that leases
//! the changed entries decides what they mean for the ledger.

use rusqlite::{Connection, OptionalExtension, params};

use super::body;
use super::file::InboxFile;
use super::queue::Request;
use super::{LocalInbox, orders};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::outcome::{DROPPED, ProblemCode};
use crate::inbox::body::Unpacker;
use crate::inbox::entry::NewEntry;
use crate::inbox::error::InboxError;
use crate::inbox::operate::{OrderedEntry, is_event, short};
use crate::inbox::order::{Action, Order, Refusal, Standing};
use crate::inbox::report::EntryReport;
use crate::inbox::state::StateName;
use crate::stripe::event::Event;

impl LocalInbox {
    pub(in crate::inbox) async fn consider(
        &self,
        entries: Vec<EntryReport>,
        action: Action,
        is_named: bool,
    ) -> Result<Vec<OrderedEntry>, InboxError> {
        self.read(move |connection| consider(connection, entries, action, is_named)).await
    }

    /// Carries out an order. Returns for each entry, in order, whether it was changed, or why not.
    pub(in crate::inbox) async fn operate(
        &self,
        entries: Vec<EntryId>,
        order: Order,
        is_named: bool,
    ) -> Result<Vec<Result<(), Refusal>>, InboxError> {
        self.ask(Operate { entries, order, is_named }).await
    }

    pub(in crate::inbox) async fn refetched(
        &self,
        entry: EntryId,
        fetched: NewEntry,
        order: Order,
        is_named: bool,
    ) -> Result<Result<(), Refusal>, InboxError> {
        self.ask(Refetch { entry, fetched, order, is_named }).await
    }

    /// Makes waiting entries due now. Returns how many.
    pub(in crate::inbox) async fn hasten(&self, entries: Vec<EntryId>) -> Result<usize, InboxError> {
        self.ask(Hasten { entries }).await
    }
}

/// What an order would do to entries.
fn consider(
    connection: &Connection,
    entries: Vec<EntryReport>,
    action: Action,
    is_named: bool,
) -> rusqlite::Result<Vec<OrderedEntry>> {
    let mut unpacker = Unpacker::default();
    let consider = |entry: EntryReport| {
        let is_malformed = entry.code.as_deref() == Some(ProblemCode::Malformed.as_str());
        let refused = if action == Action::Release && is_malformed {
            let body = body::of_entry(connection, &mut unpacker, entry.entry.0)?.unwrap_or_default();
            Event::parse(&body).err().map(|_| Refusal::NothingToApply)
        } else {
            let has_body = has_body(connection, entry.entry.0)?;
            let is_event = is_event(&entry.event_id);
            let code = entry.code.as_deref().or(entry.outcome.as_deref());
            action.check(Standing { state: entry.state, code, has_body, is_event, is_named }).err()
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

/// Asks to carry out what a person ordered, for entries in the right state.
struct Operate {
    entries: Vec<EntryId>,
    order: Order,
    is_named: bool,
}

impl Request for Operate {
    /// For each entry, in order: whether it was changed, or why not.
    type Done = Vec<Result<(), Refusal>>;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Self::Done> {
        self.entries.iter().map(|entry| operate(file, entry.0, &self.order, self.is_named, now)).collect()
    }
}

/// Asks to take up an entry again with another body.
struct Refetch {
    entry: EntryId,
    fetched: NewEntry,
    order: Order,
    is_named: bool,
}

impl Request for Refetch {
    /// Whether the entry was changed, or why not.
    type Done = Result<(), Refusal>;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Self::Done> {
        let done = operate(file, self.entry.0, &self.order, self.is_named, now)?;
        if done.is_ok() {
            let (body, bytes) = self.fetched.stored_body();
            file.connection
                .prepare_cached("INSERT OR REPLACE INTO bodies (entry, body, bytes) VALUES (?1, ?2, ?3)")?
                .execute(params![self.entry.0, body, bytes])?;
        }
        Ok(done)
    }
}

fn operate(
    file: &mut InboxFile,
    entry: i64,
    order: &Order,
    is_named: bool,
    now: Timestamp,
) -> rusqlite::Result<Result<(), Refusal>> {
    let found: Option<(StateName, Option<String>, Option<String>, String)> = file
        .connection
        .prepare_cached("SELECT state, code, reason, event_id FROM entries WHERE id = ?1")?
        .query_row([entry], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((from, code, reason, event_id)) = found else { return Ok(Err(Refusal::Gone)) };
    let (has_body, is_event) = (has_body(&file.connection, entry)?, is_event(&event_id));
    let standing = Standing { state: from, code: code.as_deref(), has_body, is_event, is_named };
    if let Err(refusal) = order.action.check(standing) {
        return Ok(Err(refusal));
    }
    // Its former state is part of its story.
    let before = match (code, reason) {
        (Some(code), Some(reason)) => format!("was {from}, {code}: {reason}"),
        (Some(code), None) => format!("was {from}, {code}"),
        (None, _) => format!("was {from}"),
    };
    let to = match order.action {
        Action::Replay | Action::Release | Action::Refetch => StateName::Waiting,
        Action::Drop => StateName::Settled,
    };
    let (by, note) = (order.by.as_deref().map(short), order.note.as_deref().map(short));
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
            is(Action::Drop).map(|_| DROPPED),
            short(&before),
            is(Action::Release),
            is(Action::Replay).or(is(Action::Refetch)),
            order.action.as_str(),
            now.millis(),
            by,
            note,
        ])?;
    let untold =
        order.action == Action::Drop && is_event && !orders::lives_elsewhere(&file.connection, &event_id, entry)?;
    let kept = Order { action: order.action, by: by.map(str::to_owned), note: note.map(str::to_owned) };
    orders::record(&file.connection, entry, &kept, short(&before), untold, now)?;
    file.moved(from, to);
    Ok(Ok(()))
}

fn has_body(connection: &Connection, entry: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM bodies WHERE entry = ?1)")?
        .query_row([entry], |row| row.get(0))
}

/// Asks to try waiting entries now instead of later. Leaves no trace in them.
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
